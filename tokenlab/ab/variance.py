"""What pairing and a control variate are worth: the price of resolving a small difference, before and
after, as measured here.

The control variate is the mean length of the documents that a seed's order puts first: a run that
happens to see fewer, longer documents scores worse, and a difference of two runs goes with it. Its
expectation over seeds is known exactly, the mean length of all of them (trainer/batches.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenlab.ab.comparing import matched, nats
from tokenlab.ab.facts import ColumnName
from tokenlab.ab.measured import Measured
from tokenlab.ab.statistics import (
    Adjusted,
    ResolveCost,
    control_variate,
    document_bootstrap,
    resolve_cost,
    sd_interval,
)

RESOLVED = 0.005
"""Of the baseline's bits per byte: the difference whose price is given."""
ADJUSTABLE = 4
"""Pairs that leave a slope and its spread something to be estimated from."""


class Resolution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An arm and the baseline in a column. `cost`: CPU-minutes that resolve RESOLVED with independent
    seeds and with shared ones; `sd_low`..`sd_high` is the interval of a pair's standard deviation, whose
    square the paired minutes go with. `documents_unpaired` and `documents_paired`: standard error over
    other documents, if each arm had its own and with the same for both; None where the arms are charged
    different bytes of a document. `adjusted`: the mean difference in bits per byte at the control
    variate's expectation; it decides nothing, for no plan registers it. None where runs have none, it
    does not vary, or there are fewer than ADJUSTABLE pairs."""

    arm: str
    column: ColumnName
    cost: ResolveCost
    sd_low: float
    sd_high: float
    documents_unpaired: float | None
    documents_paired: float | None
    adjusted: Adjusted | None


def resolutions(
    baseline: Sequence[Measured], arms: Mapping[str, Sequence[Measured]], documents: slice, alpha: float
) -> list[Resolution]:
    """Of each arm of a column with two pairs or more whose scores vary."""
    found = []
    for runs in arms.values():
        both = matched(runs, baseline)
        if len(both) < 2:
            continue
        arm, other = ([run for run in side] for side in zip(*both, strict=True))
        arm_scores, other_scores = ([run.bpb(documents) for run in side] for side in (arm, other))
        covariate = _order_lengths(other)
        try:
            cost = resolve_cost(
                arm_scores,
                other_scores,
                [run.facts.cpu_seconds for run in arm],
                [run.facts.cpu_seconds for run in other],
                covariate=covariate,
                fraction=RESOLVED,
                alpha=alpha,
            )
        except ValueError:  # scores that do not vary measure no noise
            continue
        low, high = sd_interval(cost.paired.sd, len(both))
        unpaired, paired = _over_documents(arm, other, documents)
        found.append(
            Resolution(
                arm=arm[0].facts.arm,
                column=arm[0].facts.column,
                cost=cost,
                sd_low=low,
                sd_high=high,
                documents_unpaired=unpaired,
                documents_paired=paired,
                adjusted=None
                if covariate is None
                else control_variate(np.subtract(arm_scores, other_scores), covariate, confidence=1 - alpha),
            )
        )
    return found


def _order_lengths(runs: Sequence[Measured]) -> NDArray[np.float64] | None:
    """Of each run, by how much the documents that its order puts first are longer than all, in tokens;
    None where nothing can be adjusted by it."""
    facts = [run.run.result.dataset for run in runs]
    excess = [
        f.opening_block_tokens - f.block_tokens
        for f in facts
        if f.opening_block_tokens is not None and f.block_tokens is not None
    ]
    if not len(excess) == len(runs) >= ADJUSTABLE or len(set(excess)) == 1:
        return None
    return np.array(excess)


def _over_documents(
    arm: Sequence[Measured], baseline: Sequence[Measured], documents: slice
) -> tuple[float | None, float | None]:
    sizes = baseline[0].sizes[documents]
    if not np.array_equal(arm[0].sizes[documents], sizes):
        return None, None
    one, other = nats(arm, documents), nats(baseline, documents)
    nothing = np.zeros((1, len(sizes)))
    alone = [document_bootstrap(side, nothing, sizes).sd for side in (one, other)]
    paired = document_bootstrap(one, other, sizes).sd
    return (math.hypot(*(sd or 0.0 for sd in alone)) if paired is not None else None), paired
