"""CaseOps over a whole batch: the fast twins of `caseops.py`.

The three bytes of every marker, and of U+2581, are compared as bytes: EE 80 81..84 and
E2 96 81. The text is valid UTF-8, so such a triple is always that character.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.eight_bytes import bytes_before, equal_bits, load, store
from tokenlab.jit import inlined, kernel
from tokenlab.ops.letters_kernels import is_ascii_letter, is_lower, is_upper
from tokenlab.ops.marks_kernels import is_metaspace, write_mark

_TITLE, _ALLCAPS, _CAPNEXT, _ESC = 0x81, 0x82, 0x83, 0x84
_SPACE = 0x20
_CASE_BIT = 0x20

REASONS = {
    1: "a capitalization marker is not followed by a lower-case ASCII letter",
    2: "ESC is not followed by a character that is ever escaped",
}


@inlined
def _is_marker(text: NDArray[np.uint8], i: int, stop: int) -> bool:
    return i + 2 < stop and text[i + 1] == 0x80 and _TITLE <= text[i + 2] <= _ESC


@kernel
def _room(text: NDArray[np.uint8]) -> int:
    """An upper bound of the output: every capital and every possible escape takes a marker."""
    extra = 0
    for byte in text:
        extra += 3 * (is_upper(byte) or byte == 0xEE or byte == 0xE2)
    return len(text) + extra


@inlined
def _is_plain(byte: int) -> bool:
    """Neither a capital nor the first byte of a marker or of U+2581 (nor any byte above it)."""
    return not is_upper(byte) and byte < 0xE2


@kernel
def apply(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], escape_metaspace: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Returns (output uint8, its offsets int64, cut positions int32 as `CutMap` lays them out)."""
    documents = len(offsets) - 1
    room = _room(text)
    out = np.empty(room, np.uint8)
    cuts = np.empty(room + documents, np.int32)
    out_offsets = np.zeros(documents + 1, np.int64)
    o = 0
    for d in range(documents):
        start, stop = offsets[d], offsets[d + 1]
        i = start
        while i < stop:
            # Byte `i` may be anything; behind it, everything up to the next byte that is not plain.
            byte = text[i]
            if is_upper(byte):
                in_word = i > start and is_ascii_letter(text[i - 1])
                if not in_word and i + 1 < stop and is_upper(text[i + 1]):
                    end = i + 2
                    while end < stop and is_upper(text[end]):
                        end += 1
                    if end == stop or not is_lower(text[end]):
                        write_mark(out, cuts, o, d, _ALLCAPS, i - start)
                        o += 3
                        while i < end:
                            out[o] = text[i] | _CASE_BIT
                            cuts[o + d] = i - start
                            o += 1
                            i += 1
                        continue
                write_mark(out, cuts, o, d, _CAPNEXT if in_word else _TITLE, i - start)
                o += 3
                byte |= _CASE_BIT
            elif byte == 0xEE and _is_marker(text, i, stop):
                write_mark(out, cuts, o, d, _ESC, i - start)
                o += 3
            elif byte == 0xE2 and escape_metaspace and is_metaspace(text, i, stop):
                write_mark(out, cuts, o, d, _ESC, i - start)
                out[o + 3] = _SPACE
                cuts[o + 3 + d] = i - start
                o += 4
                i += 3
                continue
            out[o] = byte
            cuts[o + d] = i - start
            o += 1
            i += 1
            # Nearly every byte is copied here. Views indexed from 0 spare numba's check for a
            # negative index at each of the three accesses: twice as fast.
            ahead, copied, cut = text[i:stop], out[o:], cuts[o + d :]
            n = 0
            while n < len(ahead) and _is_plain(ahead[n]):
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
    text: NDArray[np.uint8], offsets: NDArray[np.int64], escape_metaspace: bool
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
            while n + 8 <= len(ahead):
                eight = load(ahead, n)
                store(eight, copied, n)
                bits = equal_bits(eight, 0xEE)
                if bits:
                    n += bytes_before(bits)
                    break
                n += 8
            while n < len(ahead) and not (ahead[n] == 0xEE and _is_marker(ahead, n, len(ahead))):
                copied[n] = ahead[n]
                n += 1
            i += n
            o += n
            if i == stop:
                break
            marker = text[i + 2]
            i += 3
            if marker == _ESC:
                if i < stop and text[i] == 0xEE and _is_marker(text, i, stop):
                    out[o], out[o + 1], out[o + 2] = 0xEE, 0x80, text[i + 2]
                    i += 3
                elif i < stop and text[i] == _SPACE and escape_metaspace:
                    out[o], out[o + 1], out[o + 2] = 0xE2, 0x96, 0x81
                    i += 1
                else:
                    return out[:0], out_offsets, d, i - 3 - start, 2
                o += 3
                continue
            if i == stop or not is_lower(text[i]):
                return out[:0], out_offsets, d, i - 3 - start, 1
            out[o] = text[i] ^ _CASE_BIT
            o += 1
            i += 1
            while marker == _ALLCAPS and i < stop and is_lower(text[i]):
                out[o] = text[i] ^ _CASE_BIT
                o += 1
                i += 1
        out_offsets[d + 1] = o
    return out[:o], out_offsets, -1, -1, 0
