"""An A/B experiment as text and as JSON, in the manner of benchstat: `~` is a difference not decided."""

from __future__ import annotations

from collections.abc import Sequence

from tokenlab.ab.analysis import Analysis
from tokenlab.ab.facts import ArmFacts, ColumnName, Comparison
from tokenlab.ab.statistics import pairs_needed
from tokenlab.ab.summary import ArmSummary
from tokenlab.ab.variance import RESOLVED, Resolution
from tokenlab.report.plain import table, to_json

COLUMNS: dict[ColumnName, str] = {
    "swap": "the same blocks of the network",
    "artifact": "the same bytes of artifact",
    "wallclock": "the same seconds of training",
    "bytes": "the same source bytes seen",
    "flops": "the same floating-point operations",
}
RULES = {
    "paired": "paired t test, Holm's adjustment over the arms; equivalence by two one-sided tests",
    "sequential": "anytime-valid sequential t test, its error shared between the arms",
    "contest": "Parameter Golf's rule: 0.005 nats a token better than the baseline by Welch's test",
}
REFERENCE_SD = {"paired": 0.0104, "unpaired": 0.0238}
REFERENCE_BPB, REFERENCE_SECONDS = 2.426, 30.0
"""Measured on `nano` runs of 1 MB (../shared/TRAINER.md 4.3): bits per byte, their standard deviations
with and without shared seeds, CPU seconds a run."""


def ab_json(analysis: Analysis) -> str:
    """All of it."""
    return to_json(analysis)


def ab_text(analysis: Analysis) -> str:
    """What a terminal shows."""
    lines = [verdict(analysis), ""]
    for column in analysis.columns:
        lines += [f"column {column}: {COLUMNS[column]}", *table(rows(analysis, column), "<<<>>><"), ""]
    lines += [f"confirmed on the documents held back: {line}" for line in confirmed(analysis)]
    lines += legend(analysis)
    if analysis.overrides:
        lines += ["overridden with --allow", *(f"  {entry}" for entry in analysis.overrides)]
    if analysis.notes:
        lines += ["notes", *(f"  {entry}" for entry in analysis.notes)]
    lines += _controls(analysis)
    lines += [f"price of resolving {100 * RESOLVED:g} %", *(f"  {line}" for line in prices(analysis))]
    lines.append(looks(analysis))
    return "\n".join(lines)


def verdict(analysis: Analysis) -> str:
    """The experiment in one sentence, of its first column; whatever is undecided is named."""
    column = analysis.columns[0]
    found = [c for c in analysis.comparisons if c.column == column]
    normal = {arm.name for arm in analysis.arms if arm.normal_form}
    parts = []
    for decision in ("better", "worse"):
        decided = sorted((c for c in found if c.decision == decision), key=lambda c: c.difference)
        told = [f"{_named(c.arm, normal)} by {100 * abs(relative(c)):.2f} %{_interval(c)}" for c in decided]
        if told:
            told[0] = told[0].replace(" by ", f" is {decision} than {analysis.baseline} by ", 1)
            parts.append(listed(told))
    same = [_named(c.arm, normal) for c in found if c.decision == "equivalent"]
    if same:
        within = f"{analysis.baseline} within {100 * analysis.margin:g} %"
        parts.append(f"{listed(same)} {_are(same)} equivalent to {within}")
    open_ = [c for c in found if c.decision == "undecided"]
    if open_:
        parts.append(f"undecided: {', '.join(f'{_named(c.arm, normal)} ({_reach(c)})' for c in open_)}")
    compared = {c.arm for c in found}
    names = [arm.name for arm in analysis.arms if not arm.control and arm.name != analysis.baseline]
    absent = [name for name in names if name not in compared]
    if absent:
        parts.append(f"nothing can be said of {listed(absent)}: no pair is whole")
    failed = [control.name for control in analysis.controls if control.held is False]
    doubt = f"Not to be believed, for controls failed ({', '.join(failed)}): " if failed else ""
    held_back = "on the documents held back, " if analysis.slice == "confirmation" else ""
    said = f"{doubt}{held_back}at {COLUMNS[column]}, {'; '.join(parts)}."
    return said[:1].upper() + said[1:]


