"""Double entry for bytes: what a document's source holds, against what its tokens are charged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenlab.ragged import Ragged


class ImbalanceError(ValueError):
    """A document whose charges and unattributed bytes do not sum to its source bytes."""

    def __init__(self, document: int, source_bytes: int, charged: int, unattributed: int) -> None:
        super().__init__(document, source_bytes, charged, unattributed)
        self.document = document
        self.source_bytes = source_bytes
        self.charged = charged
        self.unattributed = unattributed

    def __str__(self) -> str:
        return (
            f"document {self.document} has {self.source_bytes} source bytes, its tokens are charged "
            f"{self.charged} and {self.unattributed} are unattributed"
        )


@dataclass
class Ledger:
    """Totals of a split, in whole numbers. `tokens` counts BOS; BOS is charged 0."""

    documents: int = 0
    tokens: int = 0
    source_bytes: int = 0
    charged_bytes: int = 0
    unattributed_bytes: int = 0

    def post(
        self, source_lengths: NDArray[np.int64], charges: Ragged, unattributed: NDArray[np.int64]
    ) -> None:
        """Enter a batch of documents, one BOS each; `charges` are without BOS.

        Raises ImbalanceError for the first document that does not balance, entering nothing.
        """
        charged = charged_bytes(charges)
        off = np.flatnonzero((charged + unattributed != source_lengths) | (unattributed < 0))
        if len(off):
            d = int(off[0])
            raise ImbalanceError(d, int(source_lengths[d]), int(charged[d]), int(unattributed[d]))
        self.documents += len(charges)
        self.tokens += len(charges.values) + len(charges)
        self.source_bytes += int(source_lengths.sum())
        self.charged_bytes += int(charged.sum())
        self.unattributed_bytes += int(unattributed.sum())

    def add(self, other: Ledger) -> None:
        """Enter the totals of another ledger."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def charged_bytes(charges: Ragged) -> NDArray[np.int64]:
    """Sum of each document's charges, int64."""
    sums = np.zeros(len(charges), np.int64)
    filled = charges.lengths > 0  # `reduceat` takes an empty run for the value that follows it
    if filled.any():
        sums[filled] = np.add.reduceat(charges.values, charges.offsets[:-1][filled], dtype=np.int64)
    return sums
