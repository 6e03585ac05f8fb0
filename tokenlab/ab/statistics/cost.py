"""What a difference costs to resolve: without pairs, with shared seeds, and with a control variate too."""

from __future__ import annotations

import math

import msgspec
from numpy.typing import ArrayLike

from tokenlab.ab.statistics.covariates import control_variate
from tokenlab.ab.statistics.power import detection_power, fewest, pairs_needed
from tokenlab.ab.statistics.samples import check_fraction, check_positive, pair_samples, sample, spread


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """`sd` of one difference; `pairs` (runs of each arm) that find the effect; their `minutes`."""

    sd: float
    pairs: int
    minutes: float


class ResolveCost(msgspec.Struct, frozen=True, kw_only=True):
    """The `effect` sought, in the unit of the scores, at `alpha` two-sided with chance `power`, measured
    over `measured_pairs`: the `sd` are as uncertain as `sd_interval` says, and the minutes go with
    their square. `correlation` of the arms over pairs. `adjusted` is None without a covariate."""

    effect: float
    alpha: float
    power: float
    measured_pairs: int
    correlation: float
    unpaired: Cost
    paired: Cost
    adjusted: Cost | None


def resolve_cost(
    arm: ArrayLike,
    baseline: ArrayLike,
    arm_seconds: ArrayLike,
    baseline_seconds: ArrayLike,
    *,
    covariate: ArrayLike | None = None,
    expectation: float = 0.0,
    fraction: float = 0.005,
    alpha: float = 0.05,
    power: float = 0.8,
) -> ResolveCost:
    """CPU-minutes that resolve `fraction` of the baseline's mean score, before and after variance
    reduction, from runs of which `arm` and `baseline`, float64[n], are the scores by pair and
    `arm_seconds`, `baseline_seconds`, float64[any], the CPU seconds of runs.

    Before: independent runs, whose difference has variance var(arm) + var(baseline). Paired: the
    variance of the differences. Adjusted: what `control_variate` leaves of it, with the degree of
    freedom and the (n - 2) / (n - 3) that the slope costs (Lavenberg and Welch 1981), an average over
    normal covariates.

    Raises ValueError for fewer than 2 pairs (3 with a covariate), or differences or scores that do not
    vary: there is no noise to plan with. And as `control_variate`.
    """
    one, other = pair_samples(arm, baseline)
    check_fraction(fraction, "fraction")
    check_fraction(alpha, "alpha")
    check_fraction(power, "power")
    magnitude = max(float(abs(one).max()), float(abs(other).max()))
    sd_arm, sd_baseline = spread(one), spread(other)
    sd_paired = spread(one - other, magnitude)
    if not (sd_arm and sd_baseline and sd_paired):
        raise ValueError(f"{one.size} pairs whose scores or differences do not vary measure no noise")
    effect = fraction * abs(float(other.mean()))
    check_positive(effect, "the effect, a fraction of the baseline's mean score")
    minutes = sum(_mean_seconds(seconds) for seconds in (arm_seconds, baseline_seconds)) / 60

    sd_unpaired = math.hypot(sd_arm, sd_baseline)
    unpaired = pairs_needed(sd_unpaired, effect, alpha, power, design="unpaired")
    paired = pairs_needed(sd_paired, effect, alpha, power)
    adjusted = None
    if covariate is not None:
        remaining = control_variate(one - other, covariate, expectation).sd
        if not remaining:
            raise ValueError(f"{one.size} pairs leave no noise around the covariate's line to plan with")
        pairs = _pairs_adjusted(remaining, effect, alpha, power)
        adjusted = Cost(sd=remaining, pairs=pairs, minutes=pairs * minutes)
    covariance = (sd_arm**2 + sd_baseline**2 - sd_paired**2) / 2
    return ResolveCost(
        effect=effect,
        alpha=alpha,
        power=power,
        measured_pairs=one.size,
        correlation=covariance / (sd_arm * sd_baseline),
        unpaired=Cost(sd=sd_unpaired, pairs=unpaired, minutes=unpaired * minutes),
        paired=Cost(sd=sd_paired, pairs=paired, minutes=paired * minutes),
        adjusted=adjusted,
    )


def _pairs_adjusted(sd: float, effect: float, alpha: float, power: float) -> int:
    def suffices(pairs: int) -> bool:
        variance = sd**2 / pairs * (pairs - 2) / (pairs - 3)
        return detection_power(effect / math.sqrt(variance), pairs - 2, alpha) >= power

    return fewest(suffices, start=4)


def _mean_seconds(seconds: ArrayLike) -> float:
    mean = float(sample(seconds, "seconds").mean())
    check_positive(mean, "seconds per run")
    return mean
