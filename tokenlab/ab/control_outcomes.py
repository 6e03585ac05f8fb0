"""Whether an experiment's controls came out as they must: the experiment's own test.

Where nothing differs, nothing may be found: the baseline against itself under other seeds (A/A), and
against itself with its ids permuted. Where much differs, it must be found: a vocabulary of 512 against
one of 1,024. And a sidecar that was tampered with must be refused by `verify`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from scipy import stats

from tokenlab.ab.comparing import matched
from tokenlab.ab.facts import ColumnName
from tokenlab.ab.measured import Measured
from tokenlab.ab.plan import Plan
from tokenlab.ab.statistics import welch
from tokenlab.errors import InputError

SAME, PERMUTED, SMALL, LARGE = "control-same", "control-permuted", "control-512", "control-1024"
MUTATED = "control-mutated"

Groups = Mapping[tuple[ColumnName, str], Sequence[Measured]]


class ControlOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A control: what it asks, and whether it `held` (None: there are too few runs to say). `difference`
    in bits per byte and its two-sided `p` where it is a comparison; `runs` on either side."""

    name: str
    asks: Literal["no difference", "a difference", "refusal"]
    held: bool | None
    difference: float | None
    p: float | None
    runs: tuple[int, int]
    detail: str


def control_outcomes(folder: Path, plan: Plan, groups: Groups, documents: slice) -> list[ControlOutcome]:
    """The controls of an experiment; none where it was planned without."""
    if not plan.controls:
        return []
    column, alpha = plan.columns[0], 1 - plan.confidence
    baseline = groups.get((column, plan.baseline.name), ())
    outcomes = []
    for name, arm in (("A/A: other seeds", SAME), ("ids permuted", PERMUTED)):
        outcomes.append(_null(name, groups.get((column, arm), ()), baseline, documents, alpha))
    outcomes.append(_positive(groups, column, documents, alpha))
    outcomes.append(_mutated(folder))
    return outcomes


def _null(
    name: str, runs: Sequence[Measured], baseline: Sequence[Measured], documents: slice, alpha: float
) -> ControlOutcome:
    """Runs that differ from the baseline's by chance alone: Welch's test must not reject."""
    if not runs or not baseline:
        return _missing(name, "no difference")
    one, other = ([run.bpb(documents) for run in side] for side in (runs, baseline))
    test = welch(one, other, 1 - alpha)
    return ControlOutcome(
        name=name,
        asks="no difference",
        held=None if test.p is None else test.p >= alpha,
        difference=test.difference,
        p=test.p,
        runs=(len(one), len(other)),
        detail="Welch's test over all runs of the baseline",
    )


def _positive(groups: Groups, column: ColumnName, documents: slice, alpha: float) -> ControlOutcome:
    """1,024 ids against 512, by pair: a t test whose variance is pooled over all pairs of the column
    that share seeds, for a control has few pairs of its own."""
    name = "1,024 ids against 512"
    both = matched(groups.get((column, LARGE), ()), groups.get((column, SMALL), ()))
    if not both:
        return _missing(name, "a difference")
    differences = np.array([a.bpb(documents) - b.bpb(documents) for a, b in both])
    variance, degrees = _pooled(groups, column, documents)
    p = None
    if variance > 0:
        t = float(differences.mean()) / math.sqrt(variance / len(both))
        p = 2 * float(stats.t.sf(abs(t), degrees))
    return ControlOutcome(
        name=name,
        asks="a difference",
        held=None if p is None else p < alpha,
        difference=float(differences.mean()),
        p=p,
        runs=(len(both), len(both)),
        detail=f"paired t test, variance pooled over the column's pairs ({degrees} degrees of freedom)",
    )


def _pooled(groups: Groups, column: ColumnName, documents: slice) -> tuple[float, int]:
    """Variance of a pair's difference over the arms of a column, each against the one before."""
    arms = [runs for (name, arm), runs in groups.items() if name == column and arm not in (SAME, PERMUTED)]
    squares, degrees = 0.0, 0
    for first, second in zip(arms[1:], arms, strict=False):
        differences = [a.bpb(documents) - b.bpb(documents) for a, b in matched(first, second)]
        if len(differences) > 1:
            squares += float(np.var(differences)) * len(differences)
            degrees += len(differences) - 1
    return (squares / degrees, degrees) if degrees else (0.0, 0)


def _mutated(folder: Path) -> ControlOutcome:
    path = folder / "verdicts" / f"{MUTATED}.json"
    if not path.exists():
        return _missing("a sidecar tampered with", "refusal")
    try:
        verdict = msgspec.json.decode(path.read_bytes())["verdict"]
    except (OSError, msgspec.MsgspecError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not what `tokenlab verify --json` says: {error}") from error
    return ControlOutcome(
        name="a sidecar tampered with",
        asks="refusal",
        held=verdict == "reject",
        difference=None,
        p=None,
        runs=(0, 0),
        detail=f"`tokenlab verify` says {verdict}",
    )


def _missing(name: str, asks: Literal["no difference", "a difference", "refusal"]) -> ControlOutcome:
    return ControlOutcome(
        name=name, asks=asks, held=None, difference=None, p=None, runs=(0, 0), detail="not run yet"
    )
