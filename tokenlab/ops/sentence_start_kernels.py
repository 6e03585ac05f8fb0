"""Where a capital letter is expected: the fast twin of `sentence_start.py`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenlab.jit import inlined, kernel
from tokenlab.ops.letters_kernels import code_point, width_before
from tokenlab.ops.sentence_start import REACH

_OPENING, _SPACE, _CLOSING = 0, 1, 2  # what stands behind the place that is looked at


@inlined
def _is_space(byte: int) -> bool:
    return byte == 0x20 or 0x09 <= byte <= 0x0D


@inlined
def _opens(c: int) -> bool:
    straight = c == 0x22 or c == 0x27 or c == 0x28 or c == 0x5B or c == 0x7B
    return straight or c == 0x2018 or c == 0x201C or c == 0xAB


@inlined
def _closes(c: int) -> bool:
    straight = c == 0x22 or c == 0x27 or c == 0x29 or c == 0x5D or c == 0x7D
    return straight or c == 0x2019 or c == 0x201D or c == 0xBB


@inlined
def _is_glued(text: NDArray[np.uint8], start: int, i: int) -> bool:
    """Whether a glue mark (E2 81 95) and a space stand directly before byte `i`."""
    return (
        i - 4 >= start
        and text[i - 1] == 0x20
        and text[i - 2] == 0x95
        and text[i - 3] == 0x81
        and text[i - 4] == 0xE2
    )


@kernel
def ends_sentence(text: NDArray[np.uint8], start: int, i: int) -> bool:
    """Whether the text from `start` to before `i` ends in the end of a sentence."""
    if _is_glued(text, start, i):
        i -= 4
    # Nearly every word stands behind a space that a letter is before.
    if i - start < 2 or (text[i - 1] == 0x20 and 0x61 <= text[i - 2] <= 0x7A):
        return False
    behind = _OPENING
    for _ in range(REACH):
        if i <= start:
            return False
        width = width_before(text, start, i)
        i -= width
        c = code_point(text, i, width)
        if behind != _OPENING and (c == 0x2E or c == 0x21 or c == 0x3F or c == 0x3A):
            return True
        if behind != _CLOSING and _is_space(c):
            behind = _SPACE
        elif behind == _OPENING:
            if not _opens(c):
                return False
        elif _closes(c):
            behind = _CLOSING
        else:
            return False
    return False
