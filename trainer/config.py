"""What a run is: a frozen, typed configuration, from a preset, a TOML file and the command line.

    # run.toml, for `python -m trainer --config run.toml`
    dataset = "out/caseops"
    output = "runs/a"
    preset = "nano"
    seed = 1

    [budget]
    steps = 300

A later source overrides an earlier one key by key: preset, file, command line. Only limits of the
budget (steps, seconds, train_bytes) replace all earlier ones together: who asks for 1,000,000 bytes
does not want a preset's number of steps to cut them short.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trainer.errors import TrainerError

LIMITS = {"steps", "seconds", "train_bytes"}
Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ModelConfig(_Table, frozen=True, kw_only=True):
    """Sizes of the network; its vocabulary is the dataset's."""

    layers: Count = 9
    dim: Count = 512
    heads: Count = 8
    kv_heads: Count = 4
    mlp_multiple: Count = 2
    rope_base: Positive = 10_000.0
    softcap: Positive = 30.0
    embedding_std: Positive = 0.005
    qk_gain: Positive = 1.5


class BatchConfig(_Table, frozen=True, kw_only=True):
    """A step sees `rows` rows of `context` tokens, `micro_rows` at a time (gradients accumulate);
    documents are shuffled in blocks of `block_documents`."""

    rows: Count = 16
    context: Count = 128
    micro_rows: Count = 16
    block_documents: Count = 1

    @property
    def tokens(self) -> int:
        """Targets a step."""
        return self.rows * self.context


class RatesConfig(_Table, frozen=True, kw_only=True):
    """Learning rates and momenta; see `trainer.muon.Rates`."""

    matrix_rate: Positive = 0.04
    embedding_rate: Positive = 0.05
    scalar_rate: Positive = 0.04
    momentum: NotNegative = 0.95
    momentum_start: NotNegative = 0.85
    momentum_steps: Annotated[int, Meta(ge=0)] = 500
    beta1: NotNegative = 0.9
    beta2: NotNegative = 0.95
    epsilon: Positive = 1e-8


class BudgetConfig(_Table, frozen=True, kw_only=True):
    """When training ends, whichever comes first, and over how many steps before that the learning
    rate falls to 0. `train_bytes` are source bytes seen, at the manifest's mean bytes a token."""

    steps: Count | None = None
    seconds: Positive | None = None
    train_bytes: Count | None = None
    warmdown_steps: Annotated[int, Meta(ge=0)] = 0


class EvaluationConfig(_Table, frozen=True, kw_only=True):
    """Windows of `context` tokens moved by `stride`."""

    context: Count = 128
    stride: Count = 64
    isolated: bool = False


class ArtifactConfig(_Table, frozen=True, kw_only=True):
    """How weights are stored; of `codecs` the smallest is taken."""

    codecs: Annotated[tuple[Literal["none", "zlib", "lzma", "zstd", "brotli"], ...], Meta(min_length=1)] = (
        "zlib",
        "zstd",
    )
    scale_floor: NotNegative = 0.0
    cap_bytes: Count = 16_000_000


class MachineConfig(_Table, frozen=True, kw_only=True):
    """Where it runs. `threads` is for CPU work; only one is reproducible bit by bit."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count = 1
    checkpoint_seconds: Positive = 60.0


class RunConfig(_Table, frozen=True, kw_only=True):
    """A whole run."""

    dataset: str
    output: str
    preset: str | None = None
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    model: ModelConfig = ModelConfig()
    batch: BatchConfig = BatchConfig()
    rates: RatesConfig = RatesConfig()
    budget: BudgetConfig = BudgetConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    artifact: ArtifactConfig = ArtifactConfig()
    run: MachineConfig = MachineConfig()


def presets() -> list[str]:
    """Names of the presets there are."""
    names = (entry.name for entry in files("trainer").joinpath("presets").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_config(file: Path | None, given: dict[str, Any]) -> RunConfig:
    """The configuration of a run: the preset named by `given` or the file, then the file, then
    `given` (nested as in the file). Raises TrainerError naming the key that is wrong."""
    from_file = _read(file) if file is not None else {}
    preset = given.get("preset", from_file.get("preset"))
    tables = _merge(_preset(preset) if preset is not None else {}, from_file)
    merged = _merge(tables, given)
    for key in ("dataset", "output"):
        if key not in merged:
            raise TrainerError(f"no {key}: give --{key}, or `{key} = …` in --config")
    try:
        config = msgspec.convert(merged, RunConfig)
    except msgspec.ValidationError as error:
        raise TrainerError(f"configuration: {error}") from error
    _check(config)
    return config


def _check(config: RunConfig) -> None:
    budget = config.budget
    if budget.steps is None and budget.seconds is None and budget.train_bytes is None:
        raise TrainerError("no budget: give --steps, --seconds or --train-bytes")
    if config.batch.rows % config.batch.micro_rows:
        raise TrainerError(
            f"batch.rows {config.batch.rows} must be a multiple of batch.micro_rows {config.batch.micro_rows}"
        )
    window = config.evaluation
    if window.stride > window.context:
        raise TrainerError(
            f"evaluation.stride {window.stride} is more than evaluation.context {window.context}"
        )


def _preset(name: str) -> dict[str, Any]:
    if name not in presets():
        raise TrainerError(f"no preset {name!r}; there are {', '.join(presets())}")
    return tomllib.loads(files("trainer").joinpath("presets", f"{name}.toml").read_text())


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise TrainerError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise TrainerError(f"{file}: not TOML: {error}") from error


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            if key == "budget" and LIMITS & value.keys():
                below = {name: kept for name, kept in below.items() if name not in LIMITS}
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged
