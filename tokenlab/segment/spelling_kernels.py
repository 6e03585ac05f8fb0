"""Spelling over a whole batch: the fast twins of `spelling.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import kernel


@kernel
def cover(
    ids: NDArray[Any],
    id_offsets: NDArray[np.int64],
    pieces: NDArray[np.uint8],
    piece_offsets: NDArray[np.int64],
    text: NDArray[np.uint8],
    text_offsets: NDArray[np.int64],
) -> tuple[NDArray[np.int32], int, int]:
    """Returns (ends int32, first document that is not spelled or -1, byte in it)."""
    ends = np.empty(len(ids), np.int32)
    vocab_size = len(piece_offsets) - 1
    for d in range(len(id_offsets) - 1):
        start, stop = text_offsets[d], text_offsets[d + 1]
        at = start
        for t in range(id_offsets[d], id_offsets[d + 1]):
            token = ids[t]
            if token >= vocab_size:
                return ends, d, at - start
            first = piece_offsets[token]
            length = piece_offsets[token + 1] - first
            if length == 0 or at + length > stop:
                return ends, d, at - start
            for k in range(length):
                if text[at + k] != pieces[first + k]:
                    return ends, d, at - start
            at += length
            ends[t] = at - start
        if at != stop:
            return ends, d, at - start
    return ends, -1, -1


@kernel
def spell(
    ids: NDArray[Any],
    id_offsets: NDArray[np.int64],
    pieces: NDArray[np.uint8],
    piece_offsets: NDArray[np.int64],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, int]:
    """Returns (text uint8, its offsets int64, document and token of the first bad id or -1)."""
    documents = len(id_offsets) - 1
    vocab_size = len(piece_offsets) - 1
    offsets = np.zeros(documents + 1, np.int64)
    total = 0
    for d in range(documents):
        for t in range(id_offsets[d], id_offsets[d + 1]):
            token = ids[t]
            if token >= vocab_size or piece_offsets[token + 1] == piece_offsets[token]:
                return np.empty(0, np.uint8), offsets, d, t - id_offsets[d]
            total += piece_offsets[token + 1] - piece_offsets[token]
        offsets[d + 1] = total
    text = np.empty(total, np.uint8)
    at = 0
    for token in ids:
        first = piece_offsets[token]
        for k in range(piece_offsets[token + 1] - first):
            text[at] = pieces[first + k]
            at += 1
    return text, offsets, -1, -1
