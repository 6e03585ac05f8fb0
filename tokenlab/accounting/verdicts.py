"""Verdicts: what was checked, over how much, and the first place where it does not hold."""

from __future__ import annotations

from typing import Literal

import msgspec

Overall = Literal["trust", "normalised", "reject", "unproven"]

EXIT_CODES: dict[Overall, int] = {"trust": 0, "normalised": 0, "reject": 1, "unproven": 3}


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first place where a verdict does not hold; what does not apply is left out."""

    message: str
    file: str | None = None
    split: str | None = None
    document: int | None = None
    token: int | None = None
    piece: str | None = None
    source: str | None = None
    expected: str | int | None = None
    found: str | int | None = None

    def __str__(self) -> str:
        where = [
            f"{name} {value}"
            for name, value in (
                ("file", self.file),
                ("split", self.split),
                ("document", self.document),
                ("token", self.token),
                ("piece", None if self.piece is None else repr(self.piece)),
                ("source", None if self.source is None else repr(self.source)),
            )
            if value is not None
        ]
        text = f"{self.message} ({', '.join(where)})" if where else self.message
        if self.expected is not None or self.found is not None:
            text += f": expected {self.expected}, found {self.found}"
        return text


class Verdict(msgspec.Struct, frozen=True):
    """One verdict. `holds` is None when it could not be judged; `count` is how much of
    `unit` was checked; `detail` says against what, or what is missing."""

    name: str
    holds: bool | None
    count: int
    unit: str
    detail: str = ""
    failure: Failure | None = None


def overall(verdicts: list[Verdict], *, reversible: bool) -> Overall:
    """The one word for a dataset: `reversible` is what its scheme declares itself to be."""
    if any(verdict.holds is False for verdict in verdicts):
        return "reject"
    if any(verdict.holds is None for verdict in verdicts if reversible or verdict.name != "reversible"):
        return "unproven"
    return "trust" if reversible else "normalised"
