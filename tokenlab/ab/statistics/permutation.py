"""The sign-flip test: were arm and baseline interchangeable, each difference could as well be negative."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenlab.ab.statistics.samples import sample

EXACT_PAIRS = 20
DRAWS = 100_000
_DRAWS_AT_ONCE = 10_000


def sign_flip(differences: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of the permutation test on the mean of `differences`, float64[n] (Fisher 1935, The
    Design of Experiments, section 21): the share of sign assignments whose sum is at least as far
    from 0 as the one seen.

    All 2^n assignments to n = 20; beyond, `DRAWS` random ones from `seed`, and then
    (hits + 1) / (draws + 1), which stays valid (Phipson and Smyth 2010). Needs no normality, but
    cannot go below 2 / 2^n (see `smallest_p`). Sums that differ by rounding count as equal.

    Raises ValueError for n = 0 or values that are not finite.
    """
    values = sample(differences, "differences")
    # In units of the largest: no overflow, and `rounding` bounds the error of any sum of n values.
    values = values / (np.abs(values).max() or 1.0)
    rounding = 4 * values.size * float(np.finfo(np.float64).eps) * float(np.abs(values).sum())
    bar = abs(float(values.sum())) - rounding
    if values.size <= EXACT_PAIRS:
        return float(np.mean(np.abs(_all_sums(values)) >= bar))
    generator = np.random.default_rng(seed)
    hits = 0
    for start in range(0, DRAWS, _DRAWS_AT_ONCE):
        draws = min(_DRAWS_AT_ONCE, DRAWS - start)
        signs = 2.0 * generator.integers(0, 2, (draws, values.size), dtype=np.int8) - 1
        hits += int(np.count_nonzero(np.abs(signs @ values) >= bar))
    return (hits + 1) / (DRAWS + 1)


def _all_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums under each assignment with the first sign kept: float64[2^(n-1)]. The other half are the
    same sums negated."""
    sums = values[:1]
    for value in values[1:]:
        sums = np.concatenate((sums + value, sums - value))
    return sums
