"""Glue over a whole batch: the fast twins of `glue.py`. ESC is EE 80 84, GLUE E2 81 95."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel
from tokenlab.ops.letters_kernels import code_point, is_ascii_letter, is_letter, width_before
from tokenlab.ops.marks_kernels import ESC_BYTE, is_character, is_mark, write_mark

_SPACE = 0x20
_APOSTROPHE = 0x2019

# A byte's class: it is a letter; a letter behind it may need a mark; a mark may begin with it.
_LETTER, _LOOSE, _SPECIAL = 1, 2, 4

REASONS = {
    1: "a glue mark is not followed by a space and an ASCII letter",
    2: "ESC is not followed by a glue mark or ESC",
}


@kernel
def _classes() -> NDArray[np.uint8]:
    """The class of each byte, uint8[256]."""
    classes = np.zeros(256, np.uint8)
    for byte in range(256):
        if is_ascii_letter(byte):
            classes[byte] = _LETTER
        elif byte != 0x20 and byte != 0x27 and not 0x30 <= byte <= 0x39:
            classes[byte] = _LOOSE
    classes[0xE2] |= _SPECIAL
    classes[0xEE] |= _SPECIAL
    return classes


@inlined
def _is_event(before: int, here: int) -> bool:
    """By their classes, whether something may have to be written between two bytes."""
    return (before & _LOOSE != 0 and here & _LETTER != 0) or here & _SPECIAL != 0


@inlined
def _is_glue(text: NDArray[np.uint8], i: int, stop: int) -> bool:
    return is_character(text, i, stop, 0xE2, 0x81, 0x95)


@kernel
def _is_loose(text: NDArray[np.uint8], start: int, i: int) -> bool:
    """Whether a letter at byte `i` needs a mark, if the byte before it is of class _LOOSE."""
    if i == start or text[i - 1] < 0x80:
        return True
    width = width_before(text, start, i)
    before = code_point(text, i - width, width)
    return before != _APOSTROPHE and not is_letter(before)


@kernel
def _count(text: NDArray[np.uint8], classes: NDArray[np.uint8]) -> int:
    events = 0
    before = np.uint8(_LOOSE)
    for byte in text:
        here = classes[byte]
        events += ((before & _LOOSE) >> 1 & here & _LETTER) | (here & _SPECIAL) >> 2
        before = here
    return events


@kernel
def apply(
    text: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Returns (output uint8, its offsets int64, cut positions int32 as `CutMap` lays them out)."""
    classes = _classes()
    documents = len(offsets) - 1
    room = len(text) + 4 * (_count(text, classes) + documents)
    out = np.empty(room, np.uint8)
    cuts = np.empty(room + documents, np.int32)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        before = np.uint8(_LOOSE)
        while i < stop:
            # Byte `i` is the first or one at which something may have to be written.
            here = classes[text[i]]
            if here & _LETTER and before & _LOOSE and _is_loose(text, start, i):
                out[o], out[o + 1], out[o + 2], out[o + 3] = 0xE2, 0x81, 0x95, _SPACE
                for k in range(4):
                    cuts[o + k + d] = i - start
                o += 4
            elif here & _SPECIAL and (is_mark(text, i, stop, ESC_BYTE) or _is_glue(text, i, stop)):
                write_mark(out, cuts, o, d, ESC_BYTE, i - start)
                o += 3
            # Views indexed from 0 spare numba's check for a negative index.
            ahead, copied, cut = text[i:stop], out[o:], cuts[o + d :]
            n = 0
            while n < len(ahead) and (n == 0 or not _is_event(before, here)):
                copied[n] = ahead[n]
                cut[n] = i - start + n
                n += 1
                before = here
                if n < len(ahead):
                    here = classes[ahead[n]]
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
            while n < len(ahead) and ahead[n] != 0xE2 and ahead[n] != 0xEE:
                copied[n] = ahead[n]
                n += 1
            o += n
            i += n
            if i == stop:
                break
            if _is_glue(text, i, stop):
                if i + 4 >= stop or text[i + 3] != _SPACE or not is_ascii_letter(text[i + 4]):
                    return out[:0], out_offsets, d, i - start, 1
                i += 4
                continue
            if is_mark(text, i, stop, ESC_BYTE):
                i += 3
                if not (is_mark(text, i, stop, ESC_BYTE) or _is_glue(text, i, stop)):
                    return out[:0], out_offsets, d, i - 3 - start, 2
                out[o], out[o + 1] = text[i], text[i + 1]
                o += 2
                i += 2
            out[o] = text[i]
            o += 1
            i += 1
        out_offsets[d + 1] = o
    return out[:o], out_offsets, -1, -1, 0
