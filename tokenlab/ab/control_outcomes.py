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

from tokenlab.ab.comparable import GRANTED
from tokenlab.ab.comparing import matched
from tokenlab.ab.controls import MUTATED, read_controls
from tokenlab.ab.datasets import read_verdict
from tokenlab.ab.facts import ColumnName
from tokenlab.ab.measured import Measured
from tokenlab.ab.plan import Plan
from tokenlab.ab.statistics import welch

Asks = Literal["no difference", "a difference", "refusal"]
_NULL = {"same": "A/A: other seeds", "permuted": "ids permuted"}
POSITIVE = "1,024 ids against 512"

Groups = Mapping[tuple[ColumnName, str], Sequence[Measured]]


class ControlOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A control: what it asks, and whether it `held` (None: there are too few runs to say). `difference`
    in bits per byte and its two-sided `p` where it is a comparison; `runs` on either side."""

    name: str
    asks: Asks
    held: bool | None
    difference: float | None
    p: float | None
    runs: tuple[int, int]
    detail: str


def control_outcomes(folder: Path, plan: Plan, groups: Groups, documents: slice) -> list[ControlOutcome]:
    """The controls of an experiment; none where it was planned without."""
    made = read_controls(folder) if plan.controls else None
    if made is None:
        return []
    column, alpha = plan.columns[0], 1 - plan.confidence
    of = {arm: runs for (name, arm), runs in groups.items() if name == column}
    outcomes = [
        _null(_NULL[arm.kind], of.get(arm.name, ()), of.get(arm.against, ()), documents, alpha)
        for arm in made.arms
        if arm.kind in _NULL
    ]
    positive = [arm for arm in made.arms if arm.kind == "positive" and arm.name != arm.against]
    variance = _pooled(list(of.values()), [arm.name for arm in made.arms if arm.kind in _NULL], documents)
    for arm in positive:
        outcomes.append(_positive(of.get(arm.name, ()), of.get(arm.against, ()), variance, documents, alpha))
    return [*outcomes, _mutated(folder)]


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


def _positive(
    runs: Sequence[Measured],
    against: Sequence[Measured],
    pooled: tuple[float, int],
    documents: slice,
    alpha: float,
) -> ControlOutcome:
    """1,024 ids against 512, by pair: a t test whose variance (and its degrees of freedom) is `pooled`
    over the column's pairs, for a control has few of its own."""
    both = matched(runs, against)
    if not both:
        return _missing(POSITIVE, "a difference")
    differences = np.array([a.bpb(documents) - b.bpb(documents) for a, b in both])
    variance, degrees = pooled
    p = None
    if variance > 0:
        t = float(differences.mean()) / math.sqrt(variance / len(both))
        p = 2 * float(stats.t.sf(abs(t), degrees))
    return ControlOutcome(
        name=POSITIVE,
        asks="a difference",
        held=None if p is None else p < alpha,
        difference=float(differences.mean()),
        p=p,
        runs=(len(both), len(both)),
        detail=f"paired t test, variance pooled over the column's pairs ({degrees} degrees of freedom)",
    )


def _pooled(arms: Sequence[Sequence[Measured]], unlike: Sequence[str], documents: slice) -> tuple[float, int]:
    """Variance of a pair's difference over the arms of a column, each against the one before, and its
    degrees of freedom; (0, 0) where no two pairs are there. `unlike`: arms left out, whose runs share
    less than seeds with those of the others."""
    alike = [runs for runs in arms if runs[0].facts.arm not in unlike]
    squares, degrees = 0.0, 0
    for first, second in zip(alike[1:], alike, strict=False):
        differences = [a.bpb(documents) - b.bpb(documents) for a, b in matched(first, second)]
        if len(differences) > 1:
            squares += float(np.var(differences)) * len(differences)
            degrees += len(differences) - 1
    return (squares / degrees, degrees) if degrees else (0.0, 0)


def _mutated(folder: Path) -> ControlOutcome:
    stored = read_verdict(folder, MUTATED)
    if stored is None:
        return _missing("a sidecar tampered with", "refusal")
    return ControlOutcome(
        name="a sidecar tampered with",
        asks="refusal",
        held=stored.verdict not in GRANTED,
        difference=None,
        p=None,
        runs=(0, 0),
        detail=f"`tokenlab verify` says {stored.verdict}",
    )


def _missing(name: str, asks: Asks) -> ControlOutcome:
    return ControlOutcome(
        name=name, asks=asks, held=None, difference=None, p=None, runs=(0, 0), detail="not run yet"
    )
