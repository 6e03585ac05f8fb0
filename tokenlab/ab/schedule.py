"""The order of an experiment's runs: pure and deterministic.

Runs of a pair share their seed; within pairs the arms are interleaved A B B A, so that a machine that
slows down, or warms up, favours no arm:

>>> [(run.arm, run.seed) for run in schedule(("bytes",), ("A", "B"), pairs=2, first_seed=7)]
[('A', 7), ('B', 7), ('B', 8), ('A', 8)]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenlab.ab.facts import ColumnName

OTHER_SEEDS = 1_000_000_007
"""Added to the seeds of a control that must not share the baseline's."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One run that the plan asks for."""

    column: ColumnName
    arm: str
    pair: int
    seed: int


def schedule(
    columns: Sequence[ColumnName],
    arms: Sequence[str],
    *,
    pairs: int,
    first_seed: int,
    controls: Sequence[str] = (),
    control_pairs: int = 0,
    reseeded: Sequence[str] = (),
) -> list[Planned]:
    """All runs, in their order. Controls run in the first column and the first `control_pairs` pairs;
    arms in `reseeded` have seeds of their own. More pairs continue the same order."""
    runs: list[Planned] = []
    for pair in range(pairs):
        for index, column in enumerate(columns):
            members = [*arms, *(controls if index == 0 and pair < control_pairs else ())]
            for arm in members if pair % 2 == 0 else reversed(members):
                seed = first_seed + pair + (OTHER_SEEDS if arm in reseeded else 0)
                runs.append(Planned(column, arm, pair, seed))
    return runs
