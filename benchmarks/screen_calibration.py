"""How well a screen predicted what trained models did: `tokenlab screen` against `tokenlab ab`.

    python benchmarks/screen_calibration.py --screen screen/1024 --screen screen/4096 ab/nano ab/micro

A screen is a folder or its screen.json; an experiment a folder that `tokenlab report` has read
(analysis.json), or a file of `tokenlab report --json`. Arms are matched by scheme and vocabulary size, and
compared with the arm that is the screen's first scheme, whether or not it is the experiment's baseline. For
each screen, experiment and column:

- the changes in percent of bits per byte: the screen's with its interval over documents, the trained
  models' with the 95 % t interval over pairs;
- Spearman's rank correlation of the two, and the probability of one as far from 0 if the order were chance:
  over all permutations (exact up to 9 schemes, then over 200,000 drawn ones);
- the slope of the least-squares line through the origin, trained against screened: what to multiply a gain
  by. A slope for each pair, of the pair's own differences, and the t interval of their mean: the arms of a
  pair share its baseline run, so their noise is not independent. The noise of the screen is not in it.

Differences are those of the experiment's own comparisons, so documents held back stay closed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tokenlab.ab.analysis import Analysis
from tokenlab.screen.ranking import Estimate, Screen

EXACT = 9
DRAWN = 200_000


@dataclass(frozen=True)
class Matched:
    """A scheme in both. `trained`: percent of each pair, by the pair's number."""

    scheme: str
    screened: Estimate
    trained: dict[int, float]

    @property
    def mean(self) -> float:
        """Percent, over the pairs."""
        return float(np.mean(list(self.trained.values())))

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % of a t distribution; None for a single pair."""
        return t_interval(list(self.trained.values()))


@dataclass(frozen=True)
class Calibration:
    """A screen and a column of an experiment; `slopes` has one of each pair that all arms have."""

    title: str
    schemes: tuple[Matched, ...]

    @property
    def slopes(self) -> list[float]:
        """Of the line through the origin, pair by pair. Their mean is the slope of the mean differences."""
        shared = set.intersection(*(set(scheme.trained) for scheme in self.schemes))
        x = np.array([scheme.screened.value for scheme in self.schemes])
        rows = [[scheme.trained[pair] for scheme in self.schemes] for pair in sorted(shared)]
        return [float(x @ np.array(row) / (x @ x)) for row in rows]


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % t interval of a mean, or None for fewer than two values."""
    if len(values) < 2:
        return None
    reach = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - reach), float(np.mean(values) + reach)


def spearman(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, bool]:
    """(Spearman's rank correlation, its two-sided permutation p, whether over all permutations); NaN for both
    where one side has a single rank."""
    one, other = (centred(values) for values in (x, y))
    scale = float(np.sqrt((one @ one) * (other @ other)))
    if scale == 0:
        return float("nan"), float("nan"), True
    found = float(one @ other) / scale
    exact = len(x) <= EXACT
    if exact:
        orders = np.array(list(permutations(range(len(x)))))
    else:
        generator = np.random.default_rng(0)
        orders = generator.permuted(np.tile(np.arange(len(x)), (DRAWN, 1)), axis=1)
    chance = np.abs(other[orders] @ one) / scale
    as_far = int((chance >= abs(found) - 1e-12).sum())
    return found, as_far / factorial(len(x)) if exact else (as_far + 1) / (DRAWN + 1), exact


