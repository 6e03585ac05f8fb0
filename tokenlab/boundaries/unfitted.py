"""Rules that need no text to be fitted on: every P bytes, and behind spaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import State


def is_space_like(byte: int) -> bool:
    """Not an ASCII letter or digit, and not a continuation byte of UTF-8 (SpaceByte, arXiv 2404.14408)."""
    continues = 0x80 <= byte <= 0xBF
    return not (continues or (byte < 0x80 and chr(byte).isalnum()))


SPACE_LIKE = np.array([is_space_like(byte) for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class Fixed(Rule):
    """Every `period` bytes (MegaByte, arXiv 2305.07185)."""

    period: int
    kind = "fixed"

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        return f"fixed:{self.period}"

    @property
    def parameters(self) -> dict[str, int]:
        """See `Rule.parameters`."""
        return {"period": self.period}

    def starts(self, ids: NDArray[np.uint16], state: State) -> NDArray[np.uint8]:
        """See `Rule.starts`."""
        from tokenlab.boundaries import rule_kernels

        return rule_kernels.fixed(ids, self.bos, state, self.period)

    def begins(self, prefix: bytes) -> bool:
        """See `Rule.begins`."""
        return len(prefix) % self.period == 0


@dataclass(frozen=True)
class Space(Rule):
    """Behind a byte like a space that does not itself follow one (SpaceByte)."""

    kind = "space"

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        return "space"

    @property
    def parameters(self) -> dict[str, int]:
        """See `Rule.parameters`."""
        return {}

    def starts(self, ids: NDArray[np.uint16], state: State) -> NDArray[np.uint8]:
        """See `Rule.starts`."""
        from tokenlab.boundaries import rule_kernels

        return rule_kernels.space(ids, self.bos, state, SPACE_LIKE)

    def begins(self, prefix: bytes) -> bool:
        """See `Rule.begins`."""
        if not prefix:
            return True
        return is_space_like(prefix[-1]) and not (len(prefix) > 1 and is_space_like(prefix[-2]))
