"""The contest's acceptance rule for a new record, as published."""

from __future__ import annotations

import math

import msgspec
from numpy.typing import ArrayLike
from scipy import stats

from tokenlab.ab.statistics.samples import check_fraction, check_positive, sample
from tokenlab.ab.statistics.t_tests import welch_error


class ContestRule(msgspec.Struct, frozen=True, kw_only=True):
    """`improvement` of the means and the `required` one, in bits per byte; `p`, one-sided, that it is
    no more than required: None where a side has one run or neither varies, and then not `accepted`."""

    accepted: bool
    improvement: float
    required: float
    p: float | None


def contest_rule(
    arm: ArrayLike,
    baseline: ArrayLike,
    bytes_per_token: float,
    nats: float = 0.005,
    alpha: float = 0.01,
) -> ContestRule:
    """Does `arm`, float64[n] bits per byte, beat `baseline`, float64[m], by at least `nats` a token at
    p < `alpha` (openai/parameter-golf, README, Submission Process: run logs must show at p < 0.01 that
    the required 0.005-nat improvement is achieved)? One-sided Welch test with the required improvement
    as its null: beating the baseline by some smaller amount is not enough.

    Nats a token depend on the tokenizer; the threshold is `nats` / (ln 2 * `bytes_per_token`) with
    source bytes per token of the baseline, the standing record: 0.00295 bits per byte at 2.442.

    Raises ValueError for an empty sample, values that are not finite, `bytes_per_token` or `nats` that
    are not above 0.
    """
    check_positive(bytes_per_token, "bytes_per_token")
    check_positive(nats, "nats")
    check_fraction(alpha, "alpha")
    one, other = sample(arm, "arm"), sample(baseline, "baseline")
    required = nats / (math.log(2) * bytes_per_token)
    improvement = float(other.mean() - one.mean())
    error, degrees = welch_error(one, other)
    p = float(stats.t.sf((improvement - required) / error, degrees)) if error else None
    return ContestRule(accepted=p is not None and p < alpha, improvement=improvement, required=required, p=p)
