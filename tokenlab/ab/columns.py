"""The columns of an experiment: in what respect the arms are equal. TRAINER.md, section 4.2.

In all columns the documents and their order, validation, seeds, code and learning rates are the same.
B is the plan's `budget.train_bytes`.

bytes      Every arm has the preset's network (and its own [arms.model]) and sees B source bytes.
swap       Only the embedding changes: the same blocks, rows and windows in tokens, and the number of
           steps in which the baseline sees B source bytes. An arm's own [arms.model] does not count here.
artifact   Width and depth are solved (solver.py) so that code and compressed weights fill `cap_bytes`;
           each arm sees B source bytes, or trains for `budget.seconds` where no B is given.
wallclock  The preset's network, trained for `budget.seconds`. Not reproducible to the bit.
flops      The preset's network; each arm sees so many source bytes that bytes x operations a byte are
           those of the baseline's B.

With `lengths = "bytes"`, a row, a step, an evaluation window, and the steps of warm-up and warmdown are
those of the baseline in source bytes (in `swap`: in tokens); the trainer turns them into the arm's tokens.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from tokenlab.ab.facts import ColumnName
from tokenlab.ab.launch import Described, Description, ModelSizes, describe
from tokenlab.ab.plan import Plan

TRAIN_LENGTHS = (("batch", "context", "context_bytes"),)
STEP_LENGTHS = (
    ("rates", "momentum_steps", "momentum_bytes"),
    ("budget", "warmdown_steps", "warmdown_bytes"),
    ("evaluation", "validate_every", "validate_every_bytes"),
)
VAL_LENGTHS = (("evaluation", "context", "context_bytes"), ("evaluation", "stride", "stride_bytes"))

Tables = dict[str, Any]
"""The trainer's configuration as nested tables, without `output` and `seed`. A cell's are without
`dataset` too: where it lies may change, what it is may not."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """An arm or a control as a column sees it: its dataset, its own [model], and whether its lengths are
    the baseline's own in tokens (the baseline, and controls of the same tokens)."""

    name: str
    dataset: str
    manifest_sha256: str
    model: dict[str, Any]
    as_baseline: bool


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an arm's runs are in a column. `owner`: the column whose folder holds them, for runs that are
    the same in several columns are trained once."""

    column: ColumnName
    arm: str
    owner: ColumnName
    manifest_sha256: str
    tables: Tables
    parameters: int
    layers: int
    dim: int
    batch_tokens: int
    batch_bytes: float
    flops_per_byte: float


Solve = Callable[[str, Tables, Described, Description], ModelSizes]
"""Of an arm's name, tables and description, and of the trainer's: the solved sizes."""


def settle(
    plan: Plan, members: Sequence[Member], control_members: Sequence[Member], solve: Solve
) -> tuple[list[Cell], Description]:
    """The cells of all columns (controls in the first one only), and the description of the trainer,
    whose runs are in the cells' order. Raises InputError for what the trainer refuses."""
    description = describe_tables([arm_tables(plan, members[0], None)])
    first = description.runs[0]
    everyone = (*members, *control_members)
    variants = {member.name: arm_tables(plan, member, first) for member in everyone}
    about: dict[str, Described] = {}
    if {"flops", "artifact"} & set(plan.columns):  # only they need to know more of an arm
        about = dict(zip(variants, describe_tables(list(variants.values())).runs, strict=True))
    wanted: list[tuple[ColumnName, Member, Tables]] = []
    for index, column in enumerate(plan.columns):
        for member in members if index else everyone:
            tables = _in_column(plan, column, member, variants[member.name], about.get(member.name), first)
            if column == "artifact":
                sizes = solve(member.name, tables, about[member.name], description)
                tables = merged(tables, {"model": msgspec.to_builtins(sizes)})
            wanted.append((column, member, tables))
    final = describe_tables([tables for _, _, tables in wanted])
    cells: list[Cell] = []
    for (column, member, full), found in zip(wanted, final.runs, strict=True):
        tables = {key: value for key, value in full.items() if key != "dataset"}
        same = (cell.owner for cell in cells if cell.arm == member.name and cell.tables == tables)
        cells.append(
            Cell(
                column=column,
                arm=member.name,
                owner=next(same, column),
                manifest_sha256=member.manifest_sha256,
                tables=tables,
                parameters=found.parameters,
                layers=found.config.model.layers,
                dim=found.config.model.dim,
                batch_tokens=found.config.batch["rows"] * found.config.batch["context"],
                batch_bytes=found.batch_bytes,
                flops_per_byte=found.flops_per_byte,
            )
        )
    return cells, final


