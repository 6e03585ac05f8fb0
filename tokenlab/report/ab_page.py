"""`tokenlab report ab/ --html`: the verdict first, then how sure it is, why, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from tokenlab.ab.analysis import Analysis
from tokenlab.ab.breakdown import ArmTokens, DocumentScores
from tokenlab.ab.facts import ArmFacts, ColumnName, Comparison
from tokenlab.ab.summary import ArmSummary
from tokenlab.ab.variance import RESOLVED
from tokenlab.report.ab import (
    COLUMNS,
    RULES,
    confirmed,
    decisive,
    delta,
    flags,
    interval,
    prices,
    probability,
    relative,
    score,
    signed,
    summary_of,
    verdict,
)
from tokenlab.report.chart import Series, line_chart
from tokenlab.report.elements import bar, facts_list, signed_bar, table, titled
from tokenlab.report.forest import Row, forest_plot
from tokenlab.report.page import Html, code_block, element, join, page

GROUPS = ("embedding", "attention", "MLP", "vectors")
FEATURES = {
    "bytes": "Length in bytes",
    "capitals": "Capitals, % of characters",
    "digits": "Digits, % of characters",
    "non-ASCII": "Not ASCII, % of characters",
}


def ab_page(analysis: Analysis, command: str) -> str:
    """The page of an experiment."""
    sections = [
        _warnings(analysis),
        *(_column(analysis, column) for column in analysis.columns),
        _confirmed(analysis),
        _forest(analysis),
        _curves(analysis),
        *(_tokens(analysis, column) for column in analysis.columns),
        *(_documents(analysis, column) for column in analysis.columns),
        *(_costs(analysis, column) for column in analysis.columns),
        _controls(analysis),
        _prices(analysis),
        _arms(analysis),
        _runs(analysis),
        _looks(analysis),
        titled("The plan, ab/plan.toml", code_block(analysis.plan_toml)),
    ]
    again = f"tokenlab ab plan.toml --output ab    # the plan above, in a file\n{command}"
    return page(
        kind="ab",
        title=verdict(analysis),
        body=join([_header(analysis), element("main", *sections)]),
        command=again,
        assets=("training.css", "ab.css"),
    )


def _header(analysis: Analysis) -> Html:
    whole = sum(run.state == "whole" for run in analysis.runs)
    lost = len(analysis.runs) - whole
    held = sum(control.held is True for control in analysis.controls)
    seen = sum(look.slice == "validation" for look in analysis.looks)
    rule = analysis.comparisons[0].rule if analysis.comparisons else "paired"
    pairs = [
        (
            "Scored on",
            f"{analysis.documents:,} {analysis.slice} documents, {analysis.source_bytes:,} source bytes",
        ),
        ("Baseline", analysis.baseline),
        ("Decided by", f"{RULES[rule]}; confidence {100 * analysis.confidence:g} %"),
        ("Margin", f"{100 * analysis.margin:g} % of the baseline's bits per byte"),
        ("Runs", f"{whole} whole" + (f", {lost} diverged" if lost else "")),
        (
            "Controls",
            f"{held} of {len(analysis.controls)} came out as they must"
            if analysis.controls_run
            else "none were run",
        ),
        ("Looks", f"{seen} at the validation documents"),
    ]
    return element(
        "header",
        element("p", "tokenlab ab", class_="eyebrow"),
        element("h1", verdict(analysis)),
        facts_list(pairs, "facts"),
    )


def _warnings(analysis: Analysis) -> Html | None:
    """What was overridden, and what is missing."""
    overridden = [element("li", element("b", "Overridden: "), entry) for entry in analysis.overrides]
    if not analysis.controls_run:
        overridden.append(element("li", element("b", "No controls: "), "the plan says --no-controls"))
    normal = [arm.name for arm in analysis.arms if arm.normal_form and not arm.control]
    notes = [f"{name} is scored on a normal form of the text, not on the text" for name in normal]
    notes += analysis.notes
    lists = [
        element("ul", *overridden, class_="listing bad") if overridden else None,
        element("ul", *(element("li", note) for note in notes), class_="listing care") if notes else None,
    ]
    return titled("Before you believe it", *lists) if overridden or notes else None


def _column(analysis: Analysis, column: ColumnName) -> Html:
    """The table of a column, and the tests beside the one that decides."""
    confidence = f"{100 * analysis.confidence:g} % interval"
    found: list[tuple[str, ...]] = [("Arm", "Bits per byte", "Delta", confidence, "p", "Pairs", "")]
    compared = {c.arm: c for c in analysis.comparisons if c.column == column}
    for arm in _shown(analysis):
        summary = summary_of(analysis, column, arm.name)
        mean = score(summary) if summary is not None else "diverged"
        flag = flags(analysis, arm, column)
        notes = element("span", f" {flag}", class_="flag") if flag else ""
        if arm.name in compared:
            c = compared[arm.name]
            figures = (delta(c), interval(c), probability(decisive(c)), str(c.pairs))
            found.append((arm.name, mean, *figures, join([_mark(c.decision), notes])))
        else:
            role = "baseline" if arm.name == analysis.baseline else ""
            count = str(summary.runs) if summary is not None else "0"
            found.append((arm.name, mean, "", "", "", count, join([role, notes])))
    note = (
        f"Means ± standard deviations over seeds. Delta is the paired difference from {analysis.baseline}, "
        f"with its interval over seeds; ~ is undecided, = equivalent within {100 * analysis.margin:g} %. "
        "p is that of the test that decides, adjusted over the arms."
    )
    return titled(
        f"At {COLUMNS[column]}",
        table(found, "results"),
        element("p", note, class_="quiet small"),
        _beside(list(compared.values())),
    )


def _beside(compared: Sequence[Comparison]) -> Html | None:
    if not compared:
        return None
    rows: list[tuple[str, ...]] = [
        ("Beside it", "paired t", "Welch", "sign flip", "equivalence", "can find", "on other text")
    ]
    for c in compared:
        reach = "–" if c.detectable is None else f"{100 * c.detectable / c.baseline_mean:.2f} %"
        tests = (c.p_paired, c.p_welch, c.p_sign_flip, c.p_equivalent)
        rows.append((c.arm, *map(probability, tests), reach, _other_text(c)))
    note = (
        "p values, unadjusted. Can find: the true difference that so many pairs find with chance 0.8. "
        "On other text: the interval of the difference if other documents had been drawn, these models kept."
    )
    return join([table(rows, "beside"), element("p", note, class_="quiet small")])


def _mark(decision: str) -> Html:
    return element("span", decision, class_=f"mark {decision}")


def _other_text(c: Comparison) -> str:
    if c.documents_low is None or c.documents_high is None:
        return "–"
    low, high = (100 * value / c.baseline_mean for value in (c.documents_low, c.documents_high))
    return f"{signed(low)} to {signed(high)} %"


def _confirmed(analysis: Analysis) -> Html | None:
    lines = [element("li", line) for line in confirmed(analysis)]
    return titled("On the documents held back", element("ul", *lines, class_="listing")) if lines else None


def _forest(analysis: Analysis) -> Html | None:
    if not analysis.comparisons:
        return None
    several = len(analysis.columns) > 1
    rows = []
    for c in analysis.comparisons:
        shares = [100 * d / c.baseline_mean for d in c.differences]
        low, high = (None if v is None else 100 * v / c.baseline_mean for v in (c.low, c.high))
        where = f", {c.column}" if several else ""
        label = f"{c.arm}{where}: {delta(c)}, {c.decision}"
        rows.append(Row(label, 100 * relative(c), low, high, shares, c.decision))
    note = (
        f"Squares are means over pairs, lines their {100 * analysis.confidence:g} % intervals, dots single "
        f"pairs; the band is the margin of ±{100 * analysis.margin:g} %. To the left of the line is better."
    )
    axis = f"difference from {analysis.baseline}, % of its bits per byte"
    return titled(
        "Paired differences",
        forest_plot(rows, x=axis, margin=100 * analysis.margin),
        element("p", note, class_="quiet small"),
    )


def _curves(analysis: Analysis) -> Html | None:
    charts = []
    for column in analysis.columns:
        lines = [
            Series(arm.name, summary.curve)
            for arm in _shown(analysis)
            if (summary := summary_of(analysis, column, arm.name)) is not None and summary.curve
        ]
        if lines:
            y = "Training loss, bits per byte"
            named = f"{y}, column {column}" if len(analysis.columns) > 1 else y
            charts.append(line_chart(lines, x="source bytes seen", y=named))
    return titled("Loss against text seen", *charts) if charts else None


def _tokens(analysis: Analysis, column: ColumnName) -> Html | None:
    """Bits per byte by class of token: the baseline's, and how the arms differ."""
    found = {entry.arm: entry for entry in analysis.token_classes if entry.column == column}
    baseline = found.pop(analysis.baseline, None)
    if baseline is None or not found:
        return None
    arms = list(found.values())
    shares = [[c.bits_per_byte for c in arm.classes] for arm in (baseline, *arms)]
    used = [i for i in range(len(baseline.classes)) if any(share[i] for share in shares)]
    largest = max((abs(share[i] - shares[0][i]) for share in shares[1:] for i in used), default=0) or 1.0
    rows: list[tuple[str, ...]] = [("Tokens that are", analysis.baseline, *(arm.arm for arm in arms))]
    for i in used:
        cells = [_difference(share[i] - shares[0][i], largest) for share in shares[1:]]
        rows.append((baseline.classes[i].name, f"{shares[0][i]:.4f}", *cells))
    totals = [sum(share) for share in shares]
    rows.append(("all", f"{totals[0]:.4f}", *(_difference(t - totals[0], None) for t in totals[1:])))
    counts = _counts([baseline, *arms], used)
    note = (
        "Bits per byte of the whole text that go to each class of token: the baseline's, then each arm's "
        "less the baseline's. Classes sum to the score, so the bars add up to the difference. Text moves "
        "between classes where arms cut it otherwise: what operator marks cost is to be set against what "
        "words save."
    )
    title = "Where the bits go" + (f", column {column}" if len(analysis.columns) > 1 else "")
    return titled(
        title,
        element("p", note),
        table(rows, "bits"),
        element("p", "Tokens of each class, per 1,000 source bytes:", class_="quiet small above"),
        table(counts),
    )


