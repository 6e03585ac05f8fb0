"""Marks in flat UTF-8 text, for kernels: the characters of `marks.py` as bytes.

A private-use mark, U+E001 to U+E03F, is EE 80 and one byte more, by which it is told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined

ESC_BYTE = 0x84


@inlined
def is_character(text: NDArray[np.uint8], i: int, stop: int, a: int, b: int, c: int) -> bool:
    """Whether the character of the bytes a, b, c stands at byte `i`."""
    return i + 2 < stop and text[i] == a and text[i + 1] == b and text[i + 2] == c


@inlined
def is_mark(text: NDArray[np.uint8], i: int, stop: int, last: int) -> bool:
    """Whether the mark with this last byte stands at byte `i`."""
    return i + 2 < stop and text[i] == 0xEE and text[i + 1] == 0x80 and text[i + 2] == last


@inlined
def is_metaspace(text: NDArray[np.uint8], i: int, stop: int) -> bool:
    """Whether U+2581 stands at byte `i`."""
    return i + 2 < stop and text[i] == 0xE2 and text[i + 1] == 0x96 and text[i + 2] == 0x81


@inlined
def write_mark(
    out: NDArray[np.uint8], cuts: NDArray[np.int32], o: int, d: int, last: int, consumed: int
) -> None:
    """Write the mark with this last byte at byte `o` of the output, which lies in document `d`; it comes from
    no byte of the source."""
    out[o], out[o + 1], out[o + 2] = 0xEE, 0x80, last
    cuts[o + d], cuts[o + d + 1], cuts[o + d + 2] = consumed, consumed, consumed
