"""UTF-8 told from what is none (Unicode 15, table 3-7), for kernels: the fast twin of `bytes.decode`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.eight_bytes import bytes_before, load, not_ascii_bits
from tokenlab.jit import inlined, kernel


@inlined
def _continues(byte: int) -> bool:
    return (byte & 0xC0) == 0x80


@kernel
def character(text: NDArray[np.uint8], i: int, stop: int) -> int:
    """Bytes of the character of valid UTF-8, not ASCII, that begins at `i`; 0 if there is none."""
    first = text[i]
    if 0xC2 <= first <= 0xDF:
        return 2 if i + 1 < stop and _continues(text[i + 1]) else 0
    if 0xE0 <= first <= 0xEF:
        if i + 2 >= stop or not _continues(text[i + 1]) or not _continues(text[i + 2]):
            return 0
        overlong = first == 0xE0 and text[i + 1] < 0xA0
        surrogate = first == 0xED and text[i + 1] > 0x9F
        return 0 if overlong or surrogate else 3
    if 0xF0 <= first <= 0xF4:
        if i + 3 >= stop or not (
            _continues(text[i + 1]) and _continues(text[i + 2]) and _continues(text[i + 3])
        ):
            return 0
        overlong = first == 0xF0 and text[i + 1] < 0x90
        beyond = first == 0xF4 and text[i + 1] > 0x8F
        return 0 if overlong or beyond else 4
    return 0


@kernel
def first_invalid(text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> int:
    """The first row that is not valid UTF-8 by itself, or -1."""
    for row in range(len(offsets) - 1):
        i, stop = offsets[row], offsets[row + 1]
        while i < stop:
            while i + 8 <= stop:
                bits = not_ascii_bits(load(text, i))
                if bits:
                    i += bytes_before(bits)
                    break
                i += 8
            while i < stop and text[i] < 0x80:
                i += 1
            if i < stop:
                length = character(text, i, stop)
                if length == 0:
                    return row
                i += length
    return -1
