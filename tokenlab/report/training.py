"""`tokenlab report` as text and as JSON: one run in full, seeds of one experiment as a table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import msgspec
import tomli_w

from tokenlab.report.plain import table
from tokenlab.runs import Run, ScoreFacts, Spread

LARGEST = 6
"""Tensors that the text names."""
BLOCKS = "▁▂▃▄▅▆▇█"


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of a run: how much of it was used."""

    name: str
    unit: str
    used: float
    limit: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of `--json`: means over the runs, and each run."""

    signature: str
    bpb: Spread
    bpb_documents: Spread
    contest_bytes_max: int
    runs: tuple[Run, ...]


def facts(runs: Sequence[Run]) -> Report:
    """The report of runs that `read_runs` found to be one experiment."""
    scores = [run.result.score for run in runs]
    return Report(
        signature=scores[0].signature,
        bpb=Spread.of([score.bpb for score in scores]),
        bpb_documents=Spread.of([score.bpb_documents for score in scores]),
        contest_bytes_max=max(run.result.contest_bytes for run in runs),
        runs=tuple(runs),
    )


def report_text(runs: Sequence[Run]) -> str:
    """What a terminal shows."""
    return run_text(runs[0]) if len(runs) == 1 else seeds_text(runs)


def run_text(run: Run) -> str:
    """One run."""
    result = run.result
    score, artifact, timing, machine = result.score, result.artifact, result.timing, result.environment
    lines = [
        f"{run.folder}: {result.dataset.scheme}, {result.training.parameters:,} parameters, "
        f"seed {result.seed}",
        *score_lines(score, (Spread.of([score.bpb]), Spread.of([score.bpb_documents]))),
        f"  signature  {score.signature}",
        f"  before     {result.score_before_quantisation.bpb:.6f} bits per byte, before quantisation",
        f"  loss       {curve([step.loss for step in run.steps if step.loss is not None])}",
        f"  rate       {curve([step.rate for step in run.steps if step.rate is not None])} of its full value",
        f"  speed      {timing.tokens_per_second:,.0f} tokens/s, "
        f"{timing.tokens_per_second * result.dataset.bytes_per_token:,.0f} bytes/s of text; "
        f"{result.training.flops_per_byte:,.0f} operations a byte",
    ]
    validated = [step.val_bpb for step in run.steps if step.val_bpb is not None]
    if validated:
        lines.append(
            f"  validation {curve(validated)} bits per byte while training, {validation_windows(run)}"
        )
    lines.append("budget")
    lines += table([(b.name, amount(b.used), "of", amount(b.limit), b.unit) for b in budgets(run)], "<><><")
    lines.append(f"artifact: {artifact.codec} ({tried(run)}); with tokenizer {result.strict_bytes:,} bytes")
    lines += table([(name, f"{size:,}", share) for name, size, share in parts(run)[:LARGEST]], "<>>")
    lines += [
        f"made by tokenlab {machine.tokenlab}, git {machine.git or '-'}, torch {machine.torch}, "
        f"on {machine.device}, {machine.threads} threads",
        f"again     {again(run)}",
        "          (run.toml: the configuration that --html and --record give)",
    ]
    return "\n".join(lines)


def seeds_text(runs: Sequence[Run]) -> str:
    """Seeds of one experiment: a row each, then mean and standard deviation."""
    report = facts(runs)
    rows = [seed_heads(), *map(seed_row, runs)]
    rows += [
        ("mean", f"{report.bpb.mean:.6f}", f"{report.bpb_documents.mean:.6f}", "", "", ""),
        ("SD", f"{report.bpb.sd:.6f}", f"{report.bpb_documents.sd:.6f}", "", "", ""),
    ]
    first = runs[0].result
    return "\n".join(
        [
            f"{len(runs)} seeds: {first.dataset.scheme}, {first.training.parameters:,} parameters, "
            f"{first.training.steps:,} steps",
            *table(rows),
            *score_lines(first.score, (report.bpb, report.bpb_documents)),
            f"  signature  {report.signature}",
        ]
    )


def seed_heads() -> tuple[str, ...]:
    """The heads of a table of seeds."""
    return ("seed", "bpb", "bpb_documents", "contest bytes", "steps", "tokens/s")


def seed_row(run: Run) -> tuple[str, ...]:
    """One seed's row."""
    result = run.result
    return (
        str(result.seed),
        f"{result.score.bpb:.6f}",
        f"{result.score.bpb_documents:.6f}",
        f"{result.contest_bytes:,}",
        f"{result.training.steps:,}",
        f"{result.timing.tokens_per_second:,.0f}",
    )


