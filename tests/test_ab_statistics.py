"""Statistics of an A/B: against scipy, slow twins, published figures and simulated error rates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, stats

from tokenlab.ab.statistics import (
    SequentialTest,
    contest_rule,
    control_variate,
    document_bootstrap,
    equivalence,
    holm,
    minimal_detectable,
    paired,
    pairs_needed,
    resolve_cost,
    sd_interval,
    sequential_power,
    sign_flip,
    smallest_p,
    welch,
)
from tokenlab.ab.statistics.power import detection_power
from tokenlab.ab.statistics.sequential import log_e_values

Array = NDArray[np.float64]

# TRAINER.md 4.3: SD of a paired difference, of an unpaired one, mean (0.0104 is 0.43 % of it).
SD_PAIRED, SD_UNPAIRED, MEAN = 0.0104, 0.0238, 2.42


def scores(pairs: int = 8, seed: int = 0) -> tuple[Array, Array]:
    """Arm and baseline that share seeds: correlation about 0.8, as measured in TRAINER.md 4.3."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(0, 0.015, pairs)
    return (
        2.40 + shared + generator.normal(0, 0.0074, pairs),
        2.42 + shared + generator.normal(0, 0.0074, pairs),
    )


def standard_errors(rate: float, draws: int) -> float:
    return 3 * math.sqrt(rate * (1 - rate) / draws)


def test_paired_is_the_paired_t_test() -> None:
    arm, baseline = scores()
    result = paired(arm, baseline, 0.9)
    expected = stats.ttest_rel(arm, baseline)
    interval = expected.confidence_interval(0.9)
    assert result.t == pytest.approx(expected.statistic)
    assert result.p == pytest.approx(expected.pvalue)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    assert result.mean == pytest.approx(np.mean(arm - baseline))
    assert result.pairs == 8


def test_paired_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, t = 2 sqrt 3; with 2 degrees p = 1 - t / sqrt(t^2 + 2)."""
    result = paired([2, 4, 6], [1, 2, 3])
    assert (result.mean, result.sd) == (2.0, 1.0)
    assert result.t == pytest.approx(2 * math.sqrt(3))
    assert result.p == pytest.approx(1 - math.sqrt(12 / 14))


def test_welch_is_scipys() -> None:
    arm, baseline = scores()
    result = welch(arm, baseline[:5], 0.99)
    expected = stats.ttest_ind(arm, baseline[:5], equal_var=False)
    interval = expected.confidence_interval(0.99)
    assert (result.p, result.degrees) == pytest.approx((expected.pvalue, expected.df))
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    assert result.difference == pytest.approx(arm.mean() - baseline[:5].mean())


def test_one_pair_and_equal_differences_give_no_p() -> None:
    alone = paired([2.0], [1.5])
    assert (alone.mean, alone.pairs) == (0.5, 1)
    assert (alone.sd, alone.low, alone.high, alone.t, alone.p) == (None,) * 5
    # 0.1 more each, which floating point makes a little unequal: no t of 10^15 comes of that.
    baseline = np.array([2.1, 4.3, 0.7, 2.2])
    result = paired(baseline + 0.1, baseline)
    assert np.ptp(baseline + 0.1 - baseline) > 0
    assert (result.sd, result.t, result.p, result.low) == (0.0, None, None, None)
    assert result.mean == pytest.approx(0.1)
    for first, second in (([1.0], [2.0, 3.0]), ([1.0, 1.0], [2.0, 2.0])):
        assert welch(first, second).p is None
    assert welch([1.0, 1.0], [2.0, 3.0]).p is not None
    assert equivalence([0.1], 1.0) == equivalence([0.1, 0.1], 1.0)
    assert not equivalence([0.1, 0.1], 1.0).equivalent
    assert sign_flip([0.3]) == 1.0
    assert sign_flip([0.0, 0.0, 0.0]) == 1.0


@pytest.mark.parametrize("bad", [[], [math.nan, 1.0], [math.inf, 1.0], [[1.0, 2.0], [3.0, 4.0]]])
@pytest.mark.parametrize(
    "call",
    [
        lambda bad: paired(bad, bad),
        lambda bad: welch(bad, [1.0, 2.0]),
        lambda bad: welch([1.0, 2.0], bad),
        sign_flip,
        lambda bad: equivalence(bad, 1.0),
        lambda bad: SequentialTest().update(bad),
        lambda bad: control_variate(bad, bad),
        lambda bad: control_variate([1.0, 2.0], bad),
        lambda bad: resolve_cost(bad, bad, [1.0], [1.0]),
        lambda bad: resolve_cost([1.0, 2.0], [1.0, 3.0], bad, [1.0]),
        lambda bad: contest_rule(bad, [1.0, 2.0], 2.4),
        lambda bad: document_bootstrap([bad], [bad], np.ones(np.shape(bad))),
    ],
)
def test_input_that_no_experiment_has_is_refused(call: Callable[[Any], object], bad: Any) -> None:
    with pytest.raises(ValueError, match=r"finite|empty|row of numbers|runs x documents"):
        call(bad)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired([1.0], [1.0, 2.0]), "1 values and baseline has 2"),
        (lambda: paired([1.0, 2.0], [1.0, 3.0], confidence=95), "between 0 and 1"),
        (lambda: equivalence([1.0, 2.0], 0.0), "margin must be above 0"),
        (lambda: holm([0.5, 1.5]), "between 0 and 1"),
        (lambda: minimal_detectable(0.0, 5), "sd must be above 0"),
        (lambda: minimal_detectable(1.0, 1), "at least 2 pairs"),
        (lambda: minimal_detectable(1.0, 5, alpha=0.5, power=0.5), "nothing to detect"),
        (lambda: pairs_needed(1.0, 0.0), "effect must be above 0"),
        (lambda: pairs_needed(1.0, 1e-9), "more than 10"),
        (lambda: minimal_detectable(1.0, 2, alpha=1e-6), "scipy cannot compute"),
        (lambda: sd_interval(1.0, 1), "1 pairs"),
        (lambda: smallest_p("rank", -1), "negative"),
        (lambda: smallest_p("sign flip", (3, 4)), "test of pairs"),
        (lambda: smallest_p("median", 3), "no test is named"),  # type: ignore[arg-type]
        (lambda: SequentialTest(alpha=0), "alpha"),
        (lambda: SequentialTest(effect_prior_sd=-1), "effect_prior_sd"),
        (lambda: SequentialTest(margin=0), "margin"),
        (lambda: sequential_power(1.0, 0.0, 0), "nothing to simulate"),
        (lambda: control_variate([1.0], [1.0]), "at least 2 pairs"),
        (lambda: control_variate([1.0, 2.0], [1.0, 1.0]), "same value"),
        (lambda: control_variate([1.0, 2.0], [1.0, 2.0], math.nan), "expectation"),
        (lambda: document_bootstrap([[1.0]], [[1.0, 2.0]], [1, 2]), "1 documents and source_bytes 2"),
        (lambda: document_bootstrap([[1.0]], [[1.0]], [0]), "not all of them 0"),
        (lambda: document_bootstrap([[1.0]], [[1.0]], [1], draws=0), "at least one draw"),
        (lambda: resolve_cost([1.0, 2.0], [2.0, 3.0], [1.0], [1.0]), "measure no noise"),
        (lambda: contest_rule([1.0], [1.0], 0.0), "bytes_per_token"),
    ],
)
def test_bad_parameters_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_t_interval_covers_and_t_test_errs_as_stated() -> None:
    generator = np.random.default_rng(1)
    draws, covered = 2000, 0
    for _ in range(draws):
        shared = generator.normal(size=5)
        result = paired(shared + generator.normal(0.3, 0.5, 5), shared, 0.9)
        assert result.low is not None
        assert result.high is not None
        covered += result.low <= 0.3 <= result.high
    assert covered / draws == pytest.approx(0.9, abs=standard_errors(0.9, draws))


def sign_flip_slowly(differences: list[int]) -> float:
    sums = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(abs(total) >= abs(sum(differences)) for total in sums) / len(sums)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_sign_flip_is_the_enumeration(tenths: list[int]) -> None:
    """The test sees tenths, whose sums tie only up to rounding; the slow twin counts whole numbers."""
    assert sign_flip(np.array(tenths) / 10) == sign_flip_slowly(tenths)


def test_sign_flip_is_scipys_permutation_test() -> None:
    arm, baseline = scores(10)
    expected = stats.permutation_test(
        (arm - baseline,), np.mean, permutation_type="samples", n_resamples=math.inf
    )
    assert sign_flip(arm - baseline) == pytest.approx(expected.pvalue)


def test_sign_flip_reaches_its_bound_and_no_less() -> None:
    for pairs in (2, 8, 20):
        assert sign_flip(np.arange(1.0, pairs + 1)) == smallest_p("sign flip", pairs) == 2 / 2**pairs
    assert sign_flip(np.arange(1.0, 31)) >= smallest_p("sign flip", 30) == 1 / 100_001


def test_sign_flip_beyond_enumeration_is_near_the_exact_share() -> None:
    """30 whole numbers: the exact distribution of their signed sum by convolution."""
    values = np.random.default_rng(3).integers(-4, 8, 30)
    counts = np.ones(1)
    for value in np.abs(values):
        step = np.zeros(2 * value + 1)
        step[0] += 0.5
        step[-1] += 0.5
        counts = np.convolve(counts, step)
    sums = np.arange(counts.size) - np.abs(values).sum()
    exact = counts[np.abs(sums) >= abs(values.sum())].sum()
    assert 0.001 < exact < 0.5
    p = sign_flip(values.astype(np.float64))
    assert p == pytest.approx(exact, abs=standard_errors(exact, 100_000) + 1e-5)
    assert p == sign_flip(values.astype(np.float64))
    assert p != sign_flip(values.astype(np.float64), seed=1)


def test_smallest_p() -> None:
    assert smallest_p("rank", 3) == pytest.approx(0.1)
    assert smallest_p("rank", (5, 5)) == pytest.approx(0.008, abs=1e-4)
    assert smallest_p("rank", (1, 4)) == pytest.approx(0.4)
    ranks = stats.mannwhitneyu([1, 2, 3], [4, 5, 6, 7], method="exact")
    assert smallest_p("rank", (3, 4)) == pytest.approx(ranks.pvalue)
    assert [smallest_p("sign flip", pairs) for pairs in (0, 1, 3)] == [1.0, 1.0, 0.25]
    assert [smallest_p("paired t", pairs) for pairs in (1, 2)] == [1.0, 0.0]
    assert smallest_p("rank", 0) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.04, None, 0.01, 0.03]) == pytest.approx([0.06, None, 0.03, 0.06])
    assert holm([]) == []
    assert holm([None]) == [None]


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], alpha: float) -> None:
    adjusted = holm(p_values)
    rejected = set()
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        if p_values[place] * (len(p_values) - rank) > alpha:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(adjusted) if p is not None and p <= alpha} == rejected
    for p, holm_p in zip(p_values, adjusted, strict=True):
        assert holm_p is not None
        assert p <= holm_p <= min(1.0, len(p_values) * p)
    assert holm(p_values[::-1]) == adjusted[::-1]


def test_equivalence_is_two_one_sided_tests() -> None:
    arm, baseline = scores()
    differences = arm - baseline
    for margin in (0.01, 0.02, 0.05):
        above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        assert equivalence(differences, margin).p == pytest.approx(max(above, below))


def test_equivalence_is_the_interval_within_the_margin() -> None:
    arm, baseline = scores(20)
    result = paired(arm, baseline, 0.9)
    assert result.low is not None
    farthest = -result.low
    assert equivalence(arm - baseline, farthest * 1.001).equivalent
    assert not equivalence(arm - baseline, farthest * 0.999).equivalent
    assert equivalence(baseline - arm, farthest * 1.001).equivalent


@pytest.mark.parametrize(
    ("pairs", "paired_percent", "unpaired_percent"),
    [(3, 1.33, 2.11), (5, 0.71, 1.40), (8, 0.50, 1.04), (12, 0.38, 0.83), (20, 0.28, 0.63)],
)
def test_published_detectable_differences(pairs: int, paired_percent: float, unpaired_percent: float) -> None:
    """TRAINER.md 4.3 adds t quantiles; the exact figures are equal to its rounding from 5 pairs on (its
    SDs have three digits), and at 3 pairs its 1.33 % should read 1.40 %."""
    exact = 100 / MEAN * minimal_detectable(SD_PAIRED, pairs)
    exact_unpaired = 100 / MEAN * minimal_detectable(SD_UNPAIRED, pairs, design="unpaired")
    quantiles = stats.t.isf(0.025, pairs - 1) + stats.t.isf(0.2, pairs - 1)
    assert 100 / MEAN * quantiles * SD_PAIRED / math.sqrt(pairs) == pytest.approx(paired_percent, abs=0.006)
    assert exact == pytest.approx(1.40 if pairs == 3 else paired_percent, abs=0.015)
    assert exact_unpaired == pytest.approx(unpaired_percent, abs=0.03)


def test_other_published_noise_figures() -> None:
    """TRAINER.md 4.2 and 4.3: 8 pairs resolve 0.5 %; 3 and 5 runs at record noise; the SD's own error."""
    assert pairs_needed(SD_PAIRED, 0.005 * MEAN) == 8
    low, high = sd_interval(1.0, 5)
    assert (low, high) == pytest.approx((0.6, 2.9), abs=0.03)
    noise = 0.00073 * math.sqrt(2)
    for runs, published in ((3, 0.0028), (5, 0.0018)):
        found = minimal_detectable(noise, runs, alpha=0.01, sides=1, design="unpaired")
        assert found == pytest.approx(published, rel=0.04)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("degrees", [1, 2, 7, 400])
