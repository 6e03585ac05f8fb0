"""The benchmark that holds a screen against trained models: its figures against other code, and by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats

from benchmarks import screen_calibration as benchmark
from tests.ab_case import ab_datasets, experiment
from tokenlab.ab.analysis import Analysis, analyse
from tokenlab.screen.calibration import CALIBRATION
from tokenlab.screen.plan import ScreenPlan
from tokenlab.screen.ranking import Estimate, Ranked, Screen
from tokenlab.screen.scoring import SchemeScore, Seconds
from tokenlab.screen.vocabulary_rows import count_rows

__all__ = ["ab_datasets"]


def screen_of(percents: dict[tuple[str, int], float | None]) -> Screen:
    """A screen of schemes by name and ids."""
    ranking = []
    for (scheme, size), percent in percents.items():
        score = SchemeScore(
            scheme=scheme, fingerprint="", vocab_size=size, order=5, nats=(1.0,), nats_bos=(0.0,), bytes=(1,),
            tokens=1, train_tokens=1, nodes=1, rows=count_rows([]), classes=(),
            seconds=Seconds(vocabulary=0, encoding=0, learning=0, scoring=0),
        )  # fmt: skip
        estimate = percent and Estimate(value=percent, low=percent - 0.1, high=percent + 0.1)
        bpb = Estimate(value=2.0, low=None, high=None)
        ranking.append(
            Ranked(
                scheme=scheme, bpb_documents=bpb, bpb=2.0, percent=estimate or None, tokens_per_byte=1.0,
                tokens_percent=None, score=score,
            )
        )  # fmt: skip
    plan = ScreenPlan(
        method="", corpus={}, documents_sha256="", holdout_docs=None, train_documents=1, train_bytes=1,
        documents=1, source_bytes=1, vocab_size=300,
    )  # fmt: skip
    return Screen(plan=plan, confidence=0.95, ranking=tuple(ranking), calibration=CALIBRATION)


SCREENED = {("bytes", 260): None, ("caseops", 300): -8.0, ("byte-bpe", 280): 0.5, ("wordops", 300): -9.0}


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory, ab_datasets: dict[str, Path]) -> Analysis:
    return analyse(experiment(tmp_path_factory.mktemp("ab") / "e", ab_datasets))


def test_by_hand(analysed: Analysis) -> None:
    found = benchmark.calibrate(screen_of(SCREENED), analysed, "e")
    assert len(found) == len(analysed.columns)
    for calibration, column in zip(found, analysed.columns, strict=True):
        by_scheme = {scheme.scheme: scheme for scheme in calibration.schemes}
        assert set(by_scheme) == {"caseops", "byte-bpe"}
        base = next(s.bpb for s in analysed.summaries if (s.arm, s.column) == ("bytes", column))
        (of,) = (c for c in analysed.comparisons if (c.arm, c.column) == ("caseops", column))
        assert by_scheme["caseops"].mean == pytest.approx(100 * of.difference / base)
        low, high = by_scheme["caseops"].interval or (0, 0)
        assert (low, high) == pytest.approx((100 * of.low / base, 100 * of.high / base))
        x, y = [-8.0, 0.5], [by_scheme["caseops"].mean, by_scheme["byte-bpe"].mean]
        assert np.mean(calibration.slopes) == pytest.approx(np.linalg.lstsq(np.c_[x], y, rcond=None)[0][0])
        assert len(calibration.slopes) == of.pairs


def test_against_an_arm_that_is_not_the_baseline(analysed: Analysis) -> None:
    """Pairs' differences from the other arm; the same experiment told from its other end."""
    screened = {("caseops", 300): None, ("bytes", 260): 8.0, ("byte-bpe", 280): 8.5}
    (found, *_) = benchmark.calibrate(screen_of(screened), analysed, "e")
    runs = {(r.arm, r.pair): r.bpb for r in analysed.runs if r.column == analysed.columns[0]}
    mean = np.mean([bpb for (arm, _), bpb in runs.items() if arm == "caseops"])
    for scheme in found.schemes:
        for pair, percent in scheme.trained.items():
            difference = runs[scheme.scheme, pair] - runs["caseops", pair]
            assert percent == pytest.approx(100 * difference / mean, rel=1e-6)


@pytest.mark.parametrize("size", [3, 5, 6])
def test_the_rank_correlation_is_scipy_s(size: int) -> None:
    generator = np.random.default_rng(size)
    for ties in (False, True):
        x, y = generator.normal(size=(2, size))
        y = np.round(y) if ties else y
        rho, p, exact = benchmark.spearman(x, y)

        def statistic(values: np.ndarray, y: np.ndarray = y) -> float:
            return float(stats.spearmanr(values, y).statistic)

        assert rho == pytest.approx(statistic(x))
        test = stats.permutation_test(
            (x,), lambda v: abs(statistic(v)), permutation_type="pairings", n_resamples=np.inf,
            alternative="greater",
        )  # fmt: skip
        assert (p, exact) == (pytest.approx(test.pvalue), True)
    rho, p, exact = benchmark.spearman(range(12), range(12))
    assert (rho, exact) == (pytest.approx(1), False)
    assert p < 1e-4
    assert np.isnan(benchmark.spearman([1, 1, 1], [1, 2, 3])[0])


def test_the_command(analysed: Analysis, tmp_path: Path) -> None:
    (tmp_path / "screen").mkdir()
    (tmp_path / "screen/screen.json").write_bytes(msgspec.json.encode(screen_of(SCREENED)))
    (tmp_path / "analysis.json").write_bytes(msgspec.json.encode(analysed))
    command = [sys.executable, benchmark.__file__, "--screen", tmp_path / "screen"]

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*map(str, [*command, *arguments])], capture_output=True, text=True)

    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "caseops" in done.stdout
    assert "slope through the origin +" in done.stdout
    assert "fewer than three schemes" in done.stdout
    (tmp_path / "screen/screen.json").write_bytes(msgspec.json.encode(screen_of({("bpe", 8): None})))
    assert "no experiment trains a screen's first scheme" in run(tmp_path).stderr
    assert "no analysis" in run(tmp_path / "screen/screen.json").stderr
