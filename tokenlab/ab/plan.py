"""The plan of an experiment: everything that decides about it, in a file people write and commit.

    # ab/plan.toml, shortened
    schema = "tokenlab-ab-plan-1"
    input = ["docs.jsonl.zst"]
    val_docs = 50
    preset = "nano"
    columns = ["bytes"]
    pairs = 8

    [budget]
    train_bytes = 1000000

    [[arms]]
    name = "bpe"
    scheme = "bpe"

    [[arms]]
    name = "caseops-2048"
    scheme = "caseops"
    vocab_size = 2048

The first arm is the baseline. The file in an experiment's folder has every default written out, so
that a later version of tokenlab runs what was planned; keys without a value are left out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import tomli_w
from msgspec import Meta

from shards import write_atomically
from tokenlab.ab.facts import ColumnName
from tokenlab.errors import InputError

SCHEMA: Literal["tokenlab-ab-plan-1"] = "tokenlab-ab-plan-1"
PLAN_FILE = "plan.toml"
CONTROL = "control-"
"""Names of control arms begin so, and no other's."""
DEFAULT_BYTES = {
    "nano": 1_000_000,
    "nano-bytes": 1_000_000,
    "nano-space": 1_000_000,
    "nano-hnet": 1_000_000,
    "micro": 4_000_000,
}
"""Source bytes a run where no budget is given, by preset; nano's is that of TRAINER.md 4.3."""
DEFAULT_VAL_DOCS = 50
"""Validation documents of an input, where none are given; said when datasets are built, and in the plan."""
CONTEST_CONFIDENCE = 0.99
"""The contest accepts a record at p < 0.01."""
FREE = {"pairs", "workers", "engine", "engine_address"}
"""Keys that may change while an experiment goes on: how much is done and where, not what."""

