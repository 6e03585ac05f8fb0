"""Equivalence: a difference shown to be smaller than a margin, not merely a difference not shown."""

from __future__ import annotations

import math

import msgspec
from numpy.typing import ArrayLike
from scipy import stats

from tokenlab.ab.statistics.samples import check_fraction, check_positive, sample, spread


class Equivalence(msgspec.Struct, frozen=True, kw_only=True):
    """`p` is None, and `equivalent` False, where t says nothing: one pair, or equal differences."""

    p: float | None
    equivalent: bool


def equivalence(differences: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t tests (Schuirmann 1987) that the mean of `differences`, float64[n], lies above
    -`margin` and below `margin` (their unit); `p` is the larger of the two. Equivalent at `alpha`
    exactly when the interval of confidence 1 - 2 alpha lies within the margin.

    Raises ValueError for n = 0, values that are not finite, a margin that is not above 0.
    """
    check_positive(margin, "the margin")
    check_fraction(alpha, "alpha")
    values = sample(differences, "differences")
    deviation = spread(values)
    if not deviation:
        return Equivalence(p=None, equivalent=False)
    error = deviation / math.sqrt(values.size)
    nearest = margin - abs(float(values.mean()))
    p = float(stats.t.sf(nearest / error, values.size - 1))
    return Equivalence(p=p, equivalent=p < alpha)