def test_power_is_the_integral(sides: Any, degrees: int) -> None:
    """A normal effect over a chi-distributed error, integrated; scipy's noncentral t has gaps."""
    for noncentrality in (0.0, 0.1, 2.0, 8.0, 30.0):
        critical = stats.t.isf(0.05 / sides, degrees) / math.sqrt(degrees)

        def rejects(error: float, critical: float = critical, effect: float = noncentrality) -> float:
            chance = stats.norm.cdf(effect - critical * error)
            if sides == 2:
                chance += stats.norm.cdf(-effect - critical * error)
            return float(chance * stats.chi.pdf(error, degrees))

        centre = math.sqrt(degrees)
        expected, _ = integrate.quad(rejects, max(0.0, centre - 9), centre + 9, limit=200)
        assert detection_power(noncentrality, degrees, 0.05, sides) == pytest.approx(expected, abs=1e-7)


@given(
    st.floats(0.001, 0.2), st.floats(0.3, 0.99), st.integers(2, 60), st.sampled_from(["paired", "unpaired"])
)
def test_detectable_and_needed_are_inverse(alpha: float, power: float, pairs: int, design: Any) -> None:
    detectable = minimal_detectable(0.01, pairs, alpha, power, design=design)
    assert pairs_needed(0.01, detectable * 1.0001, alpha, power, design=design) == pairs
    assert pairs_needed(0.01, -detectable * 0.9999, alpha, power, design=design) == pairs + 1


