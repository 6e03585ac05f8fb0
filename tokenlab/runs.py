"""Finished runs of the trainer as others read them: `result.json` and `metrics.jsonl`.

Own structs, so that a reader needs neither torch nor the trainer; what they do not name is left unread.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from tokenlab.errors import InputError

SCHEMA = "tokenlab-run-1"
FREE = {"dataset", "output", "seed", "run.checkpoint_seconds", "evaluation.token_nats"}
"""Settings in which seeds of one experiment may differ, as in where else their metrics go."""


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    pass


class ScoreFacts(_Read, frozen=True, kw_only=True):
    """A score and what it was counted over."""

    bpb: float
    bpb_documents: float
    loss: float
    source_bytes: int
    unattributed_bytes: int
    targets: int
    targets_bos: int
    documents: int
    context: int
    stride: int
    isolated: bool
    signature: str


class ArtifactFacts(_Read, frozen=True, kw_only=True):
    """Sizes in bytes; `tensor_bytes` has one a tensor, compressed by itself."""

    code_bytes: int
    weights_bytes: int
    tokenizer_bytes: int
    codec: str
    codec_bytes: dict[str, int]
    tensor_bytes: dict[str, int]


class DatasetFacts(_Read, frozen=True, kw_only=True):
    """What was trained on. `opening_block_tokens`: mean tokens of the first blocks of documents in the
    order that the seed drew, `block_tokens` its expectation over seeds; None where a run has none."""

    manifest_sha256: str
    scheme: str
    fingerprint: str
    vocab_size: int
    bytes_per_token: float
    order_sha256: str
    epochs: int
    opening_block_tokens: float | None = None
    block_tokens: float | None = None


class TrainingFacts(_Read, frozen=True, kw_only=True):
    """What training used."""

    parameters: int
    steps: int
    tokens: int
    train_bytes: float
    first_loss: float
    last_loss: float
    flops_per_byte: float
    batch_tokens: int
    processes: int


class TimingFacts(_Read, frozen=True, kw_only=True):
    """Wall seconds."""

    training: float
    warmup: float
    validation: float
    evaluation: float
    tokens_per_second: float


class EnvironmentFacts(_Read, frozen=True, kw_only=True):
    """Where it ran."""

    tokenlab: str
    torch: str
    numpy: str
    python: str
    system: str
    device: str
    gpus: int
    processor: str
    cores: int
    memory_bytes: int
    threads: int
    git: str | None


class BudgetLimits(_Read, frozen=True, kw_only=True):
    """When training ended, whichever came first."""

    steps: int | None = None
    seconds: float | None = None
    train_bytes: int | None = None


class ArtifactLimits(_Read, frozen=True, kw_only=True):
    """What an artifact was allowed."""

    cap_bytes: int


class Settings(_Read, frozen=True, kw_only=True):
    """What a report needs of a run's configuration by name."""

    dataset: str
    output: str
    budget: BudgetLimits
    artifact: ArtifactLimits


class RunResult(_Read, frozen=True, kw_only=True):
    """`result.json`. `config` is the configuration as it was resolved, table by table."""

    schema: str
    seed: int
    score: ScoreFacts
    score_before_quantisation: ScoreFacts
    artifact: ArtifactFacts
    contest_bytes: int
    strict_bytes: int
    dataset: DatasetFacts
    training: TrainingFacts
    code_sha256: str
    config: dict[str, Any]
    timing: TimingFacts
    environment: EnvironmentFacts


class Step(_Read, frozen=True, kw_only=True):
    """A line of `metrics.jsonl`: `rate` is the multiplier of learning rates, `train_bytes` and
    `seconds` count from the start; `val_bpb` is there where the run was validated."""

    step: int
    loss: float | None = None
    rate: float | None = None
    train_bytes: float
    seconds: float
    val_bpb: float | None = None


class Run(_Read, frozen=True, kw_only=True):
    """A finished run; `folder` as it was given."""

    folder: str
    settings: Settings
    result: RunResult
    steps: tuple[Step, ...]


class Spread(_Read, frozen=True, kw_only=True):
    """Mean of runs and their sample standard deviation, which one run does not have."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value a run."""
        return cls(
            mean=math.fsum(values) / len(values), sd=statistics.stdev(values) if len(values) > 1 else None
        )


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders, by seed. Raises InputError for one that is not there, not finished,
    or not a seed of the same experiment as the first."""
    runs = [read_run(folder) for folder in folders]
    for other in runs[1:]:
        _require_same_experiment(runs[0], other)
    runs.sort(key=lambda run: run.result.seed)
    for one, other in pairwise(runs):
        if one.result.seed == other.result.seed:
            raise InputError(
                f"{one.folder} and {other.folder} both have seed {one.result.seed}; give each once"
            )
    return runs


def read_run(folder: Path) -> Run:
    """A run. Raises InputError when it is not there, not finished, or of another version."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a run that `tokenlab train --output` made")
    path = folder / "result.json"
    if not path.exists():
        raise InputError(
            f"{folder}: no result.json, so no finished run; the same `tokenlab train` finishes it"
        )
    try:
        result = msgspec.json.decode(path.read_bytes(), type=RunResult)
        settings = msgspec.convert(result.config, Settings)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: not the result of a run this version can read: {error}") from error
    if result.schema != SCHEMA:
        raise InputError(f"{path}: schema {result.schema}, this version reads {SCHEMA}")
    steps = read_steps(folder / "metrics.jsonl")
    return Run(folder=str(folder), settings=settings, result=result, steps=steps)


def read_steps(path: Path) -> tuple[Step, ...]:
    """The lines of a `metrics.jsonl`. Raises InputError for one that is none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    decoder = msgspec.json.Decoder(Step)
    steps = []
    for number, line in enumerate(lines, 1):
        try:
            steps.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    return tuple(steps)


def _require_same_experiment(one: Run, other: Run) -> None:
    a, b = one.result, other.result
    if a.score.signature != b.score.signature:
        raise InputError(
            f"scores with unequal signatures do not compare: {one.folder} has {a.score.signature}, "
            f"{other.folder} has {b.score.signature}"
        )
    pinned: dict[str, tuple[Any, Any]] = {
        "dataset.manifest_sha256": (a.dataset.manifest_sha256, b.dataset.manifest_sha256),
        "code_sha256": (a.code_sha256, b.code_sha256),
    }
    settings = _flat(a.config), _flat(b.config)
    pinned |= {key: (settings[0].get(key), settings[1].get(key)) for key in settings[0] | settings[1]}
    for key, (mine, theirs) in pinned.items():
        if mine != theirs:
            raise InputError(
                f"{one.folder} and {other.folder} are not seeds of one experiment: {key} is {mine}, {theirs}"
            )


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted key, without the free ones."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return {key: value for key, value in flat.items() if key not in FREE and not key.startswith("log.")}