def _counts(arms: Sequence[ArmTokens], used: Sequence[int]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("Tokens that are", *(arm.arm for arm in arms))]
    sizes = [sum(c.bytes for c in arm.classes) for arm in arms]
    for i in used:
        per = (f"{1_000 * arm.classes[i].tokens / size:.1f}" for arm, size in zip(arms, sizes, strict=True))
        rows.append((arms[0].classes[i].name, *per))
    sums = (sum(c.tokens for c in arm.classes) for arm in arms)
    rows.append(("all", *(f"{1_000 * n / size:.1f}" for n, size in zip(sums, sizes, strict=True))))
    return rows


def _difference(value: float, largest: float | None) -> Html:
    text = f"{value:+.4f}"
    if largest is None:
        return element("b", text)
    return element("span", text, signed_bar(value / largest), class_="with-bar")


def _documents(analysis: Analysis, column: ColumnName) -> Html | None:
    """Bits per byte by class of document."""
    names = [arm.name for arm in _shown(analysis) if summary_of(analysis, column, arm.name) is not None]
    if not analysis.document_classes or analysis.baseline not in names:
        return None
    others = [name for name in names if name != analysis.baseline]
    scores = [_scores(entry, column) for entry in analysis.document_classes]
    whole = [s for s in scores if all(name in s for name in names)]
    largest = (
        max((abs(s[name] / s[analysis.baseline] - 1) for s in whole for name in others), default=0) or 1.0
    )
    rows: list[tuple[str, ...]] = [("Documents", "", "Source bytes", analysis.baseline, *others)]
    before = ""
    for entry, by_arm in zip(analysis.document_classes, scores, strict=True):
        if any(name not in by_arm for name in names):
            continue
        if entry.feature != before:
            before = entry.feature
            rows.append((element("b", FEATURES[before]), "", "", "", *("" for _ in others)))
        base = by_arm[analysis.baseline]
        cells = (_percent(by_arm[name] / base - 1, largest) for name in others)
        rows.append((_range(entry), str(entry.documents), f"{entry.bytes:,}", f"{base:.4f}", *cells))
    note = "Each document is in one class of each kind; the classes are the same documents for all arms."
    title = "By class of document" + (f", column {column}" if len(analysis.columns) > 1 else "")
    return titled(title, element("p", note), table(rows, "bits"))


