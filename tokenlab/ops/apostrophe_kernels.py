"""Apostrophe over a whole batch: the fast twins of `apostrophe.py`. ESC is EE 80 84, U+A78C EA 9E 8C."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel
from tokenlab.ops.letters_kernels import is_ascii_letter
from tokenlab.ops.marks_kernels import ESC_BYTE, is_character, is_mark, write_mark

_APOSTROPHE = 0x27

REASONS = {
    1: "U+A78C is not between two ASCII letters",
    2: "ESC is not followed by U+A78C or ESC",
}


@inlined
def _is_event(byte: int) -> bool:
    """Whether something may begin with a byte of the source."""
    return byte == _APOSTROPHE or byte == 0xEA or byte == 0xEE


@inlined
def _is_joining(text: NDArray[np.uint8], i: int, stop: int) -> bool:
    return is_character(text, i, stop, 0xEA, 0x9E, 0x8C)


@inlined
def _is_between_letters(text: NDArray[np.uint8], start: int, i: int, end: int, stop: int) -> bool:
    return i > start and end < stop and is_ascii_letter(text[i - 1]) and is_ascii_letter(text[end])


@kernel
def apply(
    text: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Returns (output uint8, its offsets int64, cut positions int32 as `CutMap` lays them out)."""
    documents = len(offsets) - 1
    events = 0
    for byte in text:
        events += (byte == _APOSTROPHE) | (byte == 0xEA) | (byte == 0xEE)
    out = np.empty(len(text) + 3 * events, np.uint8)
    cuts = np.empty(len(out) + documents, np.int32)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        while i < stop:
            byte = text[i]
            if byte == _APOSTROPHE and _is_between_letters(text, start, i, i + 1, stop):
                out[o], out[o + 1], out[o + 2] = 0xEA, 0x9E, 0x8C
                for k in range(3):
                    cuts[o + k + d] = i - start
                o += 3
                i += 1
            elif _is_event(byte):
                if is_mark(text, i, stop, ESC_BYTE) or _is_joining(text, i, stop):
                    write_mark(out, cuts, o, d, ESC_BYTE, i - start)
                    o += 3
                out[o] = byte
                cuts[o + d] = i - start
                o += 1
                i += 1
            # Views indexed from 0 spare numba's check for a negative index.
            ahead, copied, cut = text[i:stop], out[o:], cuts[o + d :]
            n = 0
            while n < len(ahead) and not _is_event(ahead[n]):
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
    out = np.empty(len(text), np.uint8)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        while i < stop:
            ahead, copied = text[i:stop], out[o:]
            n = 0
            while n < len(ahead) and ahead[n] != 0xEA and ahead[n] != 0xEE:
                copied[n] = ahead[n]
                n += 1
            o += n
            i += n
            if i == stop:
                break
            if _is_joining(text, i, stop):
                if not _is_between_letters(text, start, i, i + 3, stop):
                    return out[:0], out_offsets, d, i - start, 1
                out[o] = _APOSTROPHE
                o += 1
                i += 3
                continue
            if is_mark(text, i, stop, ESC_BYTE):
                i += 3
                if not (is_mark(text, i, stop, ESC_BYTE) or _is_joining(text, i, stop)):
                    return out[:0], out_offsets, d, i - 3 - start, 2
                out[o], out[o + 1] = text[i], text[i + 1]
                o += 2
                i += 2
            out[o] = text[i]
            o += 1
            i += 1
        out_offsets[d + 1] = o
    return out[:o], out_offsets, -1, -1, 0
