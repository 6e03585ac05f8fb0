"""How long work tells what it does: phases with a known or unknown end, and notes."""

from __future__ import annotations


class Progress:
    """A listener that hears nothing; the command line shows what it hears on stderr."""

    def note(self, line: str) -> None:
        """One line worth keeping."""

    def start(self, phase: str, total: int | None, unit: str) -> None:
        """A phase begins; `total` in `unit`, or None when it is not known."""

    def expect(self, total: int | None) -> None:
        """How long the phase is, known only now."""

    def advance(self, done: int, detail: str = "") -> None:
        """`done` of the phase's total; `detail` is free text (rates, counts)."""

    def finish(self) -> None:
        """The phase is over."""
