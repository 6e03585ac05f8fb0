"""The invariants of a foreign dataset, by number and name, each with its tally."""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenlab.accounting.verdicts import Failure
from tokenlab.verification.tally import Tally

INVARIANTS: dict[str, tuple[int, str, str]] = {
    "sums": (1, "documents", "charges and unattributed bytes sum to the source"),
    "roundtrip": (2, "documents", "ids decode to the source or to its declared normal form"),
    "monotone": (3, "documents", "each token's slice of the source begins where the last one ended"),
    "recount": (4, "tokens", "charges are those of an independent recount"),
    "operators": (5, "operator tokens", "operators are charged 0"),
    "characters": (6, "byte tokens", "tokens that split a character are charged its bytes, 1 each"),
    "specials": (7, "documents", "BOS is charged 0; no special or unknown id stands in a document"),
    "split": (8, "documents", "validation is the first documents of the source, and none is in train"),
    "shards": (9, "files", "headers, sizes, sidecar lengths and one BOS a document"),
    "ids": (10, "tokens", "ids are below the vocabulary, charges fit"),
    "references": (11, "totals", "totals are those published for the same source"),
    "tokenizer": (12, "documents", "re-encoding gives the same ids"),
    "table": (13, "tokens", "the stock table's sum against the sidecar's"),
    "lint": (14, "rules", "the tokenizer has none of the traps that led to wrong counts before"),
    "glob": (15, "files", "a stock trainer's glob finds no sidecar"),
    "log": (16, "logs", "the bytes that a log implies are those charged"),
    "code": (17, "logs", "the log and the data tell of the same accounting"),
}
"""Name: number in FIELD.md section 3, what is counted, what must hold. A failure of `lint`,
`glob`, `references` and `code` is a warning."""

WARNINGS = frozenset({"lint", "glob", "references", "code", "table"})


class Invariant(msgspec.Struct, frozen=True):
    """One invariant, judged. `holds` is None when it was skipped, and `detail` says why; one of
    level `warning` that does not hold is odd, but no reason to reject."""

    number: int
    name: str
    level: Literal["error", "warning"]
    holds: bool | None
    count: int
    unit: str
    detail: str
    failure: Failure | None


def new_tallies() -> dict[str, Tally]:
    """One tally an invariant."""
    return {name: Tally(name, unit, text) for name, (_, unit, text) in INVARIANTS.items()}


def judge(tally: Tally) -> Invariant:
    """What came of a tally."""
    verdict = tally.verdict()
    return Invariant(
        number=INVARIANTS[tally.name][0],
        name=tally.name,
        level="warning" if tally.name in WARNINGS else "error",
        holds=verdict.holds,
        count=verdict.count,
        unit=verdict.unit,
        detail=verdict.detail,
        failure=verdict.failure,
    )


def skip(tallies: dict[str, Tally], names: list[str], reason: str) -> None:
    """Say why invariants cannot be judged, where nothing was judged before."""
    for name in names:
        tally = tallies[name]
        if tally.failure is None and tally.missing is None and tally.count == 0:
            tally.missing = reason