def score_lines(score: ScoreFacts, means: tuple[Spread, Spread]) -> list[str]:
    """The two conventions about BOS, apart; `means` are of `bpb` and of `bpb_documents`, `score` is
    any of the runs'."""
    lines = []
    if not score.isolated:
        lines.append(f"  bpb        {spread(means[0])}, {score.targets_bos:,} BOS targets included")
    lines.append(f"  documents  {spread(means[1])} without BOS targets")
    lines.append(f"  over       {score.source_bytes:,} source bytes of {score.documents:,} documents")
    if score.unattributed_bytes:
        lines.append(f"  note       {score.unattributed_bytes:,} source bytes more that no token carries")
    return lines


def spread(of: Spread) -> str:
    """A mean of bits per byte, and its deviation where there is one."""
    deviation = "" if of.sd is None else f" ± {of.sd:.6f} (mean ± standard deviation)"
    return f"{of.mean:.6f}{deviation} bits per byte"


def budgets(run: Run) -> list[Budget]:
    """What was allowed and what was used; `limit` is None where there is none."""
    result, limits, cap = run.result, run.settings.budget, run.settings.artifact.cap_bytes
    return [
        Budget(name="steps", unit="steps", used=result.training.steps, limit=limits.steps),
        Budget(name="training", unit="s", used=result.timing.training, limit=limits.seconds),
        Budget(name="text seen", unit="bytes", used=result.training.train_bytes, limit=limits.train_bytes),
        Budget(name="code and weights", unit="bytes", used=result.contest_bytes, limit=cap),
        Budget(name="validation, within training", unit="s", used=result.timing.validation, limit=None),
        Budget(name="warm-up", unit="s", used=result.timing.warmup, limit=None),
        Budget(name="evaluation", unit="s", used=result.timing.evaluation, limit=None),
    ]


def validation_windows(run: Run) -> str:
    """How a run was scored while it trained, which is not how the artifact is."""
    context = run.result.score.context
    return f"context and stride {context:,}, BOS scored"


def amount(value: float | None) -> str:
    """A number as tables show it."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == round(value) or value >= 1_000 else f"{value:,.1f}"


def parts(run: Run) -> list[tuple[str, int, str]]:
    """Tensors by size: name, bytes compressed by itself, share of their sum."""
    sizes = run.result.artifact.tensor_bytes
    total = sum(sizes.values())
    ordered = sorted(sizes.items(), key=lambda entry: -entry[1])
    return [(name, size, f"{100 * size / total:.1f} %") for name, size in ordered]


def tried(run: Run) -> str:
    """The codecs that were tried, with their sizes."""
    return ", ".join(f"{name} {size:,}" for name, size in run.result.artifact.codec_bytes.items())


def config_toml(run: Run) -> str:
    """The run's configuration for `--config`, without where it read and wrote, and its seed. A length
    that was given in source bytes stays so; what it came to in tokens or steps is left out."""
    plain: dict[str, Any] = {}
    for name, value in run.result.config.items():
        if isinstance(value, dict):
            table = {key: inner for key, inner in value.items() if inner is not None}
            plain[name] = {key: inner for key, inner in table.items() if not _is_derived(key, table)}
        elif value is not None and name not in ("dataset", "output", "seed"):
            plain[name] = value
    return tomli_w.dumps(plain)


def _is_derived(key: str, table: dict[str, Any]) -> bool:
    in_bytes = "bytes" if key == "rows" else f"{key.removesuffix('_steps')}_bytes"
    return in_bytes in table


def again(run: Run) -> str:
    """The command that trains it again from `config_toml` in run.toml."""
    where = run.settings
    words = ["tokenlab", "train", where.dataset, "--config", "run.toml", "--seed", str(run.result.seed)]
    return shlex.join([*words, "--output", f"{where.output}-again"])


def curve(values: Sequence[float], width: int = 40) -> str:
    """Values as a line of blocks between the first and the last."""
    if not values:
        return "-"
    size = -(-len(values) // width)
    means = [sum(part) / len(part) for part in (values[at : at + size] for at in range(0, len(values), size))]
    low, high = min(means), max(means)
    marks = (BLOCKS[round(7 * (mean - low) / (high - low))] if high > low else BLOCKS[0] for mean in means)
    return f"{values[0]:.3f} {''.join(marks)} {values[-1]:.3f}"
