"""A screen as text and as JSON: the ranking, where the bits go, and what the proxy is worth."""

from __future__ import annotations

from collections.abc import Sequence

from tokenlab.report.plain import table, to_json
from tokenlab.screen.calibration import BLIND_SPOTS, Calibration, Point
from tokenlab.screen.plan import ScreenPlan
from tokenlab.screen.ranking import Estimate, Ranked, Screen


def screen_json(screen: Screen) -> str:
    """All of it."""
    return to_json(screen)


def screen_text(screen: Screen) -> str:
    """What a terminal shows."""
    return "\n".join(
        [
            summary(screen.plan),
            "",
            *table(ranking_rows(screen)),
            *legend(screen),
            "",
            "where the bits go: bits per source byte, by class of token",
            *table(class_rows(screen)),
            "",
            "rows of the vocabulary that could go if case, or a leading space, were told by other means",
            *table(vocabulary_rows(screen)),
            "",
            "the proxy is no network, and blind to",
            *(f"  {spot}" for spot in BLIND_SPOTS),
            *calibration_lines(screen.calibration),
        ]
    )


def summary(plan: ScreenPlan) -> str:
    """What was screened, in one line."""
    rule = "by sha256" if plan.holdout_docs is None else "the first of the input"
    return (
        f"{plan.documents:,} held-out documents ({rule}), {plan.source_bytes:,} source bytes; "
        f"learned: {plan.train_documents:,} documents, {plan.train_bytes:,} bytes"
    )


def ranking_rows(screen: Screen) -> list[tuple[str, ...]]:
    """The schemes from the best down, below their heads."""
    interval = f"{100 * screen.confidence:g} % interval"
    heads = ("scheme", "ids", "bits per byte", interval, "change", interval, "tokens a byte", "change")
    return [heads, *map(_ranking_row, screen.ranking)]


def _ranking_row(entry: Ranked) -> tuple[str, ...]:
    first = entry.percent is None
    return (
        entry.scheme,
        f"{entry.score.vocab_size:,}",
        f"{entry.bpb_documents.value:.4f}",
        _interval(entry.bpb_documents, ".4f"),
        "first" if entry.percent is None else f"{_undecided(entry.percent)}{entry.percent.value:+.2f} %",
        "" if entry.percent is None else _interval(entry.percent, "+.2f"),
        f"{entry.tokens_per_byte:.4f}",
        "first" if first else f"{entry.tokens_percent:+.1f} %",
    )


def legend(screen: Screen) -> list[str]:
    """How to read the ranking."""
    ranking = screen.ranking
    orders = sorted({entry.score.order for entry in ranking})
    bos = ", ".join(f"{entry.scheme} {entry.bpb:.4f}" for entry in ranking)
    first = next(entry.scheme for entry in ranking if entry.percent is None)
    return [
        f"by an adaptive n-gram model of orders 0 to {' or '.join(map(str, orders))}; BOS opens a document "
        "and is no target",
        f"with BOS targets, as the contest counts: {bos}",
        f"changes are against {first}, paired by document; ~ where 0 is within; intervals are of a bootstrap "
        "over documents",
    ]


def class_rows(screen: Screen) -> list[tuple[str, ...]]:
    """Bits per byte of each class of token, the classes that occur."""
    names = [of.name for of in screen.ranking[0].score.classes]
    used = [n for n in range(len(names)) if any(entry.score.classes[n].tokens for entry in screen.ranking)]
    rows: list[tuple[str, ...]] = [("scheme", *(names[n] for n in used))]
    for entry in screen.ranking:
        classes = entry.score.classes
        rows.append(
            (entry.scheme, *(f"{classes[n].bits_per_byte:.4f}" if classes[n].tokens else "-" for n in used))
        )
    return rows


def vocabulary_rows(screen: Screen) -> list[tuple[str, ...]]:
    """Rows that say the same thing twice, and their share."""
    rows: list[tuple[str, ...]] = [("scheme", "rows", "case", "", "leading space", "", "either", "")]
    for entry in screen.ranking:
        of = entry.score.rows
        cells = [f"{of.rows:,}"]
        for surplus in (of.case, of.space, of.either):
            cells += [f"{surplus:,}", f"{100 * surplus / of.rows:.1f} %"]
        rows.append((entry.scheme, *cells))
    return rows


def calibration_lines(calibration: Calibration) -> list[str]:
    """The calibration as lines of text."""
    return [
        "calibration: change by the proxy, and in trained models",
        *table(calibration_rows(calibration), "<>><"),
        f"multiply a gain by {calibration.low:g} to {calibration.high:g} for a model of the contest's size",
        "against bpe in models of a million parameters, far from converged",
        *table(small_rows(calibration), "<>><"),
    ]


def calibration_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """The points at the contest's size."""
    return _points(calibration.points)


def small_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """The points of small models."""
    return _points(calibration.small)


def _points(points: Sequence[Point]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("change", "proxy", "trained", "source")]
    return rows + [
        (p.change, f"{p.proxy_percent:+.2f} %", f"{p.trained_percent:+.2f} %", p.source) for p in points
    ]


def _undecided(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None or estimate.low <= 0 <= estimate.high:
        return "~ "
    return ""


def _interval(estimate: Estimate, form: str) -> str:
    if estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.low:{form}} to {estimate.high:{form}}"
