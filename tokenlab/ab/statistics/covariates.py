"""Control variates: what is known about a pair beforehand is taken out of its difference."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from tokenlab.ab.statistics.samples import check_fraction, pair_samples, spread


class Adjusted(msgspec.Struct, frozen=True, kw_only=True):
    """The mean difference at the covariate's expectation. `sd`: of one pair's difference around the
    line, n - 2 degrees of freedom. `low`..`high` and `p` (two-sided) are None with 2 pairs, and where
    the line leaves no more than rounding (`sd` 0)."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None
    slope: float
    pairs: int


def control_variate(
    differences: ArrayLike, covariate: ArrayLike, expectation: float = 0.0, confidence: float = 0.95
) -> Adjusted:
    """Adjusts the mean of `differences`, float64[n], by `covariate`, float64[n], whose true mean is
    `expectation`: mean - slope * (mean of covariate - expectation), as the intercept of a least-squares
    line (Lavenberg and Welch 1981, Management Science 27:322-335).

    Honest: the slope is estimated from the same pairs, which costs a degree of freedom and widens the
    interval with the covariate's distance from its expectation; so a useless covariate loses power. The
    expectation must be known from elsewhere: by symmetry, or over many more seeds (the loss before
    training costs nothing to know). The covariate's own mean in these pairs would adjust nothing.

    Raises ValueError for fewer than 2 pairs, unequal lengths, values that are not finite, and a
    covariate that does not vary.
    """
    check_fraction(confidence, "confidence")
    values, known = pair_samples(differences, covariate, ("differences", "covariate"))
    if not math.isfinite(expectation):
        raise ValueError(f"the covariate's expectation must be finite, not {expectation}")
    pairs = values.size
    if pairs < 2:
        raise ValueError("a slope needs at least 2 pairs, there is 1")
    if not spread(known):
        raise ValueError("the covariate has the same value in every pair: it adjusts nothing")
    line = stats.linregress(known - expectation, values)
    mean, slope = float(line.intercept), float(line.slope)
    if pairs == 2:
        return Adjusted(mean=mean, sd=None, low=None, high=None, p=None, slope=slope, pairs=pairs)
    around = values - mean - slope * (known - expectation)
    deviation = math.sqrt(float(around @ around) / (pairs - 2))
    reach = float(np.abs(values).max()) + abs(mean) + abs(slope) * float(np.abs(known - expectation).max())
    if deviation <= 8 * float(np.finfo(np.float64).eps) * reach:
        return Adjusted(mean=mean, sd=0.0, low=None, high=None, p=None, slope=slope, pairs=pairs)
    error = float(line.intercept_stderr)
    half = float(stats.t.isf((1 - confidence) / 2, pairs - 2)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, pairs - 2))
    return Adjusted(mean=mean, sd=deviation, low=mean - half, high=mean + half, p=p, slope=slope, pairs=pairs)
