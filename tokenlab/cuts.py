"""The cut map: how many source bytes stand behind each byte of a text.

For a document of `n` source bytes and `m` output bytes the map is `m + 1` positions:
`cuts[j]` = source bytes consumed before output byte `j`. It never decreases. A lossless
operator starts it at 0 and ends it at `n`; a normaliser that strips the ends starts it
later or ends it earlier, and what lies outside is *unattributed*: no token covers it.

Worked example: CaseOps writes `The` as TITLE `the`, and TITLE is three bytes of UTF-8:

    output   E0 80 81  t  h  e
    cuts     0  0  0   0  1  2  3

A token that ends after output byte `e` is charged `cuts[e] - cuts[start]`, so TITLE is
charged 0 and `the` 3. Charges are differences of one monotone sequence, so their sum is
the source length whatever happens in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.ragged import Ragged

MAX_DOCUMENT_BYTES = 2**31 - 1
"""Positions are int32, relative to the document."""

MAX_CHARGE = 2**16 - 1
"""Charges are uint16 on disk."""


@dataclass(frozen=True, slots=True)
class CutMap:
    """The cut maps of a batch.

    `offsets`: int64, the output text's offsets. `positions`: int32, document `d`'s map at
    `positions[offsets[d] + d : offsets[d + 1] + d + 1]`, relative to the document; None
    is the identity (output = source), which needs no memory.
    """

    offsets: NDArray[np.int64]
    positions: NDArray[np.int32] | None = None

    @classmethod
    def identity(cls, text: Ragged) -> CutMap:
        """The map of a text onto itself."""
        return cls(text.offsets)

    def document(self, d: int) -> NDArray[np.int32]:
        """Document `d`'s map, int32 of its output length + 1."""
        start, stop = int(self.offsets[d]), int(self.offsets[d + 1])
        if self.positions is None:
            return np.arange(stop - start + 1, dtype=np.int32)
        return self.positions[start + d : stop + d + 1]

    def after(self, first: CutMap) -> CutMap:
        """This map read through `first`, the map of the operator that ran before it:
        `cuts[j] = first[self[j]]`, from the last output to the first source."""
        if first.positions is None:
            return self
        if self.positions is None:
            return first
        from tokenlab.cuts_kernels import compose

        return CutMap(self.offsets, compose(self.positions, self.offsets, first.positions, first.offsets))

    def charges(self, ends: Ragged) -> Ragged:
        """Source bytes behind each token, int32, in the rows of `ends`.

        `ends`: int32, for each token the output bytes covered by it and all before it.
        Raises ValueError when a document's tokens do not cover its output exactly.
        """
        from tokenlab.cuts_kernels import charge

        positions = self.positions if self.positions is not None else np.zeros(0, np.int32)
        values, uncovered = charge(ends.values, ends.offsets, positions, self.offsets, self.positions is None)
        _require_covered(uncovered)
        return Ragged(values, ends.offsets)

    def charges_of(self, ids: Ragged, token_bytes: Ragged) -> Ragged | None:
        """`charges`, as they are stored (uint16), of ids that are known to spell the text with these pieces;
        None when one is over MAX_CHARGE. Raises ValueError as `charges`."""
        from tokenlab.cuts_kernels import charge_spelled

        lengths = token_bytes.lengths.astype(np.int32)
        positions = self.positions if self.positions is not None else np.zeros(0, np.int32)
        values, uncovered, fits = charge_spelled(
            ids.values, ids.offsets, lengths, positions, self.offsets, self.positions is None
        )
        _require_covered(uncovered)
        return Ragged(values, ids.offsets) if fits else None

    def unattributed(self, source_lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Source bytes before the first and after the last cut of each document, int64.

        They are what a normaliser stripped from the ends: no token covers them.
        """
        documents = np.arange(len(self.offsets) - 1)
        if self.positions is None:
            return source_lengths - np.diff(self.offsets)
        first = self.positions[self.offsets[:-1] + documents].astype(np.int64)
        last = self.positions[self.offsets[1:] + documents].astype(np.int64)
        # A document of no output has one cut: everything in it is unattributed.
        stripped: NDArray[np.int64] = source_lengths - (last - first)
        return stripped


def _require_covered(uncovered: int) -> None:
    if uncovered >= 0:
        raise ValueError(f"the tokens of document {uncovered} of the batch do not cover its text")


def compose_reference(first: list[int], second: list[int]) -> list[int]:
    """One document's maps composed, in plain Python: the twin of the kernel."""
    return [first[j] for j in second]


def charges_reference(cuts: list[int], ends: list[int]) -> list[int]:
    """One document's charges, in plain Python: the twin of the kernel."""
    starts = [0, *ends][:-1]
    return [cuts[end] - cuts[start] for start, end in zip(starts, ends, strict=True)]


def as_charges(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Charges as they are stored, uint16. Raises OverflowError naming the first index over 65,535."""
    if values.max(initial=0) > MAX_CHARGE:
        raise OverflowError(int(np.flatnonzero(values > MAX_CHARGE)[0]))
    return values.astype(np.uint16)
