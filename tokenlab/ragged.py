"""Ragged arrays: a batch of documents, texts, ids or charges as two flat arrays.

>>> batch = Ragged.from_bytes([b"The", b"", b"cat"])
>>> batch.offsets.tolist(), bytes(batch[2])
([0, 3, 3, 6], b'cat')

The layout is that of an Arrow LargeBinary/LargeList column, so columns are taken over
without a copy and a numba kernel runs over a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ragged:
    """`len(offsets) - 1` rows; row `i` is `values[offsets[i]:offsets[i + 1]]`.

    `values` is one-dimensional of any dtype (uint8 for text), and read-only here: kernels are compiled for
    read-only arrays and for others apart. `offsets` is int64, non-decreasing, from 0 to `len(values)`.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.offsets.dtype != np.int64 or self.offsets.ndim != 1 or len(self.offsets) == 0:
            raise ValueError("offsets must be a one-dimensional int64 array of at least one entry")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise ValueError(
                f"offsets run {self.offsets[0]}..{self.offsets[-1]}, values 0..{len(self.values)}"
            )
        if self.values.flags.writeable:
            values = self.values.view()
            values.flags.writeable = False
            object.__setattr__(self, "values", values)

    @classmethod
    def from_bytes(cls, rows: Sequence[bytes]) -> Ragged:
        """Rows of bytes as a uint8 batch."""
        values = np.frombuffer(b"".join(rows), dtype=np.uint8)
        return cls(values, offsets_of([len(row) for row in rows]))

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int] | NDArray[Any]], dtype: Any) -> Ragged:
        """Rows of numbers as a batch of `dtype`."""
        arrays = [np.asarray(row, dtype=dtype) for row in rows]
        values = np.concatenate(arrays) if arrays else np.zeros(0, dtype)
        return cls(values, offsets_of([len(row) for row in arrays]))

    @classmethod
    def concatenate(cls, batches: Sequence[Ragged], dtype: Any) -> Ragged:
        """The rows of all batches in one; of no batches, no rows of `dtype`."""
        if len(batches) == 1:
            return batches[0]
        values = [batch.values for batch in batches] or [np.zeros(0, dtype)]
        lengths = [batch.lengths for batch in batches] or [np.zeros(0, np.int64)]
        return cls(np.concatenate(values), offsets_of(np.concatenate(lengths)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Row `row` as a view."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for row in range(len(self)):
            yield self[row]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of values in each row, int64."""
        return np.diff(self.offsets)

    def rows(self, start: int, stop: int) -> Ragged:
        """Rows `start:stop` as a batch of their own; the values are a view."""
        first, last = self.offsets[start], self.offsets[stop]
        return Ragged(self.values[first:last], self.offsets[start : stop + 1] - first)

    def copy(self, empty: Callable[[int], NDArray[Any]] | None = None) -> Ragged:
        """The same rows in memory of their own. `empty`: gives an array of so many values, of any content,
        for it."""
        values = np.empty_like(self.values) if empty is None else empty(len(self.values))
        values[:] = self.values
        return Ragged(values, self.offsets)

    def slices(self, size: int) -> Iterator[tuple[int, int]]:
        """Bounds of consecutive runs of whole rows, `size` values each at most (or one row)."""
        start = 0
        while start < len(self):
            stop = max(start + 1, self.fitting(start, size))
            yield start, stop
            start = stop

    def fitting(self, start: int, size: int) -> int:
        """The end of the longest run of whole rows from `start` that has `size` values at most."""
        return max(start, int(np.searchsorted(self.offsets, self.offsets[start] + size, side="right")) - 1)

    def take(self, keep: NDArray[np.bool_]) -> Ragged:
        """The rows where `keep` (bool, one a row) is true, in order."""
        if keep.all():
            return self
        return Ragged(self.values[np.repeat(keep, self.lengths)], offsets_of(self.lengths[keep]))

    def first_difference(self, other: Ragged) -> int | None:
        """The first row that is not the same in `other` (of as many rows), or None."""
        if np.array_equal(self.offsets, other.offsets) and np.array_equal(self.values, other.values):
            return None
        return next(row for row in range(len(self)) if not np.array_equal(self[row], other[row]))

    def first_invalid_utf8(self) -> int | None:
        """The first row of a uint8 batch that is not valid UTF-8, or None."""
        from tokenlab.utf8_kernels import first_invalid

        row = int(first_invalid(self.values, self.offsets))
        return row if row >= 0 else None

    def tobytes(self) -> list[bytes]:
        """The rows of a uint8 batch as Python bytes."""
        flat = self.values.tobytes()
        bounds = self.offsets.tolist()
        return [flat[a:b] for a, b in pairwise(bounds)]


def offsets_of(lengths: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    """Row lengths to offsets: int64 of `len(lengths) + 1`, from 0."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