def rows(analysis: Analysis, column: ColumnName) -> list[tuple[str, ...]]:
    """The table of a column, the baseline first."""
    found: list[tuple[str, ...]] = [
        ("arm", "bits per byte", "delta", f"{100 * analysis.confidence:g} % interval", "p", "n", "")
    ]
    compared = {c.arm: c for c in analysis.comparisons if c.column == column}
    for arm in analysis.arms:
        summary = summary_of(analysis, column, arm.name)
        if arm.control:
            continue
        mean = score(summary) if summary is not None else "diverged"
        pairs = str(summary.runs) if summary is not None else "0"
        notes = flags(analysis, arm, column)
        if arm.name == analysis.baseline:
            found.append((arm.name, mean, "baseline", "", "", pairs, notes))
        elif arm.name in compared:
            c = compared[arm.name]
            told = ", ".join(part for part in (c.decision, notes) if part)
            figures = (delta(c), interval(c), probability(decisive(c)), str(c.pairs))
            found.append((arm.name, mean, *figures, told))
        else:
            found.append((arm.name, mean, "", "", "", "0", notes))
    return found


def legend(analysis: Analysis) -> list[str]:
    """How to read the tables."""
    rule = analysis.comparisons[0].rule if analysis.comparisons else "paired"
    over = f"{analysis.documents:,} {analysis.slice} documents, {analysis.source_bytes:,} source bytes"
    return [
        f"bits per byte of the artifacts over {over}: mean ± standard deviation over seeds; delta: paired",
        f"difference from {analysis.baseline}; ~ undecided, = equivalent within {100 * analysis.margin:g} %; "
        f"n: pairs of runs",
        f"decided by: {RULES[rule]}",
    ]


def prices(analysis: Analysis) -> list[str]:
    """CPU-minutes before and after pairing and adjusting, of each comparison, against what was measured
    before."""
    lines = []
    for r in analysis.resolutions:
        lines.append(f"{r.arm}, {r.column}: {_price(r)}")
        lines += _price_adjusted(r)
    if not lines:
        lines = ["not known: two pairs or more measure the noise"]
    return [*lines, _reference(1 - analysis.confidence)]


def confirmed(analysis: Analysis) -> list[str]:
    """What the documents held back said when they were opened, a line a comparison."""
    return [
        f"{c.arm}, {c.column}: {delta(c)} ({interval(c)}), {c.decision}, {c.pairs} pairs"
        for c in analysis.confirmed
    ]


def looks(analysis: Analysis) -> str:
    """How often the validation documents were looked at."""
    seen = sum(look.slice == "validation" for look in analysis.looks)
    opened = [look.time for look in analysis.looks if look.slice == "confirmation"]
    confirmed = f"; confirmation documents opened {opened[0]}" if opened else ""
    return f"looks at the validation documents: {seen}{confirmed}"


def flags(analysis: Analysis, arm: ArmFacts, column: ColumnName) -> str:
    """What a reader must know of an arm beside its figures."""
    lost = sum(
        run.state == "diverged" for run in analysis.runs if (run.arm, run.column) == (arm.name, column)
    )
    found = ["scored on a normal form"] if arm.normal_form else []
    found += [f"verify: {arm.verdict}"] if arm.verdict not in ("trust", "normalised") else []
    found += [f"{lost} diverged"] if lost else []
    return ", ".join(found)


def summary_of(analysis: Analysis, column: ColumnName, arm: str) -> ArmSummary | None:
    """The summary of an arm in a column; None where all its runs diverged."""
    return next((s for s in analysis.summaries if (s.column, s.arm) == (column, arm)), None)


def score(summary: ArmSummary) -> str:
    """A mean with its deviation."""
    return f"{summary.bpb:.4f}" + ("" if summary.sd is None else f" ± {summary.sd:.4f}")


