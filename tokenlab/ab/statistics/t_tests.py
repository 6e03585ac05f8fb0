"""The t tests of an A/B comparison: paired (the runs share seeds), and Welch beside it."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tokenlab.ab.statistics.samples import check_fraction, pair_samples, sample, spread


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """Arm minus baseline over pairs, in the unit of the scores. `sd` is of one pair's difference;
    `low`..`high` the interval, `p` two-sided.

    With one pair there is no `sd`. With one pair, or differences that are equal to within rounding
    (`sd` 0), t says nothing: `low`, `high`, `t` and `p` are None.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    t: float | None
    p: float | None
    pairs: int


def paired(arm: ArrayLike, baseline: ArrayLike, confidence: float = 0.95) -> Paired:
    """Student's paired t test of `arm` minus `baseline`, both float64[n], values of a pair at the
    same place. Raises ValueError for n = 0, unequal lengths, values that are not finite."""
    check_fraction(confidence, "confidence")
    one, other = pair_samples(arm, baseline)
    differences = one - other
    mean = float(differences.mean())
    deviation = spread(differences, float(max(np.abs(one).max(), np.abs(other).max())))
    if not deviation:
        return Paired(mean=mean, sd=deviation, low=None, high=None, t=None, p=None, pairs=one.size)
    test = stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(confidence)
    return Paired(
        mean=mean,
        sd=deviation,
        low=float(interval.low),
        high=float(interval.high),
        t=float(test.statistic),
        p=float(test.pvalue),
        pairs=one.size,
    )


class Welch(msgspec.Struct, frozen=True, kw_only=True):
    """Mean of the first sample minus mean of the second, as if the runs were not pairs; `p`
    two-sided, `degrees` of freedom by Welch and Satterthwaite. All but `difference` are None where a
    sample has one value or neither varies."""

    difference: float
    low: float | None
    high: float | None
    p: float | None
    degrees: float | None


def welch(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Welch:
    """Welch's t test of two independent samples float64[n] and float64[m] with variances of their
    own. Raises ValueError for an empty sample or values that are not finite."""
    check_fraction(confidence, "confidence")
    one, other = sample(first, "the first sample"), sample(second, "the second sample")
    difference = float(one.mean() - other.mean())
    error, degrees = welch_error(one, other)
    if not error:
        return Welch(difference=difference, low=None, high=None, p=None, degrees=None)
    half = float(stats.t.isf((1 - confidence) / 2, degrees)) * error
    return Welch(
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=2 * float(stats.t.sf(abs(difference) / error, degrees)),
        degrees=degrees,
    )


def welch_error(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Standard error of the difference of the means of float64[n] and float64[m], and its degrees of
    freedom (Welch 1947, Satterthwaite 1946); both 0.0 where it cannot be had: a sample of one, or
    neither varies."""
    if first.size < 2 or second.size < 2:
        return 0.0, 0.0
    variances = [(spread(values) or 0.0) ** 2 / values.size for values in (first, second)]
    total = sum(variances)
    if total == 0:
        return 0.0, 0.0
    shares = [variance / total for variance in variances]
    degrees = 1 / sum(
        share**2 / (values.size - 1) for share, values in zip(shares, (first, second), strict=True)
    )
    return math.sqrt(total), degrees
