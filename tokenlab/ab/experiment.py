"""An experiment's folder, read: its plan, its arms, and the raw facts of its runs.

ab/plan.toml                    the plan, complete
   settings.json                what each arm's runs are in each column; the trainer they are of
   datasets/ARM/                datasets that were built here
   verdicts/ARM.json            what `tokenlab verify` said
   controls.json                the controls, and those that this plan cannot have
   runs/COLUMN/ARM/seed-N/      the trainer's folders; see tokenlab/ab/runs.py
   probes/                      short runs: of the solver, and for the forecast
   looks.jsonl, analysis.json   written by the analysis
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from shards import write_atomically
from tokenlab.ab.columns import Cell
from tokenlab.ab.comparable import Override
from tokenlab.ab.controls import PERMUTED, SAME, Controls, read_controls
from tokenlab.ab.datasets import dataset_of, manifest_sha256, read_verdict
from tokenlab.ab.facts import ArmFacts, RunFacts
from tokenlab.ab.plan import PLAN_FILE, Plan, read_plan
from tokenlab.ab.runs import Status, Task, settled
from tokenlab.ab.schedule import Planned, schedule
from tokenlab.ab.solver import Solution
from tokenlab.errors import InputError
from tokenlab.manifest import read_manifest
from tokenlab.runs import read_run, read_steps

SETTINGS_FILE = "settings.json"
SCHEMA = "tokenlab-ab-settings-1"
NOT_VERIFIED = "not verified: a control"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`settings.json`: what the plan came to. `torch` and `code_sha256` are the trainer's; `solutions` are
    those of the column `artifact`, by arm; `overrides` the differences between arms that were allowed."""

    schema: str = SCHEMA
    torch: str
    code_sha256: str
    cells: list[Cell]
    overrides: list[Override]
    solutions: dict[str, Solution]


class Experiment:
    """An experiment in a folder. Raises InputError for a folder that holds none, or one of another
    version."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan

    @classmethod
    def open(cls, folder: Path) -> Experiment:
        """The experiment in a folder."""
        if not (folder / PLAN_FILE).exists():
            raise InputError(
                f"{folder}: no {PLAN_FILE}, so no experiment; make one with `tokenlab ab --output {folder}`"
            )
        return cls(folder, read_plan(folder / PLAN_FILE))

    @cached_property
    def settings(self) -> Settings | None:
        """What the plan came to; None while the datasets are being made."""
        path = self.folder / SETTINGS_FILE
        try:
            settings = msgspec.json.decode(path.read_bytes(), type=Settings)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise InputError(f"{path}: not the settings of this version of tokenlab: {error}") from error
        if settings.schema != SCHEMA:
            raise InputError(f"{path}: schema {settings.schema}, this version reads {SCHEMA}")
        return settings

    def keep(self, settings: Settings) -> None:
        """Write what the plan came to."""
        with write_atomically(self.folder / SETTINGS_FILE) as file:
            file.write(msgspec.json.format(msgspec.json.encode(settings), indent=1) + b"\n")
        self.settings = settings

    @property
    def controls(self) -> Controls | None:
        """The controls, once they were made; None in an experiment without."""
        return read_controls(self.folder) if self.plan.controls else None

    @property
    def overrides(self) -> list[str]:
        """The differences between arms that the user allowed, in words."""
        return [override.about for override in self.settings.overrides] if self.settings else []

    def datasets(self) -> dict[str, Path]:
        """Folders of the arms' and the controls' datasets, by name."""
        found = {arm.name: dataset_of(self.folder, arm) for arm in self.plan.arms}
        for control in self.controls.arms if self.controls else []:
            found[control.name] = (
                found[self.plan.baseline.name]
                if control.name == SAME
                else self.folder / "datasets" / control.name
            )
        return found

    @property
    def arms(self) -> list[ArmFacts]:
        """All arms, the baseline first and controls last."""
        return [self._arm(name, dataset) for name, dataset in self.datasets().items()]

    def _arm(self, name: str, dataset: Path) -> ArmFacts:
        manifest = read_manifest(dataset)
        control = name not in {arm.name for arm in self.plan.arms}
        verdict = read_verdict(self.folder, self.plan.baseline.name if name == SAME else name)
        return ArmFacts(
            name=name,
            dataset=str(dataset),
            scheme=manifest.scheme.name,
            fingerprint=manifest.scheme.fingerprint,
            vocab_size=manifest.vocab_size,
            manifest_sha256=manifest_sha256(dataset),
            bytes_per_token=manifest.splits["train"].source_bytes / manifest.splits["train"].tokens,
            verdict=verdict.verdict if verdict is not None and name != PERMUTED else NOT_VERIFIED,
            normal_form=not manifest.scheme.reversible,
            control=control,
        )

    def planned(self) -> list[Planned]:
        """The runs of the plan, in their order."""
        controls = [control.name for control in self.controls.arms] if self.controls else []
        return schedule(
            self.plan.columns,
            [arm.name for arm in self.plan.arms],
            pairs=self.plan.pairs,
            first_seed=self.plan.first_seed,
            controls=controls,
            control_pairs=self.plan.control_pairs,
            reseeded=(SAME,),
        )

    def prepared(self) -> Settings:
        """The settings. Raises InputError before the plan was prepared."""
        if self.settings is None:
            raise InputError(f"{self.folder}: not prepared yet; run `tokenlab ab {self.folder / PLAN_FILE}`")
        return self.settings

    def cell(self, planned: Planned) -> Cell:
        """What a planned run is. Raises InputError before the plan was prepared."""
        cells = self.prepared().cells
        return next(cell for cell in cells if (cell.column, cell.arm) == (planned.column, planned.arm))

    def task(self, planned: Planned) -> Task:
        """A planned run as it is trained. Runs that columns share have one folder."""
        cell = self.cell(planned)
        folder = self.folder / "runs" / cell.owner / cell.arm / f"seed-{planned.seed}"
        dataset = self.datasets()[cell.arm].resolve()
        return Task(
            folder=str(folder.resolve()),
            tables={"dataset": str(dataset), "seed": planned.seed} | cell.tables,
            code_sha256=self.prepared().code_sha256,
            manifest_sha256=cell.manifest_sha256,
        )

    @property
    def runs(self) -> list[RunFacts]:
        """The runs that are whole or have diverged, in the plan's order; columns that share a run have it
        each. Raises InputError for a result that is not the plan's."""
        if self.settings is None:
            return []
        found = []
        for planned in self.planned():
            task = self.task(planned)
            known = settled(task)
            if known is not None:
                read = _whole if known.state == "whole" else _diverged
                found.append(read(self.folder, planned, self.cell(planned), task, known))
        return found


