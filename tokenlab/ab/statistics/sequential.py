"""A t test that may be looked at after every pair: stop when decided, add pairs when not.

The e-process is the mixture of scale-invariant likelihood ratios of the t statistic (Lai 1976, On
confidence sequences, Annals of Statistics 4:265-280; Grünwald, de Heide and Koolen 2024, Safe testing,
JRSS B 86:1091-1128; Wang and Ramdas 2025, Anytime-valid t-tests and confidence sequences for Gaussian
means with unknown variance, Sequential Analysis 44:56-110), with mean / sd drawn from a normal prior
of mean 0 and standard deviation `effect_prior_sd`. Over n differences with sum S and sum of squares Q,
with g = n effect_prior_sd^2 and R = S^2 / (n Q), it has the closed form (Gönen et al. 2005)

    E_n = (1 + g)^(-1/2) * (1 - R g / (1 + g))^(-n/2)

For independent normal differences of mean 0 and any variance, E is a martingale of mean 1 in the
history of ratios of the differences, so by Ville's inequality the chance that it ever reaches
1 / alpha is at most alpha: however often one looks, and whatever makes one stop. The confidence
sequence holds the means whose own E (of the differences less that mean) never reached 1 / alpha.

Normality matters more than in a t test of fixed size. At alpha 0.05, prior 1 and 50 looks, simulated:
2.4 % false decisions for normal differences, 3.6 % uniform, 1.4 % t with 3 degrees, but 12 %
exponential. Differences of arms that are interchangeable under the null are symmetric about 0.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenlab.ab.statistics.power import fewest
from tokenlab.ab.statistics.samples import check_fraction, check_positive, sample, spread

Outcome = Literal["below", "above", "equivalent", "undecided"]

_LARGEST_LOG = 700.0


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What `pairs` differences show, at any look.

    `e_value`: evidence against a mean of 0 at this look (held at e^700). `p`: 1 over the largest of
    them so far, a p value that holds at every look. `low`..`high`: the confidence sequence, what the
    intervals of all looks so far have in common; None while it has no bound, or where they have
    nothing in common, which has a chance of at most alpha. `outcome`: the mean is `below` or `above`
    0 (`e_value` has reached 1 / alpha, now or before), within the margin (`equivalent`), or none of
    these; `decided` is that it is not `undecided`.
    """

    e_value: float
    p: float
    decided: bool
    outcome: Outcome
    low: float | None
    high: float | None
    pairs: int


class SequentialTest:
    """The test of one comparison, to be fixed before its first pair: chance `alpha` of a false
    decision over all looks, `effect_prior_sd` the size of effect it is quickest at, in standard
    deviations of a pair's difference, `margin` (unit of the differences) for the outcome
    `equivalent`, None for a test of difference alone.

    Raises ValueError for an alpha outside 0..1 or a prior or margin that is not above 0.
    """

    def __init__(self, alpha: float = 0.05, effect_prior_sd: float = 1.0, margin: float | None = None):
        check_fraction(alpha, "alpha")
        check_positive(effect_prior_sd, "effect_prior_sd")
        if margin is not None:
            check_positive(margin, "the margin")
        self.alpha = alpha
        self.effect_prior_sd = effect_prior_sd
        self.margin = margin
        self._differences = np.empty(0)

    def update(self, differences: ArrayLike) -> Decision:
        """The decision once the new `differences`, float64[k], follow those given before, in the order
        of their pairs. Giving them one by one or at once is the same.

        Equal differences of more than 0 count as the formula has it, (1 + g)^((n - 1) / 2); differences
        of 0 alone are no evidence. Raises ValueError, and forgets the new ones, for k = 0 or values
        that are not finite.
        """
        self._differences = np.concatenate((self._differences, sample(differences, "differences")))
        log_e = log_e_values(self._differences, self.effect_prior_sd)
        largest = max(0.0, float(log_e.max()))
        crossed = largest >= -math.log(self.alpha)
        low, high = self._confidence_sequence()
        outcome: Outcome = "undecided"
        if crossed:
            first = int(np.argmax(log_e >= -math.log(self.alpha)))
            outcome = "below" if self._differences[: first + 1].sum() < 0 else "above"
        elif self.margin is not None and low is not None and high is not None:
            outcome = "equivalent" if -self.margin < low and high < self.margin else "undecided"
        return Decision(
            e_value=math.exp(min(float(log_e[-1]), _LARGEST_LOG)),
            p=math.exp(-min(largest, _LARGEST_LOG)),
            decided=outcome != "undecided",
            outcome=outcome,
            low=low,
            high=high,
            pairs=self._differences.size,
        )

    @property
    def fewest_pairs(self) -> int:
        """No differences, however clear, are decided with fewer pairs: E_n <= (1 + g)^((n - 1) / 2)."""
        prior = self.effect_prior_sd**2
        return fewest(lambda pairs: (pairs - 1) / 2 * math.log1p(pairs * prior) >= -math.log(self.alpha), 1)

    def _confidence_sequence(self) -> tuple[float | None, float | None]:
        low, high = -math.inf, math.inf
        for pairs in range(2, self._differences.size + 1):
            values = self._differences[:pairs]
            half = self._half_width(pairs, spread(values) or 0.0)
            centre = float(values.mean())
            low, high = max(low, centre - half), min(high, centre + half)
        if math.isinf(low) or low > high:
            return None, None
        return low, high

    def _half_width(self, pairs: int, deviation: float) -> float:
        """Solves E_n = 1 / alpha for the distance of a mean from that of `pairs` differences."""
        g = pairs * self.effect_prior_sd**2
        ratio = -math.expm1((2 * math.log(self.alpha) - math.log1p(g)) / pairs) * (1 + g) / g
        if ratio >= 1:
            return math.inf
        return deviation * math.sqrt((pairs - 1) / pairs * ratio / (1 - ratio))


def log_e_values(differences: ArrayLike, effect_prior_sd: float = 1.0) -> NDArray[np.float64]:
    """Natural logarithm of E after each of `differences`, float64[..., n], along the last axis: the
    same shape. 0.0 while all are 0."""
    values = np.asarray(differences, dtype=np.float64)
    # In units of a power of 2 near the largest: exact, and the squares neither overflow nor vanish.
    values = np.ldexp(values, -np.frexp(np.abs(values).max(axis=-1, keepdims=True))[1])
    pairs = np.arange(1, values.shape[-1] + 1, dtype=np.float64)
    squares = pairs * np.cumsum(values * values, axis=-1)
    sums = np.cumsum(values, axis=-1)
    ratio = np.minimum(np.divide(sums * sums, squares, out=np.zeros_like(sums), where=squares > 0), 1.0)
    g = pairs * effect_prior_sd**2
    log_e = -0.5 * np.log1p(g) - 0.5 * pairs * np.log1p(-ratio * g / (1 + g))
    return np.where(squares > 0, log_e, 0.0)


class SequentialPower(msgspec.Struct, frozen=True, kw_only=True):
    """`power`: chance that a difference from 0 is established within the limit of pairs;
    `mean_pairs`: how many are then run on average, the limit where nothing is."""

    power: float
    mean_pairs: float


def sequential_power(
    sd: float,
    effect: float,
    limit: int,
    alpha: float = 0.05,
    effect_prior_sd: float = 1.0,
    draws: int = 4000,
    seed: int = 0,
) -> SequentialPower:
    """What `SequentialTest` does, looked at after every pair and stopped at `limit` pairs, where the
    differences are normal with mean `effect` and standard deviation `sd` (same unit): simulated
    `draws` times from `seed`, so `power` has a standard error of at most 0.5 / sqrt(draws).

    Raises ValueError for an `sd` that is not above 0 or less than one pair or draw.
    """
    check_positive(sd, "sd")
    check_fraction(alpha, "alpha")
    check_positive(effect_prior_sd, "effect_prior_sd")
    if limit < 1 or draws < 1:
        raise ValueError(f"nothing to simulate: {limit} pairs, {draws} draws")
    differences = np.random.default_rng(seed).normal(effect / sd, 1.0, (draws, limit))
    reached = log_e_values(differences, effect_prior_sd) >= -math.log(alpha)
    found = reached.any(axis=1)
    pairs = np.where(found, reached.argmax(axis=1) + 1, limit)
    return SequentialPower(power=float(found.mean()), mean_pairs=float(pairs.mean()))
