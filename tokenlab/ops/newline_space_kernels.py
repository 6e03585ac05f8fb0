"""Newline-space over a whole batch: the fast twins of `newline_space.py`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import kernel

_SPACE, _NEWLINE = 0x20, 0x0A

REASONS = {1: "a line does not begin with its added space"}


@kernel
def apply(
    text: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Returns (output uint8, its offsets int64, cut positions int32 as `CutMap` lays them out)."""
    documents = len(offsets) - 1
    newlines = 0
    for byte in text:
        newlines += byte == _NEWLINE
    out = np.empty(len(text) + newlines + documents, np.uint8)
    cuts = np.empty(len(out) + documents, np.int32)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        while i < stop:
            # A line: its space, then all up to and with its newline.
            out[o] = _SPACE
            cuts[o + d] = i - start
            o += 1
            # Views indexed from 0 spare numba's check for a negative index.
            ahead, copied, cut = text[i:stop], out[o:], cuts[o + d :]
            n = 0
            newline = False
            while n < len(ahead) and not newline:
                newline = ahead[n] == _NEWLINE
                copied[n] = ahead[n]
                cut[n] = i - start + n
                n += 1
            o += n
            i += n
            if newline and i == stop:
                out[o] = _SPACE
                cuts[o + d] = i - start
                o += 1
        cuts[o + d] = stop - start
        out_offsets[d + 1] = o
    return out[:o], out_offsets, cuts[: o + documents]


@kernel
def invert(
    text: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, int, int]:
    """Returns (source uint8, its offsets int64, document, byte and number in REASONS of the first line
    without its space, or of a document that is one space alone; the number is 0 when there is none)."""
    documents = len(offsets) - 1
    out = np.empty(len(text), np.uint8)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        if stop == start + 1:
            return out[:0], out_offsets, d, 0, 1
        i = start
        newline = stop > start
        while newline:
            if i == stop or text[i] != _SPACE:
                return out[:0], out_offsets, d, i - start, 1
            i += 1
            ahead, copied = text[i:stop], out[o:]
            n = 0
            newline = False
            while n < len(ahead) and not newline:
                newline = ahead[n] == _NEWLINE
                copied[n] = ahead[n]
                n += 1
            o += n
            i += n
        out_offsets[d + 1] = o
    return out[:o], out_offsets, -1, -1, 0