def _planned_facts(folder: Path, planned: Planned, cell: Cell, task: Task) -> dict[str, Any]:
    """What is known of a run however it ended."""
    return {
        "arm": planned.arm,
        "column": planned.column,
        "pair": planned.pair,
        "seed": planned.seed,
        "folder": str(task.path.relative_to(folder.resolve())),
        "layers": cell.layers,
        "dim": cell.dim,
    }


def _whole(folder: Path, planned: Planned, cell: Cell, task: Task, known: Status) -> RunFacts:
    result = read_run(task.path).result
    timing = result.timing
    return RunFacts(
        **_planned_facts(folder, planned, cell, task),
        state="whole",
        failure=None,
        bpb=result.score.bpb,
        bpb_documents=result.score.bpb_documents,
        bpb_before_quantisation=result.score_before_quantisation.bpb,
        signature=result.score.signature,
        parameters=result.training.parameters,
        contest_bytes=result.contest_bytes,
        steps=result.training.steps,
        tokens=result.training.tokens,
        train_bytes=result.training.train_bytes,
        training_seconds=timing.training,
        # Not known of a run whose experiment was killed between its end and its record: one thread's wall.
        cpu_seconds=known.cpu_seconds or timing.training + timing.evaluation,
        flops_per_byte=result.training.flops_per_byte,
    )


def _diverged(folder: Path, planned: Planned, cell: Cell, task: Task, known: Status) -> RunFacts:
    """A run without a score, as far as it came."""
    lines = task.path / "metrics.jsonl"
    steps = read_steps(lines) if lines.exists() else ()
    return RunFacts(
        **_planned_facts(folder, planned, cell, task),
        state="diverged",
        failure=known.failure,
        bpb=None,
        bpb_documents=None,
        bpb_before_quantisation=None,
        signature=None,
        parameters=cell.parameters,
        contest_bytes=0,
        steps=len(steps),
        tokens=len(steps) * cell.batch_tokens,
        train_bytes=len(steps) * cell.batch_bytes,
        training_seconds=steps[-1].seconds if steps else 0.0,
        cpu_seconds=known.cpu_seconds,
        flops_per_byte=cell.flops_per_byte,
    )