def _scores(entry: DocumentScores, column: ColumnName) -> dict[str, float]:
    return {score.arm: score.bpb for score in entry.scores if score.column == column}


def _percent(value: float, largest: float) -> Html:
    return element("span", f"{signed(100 * value)} %", signed_bar(value / largest), class_="with-bar")


def _range(entry: DocumentScores) -> str:
    low, high = (v if entry.feature == "bytes" else 100 * v for v in (entry.low, entry.high))
    digits = 0 if entry.feature == "bytes" else 1
    if low == high:
        return f"{low:,.{digits}f}"
    return f"{low:,.{digits}f} to {high:,.{digits}f}"


def _costs(analysis: Analysis, column: ColumnName) -> Html:
    """What each arm is made of and what it took; columns are arms."""
    found = [
        (arm, summary)
        for arm in _shown(analysis)
        if (summary := summary_of(analysis, column, arm.name)) is not None
    ]
    summaries = [summary for _, summary in found]
    rows: list[tuple[str, ...]] = [
        ("", *(arm.name for arm, _ in found)),
        ("ids", *(f"{arm.vocab_size:,}" for arm, _ in found)),
        ("source bytes a token", *(f"{s.bytes_per_token:.3f}" for s in summaries)),
        ("tokens trained on", *(f"{s.tokens:,.0f}" for s in summaries)),
        ("source bytes seen", *(f"{s.train_bytes:,.0f}" for s in summaries)),
        ("steps", *(f"{s.steps:,.0f}" for s in summaries)),
        ("blocks × width", *(f"{s.layers} × {s.dim}" for s in summaries)),
        ("parameters", *(f"{s.parameters:,}" for s in summaries)),
        ("operations a source byte", *(f"{s.flops_per_byte:,.0f}" for s in summaries)),
        ("seconds of training", *(f"{s.training_seconds:,.1f}" for s in summaries)),
        ("CPU seconds a run", *(f"{s.cpu_seconds:,.1f}" for s in summaries)),
        ("bits per byte before quantisation", *(f"{s.bpb_before_quantisation:.4f}" for s in summaries)),
        ("bits per byte without BOS", *(f"{s.bpb_documents:.4f}" for s in summaries)),
        ("code and weights, bytes", *(f"{s.contest_bytes:,.0f}" for s in summaries)),
        ("tokenizer, bytes", *(f"{s.tokenizer_bytes:,}" for s in summaries)),
    ]
    grouped = [_grouped(s) for s in summaries]
    largest = max((size for sizes in grouped for size in sizes.values()), default=0) or 1.0
    for group in GROUPS:
        cells = (
            element("span", f"{sizes[group]:,.0f}", bar(sizes[group] / largest), class_="with-bar")
            for sizes in grouped
        )
        rows.append((f"{group}, compressed bytes", *cells))
    title = "What it took" + (f", column {column}" if len(analysis.columns) > 1 else "")
    return titled(title, table(rows, "bits costs"))


