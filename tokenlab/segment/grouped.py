"""A segmenter whose tokens cross no border that an operator names: each part is encoded by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tokenlab.errors import EncodingError
from tokenlab.ragged import Ragged
from tokenlab.segment.segmenter import Segmenter

T = TypeVar("T")
Borders = Callable[[Ragged], NDArray[np.int64]]
"""Indices of a batch's flat bytes, ascending, none of them an end of a document."""


class GroupedSegmenter:
    """`inner` on the parts between borders; see `Segmenter`."""

    def __init__(self, inner: Segmenter, borders: Borders) -> None:
        self._inner = inner
        self._borders = borders
        self.vocab_size = inner.vocab_size
        self.token_bytes = inner.token_bytes
        self.bos = inner.bos
        self.backends = inner.backends
        self.files = inner.files
        self.piece = inner.piece

    def split(self, text: Ragged) -> Ragged:
        """See `Segmenter.split`."""
        parts, first = cut(text, self._borders(text))
        return _of_documents(_encoded(self._inner.split, parts, first), first)

    def split_with_ends(self, text: Ragged) -> tuple[Ragged, Ragged]:
        """See `Segmenter.split_with_ends`."""
        parts, first = cut(text, self._borders(text))
        ids, ends = _encoded(self._inner.split_with_ends, parts, first)
        before = parts.offsets[:-1] - np.repeat(text.offsets[:-1], np.diff(first))
        values = ends.values + np.repeat(before, ends.lengths).astype(np.int32)
        return _of_documents(ids, first), _of_documents(Ragged(values, ends.offsets), first)

    def split_reference(self, text: Ragged) -> Ragged:
        """See `Segmenter.split_reference`."""
        parts, first = cut(text, self._borders(text))
        return _of_documents(_encoded(self._inner.split_reference, parts, first), first)


def cut(text: Ragged, borders: NDArray[np.int64]) -> tuple[Ragged, NDArray[np.int64]]:
    """A batch cut at borders: (the parts, for each document the index of its first part; int64, one more
    than documents)."""
    offsets = np.sort(np.concatenate([text.offsets, borders]))
    # An empty document is a part of its own, so positions alone do not tell where it is.
    first = np.arange(len(text.offsets)) + np.searchsorted(borders, text.offsets)
    return Ragged(text.values, offsets), first


def _encoded(encode: Callable[[Ragged], T], parts: Ragged, first: NDArray[np.int64]) -> T:
    try:
        return encode(parts)
    except EncodingError as error:
        document = int(np.searchsorted(first, error.document, side="right")) - 1
        raise EncodingError(document, error.message) from error


def _of_documents(parts: Ragged, first: NDArray[np.int64]) -> Ragged:
    return Ragged(parts.values, parts.offsets[first])