def test_e_value_is_the_mixture_of_noncentral_t() -> None:
    """Lai 1976; Gönen et al. 2005: the density of t under mean / sd ~ N(0, prior), over the central one."""
    differences = np.random.default_rng(5).normal(0.6, 1, 7)
    for prior in (0.5, 1.0, 2.0):
        found = np.exp(log_e_values(differences, prior))
        assert found[0] == pytest.approx(1)
        for pairs in range(2, 8):
            t = float(stats.ttest_1samp(differences[:pairs], 0).statistic)

            def mixed(effect: float, t: float = t, pairs: int = pairs, prior: float = prior) -> float:
                ratio = stats.nct.pdf(t, pairs - 1, math.sqrt(pairs) * effect) / stats.t.pdf(t, pairs - 1)
                return float(ratio * stats.norm.pdf(effect, scale=prior))

            expected, _ = integrate.quad(mixed, -6 * prior, 6 * prior, limit=200)
            assert found[pairs - 1] == pytest.approx(expected, rel=1e-6)


@given(
    st.lists(st.integers(-500, 500), min_size=1, max_size=12),
    st.sampled_from([1e-200, 0.01, 1e200]),
    st.data(),
)
def test_sequential_test_in_any_batches_and_any_unit(values: list[int], unit: float, data: Any) -> None:
    once = SequentialTest(margin=1.0).update(values)
    test, start = SequentialTest(margin=1.0), 0
    while start < len(values):
        end = data.draw(st.integers(start + 1, len(values)))
        last = test.update(values[start:end])
        start = end
    assert last == once
    assert 1 / once.p >= once.e_value * (1 - 1e-12)
    scaled = log_e_values(np.array(values) * unit)
    np.testing.assert_allclose(scaled, log_e_values(values), rtol=1e-9, atol=1e-9)


def test_confidence_sequence_is_the_means_not_rejected() -> None:
    differences = np.random.default_rng(6).normal(0.4, 1, 15)
    decision = SequentialTest(alpha=0.05).update(differences)
    assert decision.low is not None
    assert decision.high is not None
    for edge, inward in ((decision.low, 1e-6), (decision.high, -1e-6)):
        assert log_e_values(differences - edge - inward).max() < math.log(20)
        assert log_e_values(differences - edge + inward).max() > math.log(20)