def _grouped(summary: ArmSummary) -> dict[str, float]:
    """Compressed bytes of the tensors by what they are for."""
    sizes = dict.fromkeys(GROUPS, 0.0)
    for name, size in summary.tensor_bytes.items():
        if not name.endswith(".weight"):
            group = "vectors"
        elif "embedding" in name:
            group = "embedding"
        else:
            group = "attention" if ".attention." in name else "MLP"
        sizes[group] += size
    return sizes


def _controls(analysis: Analysis) -> Html:
    if not analysis.controls_run:
        return titled("Controls", element("p", "None were run.", class_="bad"))
    marks = {True: ("held", "better"), False: ("failed", "worse"), None: ("unknown", "undecided")}
    rows: list[tuple[str, ...]] = [("Control", "Asks for", "Difference", "p", "", "Judged by")]
    for c in analysis.controls:
        name, kind = marks[c.held]
        difference = "–" if c.difference is None else f"{c.difference:+.4f}"
        p = "–" if c.p is None else probability(c.p)
        rows.append((c.name, c.asks, difference, p, element("span", name, class_=f"mark {kind}"), c.detail))
    return titled("Controls", table(rows, "words"))


def _prices(analysis: Analysis) -> Html:
    note = (
        f"What it takes to find {100 * RESOLVED:g} % of the baseline's bits per byte with chance 0.8, from "
        "the noise measured here: with seeds of their own for each arm, with shared seeds, and adjusted for "
        "how long the documents are that a seed's order puts first (a control variate whose mean is "
        "known). The adjusted difference decides nothing."
    )
    return titled(
        "What pairing and adjusting are worth",
        element("p", note),
        element("ul", *(element("li", line) for line in prices(analysis)), class_="listing"),
    )


