"""Characters of flat UTF-8 text, for kernels: the fast twin of `letters.py`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel
from tokenlab.ops.letters import NOT_LETTERS

_BOUNDS = np.array([bound for first, last in NOT_LETTERS for bound in (first, last + 1)], np.int64)


@inlined
def is_upper(byte: int) -> bool:
    """Whether a byte is A to Z."""
    return 0x41 <= byte <= 0x5A


@inlined
def is_lower(byte: int) -> bool:
    """Whether a byte is a to z."""
    return 0x61 <= byte <= 0x7A


@inlined
def is_ascii_letter(byte: int) -> bool:
    """Whether a byte is a letter of ASCII."""
    return 0x61 <= (byte | 0x20) <= 0x7A


@kernel
def is_letter(code_point: int) -> bool:
    """Whether a code point counts as a letter."""
    if code_point < 0x80:
        return is_ascii_letter(code_point)
    return np.searchsorted(_BOUNDS, code_point, side="right") % 2 == 0


@kernel
def width_at(text: NDArray[np.uint8], i: int, stop: int) -> int:
    """Bytes of the character that begins at `i`, no more than there are; 1 for a stray byte."""
    byte = text[i]
    width = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    return min(width, stop - i)


@kernel
def width_before(text: NDArray[np.uint8], start: int, i: int) -> int:
    """Bytes of the character that ends before `i` > `start`."""
    width = 1
    while width < 4 and i - width > start and (text[i - width] & 0xC0) == 0x80:
        width += 1
    return width


@kernel
def code_point(text: NDArray[np.uint8], i: int, width: int) -> int:
    """The code point of the `width` bytes at `i`."""
    byte = np.int64(text[i])
    if width == 1:
        return byte
    value = byte & (0x7F >> width)
    for k in range(1, width):
        value = value << 6 | np.int64(text[i + k]) & 0x3F
    return value
