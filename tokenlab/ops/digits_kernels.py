"""Borders within numbers over a whole batch: the fast twin of `digits.borders_reference`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel


@inlined
def _is_digit(byte: int) -> bool:
    return 0x30 <= byte <= 0x39


@kernel
def borders(text: NDArray[np.uint8], offsets: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices (int64) of the bytes that groups of `size` digits, counted from the right, begin at, but
    for each number's first; 0 groups nothing."""
    digits = 0
    for byte in text:
        digits += _is_digit(byte)
    found = np.empty(digits if size else 0, np.int64)
    if size == 0:
        return found
    count = 0
    for d in range(len(offsets) - 1):
        i, stop = offsets[d], offsets[d + 1]
        while i < stop:
            if not _is_digit(text[i]):
                i += 1
                continue
            end = i
            while end < stop and _is_digit(text[end]):
                end += 1
            for border in range(end - (end - i - 1) // size * size, end, size):
                found[count] = border
                count += 1
            i = end
    return found[:count]
