"""Conducting an experiment: from a plan to trained runs, going on wherever it was stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from tokenlab.ab.columns import Member, Tables, describe_tables, merged, settle
from tokenlab.ab.comparable import GRANTED, Arm, Override, require_comparable
from tokenlab.ab.comparing import compare_arms
from tokenlab.ab.controls import PERMUTED, SAME, make_controls
from tokenlab.ab.datasets import (
    dataset_of,
    make_datasets,
    manifest_sha256,
    verify_dataset,
)
from tokenlab.ab.experiment import SETTINGS_FILE, Experiment, Settings
from tokenlab.ab.launch import Described, Description, ModelSizes, require_trainer, slots
from tokenlab.ab.looks import look
from tokenlab.ab.measured import read_measured
from tokenlab.ab.plan import PLAN_FILE, Plan, read_plan, require_same, write_plan
from tokenlab.ab.runs import Status, Task, said, settled, status, train_all, train_one
from tokenlab.ab.schedule import Planned
from tokenlab.ab.solver import Solution, in_band, solve
from tokenlab.build.engine import EngineOptions, Job, run_in_order
from tokenlab.errors import InputError
from tokenlab.manifest import read_manifest
from tokenlab.progress import Progress
from tokenlab.runs import read_run

PROBE_STEPS = 16
"""Steps of a short run that stands for a whole one's size and speed."""


