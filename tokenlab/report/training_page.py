"""`tokenlab report --html`: the score first, then how it came about and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from tokenlab.report.chart import Series, line_chart
from tokenlab.report.elements import bar, facts_list, table, titled
from tokenlab.report.page import Html, code_block, element, join, page
from tokenlab.report.training import (
    again,
    amount,
    budgets,
    config_toml,
    facts,
    parts,
    seed_heads,
    seed_row,
    spread,
    tried,
    validation_windows,
)
from tokenlab.runs import Run

MOST_TENSORS = 24


def training_page(runs: Sequence[Run], command: str) -> str:
    """The page of one run, or of seeds of one experiment."""
    report, first = facts(runs), runs[0]
    sections = [
        _seeds(runs) if len(runs) > 1 else None,
        _curves(runs),
        _budget(runs[0]),
        _tensors(first),
        _origin(first),
        element("section", element("h2", "Configuration, for run.toml"), code_block(config_toml(first))),
    ]
    commands = "\n".join([*(again(run) for run in runs), command])
    return page(
        kind="report",
        title=f"{report.bpb.mean:.4f} bits per byte: {first.folder}",
        body=join([_header(runs), element("main", *sections)]),
        command=commands,
        assets=("training.css",),
    )


def _header(runs: Sequence[Run]) -> Html:
    report, first = facts(runs), runs[0].result
    score, training = first.score, first.training
    bos = f"{score.targets_bos:,} BOS targets included" if score.targets_bos else "no BOS is a target"
    over = f"{score.source_bytes:,} source bytes of {score.documents:,} documents"
    if score.unattributed_bytes:
        over += f"; {score.unattributed_bytes:,} more that no token carries"
    pairs = [
        ("bpb", f"{spread(report.bpb)}, {bos}"),
        ("bpb_documents", f"{spread(report.bpb_documents)} without BOS targets"),
        ("Before", f"{first.score_before_quantisation.bpb:.6f} before quantisation (seed {first.seed})"),
        ("Over", over),
        ("Signature", score.signature),
    ]
    lead = (
        f"{first.dataset.scheme}, {first.dataset.vocab_size:,} ids; {training.parameters:,} parameters "
        f"trained on {training.train_bytes:,.0f} bytes of text in {training.steps:,} steps, "
        + (f"{len(runs)} seeds." if len(runs) > 1 else f"seed {first.seed}.")
    )
    return element(
        "header",
        element("p", "tokenlab report", class_="eyebrow"),
        element("h1", f"{report.bpb.mean:.4f}", element("span", " bits per byte")),
        element("p", lead, class_="lead"),
        facts_list(pairs, "facts"),
    )


def _seeds(runs: Sequence[Run]) -> Html:
    return titled("Seeds", table([seed_heads(), *map(seed_row, runs)]))


def _curves(runs: Sequence[Run]) -> Html:
    names = [f"seed {run.result.seed}" for run in runs]

    def lines(key: str, *, marked: bool = False) -> list[Series]:
        series = []
        for name, run in zip(names, runs, strict=True):
            values = ((step.train_bytes, getattr(step, key)) for step in run.steps)
            series.append(Series(name, [(x, y) for x, y in values if y is not None], marked))
        return [line for line in series if line.points]

    seen = "source bytes seen"
    speeds = [Series(name, _speeds(run)) for name, run in zip(names, runs, strict=True)]
    charts = [
        ("Training loss, nats a target", lines("loss"), False),
        (f"Validation, bits per byte ({validation_windows(runs[0])})", lines("val_bpb", marked=True), False),
        ("Learning rate, share of its full value", lines("rate"), True),
        ("Throughput, tokens a second", [line for line in speeds if line.points], True),
    ]
    drawn = [line_chart(series, x=seen, y=y, from_zero=zero) for y, series, zero in charts if series]
    return element("section", element("h2", "Training"), *drawn, class_="charts")


def _speeds(run: Run, parts: int = 60) -> list[tuple[float, float]]:
    """Tokens a second over equal parts of the run, at the bytes seen in their middle."""
    steps = run.steps
    tokens = run.result.training.batch_tokens
    size = -(-len(steps) // parts) if steps else 1
    points, before = [], 0.0
    for at in range(0, len(steps), size):
        group = steps[at : at + size]
        taken = group[-1].seconds - before
        if taken > 0:
            points.append((group[len(group) // 2].train_bytes, tokens * len(group) / taken))
        before = group[-1].seconds
    return points


def _budget(run: Run) -> Html:
    rows: list[tuple[str, ...]] = [("", "Used", "Allowed", "", "Share")]
    for entry in budgets(run):
        share = f"{100 * entry.used / entry.limit:.1f} %" if entry.limit else "–"
        rows.append((entry.name, amount(entry.used), amount(entry.limit), entry.unit, share))
    return titled(f"Budget, seed {run.result.seed}", table(rows))


def _tensors(run: Run) -> Html:
    result, every = run.result, parts(run)
    artifact = result.artifact
    largest = every[0][1] if every else 1
    rows = [
        element(
            "tr",
            element("th", element("bdi", name), scope="row"),
            element("td", bar(size / largest), class_="bar-cell"),
            element("td", f"{size:,}"),
            element("td", share),
        )
        for name, size, share in every[:MOST_TENSORS]
    ]
    rest = every[MOST_TENSORS:]
    note = (
        f"{result.contest_bytes:,} bytes as the contest counts ({artifact.code_bytes:,} code, "
        f"{artifact.weights_bytes:,} weights); {result.strict_bytes:,} with the tokenizer. Codecs tried: "
        f"{tried(run)}. Each tensor below is compressed by itself with {artifact.codec}."
    )
    more = f"{len(rest)} smaller tensors: {sum(size for _, size, _ in rest):,} bytes." if rest else None
    heads = element("tr", *(element("th", head, scope="col") for head in ("Tensor", "", "Bytes", "Share")))
    return element(
        "section",
        element("h2", "Artifact by tensor"),
        element("p", note),
        element("table", element("thead", heads), element("tbody", *rows), class_="tensors"),
        element("p", more, class_="quiet") if more else None,
    )


def _origin(run: Run) -> Html:
    result = run.result
    machine, dataset = result.environment, result.dataset
    pairs = [
        (
            "Device",
            f"{machine.device}, processes: {result.training.processes}, threads each: {machine.threads}",
        ),
        (
            "Machine",
            f"{machine.processor}, {machine.cores} cores, {machine.memory_bytes:,} bytes, {machine.system}",
        ),
        ("Versions", f"tokenlab {machine.tokenlab}, torch {machine.torch}, Python {machine.python}"),
        ("Git", machine.git or "not from a checkout"),
        ("Code", result.code_sha256),
        ("Dataset", dataset.manifest_sha256),
        ("Scheme", f"{dataset.scheme}, {dataset.fingerprint}"),
        ("Order of text", dataset.order_sha256),
        ("Cost", f"{result.training.flops_per_byte:,.0f} floating-point operations a source byte"),
    ]
    return element("section", element("h2", "Made of"), facts_list(pairs, "origin"))