def _arms(analysis: Analysis) -> Html:
    """Verdicts and digests."""
    lists = []
    for arm in _shown(analysis):
        keys = [f"{column}, {arm.name}" for column in analysis.columns]
        signatures = dict.fromkeys(analysis.signatures[key] for key in keys if key in analysis.signatures)
        pairs = [
            ("Scheme", f"{arm.scheme}, {arm.vocab_size:,} ids"),
            ("Verify", arm.verdict),
            ("Dataset", arm.dataset),
            ("Manifest", arm.manifest_sha256),
            ("Fingerprint", arm.fingerprint),
            *(("Signature", signature) for signature in signatures),
        ]
        lists.append(element("section", element("h3", element("bdi", arm.name)), facts_list(pairs, "origin")))
    return titled("Arms, verdicts and digests", *lists)


def _runs(analysis: Analysis) -> Html:
    rows: list[tuple[str, ...]] = [
        ("Arm", "Column", "Pair", "Seed", "Bits per byte", "Steps", "Seconds", "CPU s", "")
    ]
    for run in analysis.runs:
        told: str = run.failure or "diverged" if run.state == "diverged" else ""
        rows.append(
            (
                run.arm,
                run.column,
                str(run.pair + 1),
                str(run.seed),
                "–" if run.bpb is None else f"{run.bpb:.6f}",
                f"{run.steps:,}",
                f"{run.training_seconds:.1f}",
                f"{run.cpu_seconds:.1f}",
                element("span", told, class_="mark worse") if told else "",
            )
        )
    return titled("Every run", table(rows, "runs"))


def _looks(analysis: Analysis) -> Html:
    rows: list[tuple[str, ...]] = [("When", "Documents", "Computed", "Runs")]
    rows += [(look.time, look.slice, look.what, str(len(look.runs))) for look in analysis.looks]
    note = "Each look at the validation documents with runs that were not seen before counts once."
    return titled("Looks", element("p", note), table(rows))


def _shown(analysis: Analysis) -> list[ArmFacts]:
    return [arm for arm in analysis.arms if not arm.control]