@contextmanager
def conducting(folder: Path) -> Iterator[None]:
    """Hold the experiment's folder. Raises InputError when another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{folder}: another `tokenlab ab` conducts it (it holds {lock.lock_file})"
        ) from error
    try:
        yield
    finally:
        lock.release()


def take_up(folder: Path, plan: Plan) -> Plan:
    """The plan in the folder from now on: the stored one if this continues it, which may have more pairs.
    Raises InputError for a plan of another experiment, or a folder with other things in it."""
    path = folder / PLAN_FILE
    if path.exists():
        stored = read_plan(path)
        require_same(stored, plan, folder, begun=(folder / SETTINGS_FILE).exists())
    elif any(entry.name != "lock" for entry in folder.iterdir()):
        raise InputError(f"{folder} holds other files and no {PLAN_FILE}; choose another --output")
    write_plan(folder, plan)
    return plan


def prepare(folder: Path, plan: Plan, progress: Progress) -> tuple[Experiment, list[dict[str, str]]]:
    """Datasets built, verified and found comparable, controls made, every run's settings fixed; and the
    slots to train them in. What an earlier call did is kept. Raises InputError, TokenlabError."""
    require_trainer()
    EngineOptions(plan.engine, plan.engine_address).check()
    experiment = Experiment(folder, plan)
    make_datasets(folder, plan, list(plan.arms), progress)
    overrides = _comparable(experiment, progress)
    if plan.controls:
        _verified_controls(experiment, progress)
    if experiment.settings is not None:
        described = _unchanged(experiment, experiment.settings)
        return experiment, slots(described, plan.workers)
    progress.note("asking the trainer what the plan comes to")
    solver = _Solver(experiment, progress)
    cells, description = settle(plan, *_members(experiment), solver)
    experiment.keep(
        Settings(
            torch=description.torch,
            code_sha256=description.code_sha256,
            cells=cells,
            overrides=overrides,
            solutions=solver.found,
        )
    )
    return experiment, slots(description, plan.workers)


def conduct(experiment: Experiment, places: list[dict[str, str]], progress: Progress) -> None:
    """Train the runs that are missing; with `until_decided`, pair by pair until the sequential test has
    decided about every arm. Raises InputError, TokenlabError; Ctrl-C lets the runs save."""
    plan, planned = experiment.plan, experiment.planned()
    with _training(experiment, places, planned, progress) as train:
        if not plan.until_decided:
            train(planned)
        for pair in range(plan.pairs) if plan.until_decided else ():
            train([run for run in planned if run.pair == pair])
            if _decided(experiment, pair + 1, progress):
                progress.note(f"decided after {pair + 1} of at most {plan.pairs} pairs")
                break
    if "artifact" in plan.columns:
        _note_artifacts(experiment, progress)


@contextmanager
def _training(
    experiment: Experiment, places: list[dict[str, str]], planned: Sequence[Planned], progress: Progress
) -> Iterator[Any]:
    """A function that trains some of the planned runs; those that columns share once, those that are
    there not at all."""
    tasks = {run: experiment.task(run) for run in planned}
    waiting = {task.folder: task for task in tasks.values() if settled(task) is None}
    there = len({task.folder for task in tasks.values()}) - len(waiting)
    if there:
        progress.note(f"resumed: {there} of {there + len(waiting)} runs were already trained")
    finished = 0

    def done(task: Task, outcome: Status) -> None:
        nonlocal finished
        finished += 1
        if outcome.state == "diverged":
            progress.note(f"{said(task, outcome)}; the run is kept as diverged")
        progress.advance(finished, said(task, outcome))

    def train(runs: Sequence[Planned]) -> None:
        chosen = {tasks[run].folder: tasks[run] for run in runs if tasks[run].folder in waiting}
        for folder in chosen:
            del waiting[folder]
        _train(experiment, list(chosen.values()), places, done)

    if waiting:
        progress.start("train", len(waiting), "runs")
    try:
        yield train
    finally:
        progress.finish()


def _train(experiment: Experiment, tasks: list[Task], places: list[dict[str, str]], done: Any) -> None:
    plan = experiment.plan
    if plan.engine == "local":
        return train_all(tasks, places, done)
    from tokenlab.build.ray_engine import RayEngine

    gpus = 1 if "CUDA_VISIBLE_DEVICES" in places[0] else 0
    engine = RayEngine(Job(experiment.folder, "", 0), len(places), plan.engine_address, gpus=gpus)
    with closing(engine):
        for task, outcome in zip(tasks, run_in_order(engine, train_one, tasks), strict=True):
            done(task, outcome)


def _comparable(experiment: Experiment, progress: Progress) -> list[Override]:
    folder, plan = experiment.folder, experiment.plan
    arms = []
    for arm in plan.arms:
        dataset = dataset_of(folder, arm)
        found = verify_dataset(folder, arm.name, dataset, plan, progress)
        arms.append(Arm(arm.name, read_manifest(dataset), found.verdict, found.failure))
    overrides = require_comparable(arms, plan.allow)
    for override in overrides:
        progress.note(f"allowed by --allow {override.allow}: {override.about}")
    for judged in arms:
        if not judged.manifest.scheme.reversible:
            progress.note(f"arm {judged.name} is scored on a normal form of the text, not on the text")
    if plan.confirm_docs >= arms[0].manifest.splits["val"].documents:
        raise InputError(
            f"--confirm-docs {plan.confirm_docs}: there are only "
            f"{arms[0].manifest.splits['val'].documents} validation documents, and none would be left"
        )
    return overrides


def _verified_controls(experiment: Experiment, progress: Progress) -> None:
    controls = make_controls(experiment.folder, experiment.plan, progress)
    for control in controls.arms:
        if control.kind == "positive":
            dataset = Path(control.dataset)
            found = verify_dataset(experiment.folder, control.name, dataset, experiment.plan, progress)
            if found.verdict not in GRANTED:
                raise InputError(f"{control.name}: `tokenlab verify` says {found.verdict}: {found.failure}")
    for reason in controls.left_out:
        progress.note(f"left out: {reason}")


def _members(experiment: Experiment) -> tuple[list[Member], list[Member]]:
    """Arms and controls, as columns take them."""
    datasets, plan = experiment.datasets(), experiment.plan
    own = {arm.name: arm.model for arm in plan.arms} | {
        name: plan.baseline.model for name in (SAME, PERMUTED)
    }
    members = [
        Member(
            name=name,
            dataset=str(dataset.resolve()),
            manifest_sha256=manifest_sha256(dataset),
            model=own.get(name, {}),
            as_baseline=name in (plan.baseline.name, SAME, PERMUTED),
        )
        for name, dataset in datasets.items()
    ]
    arms = len(plan.arms)
    return members[:arms], members[arms:]


def _unchanged(experiment: Experiment, settings: Settings) -> Description:
    """The trainer's description of the first cell. Raises InputError when the trainer, torch or a dataset
    is not the one that the experiment began with."""
    datasets = experiment.datasets()
    first = settings.cells[0]
    described = describe_tables([{"dataset": str(datasets[first.arm].resolve())} | first.tables])
    for what, was, now in (
        ("trainer", settings.code_sha256[:12], described.code_sha256[:12]),
        ("torch", settings.torch, described.torch),
    ):
        if was != now:
            raise InputError(
                f"{experiment.folder} was begun with another version of {what} ({was}, here is {now}), whose "
                "runs do not compare with new ones; go on with that version, or choose another --output"
            )
    for cell in settings.cells:
        if manifest_sha256(datasets[cell.arm]) != cell.manifest_sha256:
            raise InputError(
                f"{datasets[cell.arm]}: not the dataset that {experiment.folder} was begun with (arm "
                f"{cell.arm}); put that one back, or choose another --output"
            )
    return described


class _Solver:
    """Solves the column `artifact`: `found` holds the solution of each arm. Arms of the same vocabulary
    and proportions have the same, but where the artifact holds the dataset's own boundary rule."""

    def __init__(self, experiment: Experiment, progress: Progress) -> None:
        self.found: dict[str, Solution] = {}
        self._experiment = experiment
        self._progress = progress
        self._solved: dict[tuple[ModelSizes, int, str], Solution] = {}

    def __call__(self, arm: str, tables: Tables, about: Described, trainer: Description) -> ModelSizes:
        cap = self._experiment.plan.cap_bytes
        base, ids = about.config.model, about.vocab_size
        key = (base, ids, tables["dataset"] if base.boundary_source == "sidecar" else "")
        if key not in self._solved:
            self._progress.note(f"arm {arm}: solving width and depth for {cap:,} bytes")

            def measure(sizes: ModelSizes) -> int:
                name = f"{sizes.layers}x{sizes.dim}x{sizes.mlp_multiple}"
                shape = {"model": msgspec.to_builtins(sizes)}
                task = short_task(
                    self._experiment, merged(tables, shape), f"artifact/{arm}/{name}", trainer.code_sha256
                )
                train_short([task], slots(trainer, 1))
                return read_run(task.path).result.contest_bytes

            self._solved[key] = solve(base, ids, cap, about.code_bytes, measure)
        solution = self.found[arm] = self._solved[key]
        sizes = solution.sizes
        where = "in the band" if solution.lands(cap) else "the nearest there is"
        self._progress.note(
            f"arm {arm}: {sizes.layers} blocks of {sizes.dim}, MLP x {sizes.mlp_multiple}: "
            f"{solution.measured:,} of {cap:,} bytes after a short run ({where})"
        )
        return sizes


