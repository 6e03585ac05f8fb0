"""Digits: numbers are grouped before the segmenter sees them, whatever it would do by itself.

A number is a maximal run of ASCII digits. `grouping` says where it is cut:

    split            1|2|3|4|5     every digit alone
    right-to-left-3  12|345        groups of three from the right, as numbers are read
    joined           12345         not at all: the vocabulary may hold any number

The text itself stays as it is: the operator names the borders, and no token crosses one.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from tokenlab.cuts import CutMap
from tokenlab.errors import InputError
from tokenlab.ragged import Ragged

GROUPINGS = ("split", "right-to-left-3", "joined")
_SIZES = {"split": 1, "right-to-left-3": 3, "joined": 0}


class Digits:
    """The `digits` operator. Raises InputError for a grouping that it does not know."""

    name: str = "digits"
    reversible: bool = True
    markers: tuple[str, ...] = ()

    def __init__(self, *, grouping: str = "right-to-left-3") -> None:
        if grouping not in GROUPINGS:
            raise InputError(f"operator 'digits': grouping = {grouping!r}; known: {', '.join(GROUPINGS)}")
        self.grouping = grouping

    def apply(self, text: Ragged) -> tuple[Ragged, CutMap]:
        """The text as it is; see `Operator.apply`."""
        return text, CutMap.identity(text)

    def invert(self, text: Ragged) -> Ragged:
        """The text as it is; see `Operator.invert`."""
        return text

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """See `Operator.apply_reference`."""
        return text, list(range(len(text) + 1))

    def borders(self, text: Ragged) -> NDArray[np.int64]:
        """Where the groups of a uint8 batch meet: indices of its flat bytes, int64, ascending, none of them
        an end of a document."""
        from tokenlab.ops.digits_kernels import borders

        return borders(text.values, text.offsets, _SIZES[self.grouping])


def borders_reference(text: str, grouping: str) -> list[int]:
    """Byte positions of one document's borders, in plain Python: the twin of `Digits.borders`."""
    border = {
        "split": r"(?<=[0-9])(?=[0-9])",
        "right-to-left-3": r"(?<=[0-9])(?=(?:[0-9]{3})+(?![0-9]))",
        "joined": r"(?!)",
    }[grouping]
    return [len(text[: match.start()].encode()) for match in re.finditer(border, text)]
