"""An arm in a column: the means of its runs, its curve and its artifact."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import msgspec

from tokenlab.ab.facts import ColumnName, RunFacts
from tokenlab.ab.measured import Measured

CURVE_POINTS = 120


class ArmSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Means over an arm's whole runs in a column. `bpb` is of the artifacts on the documents looked at,
    `sd` over seeds; `bpb_before_quantisation` and `bpb_documents` (without BOS) are over the whole split.
    `curve`: training loss as bits per source byte against source bytes seen, mean over the runs;
    `tensor_bytes`: mean compressed bytes of each tensor by itself. Seconds are wall seconds."""

    arm: str
    column: ColumnName
    runs: int
    bpb: float
    sd: float | None
    bpb_documents: float
    bpb_before_quantisation: float
    parameters: int
    layers: int
    dim: int
    contest_bytes: float
    tokenizer_bytes: int
    steps: float
    tokens: float
    train_bytes: float
    training_seconds: float
    cpu_seconds: float
    flops_per_byte: float
    bytes_per_token: float
    curve: tuple[tuple[float, float], ...]
    tensor_bytes: dict[str, float]


def summarise(runs: Sequence[Measured], documents: slice) -> ArmSummary:
    """The summary of an arm's whole runs in one column, on these validation documents."""
    first = runs[0]
    scores = [run.bpb(documents) for run in runs]
    facts = [run.facts for run in runs]

    def mean(of: Callable[[RunFacts], float | None]) -> float:
        return math.fsum(of(run) or 0.0 for run in facts) / len(facts)

    return ArmSummary(
        arm=first.facts.arm,
        column=first.facts.column,
        runs=len(runs),
        bpb=math.fsum(scores) / len(scores),
        sd=statistics.stdev(scores) if len(scores) > 1 else None,
        bpb_documents=mean(lambda run: run.bpb_documents),
        bpb_before_quantisation=mean(lambda run: run.bpb_before_quantisation),
        parameters=first.facts.parameters,
        layers=first.facts.layers,
        dim=first.facts.dim,
        contest_bytes=mean(lambda run: run.contest_bytes),
        tokenizer_bytes=first.run.result.artifact.tokenizer_bytes,
        steps=mean(lambda run: run.steps),
        tokens=mean(lambda run: run.tokens),
        train_bytes=mean(lambda run: run.train_bytes),
        training_seconds=mean(lambda run: run.training_seconds),
        cpu_seconds=mean(lambda run: run.cpu_seconds),
        flops_per_byte=mean(lambda run: run.flops_per_byte),
        bytes_per_token=first.run.result.dataset.bytes_per_token,
        curve=_curve(runs),
        tensor_bytes=_tensors(runs),
    )


def _curve(runs: Sequence[Measured]) -> tuple[tuple[float, float], ...]:
    """Means over the runs of equal stretches of steps, as far as all runs went."""
    steps = min(len(run.run.steps) for run in runs)
    per_byte = 1 / (math.log(2) * runs[0].run.result.dataset.bytes_per_token)
    size = max(1, -(-steps // CURVE_POINTS))
    points = []
    for at in range(0, steps, size):
        stretch = [step for run in runs for step in run.run.steps[at : min(at + size, steps)]]
        losses = [step.loss for step in stretch if step.loss is not None]
        if losses:
            seen = math.fsum(step.train_bytes for step in stretch) / len(stretch)
            points.append((seen, per_byte * math.fsum(losses) / len(losses)))
    return tuple(points)


def _tensors(runs: Sequence[Measured]) -> dict[str, float]:
    sizes = [run.run.result.artifact.tensor_bytes for run in runs]
    return {name: math.fsum(one.get(name, 0) for one in sizes) / len(sizes) for name in sizes[0]}