def relative(comparison: Comparison) -> float:
    """The difference as a fraction of the baseline's bits per byte."""
    return comparison.difference / comparison.baseline_mean


def delta(comparison: Comparison) -> str:
    """The difference in percent behind its mark."""
    mark = {"undecided": "~ ", "equivalent": "= "}.get(comparison.decision, "")
    return f"{mark}{signed(100 * relative(comparison))} %"


def interval(comparison: Comparison) -> str:
    """The interval of the paired t test in percent."""
    if comparison.low is None or comparison.high is None:
        return "-"
    low, high = (100 * value / comparison.baseline_mean for value in (comparison.low, comparison.high))
    return f"{signed(low)} to {signed(high)} %"


def decisive(comparison: Comparison) -> float | None:
    """The p value that the plan's rule goes by."""
    by = {
        "paired": comparison.p_holm,
        "sequential": comparison.p_sequential,
        "contest": comparison.p_contest,
    }
    return by[comparison.rule]


def probability(p: float | None) -> str:
    """A p value as tables show it."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float) -> str:
    """A value in percent with its sign: two decimals, or two digits of what is smaller."""
    return f"{value:+.2f}" if abs(value) >= 0.05 or value == 0 else f"{value:+.2g}"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _named(arm: str, normal: set[str]) -> str:
    return f"{arm} (on a normal form of the text)" if arm in normal else arm


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _interval(c: Comparison) -> str:
    shown = interval(c)
    pairs = "1 pair" if c.pairs == 1 else f"{c.pairs} pairs"
    return f" ({shown}, {pairs})" if shown != "-" else f" ({pairs})"


def _reach(c: Comparison) -> str:
    if c.detectable is None:
        return f"{signed(100 * relative(c))} % in {c.pairs} pair{'s' if c.pairs != 1 else ''}, no interval"
    return f"{interval(c)}; {c.pairs} pairs find {100 * c.detectable / c.baseline_mean:.2f} %"


def _controls(analysis: Analysis) -> list[str]:
    if not analysis.controls_run:
        return ["controls: none (--no-controls)"]
    marks = {True: "held", False: "FAILED", None: "unknown"}
    lines = [
        (
            marks[c.held],
            c.name,
            f"asks for {c.asks}",
            "" if c.p is None else f"p {probability(c.p)}",
            c.detail,
        )
        for c in analysis.controls
    ]
    return ["controls", *table(lines, "<<<<<")]


def _price(r: Resolution) -> str:
    before, after = r.cost.unpaired, r.cost.paired
    return (
        f"{before.minutes:.1f} CPU-minutes with seeds of their own ({before.pairs} runs an arm), "
        f"{after.minutes:.1f} with shared seeds ({after.pairs} pairs)"
    )


def _price_adjusted(r: Resolution) -> list[str]:
    """The same with the control variate, and the difference at its mean."""
    if r.cost.adjusted is None or r.adjusted is None:
        return []
    percent = 100 * RESOLVED / r.cost.effect
    told = f"{percent * r.adjusted.mean:+.2f} %"
    if r.adjusted.low is not None and r.adjusted.high is not None:
        told += f", {percent * r.adjusted.low:+.2f} to {percent * r.adjusted.high:+.2f} %"
    pairs, minutes = r.cost.adjusted.pairs, r.cost.adjusted.minutes
    return [
        f"{r.arm}, {r.column}, adjusted for the order's documents: {minutes:.1f} CPU-minutes "
        f"({pairs} pairs); delta there {told}"
    ]


def _reference(alpha: float) -> str:
    effect = RESOLVED * REFERENCE_BPB
    before = pairs_needed(REFERENCE_SD["unpaired"], effect, alpha, design="unpaired")
    after = pairs_needed(REFERENCE_SD["paired"], effect, alpha)
    minutes = 2 * REFERENCE_SECONDS / 60
    return (
        f"measured before, nano with 1 MB of text: {minutes * before:.0f} CPU-minutes and "
        f"{minutes * after:.0f} (TRAINER.md 4.3)"
    )
