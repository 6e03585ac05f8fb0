"""Quote-swap over a whole batch: the fast twins of `quote_swap.py`. `'` is 27, U+2019 E2 80 99,
SWAPPED_QUOTES EE 80 89, ESC EE 80 84."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel
from tokenlab.ops.marks_kernels import ESC_BYTE, is_character, is_mark, write_mark

_STRAIGHT, _FLAG = 0x27, 0x89

REASONS = {
    1: "the quotes of this document are marked as swapped and have no reason to be",
    2: "ESC is not followed by SWAPPED_QUOTES or ESC",
}


@inlined
def _is_curly(text: NDArray[np.uint8], i: int, stop: int) -> bool:
    return is_character(text, i, stop, 0xE2, 0x80, 0x99)


@kernel
def _count(text: NDArray[np.uint8], i: int, stop: int) -> tuple[int, int]:
    """(`'`, U+2019) of `text[i:stop]`."""
    straight = curly = 0
    view = text[i:stop]
    for byte in view:
        straight += byte == _STRAIGHT
    for n in range(len(view)):
        curly += view[n] == 0xE2 and _is_curly(view, n, len(view))
    return straight, curly


@kernel
def apply(
    text: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Returns (output uint8, its offsets int64, cut positions int32 as `CutMap` lays them out)."""
    documents = len(offsets) - 1
    # A swap never makes a document longer but for its mark: it has more U+2019 than `'`.
    out = np.empty(len(text) + 3 * documents, np.uint8)
    cuts = np.empty(len(out) + documents, np.int32)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        straight, curly = _count(text, start, stop)
        swapped = curly > straight
        first = 0
        if swapped:
            first = _FLAG
        elif is_mark(text, start, stop, _FLAG) or is_mark(text, start, stop, ESC_BYTE):
            first = ESC_BYTE
        if first:
            write_mark(out, cuts, o, d, first, 0)
            o += 3
        i = start
        while i < stop:
            if swapped and text[i] == _STRAIGHT:
                out[o], out[o + 1], out[o + 2] = 0xE2, 0x80, 0x99
                for k in range(3):
                    cuts[o + k + d] = i - start
                o += 3
                i += 1
            elif swapped and _is_curly(text, i, stop):
                out[o] = _STRAIGHT
                cuts[o + d] = i - start
                o += 1
                i += 3
            else:
                # Views indexed from 0 spare numba's check for a negative index.
                ahead, copied, cut = text[i:stop], out[o:], cuts[o + d :]
                n = 0
                while n < len(ahead) and (
                    n == 0 or not swapped or (ahead[n] != _STRAIGHT and ahead[n] != 0xE2)
                ):
                    copied[n] = ahead[n]
                    cut[n] = i - start + n
                    n += 1
                o += n
                i += n
        cuts[o + d] = stop - start
        out_offsets[d + 1] = o
    return out[:o], out_offsets, cuts[: o + documents]


@kernel
def invert(
    text: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, int, int]:
    """Returns (source uint8, its offsets int64, document, byte and number in REASONS of the
    first place that cannot be read; the number is 0 when there is none)."""
    documents = len(offsets) - 1
    room = len(text)
    for d in range(documents):
        if is_mark(text, offsets[d], offsets[d + 1], _FLAG):
            room += 2 * _count(text, offsets[d], offsets[d + 1])[0]
    out = np.empty(room, np.uint8)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        swapped = is_mark(text, start, stop, _FLAG)
        if swapped:
            i += 3
            straight, curly = _count(text, i, stop)
            if straight <= curly:
                return out[:0], out_offsets, d, 0, 1
        elif is_mark(text, start, stop, ESC_BYTE):
            i += 3
            if not (is_mark(text, i, stop, _FLAG) or is_mark(text, i, stop, ESC_BYTE)):
                return out[:0], out_offsets, d, 0, 2
        while i < stop:
            if swapped and text[i] == _STRAIGHT:
                out[o], out[o + 1], out[o + 2] = 0xE2, 0x80, 0x99
                o += 3
                i += 1
            elif swapped and _is_curly(text, i, stop):
                out[o] = _STRAIGHT
                o += 1
                i += 3
            else:
                out[o] = text[i]
                o += 1
                i += 1
        out_offsets[d + 1] = o
    return out[:o], out_offsets, -1, -1, 0