def test_decisions() -> None:
    test = SequentialTest(alpha=0.05, margin=0.5)
    assert test.fewest_pairs == 5
    decision = test.update([-1.0])
    assert (decision.e_value, decision.outcome, decision.low) == (1.0, "undecided", None)
    assert not test.update([-1.1, -1.05]).decided
    below = test.update([-0.95, -1.02, -0.9])
    assert (below.outcome, below.decided, below.pairs) == ("below", True, 6)
    assert below.p <= 0.05
    assert below.high is not None
    assert below.high < 0
    # A decision stands, whatever comes later.
    later = test.update([3.0, 3.0, -4.0])
    assert later.e_value < 20
    assert (later.outcome, later.p) == ("below", below.p)
    assert (later.low, later.high) == (below.low, below.high)  # these looks allow more: nothing is added
    assert test.update([30.0]).outcome == "below"
    assert SequentialTest().update(np.full(8, 0.2)).outcome == "above"
    assert SequentialTest().update(np.zeros(50)) == SequentialTest().update(np.zeros(50))
    assert SequentialTest().update(np.zeros(50)).e_value == 1.0
    near = np.random.default_rng(7).normal(0, 0.1, 12)
    assert SequentialTest(margin=0.5).update(near).outcome == "equivalent"
    assert SequentialTest(margin=0.01).update(near).outcome == "undecided"
    aside = np.array([-0.05, -0.02, -0.08, -0.14, -0.1, -0.15, -0.04, 0.08])  # -0.168..0.003
    for differences in (aside, -aside):
        assert SequentialTest(margin=0.1).update(differences).outcome == "undecided"
        assert SequentialTest(margin=0.2).update(differences).outcome == "equivalent"
    with pytest.raises(ValueError, match="finite"):
        test.update([math.nan])
    assert test.update([0.0]).pairs == 11


@pytest.mark.parametrize(("alpha", "prior"), [(0.05, 1.0), (0.05, 0.5), (0.01, 1.0), (0.2, 2.0)])
def test_looking_after_every_pair_errs_no_more_than_alpha(alpha: float, prior: float) -> None:
    null = sequential_power(0.01, 0.0, limit=50, alpha=alpha, effect_prior_sd=prior, draws=20_000)
    assert null.power <= alpha + standard_errors(alpha, 20_000)
    assert null.power > alpha / 10  # and is not so cautious as to be useless


@pytest.mark.parametrize("shape", ["uniform", "heavy tails"])
def test_symmetric_differences_need_not_be_normal(shape: str) -> None:
    generator = np.random.default_rng(20)
    size = (20_000, 50)
    differences = generator.uniform(-1, 1, size) if shape == "uniform" else generator.standard_t(3, size)
    reached = (log_e_values(differences) >= math.log(20)).any(axis=1).mean()
    assert reached <= 0.05


def test_looking_after_every_pair_at_a_plain_t_test_errs_far_more() -> None:
    """Why the sequential test is there: the same looks at the paired t test at 0.05."""
    differences = np.random.default_rng(8).normal(size=(4000, 50))
    pairs = np.arange(1, 51)
    means = np.cumsum(differences, axis=1) / pairs
    squares = np.cumsum(differences**2, axis=1) - pairs * means**2
    t = means[:, 1:] / np.sqrt(squares[:, 1:] / (pairs[1:] - 1) / pairs[1:])
    rejected = (np.abs(t) > stats.t.isf(0.025, pairs[1:] - 1)).any(axis=1).mean()
    assert rejected > 0.25


def test_mean_e_value_is_one_under_the_null() -> None:
    e_values = np.exp(log_e_values(np.random.default_rng(9).normal(size=(40_000, 12)), 0.5))
    errors = e_values.std(axis=0) / math.sqrt(40_000)
    assert (np.abs(e_values.mean(axis=0) - 1) <= 4 * errors + 1e-9).all()


def test_sequential_power_at_one_sd() -> None:
    """An effect of 1 SD is found in 50 pairs all but surely, after 13.4 pairs on average; the paired t
    test planned for 80 % needs 10, for 99 % 21."""
    found = sequential_power(0.0104, 0.0104, limit=50, draws=20_000)
    assert found.power > 0.999
    assert found.mean_pairs == pytest.approx(13.4, abs=0.2)
    assert (pairs_needed(1.0, 1.0), pairs_needed(1.0, 1.0, power=0.99)) == (10, 21)
    first = SequentialTest()
    differences = np.random.default_rng(0).normal(1.0, 1.0, (4000, 50))[0]
    looks = [first.update([difference]).decided for difference in differences]
    assert looks.index(True) == int((log_e_values(differences) >= math.log(20)).argmax())


