"""Arms held against the baseline, over the pairs in which both are whole, and what that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenlab.ab.facts import Comparison
from tokenlab.ab.measured import Measured
from tokenlab.ab.statistics import (
    SequentialTest,
    contest_rule,
    document_bootstrap,
    equivalence,
    holm,
    minimal_detectable,
    paired,
    sign_flip,
    welch,
)

Decision = Literal["better", "worse", "equivalent", "undecided"]
Rule = Literal["paired", "sequential", "contest"]
_SEQUENTIAL: dict[str, Decision] = {
    "below": "better",
    "above": "worse",
    "equivalent": "equivalent",
    "undecided": "undecided",
}


class Terms(Protocol):
    """What a plan says about comparisons; see `tokenlab.ab.plan.Plan`."""

    @property
    def confidence(self) -> float: ...
    @property
    def margin(self) -> float: ...
    @property
    def rule(self) -> Literal["paired", "contest"]: ...
    @property
    def until_decided(self) -> bool: ...


def compare_arms(
    baseline: Sequence[Measured],
    arms: Mapping[str, Sequence[Measured]],
    documents: slice,
    terms: Terms,
) -> list[Comparison]:
    """Each arm of one column against the baseline, on these validation documents. Arms without a pair
    are left out. Holm's adjustment is over the arms given, so a control is compared apart."""
    found = []
    for runs in arms.values():
        both = matched(runs, baseline)
        if both:
            found.append(_compare(both, documents, terms, tests=len(arms)))
    adjusted = holm([comparison.p_paired for comparison in found])
    return [
        _decided(msgspec.structs.replace(comparison, p_holm=p))
        for comparison, p in zip(found, adjusted, strict=True)
    ]


def matched(arm: Sequence[Measured], baseline: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    """The runs of both by pair, in the order of pairs."""
    other = {run.facts.pair: run for run in baseline}
    ordered = sorted(arm, key=lambda run: run.facts.pair)
    return [(run, other[run.facts.pair]) for run in ordered if run.facts.pair in other]


def sequential_test(terms: Terms, baseline_mean: float, tests: int) -> SequentialTest:
    """The test that decides where a plan runs until decided: anytime-valid, at alpha over the number of
    arms (Bonferroni: arms may stop at different looks)."""
    return SequentialTest((1 - terms.confidence) / tests, margin=terms.margin * baseline_mean)


def _compare(
    both: Sequence[tuple[Measured, Measured]], documents: slice, terms: Terms, tests: int
) -> Comparison:
    """One arm, its Holm-adjusted p and its decision by it still to come."""
    arm, baseline = (np.array([run.bpb(documents) for run in side]) for side in zip(*both, strict=True))
    differences = arm - baseline
    mean = float(baseline.mean())
    margin, alpha = terms.margin * mean, 1 - terms.confidence
    t = paired(arm, baseline, terms.confidence)
    score = both[0][1].run.result.score
    contest = contest_rule(arm, baseline, score.source_bytes / score.targets, alpha=alpha)
    sequential = sequential_test(terms, mean, tests).update(differences)
    rule: Rule = "contest" if terms.rule == "contest" else "sequential" if terms.until_decided else "paired"
    low, high = _over_documents(both, documents, terms.confidence)
    return Comparison(
        arm=both[0][0].facts.arm,
        baseline=both[0][1].facts.arm,
        column=both[0][0].facts.column,
        pairs=len(both),
        mean=float(arm.mean()),
        baseline_mean=mean,
        difference=t.mean,
        differences=tuple(differences.tolist()),
        sd=t.sd,
        low=t.low,
        high=t.high,
        confidence=terms.confidence,
        p_paired=t.p,
        p_holm=None,
        p_welch=welch(arm, baseline, terms.confidence).p,
        p_sign_flip=sign_flip(differences) if len(both) > 1 else None,
        p_equivalent=equivalence(differences, margin, alpha).p,
        p_sequential=sequential.p,
        p_contest=contest.p,
        margin=margin,
        detectable=minimal_detectable(t.sd, len(both), alpha) if t.sd else None,
        rule=rule,
        decision=_SEQUENTIAL[sequential.outcome] if rule == "sequential" else "undecided",
        documents_low=low,
        documents_high=high,
    )


def _decided(comparison: Comparison) -> Comparison:
    """The comparison with its decision, by the rule that was fixed in the plan. Alpha is 1 - confidence.

    - paired: better or worse where Holm's adjusted p of the paired t test is below alpha; else equivalent
      where the two one-sided tests at alpha place the difference within the margin; else undecided;
    - sequential (a plan that runs until decided, which the paired test is not valid for): what
      `sequential_test` says;
    - contest: better where the contest would accept the arm as a record over the baseline, else undecided.
    """
    alpha = 1 - comparison.confidence
    if comparison.rule == "sequential":
        return comparison
    decision: Decision = "undecided"
    if comparison.rule == "contest":
        if comparison.p_contest is not None and comparison.p_contest < alpha:
            decision = "better"
    elif comparison.p_holm is not None and comparison.p_holm < alpha:
        decision = "better" if comparison.difference < 0 else "worse"
    elif comparison.p_equivalent is not None and comparison.p_equivalent < alpha:
        decision = "equivalent"
    return msgspec.structs.replace(comparison, decision=decision)


def _over_documents(
    both: Sequence[tuple[Measured, Measured]], documents: slice, confidence: float
) -> tuple[float | None, float | None]:
    """The interval of the difference over other documents; none where the arms are charged different
    bytes of a document (a normal form), for then no draw of documents is the same for both."""
    arm, baseline = ([run for run in side] for side in zip(*both, strict=True))
    sizes = baseline[0].sizes[documents]
    if not np.array_equal(arm[0].sizes[documents], sizes):
        return None, None
    interval = document_bootstrap(nats(arm, documents), nats(baseline, documents), sizes, confidence)
    return interval.low, interval.high


def nats(runs: Sequence[Measured], documents: slice) -> NDArray[np.float64]:
    """Nats of documents, float64[runs, documents]."""
    return np.stack([run.nats[documents] for run in runs])
