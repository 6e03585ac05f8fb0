"""New tries after a failure that may pass, with growing pauses.

    tries = Tries()
    while True:
        try:
            return fetch()
        except ConnectionError:
            if not tries.pause():
                raise

Whoever makes progress takes new `Tries`, so that the number counts tries that bring nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

PAUSES: tuple[float, ...] = (0.5, 1, 2, 4, 8, 16)
"""Seconds before each new try: half a minute in all, which a restarted server needs."""

FIRST_PAUSES = 3
"""How many of them something that never worked yet is worth: a mistyped host answers no sooner."""


class Tries:
    """The tries at one thing: the first, and one after each pause."""

    def __init__(self, pauses: Sequence[float] | None = None) -> None:
        self.made = 1
        self._pauses = list(PAUSES if pauses is None else pauses)

    def pause(self) -> bool:
        """Wait for the next try; False when there is none."""
        if self.made > len(self._pauses):
            return False
        time.sleep(self._pauses[self.made - 1])
        self.made += 1
        return True