def arm_tables(plan: Plan, member: Member, baseline: Described | None) -> Tables:
    """The plan's settings for an arm, with the budget's bytes (or seconds); lengths are the baseline's
    bytes, once those are known."""
    limit = "train_bytes" if plan.budget.train_bytes is not None else "seconds"
    given: Tables = {
        "dataset": member.dataset,
        **({"preset": plan.preset} if plan.preset is not None else {}),
        "run": {"threads": 1},
        "evaluation": {"token_nats": True},
        "budget": {limit: getattr(plan.budget, limit)},
    }
    tables = merged(given, plan.config)
    tables = merged(tables, {"model": member.model} if member.model else {})
    if baseline is None or member.as_baseline or plan.lengths == "tokens":
        return tables
    return merged(tables, byte_lengths(baseline))


def byte_lengths(baseline: Described) -> Tables:
    """The lengths of a described run in source bytes; those that it was given in bytes stay as given."""
    config = msgspec.to_builtins(baseline.config)
    given: Tables = {"batch": {"bytes": config["batch"]["bytes"] or round(baseline.batch_bytes)}}
    for lengths, unit in (
        (TRAIN_LENGTHS, baseline.train_bytes_per_token),
        (STEP_LENGTHS, baseline.batch_bytes),
        (VAL_LENGTHS, baseline.val_bytes_per_token),
    ):
        for table, key, in_bytes in lengths:
            if config[table][key]:
                stated = config[table][in_bytes]
                given.setdefault(table, {})[in_bytes] = stated or max(1, round(config[table][key] * unit))
    return given


def merged(tables: Tables, over: Tables) -> Tables:
    """`over` on `tables`, key by key; a length in bytes takes the place of the same in tokens."""
    forms = {(table, in_bytes): key for table, key, in_bytes in (*TRAIN_LENGTHS, *STEP_LENGTHS, *VAL_LENGTHS)}
    forms[("batch", "bytes")] = "rows"
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in tables.items()}
    for key, value in over.items():
        if not isinstance(value, dict):
            result[key] = value
            continue
        table = result.setdefault(key, {})
        for name, inner in value.items():
            table.pop(forms.get((key, name), ""), None)
            table[name] = inner
    return result


def describe_tables(tables: Sequence[Tables]) -> Description:
    """What the trainer says of these configurations."""
    with tempfile.TemporaryDirectory(prefix="tokenlab-ab-") as folder:
        files = [Path(folder) / f"{number}.toml" for number in range(len(tables))]
        for file, table in zip(files, tables, strict=True):
            file.write_bytes(tomli_w.dumps({"output": "unused"} | table).encode())
        return describe(files)


def _in_column(
    plan: Plan,
    column: ColumnName,
    member: Member,
    tables: Tables,
    about: Described | None,
    baseline: Described,
) -> Tables:
    """An arm's tables with what the column says about them; `about` describes `tables`."""
    if column == "wallclock":
        return _limited(tables, {"seconds": plan.budget.seconds})
    if column == "artifact":
        # The cap is what is aimed at; that an artifact missed it is shown, and no reason to lose the run.
        return merged(tables, {"artifact": {"cap_bytes": max(16_000_000, 2 * plan.cap_bytes)}})
    budget = plan.train_bytes(column)
    if column == "swap":
        plain = arm_tables(plan, msgspec.structs.replace(member, model={}), None)
        return _limited(plain, {"steps": math.ceil(budget / baseline.batch_bytes)})
    if column == "flops":
        if about is None:
            raise ValueError(f"{member.name}: the column flops needs a description of the arm")
        share = baseline.flops_per_byte / about.flops_per_byte
        return _limited(tables, {"train_bytes": round(budget * share)})
    return _limited(tables, {"train_bytes": budget})


def _limited(tables: Tables, limit: Tables) -> Tables:
    kept = {key: value for key, value in tables["budget"].items() if key not in ("train_bytes", "seconds")}
    return tables | {"budget": kept | limit}
