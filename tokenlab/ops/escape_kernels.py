"""Escape over a whole batch: the fast twins of `escape.py`. ESC is EE 80 84, U+2581 E2 96 81."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel
from tokenlab.ops.marks_kernels import ESC_BYTE, is_mark, is_metaspace, write_mark


@inlined
def _kind(text: NDArray[np.uint8], i: int, stop: int) -> int:
    """1 when U+2581 stands at byte `i`, 2 when ESC does, else 0."""
    if is_metaspace(text, i, stop):
        return 1
    return 2 if is_mark(text, i, stop, ESC_BYTE) else 0


@kernel
def count(text: NDArray[np.uint8]) -> int:
    """How many characters of a flat batch need an escape, or are one."""
    found = 0
    for i in range(len(text)):
        # One comparison for nearly every byte: UTF-8 for both starts at or above E2.
        if text[i] >= 0xE2 and _kind(text, i, len(text)):
            found += 1
    return found


@kernel
def apply(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], escapes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Returns (output uint8, its offsets int64, cut positions int32 as `CutMap` lays them out)."""
    documents = len(offsets) - 1
    out = np.empty(len(text) + 3 * escapes, np.uint8)
    cuts = np.empty(len(out) + documents, np.int32)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        while i < stop:
            kind = _kind(text, i, stop)
            if kind:
                write_mark(out, cuts, o, d, ESC_BYTE, i - start)
                o += 3
            if kind == 1:
                out[o] = 0x20
                cuts[o + d] = i - start
                o += 1
                i += 3
                continue
            for _ in range(3 if kind == 2 else 1):
                out[o] = text[i]
                cuts[o + d] = i - start
                o += 1
                i += 1
        cuts[o + d] = stop - start
        out_offsets[d + 1] = o
    return out[:o], out_offsets, cuts[: o + documents]


@kernel
def invert(
    text: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, int]:
    """Returns (source uint8, its offsets int64, document and byte of the first bad escape or -1)."""
    documents = len(offsets) - 1
    out = np.empty(len(text), np.uint8)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        while i < stop:
            if _kind(text, i, stop) != 2:
                out[o] = text[i]
                o += 1
                i += 1
                continue
            i += 3
            if i < stop and text[i] == 0x20:
                out[o], out[o + 1], out[o + 2] = 0xE2, 0x96, 0x81
                i += 1
            elif _kind(text, i, stop) == 2:
                out[o], out[o + 1], out[o + 2] = 0xEE, 0x80, 0x84
                i += 3
            else:
                return out[:0], out_offsets, d, i - 3 - start
            o += 3
        out_offsets[d + 1] = o
    return out[:o], out_offsets, -1, -1
