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

Lengths are tokens or steps, or source bytes under the other name in EITHER, for runs over different
tokenizers that shall see the same text; `trainer.sizes.resolve` turns bytes into tokens and steps. A
later source's one form replaces an earlier source's other; both in one source are an error.
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
EITHER = (
    ("batch", "rows", "bytes"),
    ("batch", "context", "context_bytes"),
    ("rates", "momentum_steps", "momentum_bytes"),
    ("budget", "warmdown_steps", "warmdown_bytes"),
    ("evaluation", "context", "context_bytes"),
    ("evaluation", "stride", "stride_bytes"),
    ("evaluation", "validate_every", "validate_every_bytes"),
)
"""Table, key, and the key of the same in source bytes."""
Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ModelConfig(_Table, frozen=True, kw_only=True):
    """Sizes of the network; its vocabulary is the dataset's.

    `none` is the flat transformer. With another source of boundaries `layers`, `dim` and heads are those
    of the main network, which makes a step a patch, and the rest is of the blocks around it; see
    trainer/hierarchical.py. `target_bytes_per_patch` is the dataset's own where patches are read."""

    boundary_source: Literal["none", "sidecar", "router"] = "none"
    layers: Count = 9
    dim: Count = 512
    heads: Count = 8
    kv_heads: Count = 4
    mlp_multiple: Count = 2
    rope_base: Positive = 10_000.0
    softcap: Positive = 30.0
    embedding_std: Positive = 0.005
    qk_gain: Positive = 1.5
    stages: Count = 1
    encoder_layers: Count = 2
    decoder_layers: Count = 2
    byte_dim: Count = 256
    byte_heads: Count = 4
    byte_kv_heads: Count = 2
    middle_dim: Count = 256
    target_bytes_per_patch: Positive | None = None
    ratio_weight: NotNegative = 0.03
    ngram_orders: tuple[Count, ...] = ()
    ngram_slots: Count = 8192


class BatchConfig(_Table, frozen=True, kw_only=True):
    """A step sees `rows` rows of `context` tokens, at most `micro_rows` at a time (gradients
    accumulate); documents are shuffled in blocks of `block_documents`. Rows that stand for `bytes`
    are a multiple of `row_multiple`, which several processes need."""

    rows: Count = 16
    bytes: Count | None = None
    row_multiple: Count = 1
    context: Count = 128
    context_bytes: Count | None = None
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
    router_rate: Positive = 0.002
    momentum: NotNegative = 0.95
    momentum_start: NotNegative = 0.85
    momentum_steps: Annotated[int, Meta(ge=0)] = 500
    momentum_bytes: Count | None = None
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
    warmdown_bytes: Count | None = None


class EvaluationConfig(_Table, frozen=True, kw_only=True):
    """Windows of `context` tokens moved by `stride`, for the score of the finished run. While it
    trains, the validation split is scored every `validate_every` steps (0 is never) as a stream, in
    windows that do not overlap. `token_nats` keeps what each token of the validation split costs."""

    context: Count = 128
    context_bytes: Count | None = None
    stride: Count = 64
    stride_bytes: Count | None = None
    isolated: bool = False
    validate_every: Annotated[int, Meta(ge=0)] = 0
    validate_every_bytes: Count | None = None
    token_nats: bool = False


class ArtifactConfig(_Table, frozen=True, kw_only=True):
    """How weights are stored; of `codecs` the smallest is taken."""

    codecs: Annotated[tuple[Literal["none", "zlib", "lzma", "zstd", "brotli"], ...], Meta(min_length=1)] = (
        "zlib",
        "zstd",
    )
    scale_floor: NotNegative = 0.0
    cap_bytes: Count = 16_000_000


class MachineConfig(_Table, frozen=True, kw_only=True):
    """Where it runs, and how. `threads` is for CPU work; only one is reproducible bit by bit.
    `auto` is bfloat16 on a GPU and float32 on a CPU; for `compile` (a torch.compile backend, or
    `off`) it is inductor on a GPU and off on a CPU. `warmup_steps` are made, undone and not counted
    before the first; unless given they are 3 where something is compiled, else 0."""

    device: Annotated[str, Meta(pattern="^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    threads: Count = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto", "off", "eager", "aot_eager", "inductor"] = "auto"
    warmup_steps: Annotated[int, Meta(ge=0)] | None = None
    checkpoint_seconds: Positive = 60.0


class LogConfig(_Table, frozen=True, kw_only=True):
    """Where metrics go besides metrics.jsonl."""

    tensorboard: bool = False
    wandb: bool = False


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
    log: LogConfig = LogConfig()


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
    if config.model.boundary_source == "router" and config.model.target_bytes_per_patch is None:
        raise TrainerError("model.boundary_source is router: give model.target_bytes_per_patch, say 5.0")
    if config.model.layers < 2:
        raise TrainerError("model.layers is 1; training needs 2 at least, for the skips between them")
    window = config.evaluation
    if window.context_bytes is None and window.stride_bytes is None:
        check_window(window)


def check_window(window: EvaluationConfig) -> None:
    """Raises TrainerError for windows that leave gaps."""
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
    """`over` on `under`. Raises TrainerError when `over` gives one length in both forms."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key, {})
        if isinstance(below, dict) and isinstance(value, dict):
            void = _replaced(key, value)
            merged[key] = {name: kept for name, kept in below.items() if name not in void} | value
        else:
            merged[key] = value
    return merged


def _replaced(table: str, given: dict[str, Any]) -> set[str]:
    """Keys of an earlier source's table that these make void."""
    void = LIMITS if table == "budget" and LIMITS & given.keys() else set()
    for name, *forms in EITHER:
        if name == table and given.keys() & set(forms):
            if given.keys() >= set(forms):
                raise TrainerError(f"{table}.{forms[0]} and {table}.{forms[1]} are one length; give one")
            void = void | set(forms)
    return void