def centred(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks (ties share theirs), less their mean."""
    ranks = np.asarray(stats.rankdata(values), np.float64)
    return ranks - ranks.mean()


def calibrate(screen: Screen, analysis: Analysis, title: str) -> list[Calibration]:
    """A calibration of each column in which the screen's first scheme and another are trained."""
    (first,) = (entry for entry in screen.ranking if entry.percent is None)
    arms: dict[tuple[str, int], str] = {}
    for facts in analysis.arms:
        arms.setdefault((facts.scheme, facts.vocab_size), facts.name)  # its controls come behind
    reference = arms.get((first.scheme, first.score.vocab_size))
    found = []
    for column in analysis.columns if reference is not None else ():
        matched = []
        for entry in screen.ranking:
            arm = arms.get((entry.scheme, entry.score.vocab_size))
            if entry.percent is None or arm is None or reference is None:
                continue
            if trained := percent_by_pair(analysis, column, arm, reference):
                matched.append(Matched(entry.scheme, entry.percent, trained))
        if matched:
            where = f"{title}, {column}, {first.score.vocab_size:,} ids, against {first.scheme}"
            found.append(Calibration(where, tuple(matched)))
    return found


def percent_by_pair(analysis: Analysis, column: str, arm: str, reference: str) -> dict[int, float]:
    """Change of an arm against another, pair by pair, in percent of the other's mean."""
    base = baseline_mean(analysis, column, reference)
    one, other = (differences(analysis, column, name) for name in (arm, reference))
    if base is None or one is None or other is None:
        return {}
    return {pair: 100 * (one[pair] - other[pair]) / base for pair in sorted(one.keys() & other.keys())}


def differences(analysis: Analysis, column: str, arm: str) -> dict[int, float] | None:
    """An arm's bits per byte less the baseline's, by pair; of the baseline itself, zeros."""
    whole = {
        name: [r.pair for r in analysis.runs if (r.arm, r.column, r.state) == (name, column, "whole")]
        for name in (arm, analysis.baseline)
    }
    if arm == analysis.baseline:
        return dict.fromkeys(whole[arm], 0.0)
    for comparison in analysis.comparisons:
        if (comparison.arm, comparison.column) == (arm, column):
            pairs = [pair for pair in sorted(whole[arm]) if pair in set(whole[analysis.baseline])]
            if len(pairs) != len(comparison.differences):
                sys.exit(f"{analysis.folder}: {arm}, {column}: runs and comparisons do not fit together")
            return dict(zip(pairs, comparison.differences, strict=True))
    return None


def baseline_mean(analysis: Analysis, column: str, arm: str) -> float | None:
    """An arm's mean bits per byte."""
    means = (s.bpb for s in analysis.summaries if (s.arm, s.column) == (arm, column))
    return next(means, None)


def text_of(calibration: Calibration) -> str:
    """The table of a calibration, and its three figures."""
    lines = [calibration.title, f"{'scheme':24}{'screened, %':>26}{'trained, %':>26}{'pairs':>7}"]
    for scheme in sorted(calibration.schemes, key=lambda scheme: scheme.screened.value):
        low, high = scheme.screened.low, scheme.screened.high
        screened = ranged(scheme.screened.value, None if low is None or high is None else (low, high))
        trained = ranged(scheme.mean, scheme.interval)
        lines.append(f"{scheme.scheme:24}{screened:>26}{trained:>26}{len(scheme.trained):7}")
    if len(calibration.schemes) > 2:
        x = [scheme.screened.value for scheme in calibration.schemes]
        rho, p, exact = spearman(x, [scheme.mean for scheme in calibration.schemes])
        how = "all permutations" if exact else f"{DRAWN:,} permutations"
        lines.append(f"rank correlation {rho:+.3f}, p {p:.4f} ({len(x)} schemes, {how})")
    else:
        lines.append("rank correlation: no order to speak of with fewer than three schemes")
    slopes = calibration.slopes
    if slopes:
        slope = ranged(float(np.mean(slopes)), t_interval(slopes))
        lines.append(
            f"slope through the origin {slope} over {len(slopes)} pairs; the screen's noise is not in it"
        )
    else:
        lines.append("slope: no pair in which every arm is whole")
    return "\n".join(lines)


def ranged(value: float, interval: tuple[float, float] | None) -> str:
    """A value with its interval."""
    return f"{value:+.2f}" + (f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else " [one pair]")


def read(path: Path, file: str, kind: type[Screen] | type[Analysis]) -> Screen | Analysis:
    """A result's JSON, of its folder or a file. Ends the program with a line for one that is not."""
    path = path / file if path.is_dir() else path
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as error:
        sys.exit(f"{path}: no {kind.__name__.lower()}: {error}")


def main() -> None:
    """Print a calibration of each screen with each experiment and column."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--screen", type=Path, action="append", required=True, metavar="FOLDER|FILE")
    parser.add_argument("experiments", type=Path, nargs="+", metavar="FOLDER|FILE")
    given = parser.parse_args()
    screens = [read(path, "screen.json", Screen) for path in given.screen]
    found = [
        calibration
        for path in given.experiments
        for analysis in [read(path, "analysis.json", Analysis)]
        for screen in screens
        if isinstance(screen, Screen) and isinstance(analysis, Analysis)
        for calibration in calibrate(screen, analysis, path.stem)
    ]
    if not found:
        sys.exit(
            "no experiment trains a screen's first scheme and another of its schemes at its vocabulary size"
        )
    print("\n\n".join(map(text_of, found)))


if __name__ == "__main__":
    main()
