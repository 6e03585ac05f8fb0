"""JSON strings to UTF-8, a whole batch at once: the fast twin of `json.loads` on each.

A string that holds anything out of the ordinary (bad UTF-8, a lone surrogate) is only
marked; the slow parser words what is wrong with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.eight_bytes import bytes_before, equal_bits, load, not_ascii_bits, store
from tokenlab.jit import inlined, kernel
from tokenlab.utf8_kernels import character

_QUOTE, _BACKSLASH, _U = 0x22, 0x5C, 0x75


@kernel
def unescape(
    raw: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], bool]:
    """Strings with their quotes, of syntactically valid JSON, back to back.

    Returns (text uint8, its offsets int64, whether every one is a string of valid UTF-8);
    where it is not, the text is of no use.
    """
    rows = len(offsets) - 1
    out = np.empty(len(raw), np.uint8)  # an escape is never shorter than what it stands for
    out_offsets = np.zeros(rows + 1, np.int64)
    o = 0
    for row in range(rows):
        i, stop = offsets[row] + 1, offsets[row + 1] - 1
        if stop < i or raw[i - 1] != _QUOTE or raw[stop] != _QUOTE:
            return out[:0], out_offsets, False
        while i < stop:
            # Views indexed from 0 spare numba's check for a negative index.
            ahead, copied = raw[i:stop], out[o:]
            n = 0
            while n + 8 <= len(ahead):
                eight = load(ahead, n)
                store(eight, copied, n)
                bits = not_ascii_bits(eight) | equal_bits(eight, _BACKSLASH)
                if bits:
                    n += bytes_before(bits)
                    break
                n += 8
            while n < len(ahead) and ahead[n] < 0x80 and ahead[n] != _BACKSLASH:
                copied[n] = ahead[n]
                n += 1
            i += n
            o += n
            if i == stop:
                break
            if raw[i] != _BACKSLASH:
                length = character(raw, i, stop)
                if length == 0:
                    return out[:0], out_offsets, False
                for k in range(length):
                    out[o + k] = raw[i + k]
                i += length
                o += length
                continue
            if raw[i + 1] != _U:
                out[o] = _simple(raw[i + 1])
                i += 2
                o += 1
                continue
            point = _hexadecimal(raw, i + 2)
            i += 6
            if 0xD800 <= point < 0xDC00 and i + 6 <= stop and raw[i] == _BACKSLASH and raw[i + 1] == _U:
                low = _hexadecimal(raw, i + 2)
                if 0xDC00 <= low < 0xE000:
                    point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
                    i += 6
            if 0xD800 <= point < 0xE000:
                return out[:0], out_offsets, False
            o = _write(out, o, point)
        out_offsets[row + 1] = o
    return out[:o], out_offsets, True


@inlined
def _simple(letter: int) -> int:
    """What a backslash and one character stand for."""
    if letter == 0x6E:
        return 0x0A
    if letter == 0x74:
        return 0x09
    if letter == 0x72:
        return 0x0D
    if letter == 0x62:
        return 0x08
    if letter == 0x66:
        return 0x0C
    return letter  # a quote, a backslash, a slash


@kernel
def _hexadecimal(raw: NDArray[np.uint8], i: int) -> int:
    value = 0
    for k in range(4):
        digit = raw[i + k]
        value = value * 16 + (digit - 0x30 if digit <= 0x39 else (digit | 0x20) - 0x57)
    return value


@kernel
def _write(out: NDArray[np.uint8], o: int, point: int) -> int:
    """Write a code point as UTF-8 at `o`; the place behind it."""
    if point < 0x80:
        out[o] = point
        return o + 1
    if point < 0x800:
        out[o], out[o + 1] = 0xC0 | point >> 6, 0x80 | point & 0x3F
        return o + 2
    if point < 0x10000:
        out[o], out[o + 1], out[o + 2] = 0xE0 | point >> 12, 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F
        return o + 3
    out[o], out[o + 1] = 0xF0 | point >> 18, 0x80 | point >> 12 & 0x3F
    out[o + 2], out[o + 3] = 0x80 | point >> 6 & 0x3F, 0x80 | point & 0x3F
    return o + 4