Kind = TypeVar("Kind")
BUILT = {"input", "text_field", "limit_docs", "val_docs", "confirm_docs", "arms"}
"""Keys that decide about datasets: fixed from the first call on, the others once runs are settled."""

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Allowed = Literal["train-documents", "validation-documents", "validation-bytes", "verdict"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ArmPlan(_Table, frozen=True, kw_only=True):
    """An arm: an existing `dataset`, or a `scheme` (a name or a file) that is built from the plan's input
    with a vocabulary of `vocab_size` ids or the one in the file `tokenizer`. `model` overrides the
    trainer's [model] for this arm."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    dataset: str | None = None
    scheme: str | None = None
    vocab_size: Count | None = None
    tokenizer: str | None = None
    model: dict[str, Any] = {}


class BudgetPlan(_Table, frozen=True, kw_only=True):
    """What a run may use: source bytes seen, or seconds of training for the column `wallclock`."""

    train_bytes: Count | None = None
    seconds: Annotated[float, Meta(gt=0)] | None = None


class Plan(_Table, frozen=True, kw_only=True):
    """An experiment. Documents: `input` as `tokenlab build` takes it (none is the prose that Python
    carries), of which the first `val_docs` are validation and the `confirm_docs` after them are held back
    (of existing datasets: the last of their validation). `preset` and `config` are the trainer's; `lengths`
    says whether a row, a step and an evaluation window are the same source bytes in every arm, or the same
    tokens. `margin` and `target` are fractions of the baseline's bits per byte: differences below the
    margin are called equivalent, those of the target's size shall be found. `cap_bytes` is for the column
    `artifact`. `rule` = `contest` decides as Parameter Golf does. With `until_decided` pairs are run until
    the sequential test decides, at most `pairs`. `workers` absent: one a core here."""

    schema: Literal["tokenlab-ab-plan-1"] = SCHEMA
    input: tuple[str, ...] | None = None
    text_field: str = "text"
    limit_docs: Count | None = None
    val_docs: Count | None = None
    confirm_docs: Annotated[int, Meta(ge=0)] = 0
    preset: str | None = None
    lengths: Literal["bytes", "tokens"] = "bytes"
    columns: Annotated[tuple[ColumnName, ...], Meta(min_length=1)] = ("bytes",)
    cap_bytes: Count = 16_000_000
    pairs: Count = 8
    first_seed: Annotated[int, Meta(ge=0, lt=2**31)] = 1
    confidence: Share = 0.95
    margin: Share = 0.005
    target: Share | None = None
    until_decided: bool = False
    rule: Literal["paired", "contest"] = "paired"
    controls: bool = True
    control_pairs: Count = 2
    allow: tuple[Allowed, ...] = ()
    engine: Literal["local", "ray"] = "local"
    engine_address: str | None = None
    workers: Count | None = None
    budget: BudgetPlan = BudgetPlan()
    config: dict[str, Any] = {}
    arms: tuple[ArmPlan, ...]

    @property
    def baseline(self) -> ArmPlan:
        """The arm that the others are held against: the first."""
        return self.arms[0]

    def train_bytes(self, column: ColumnName) -> int:
        """Source bytes that the baseline sees in a column that needs to know. Raises InputError."""
        if self.budget.train_bytes is None:
            raise InputError(f"column {column} needs --train-bytes, the source bytes that the baseline sees")
        return self.budget.train_bytes

    def to_toml(self) -> str:
        """The file's content."""
        return tomli_w.dumps(_without_none(msgspec.to_builtins(self)))


def parse_plan(text: str, where: str) -> Plan:
    """A plan from TOML, its defaults filled in. Raises InputError naming the key that is wrong."""
    try:
        plan = msgspec.convert(tomllib.loads(text), Plan)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{where}: {error}") from error
    return complete(plan)


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises InputError as `parse_plan`, or when it cannot be read."""
    try:
        return parse_plan(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no plan of an experiment there: {error}") from error


def read_settings(path: Path) -> dict[str, Any]:
    """The trainer's settings in a file, as tables. Raises InputError when they cannot be read."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no settings of the trainer: {error}") from error


def parse_arm(text: str) -> ArmPlan:
    """An arm as `--arm` takes it: SCHEME, SCHEME:IDS or SCHEME@TOKENIZER, after `NAME=` if it shall be
    called so; SCHEME may be a file.

    >>> parse_arm("caseops:2048").name
    'caseops-2048'
    """
    found = re.fullmatch(r"(?:([^=]*)=)?([^:@]+)(?::(\d+)|@(.+))?", text)
    if found is None:
        raise InputError(f"--arm {text}: write SCHEME, SCHEME:IDS or SCHEME@TOKENIZER, with NAME= before it")
    name, scheme, size, tokenizer = found.groups()
    stem = Path(scheme).stem if scheme.endswith(".toml") else scheme
    name = name or "-".join(part for part in (stem, size, tokenizer and Path(tokenizer).stem) if part)
    return _converted(
        {"name": name, "scheme": scheme, "vocab_size": int(size) if size else None, "tokenizer": tokenizer},
        ArmPlan,
        f"--arm {text}",
    )


def dataset_arms(folders: Sequence[Path]) -> list[ArmPlan]:
    """Arms of existing datasets, named as their folders."""
    return [
        _converted({"name": folder.resolve().name, "dataset": str(folder)}, ArmPlan, f"the folder {folder}")
        for folder in folders
    ]


def make_plan(given: dict[str, Any]) -> Plan:
    """A plan of keys as in the file; those that are None take their default. Raises InputError."""
    return complete(_converted({k: v for k, v in given.items() if v is not None}, Plan, "the plan"))


def complete(plan: Plan) -> Plan:
    """The plan with the defaults that depend on other keys. Raises InputError for keys that do not go
    together."""
    _check_arms(plan)
    if plan.input is not None and plan.val_docs is None and any(arm.scheme for arm in plan.arms):
        plan = msgspec.structs.replace(plan, val_docs=DEFAULT_VAL_DOCS)
    budget = plan.budget
    if budget.train_bytes is None and budget.seconds is None:
        if plan.preset not in DEFAULT_BYTES:
            raise InputError(
                f"no budget: give --train-bytes or --seconds (only the presets {', '.join(DEFAULT_BYTES)} "
                "have a default here)"
            )
        plan = msgspec.structs.replace(plan, budget=BudgetPlan(train_bytes=DEFAULT_BYTES[plan.preset]))
    for column in plan.columns:
        _check_budget(column, plan)
    if len(set(plan.columns)) != len(plan.columns):
        raise InputError(f"columns: {', '.join(plan.columns)}: give each once")
    for key in ("dataset", "output", "seed", "preset"):
        if key in plan.config:
            raise InputError(f"config.{key}: the experiment sets it; leave it out of the trainer's settings")
    limits = {"steps", "seconds", "train_bytes"} & set(plan.config.get("budget", {}))
    if limits:
        raise InputError(
            f"config.budget.{min(limits)}: the budget of a run is the plan's: --train-bytes or --seconds"
        )
    return plan


def require_same(stored: Plan, given: Plan, where: Path, *, begun: bool) -> None:
    """Raise InputError when a plan would not continue the stored one, naming the key that differs. Before
    it has `begun` to train, only what its datasets were built by must be the same."""
    old, new = (msgspec.to_builtins(plan) for plan in (stored, given))
    for key, value in old.items():
        if new[key] != value and (key in BUILT or (begun and key not in FREE)):
            raise InputError(
                f"{where} holds another experiment: {key} was {_shown(value)}, is now {_shown(new[key])}; "
                "choose another --output (only --pairs, --workers and --engine may change)"
            )
    if begun and given.pairs < stored.pairs:
        raise InputError(f"{where} was planned with {stored.pairs} pairs; {given.pairs} would drop some")


def write_plan(folder: Path, plan: Plan) -> None:
    """Write `plan.toml`, whole or not at all."""
    with write_atomically(folder / PLAN_FILE) as file:
        file.write(plan.to_toml().encode())


def _check_arms(plan: Plan) -> None:
    if len(plan.arms) < 2:
        raise InputError(
            f"{len(plan.arms)} arm: a comparison needs two or more; the first is the baseline "
            "(--arm bpe --arm caseops, or two datasets)"
        )
    names = [arm.name for arm in plan.arms]
    for arm in plan.arms:
        if (arm.dataset is None) == (arm.scheme is None):
            raise InputError(f"arm {arm.name}: give a dataset or a scheme, one of them")
        if arm.dataset is not None and (arm.vocab_size or arm.tokenizer):
            raise InputError(f"arm {arm.name}: vocab_size and tokenizer are for a scheme that is built")
        if arm.name.startswith(CONTROL):
            raise InputError(f"arm {arm.name}: names that begin with {CONTROL} are those of the controls")
        if names.count(arm.name) > 1:
            raise InputError(f"two arms are called {arm.name}; name one with --arm NAME=SCHEME")


def _check_budget(column: ColumnName, plan: Plan) -> None:
    if column == "wallclock" and plan.budget.seconds is None:
        raise InputError("column wallclock needs --seconds, what every arm may train")
    if column in ("bytes", "swap", "flops"):
        plan.train_bytes(column)


def _converted(given: dict[str, Any], kind: type[Kind], where: str) -> Kind:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}") from error


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value]
    return value


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()