def test_equivalence_is_seldom_claimed_at_the_margin() -> None:
    generator = np.random.default_rng(10)
    draws, claimed, found = 400, 0, 0
    for _ in range(draws):
        differences = generator.normal(0, 1, 40)
        claimed += SequentialTest(0.1, margin=0.8).update(differences + 0.8).outcome == "equivalent"
        found += SequentialTest(0.1, margin=0.8).update(differences).outcome == "equivalent"
    assert claimed / draws <= 0.1
    assert found / draws > 0.5


def documents(count: int, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Nats of two runs of two arms, and bytes: sizes vary widely, and the difference with them."""
    sizes = np.ceil(np.exp(generator.normal(6, 0.8, count)))
    rate = 0.02 + 0.01 * (np.log(sizes) - 6) + 0.1 * generator.normal(size=count)
    baseline = np.stack([sizes * 0.7, sizes * 0.72])
    return baseline + sizes * rate, baseline, sizes


def test_document_interval_covers_other_text() -> None:
    generator = np.random.default_rng(11)
    first, second, sizes = documents(2_000_000, generator)
    truth = float((first - second)[0].sum() / sizes.sum() / math.log(2))
    draws, covered = 400, 0
    for seed in range(draws):
        interval = document_bootstrap(*documents(45, generator), 0.9, draws=500, seed=seed)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= truth <= interval.high
    assert covered / draws == pytest.approx(0.9, abs=standard_errors(0.9, draws))


def test_document_bootstrap_is_drawing_documents() -> None:
    """The slow twin draws documents by name; standard errors and ends agree within their own error."""
    first, second, sizes = documents(30, np.random.default_rng(12))
    interval = document_bootstrap(first, second, sizes, draws=4000)
    nats = first.mean(axis=0) - second.mean(axis=0)
    assert interval.difference == pytest.approx(nats.sum() / sizes.sum() / math.log(2))
    generator = np.random.default_rng(13)
    slow = []
    for _ in range(4000):
        chosen = generator.choice(30, 30)
        slow.append(nats[chosen].sum() / sizes[chosen].sum() / math.log(2))
    assert interval.sd == pytest.approx(np.std(slow), rel=0.05)
    widening = stats.t.isf(0.025, 29) * math.sqrt(30 / 29)
    expected = np.quantile(slow, [stats.norm.sf(widening), stats.norm.cdf(widening)])
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=0.15 * np.std(slow))


def test_document_interval_against_all_draws_there_are() -> None:
    """7 documents have 7^7 draws. The interval leaves out, at each end, the share that t with 6 degrees
    and the factor 7 / 6 of variance ask for: 6 % for a confidence of 80 %, not 10 %."""
    first, second, sizes = documents(7, np.random.default_rng(22))
    nats = first.mean(axis=0) - second.mean(axis=0)
    every = np.indices((7,) * 7).reshape(7, -1)
    exact = nats[every].sum(axis=0) / sizes[every].sum(axis=0) / math.log(2)
    interval = document_bootstrap(first, second, sizes, 0.8, draws=40_000)
    share = stats.norm.sf(stats.t.isf(0.1, 6) * math.sqrt(7 / 6))
    assert share == pytest.approx(0.06, abs=0.001)
    assert (exact < interval.low).mean() == pytest.approx(share, abs=0.007)
    assert (exact > interval.high).mean() == pytest.approx(share, abs=0.007)
    assert interval.sd == pytest.approx(exact.std(), rel=0.02)


def test_document_bootstrap_facts() -> None:
    first, second, sizes = documents(40, np.random.default_rng(14))
    assert document_bootstrap(first, second, sizes, seed=3) == document_bootstrap(
        first, second, sizes, seed=3
    )
    assert document_bootstrap(first, second, sizes) != document_bootstrap(first, second, sizes, seed=1)
    assert (
        document_bootstrap(first[:1], second, sizes).difference
        != document_bootstrap(first, second, sizes).difference
    )
    same = document_bootstrap(first, first, sizes)
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)
    alone = document_bootstrap(first[:, :1], second[:, :1], sizes[:1])
    assert (alone.sd, alone.low, alone.high) == (None, None, None)
    with pytest.raises(ValueError, match="without bytes"):
        document_bootstrap([[1.0, 1.0]], [[1.0, 2.0]], [0, 5])


def test_document_bootstrap_draws_five_thousand_documents_in_batches() -> None:
    first, second, sizes = documents(5000, np.random.default_rng(15))
    interval = document_bootstrap(first, second, sizes, draws=500)
    nats = (first - second).mean(axis=0)
    around = nats - nats.sum() / sizes.sum() * sizes
    linear = math.sqrt(float(around @ around)) / sizes.sum() / math.log(2)
    assert interval.sd == pytest.approx(linear, rel=0.12)


def test_control_variate_is_the_intercept_of_least_squares() -> None:
    generator = np.random.default_rng(16)
    covariate = generator.normal(2, 1, 9)
    differences = 0.5 + 0.8 * (covariate - 2) + generator.normal(0, 0.3, 9)
    result = control_variate(differences, covariate, expectation=2.0, confidence=0.9)
    design = np.stack([np.ones(9), covariate - 2], axis=1)
    coefficients, residual, *_ = np.linalg.lstsq(design, differences, rcond=None)
    variance = residual[0] / 7
    error = math.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0])
    half = stats.t.isf(0.05, 7) * error
    assert (result.mean, result.slope) == pytest.approx(tuple(coefficients))
    assert result.sd == pytest.approx(math.sqrt(variance))
    assert (result.low, result.high) == pytest.approx((result.mean - half, result.mean + half))
    assert result.p == pytest.approx(2 * stats.t.sf(abs(result.mean) / error, 7))


def test_control_variate_degenerate() -> None:
    two = control_variate([1.0, 3.0], [0.0, 1.0])
    assert (two.mean, two.slope, two.sd, two.p) == (1.0, 2.0, None, None)
    line = control_variate([0.1, 0.2, 0.3, 0.6], [1.0, 2.0, 3.0, 6.0])
    assert (line.sd, line.p, line.low) == (0.0, None, None)
    assert line.slope == pytest.approx(0.1)
    about_its_own_mean = control_variate([1.0, 2.0, 4.0], [3.0, 1.0, 2.0], expectation=2.0)
    assert about_its_own_mean.mean == pytest.approx(7 / 3)


def test_control_variate_covers_and_narrows() -> None:
    """Correlation 0.9 at 8 pairs: covers as stated, though the slope is estimated from the same pairs."""
    generator = np.random.default_rng(17)
    draws, covered, widths = 1500, 0, []
    for _ in range(draws):
        covariate = generator.normal(size=8)
        differences = 0.9 * covariate + math.sqrt(1 - 0.81) * generator.normal(size=8)
        result = control_variate(differences, covariate, confidence=0.9)
        plain = paired(differences, np.zeros(8), 0.9)
        assert result.low is not None
        assert result.high is not None
        assert plain.low is not None
        assert plain.high is not None
        covered += result.low <= 0 <= result.high
        widths.append((result.high - result.low) / (plain.high - plain.low))
    assert covered / draws == pytest.approx(0.9, abs=standard_errors(0.9, draws))
    assert np.median(widths) < 0.6


def test_resolve_cost() -> None:
    arm, baseline = scores(200)
    covariate = np.random.default_rng(18).normal(0, 0.001, 200) + (arm - baseline + 0.02)
    cost = resolve_cost(arm, baseline, [30.0, 32.0], [28.0, 30.0], covariate=covariate)
    assert cost.effect == pytest.approx(0.005 * baseline.mean())
    assert cost.correlation == pytest.approx(np.corrcoef(arm, baseline)[0, 1])
    assert cost.unpaired.sd == pytest.approx(math.sqrt(np.var(arm, ddof=1) + np.var(baseline, ddof=1)))
    assert cost.paired.sd == pytest.approx(np.std(arm - baseline, ddof=1))
    assert cost.adjusted is not None
    assert cost.adjusted.sd < cost.paired.sd / 5
    # A slope, its degree of freedom and (n - 2) / (n - 3) need 4 pairs; t needs 2.
    assert cost.adjusted.pairs >= 4
    assert cost.paired.pairs == pairs_needed(cost.paired.sd, cost.effect)
    assert cost.unpaired.pairs == pairs_needed(cost.unpaired.sd, cost.effect, design="unpaired")
    for each in (cost.unpaired, cost.paired, cost.adjusted):
        assert each.minutes == pytest.approx(each.pairs * 1.0)  # 31 + 29 seconds a pair
    useless = resolve_cost(
        arm, baseline, [30.0], [30.0], covariate=np.random.default_rng(19).normal(size=200)
    )
    assert useless.adjusted is not None
    assert useless.adjusted.pairs > useless.paired.pairs
    assert resolve_cost(arm, baseline, [30.0], [30.0]).adjusted is None


def test_resolve_cost_pays_for_the_slope() -> None:
    """The adjusted pairs have the power stated, in the regression itself; one pair fewer has not. For
    an effect of 2.1 standard deviations around the line: 6 pairs, where t with a degree more has 5."""
    effect, pairs = 2.1, 6
    generator = np.random.default_rng(21)
    baseline = generator.normal(100, 1, 12)
    covariate = generator.normal(0, 1, 12)
    arm = baseline + covariate + generator.normal(0, 0.5, 12)
    sd = control_variate(arm - baseline, covariate).sd
    assert sd is not None
    fraction = effect * sd / float(baseline.mean())
    cost = resolve_cost(arm, baseline, [1.0], [1.0], covariate=covariate, fraction=fraction)
    assert cost.adjusted is not None
    assert cost.adjusted.sd == pytest.approx(sd)
    assert cost.adjusted.pairs == pairs
    power = []
    for count in (pairs - 1, pairs):
        found = 0
        for _ in range(1000):
            known = generator.normal(size=count)
            p = control_variate(cost.effect + 2 * known + generator.normal(0, sd, count), known).p
            found += p is not None and p < 0.05
        power.append(found / 1000)
    assert power[0] < 0.8 < power[1]


def test_resolve_cost_at_the_published_noise() -> None:
    """TRAINER.md 4.3: 8 shared-seed pairs of 30 CPU-s runs, 8 CPU-minutes, resolve 0.5 %. Unpaired: 32."""
    unit = math.sqrt(3 / 4)  # of the standard deviation of each of the two
    common = np.array([1, 1, -1, -1]) * unit * math.sqrt((SD_UNPAIRED**2 - SD_PAIRED**2 / 2) / 2)
    half = np.array([1, -1, 1, -1]) * unit * SD_PAIRED / 2
    cost = resolve_cost(MEAN + common + half, MEAN + common - half, [30.0], [30.0])
    assert cost.paired.sd == pytest.approx(SD_PAIRED)
    assert cost.unpaired.sd == pytest.approx(SD_UNPAIRED)
    assert cost.correlation == pytest.approx(0.82, abs=0.02)
    assert (cost.unpaired.pairs, cost.unpaired.minutes) == (32, 32.0)
    assert (cost.paired.pairs, cost.paired.minutes) == (8, 8.0)


def test_contest_rule() -> None:
    baseline = [1.2244, 1.2251, 1.2238]
    required = contest_rule(baseline, baseline, 2.442).required
    assert required == pytest.approx(0.00295, abs=1e-5)
    good = np.array(baseline) - 0.008
    result = contest_rule(good, baseline, 2.442)
    expected = stats.ttest_ind(good + required, baseline, equal_var=False, alternative="less")
    assert result.p == pytest.approx(expected.pvalue)
    assert result.accepted
    assert result.improvement == pytest.approx(0.008)
    # Better beyond doubt, but not by the required amount.
    little = np.array(baseline) - 0.0025
    assert not contest_rule(little, baseline, 2.442).accepted
    # The same runs with a tokenizer of longer tokens: less is required.
    assert contest_rule(good, baseline, 3.727).required == pytest.approx(0.00194, abs=1e-5)
    alone = contest_rule([1.0], baseline, 2.442)
    assert (alone.accepted, alone.p) == (False, None)


def test_results_are_plain_json() -> None:
    arm, baseline = scores()
    for result in (
        paired(arm, baseline),
        welch(arm, baseline),
        equivalence(arm - baseline, 0.1),
        SequentialTest().update(arm - baseline),
        control_variate(arm - baseline, baseline, MEAN),
        resolve_cost(arm, baseline, [1.0], [1.0]),
        contest_rule(arm, baseline, 2.4),
        document_bootstrap([[1.0, 2.0]], [[1.0, 3.0]], [2, 3]),
    ):
        assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result
