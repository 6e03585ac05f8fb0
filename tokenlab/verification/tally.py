"""Counting what a verdict checked, and keeping the first place where it fails."""

from __future__ import annotations

from dataclasses import dataclass

from tokenlab.accounting.verdicts import Failure, Verdict


@dataclass
class Tally:
    """A verdict in the making. `missing` says why it cannot be judged, if it cannot."""

    name: str
    unit: str
    detail: str = ""
    count: int = 0
    failure: Failure | None = None
    missing: str | None = None

    def fail(self, failure: Failure) -> None:
        """Note a failure; only the first is kept."""
        self.failure = self.failure or failure

    def expect(self, expected: object, found: object, message: str, **where: object) -> None:
        """Fail unless the two are equal."""
        if expected != found:
            self.fail(Failure(message, expected=_plain(expected), found=_plain(found), **where))  # type: ignore[arg-type]

    def verdict(self) -> Verdict:
        """What came of it."""
        holds = None if self.missing is not None and self.failure is None else self.failure is None
        detail = self.detail if self.missing is None else self.missing
        return Verdict(self.name, holds, self.count, self.unit, detail, self.failure)


def _plain(value: object) -> str | int:
    return value if isinstance(value, str | int) else repr(value)
