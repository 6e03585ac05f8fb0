"""What the encoded parts sum to, in a few bytes a part: a build may have millions."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokenlab.accounting.ledger import Ledger
from tokenlab.build.parts import PartRecord
from tokenlab.manifest import SPLITS, Split


@dataclass
class SplitTotals:
    """The parts of a split: numbered from `first`, tokens of each, the ledger of all."""

    first: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    counts: array[int] = field(default_factory=lambda: array("q"))

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each part."""
        return np.frombuffer(self.counts, np.int64) if self.counts else np.zeros(0, np.int64)


@dataclass
class PartTotals:
    """All parts so far; records are added in order."""

    splits: dict[Split, SplitTotals] = field(default_factory=lambda: {s: SplitTotals() for s in SPLITS})
    parts: int = 0
    documents_read: int = 0
    bytes_read: int = 0
    dropped: array[int] = field(default_factory=lambda: array("q"))

    @property
    def tokens(self) -> int:
        """Tokens of both splits."""
        return sum(split.ledger.tokens for split in self.splits.values())

    @property
    def source_bytes(self) -> int:
        """Source bytes of both splits."""
        return sum(split.ledger.source_bytes for split in self.splits.values())

    @property
    def documents(self) -> int:
        """Documents of both splits, those that were left out not among them."""
        return sum(split.ledger.documents for split in self.splits.values())

    def add(self, record: PartRecord) -> None:
        """Enter a part."""
        split = self.splits[record.split]
        if not split.counts:
            split.first = record.number
        split.counts.append(record.tokens)
        split.ledger.add(
            Ledger(
                record.documents,
                record.tokens,
                record.source_bytes,
                record.charged_bytes,
                record.unattributed_bytes,
            )
        )
        self.parts += 1
        self.documents_read += record.documents_read
        self.bytes_read += record.bytes_read
        self.dropped.extend(record.dropped)