def short_task(experiment: Experiment, tables: Tables, name: str, code_sha256: str) -> Task:
    """A short run with these tables, which name its dataset."""
    budget = tables.get("budget", {})
    kept = {key: value for key, value in budget.items() if key not in ("train_bytes", "seconds", "steps")}
    seed = experiment.plan.first_seed
    return Task(
        folder=str((experiment.folder / "probes" / name / f"seed-{seed}").resolve()),
        tables=tables | {"budget": kept | {"steps": PROBE_STEPS}, "seed": seed},
        code_sha256=code_sha256,
        manifest_sha256=manifest_sha256(Path(tables["dataset"])),
    )


def train_short(tasks: Sequence[Task], places: list[dict[str, str]]) -> None:
    """Train those short runs that are not there. Raises InputError for one that fails."""
    train_all([task for task in tasks if settled(task) is None], places, lambda task, outcome: None)
    for task in tasks:
        if (failure := status(task).failure) is not None:
            raise InputError(f"a short run of these settings fails: {failure} ({task.folder})")


def _decided(experiment: Experiment, pairs: int, progress: Progress) -> bool:
    """Whether the sequential test has decided about every arm in the first column, after so many pairs:
    what the analysis would say of them (tokenlab/ab/comparing.py)."""
    plan = experiment.plan
    runs = [
        read_measured(experiment.folder, run)
        for run in experiment.runs
        if run.column == plan.columns[0] and run.pair < pairs and run.state == "whole"
    ]
    look(experiment.folder, "sequential test", [run.facts.folder for run in runs])
    by_arm = {arm.name: [run for run in runs if run.facts.arm == arm.name] for arm in plan.arms}
    baseline = by_arm.pop(plan.baseline.name)
    if not baseline or not all(by_arm.values()):
        return False
    seen = slice(0, len(baseline[0].sizes) - plan.confirm_docs)
    found = compare_arms(baseline, by_arm, seen, plan)
    for one in found:
        progress.note(
            f"after {pairs} pairs: {one.arm} {one.decision} (p = {one.p_sequential:.3g} at any time)"
        )
    return len(found) == len(by_arm) and all(one.decision != "undecided" for one in found)


def _note_artifacts(experiment: Experiment, progress: Progress) -> None:
    """Say which artifacts missed the band."""
    cap = experiment.plan.cap_bytes
    for run in experiment.runs:
        if run.column == "artifact" and run.state == "whole" and not in_band(run.contest_bytes, cap):
            progress.note(
                f"{run.folder}: its artifact is {run.contest_bytes:,} bytes, outside the band of {cap:,}"
            )
