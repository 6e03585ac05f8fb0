"""What a plan costs and what it can prove, before it runs: `tokenlab ab --plan`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

from tokenlab.ab.columns import Cell
from tokenlab.ab.conduct import PROBE_STEPS, short_task, train_short
from tokenlab.ab.experiment import Experiment
from tokenlab.ab.facts import RunFacts
from tokenlab.ab.plan import Plan
from tokenlab.ab.runs import Task, settled, status
from tokenlab.ab.statistics import (
    SequentialTest,
    minimal_detectable,
    pairs_needed,
    sequential_power,
    smallest_p,
)
from tokenlab.progress import Progress
from tokenlab.runs import read_run

PRIOR_SD = 0.0043
"""Standard deviation of a paired difference, of the baseline's bits per byte: TRAINER.md 4.3, nano, 1 MB of
training, 5 pairs that share seeds (uncertain by a factor of 0.6 to 2.9)."""
POWER = 0.8
ENOUGH_PAIRS = 3
"""Own pairs from which on their spread is used."""


class CellForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of an arm in a column: how many in all, how many are left, wall seconds of one. Runs that an
    earlier column shares are counted there."""

    column: str
    arm: str
    parameters: int
    steps: float | None
    runs: int
    left: int
    seconds: float
    measured: Literal["earlier runs", "a short run", "another column's"]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's forecast. `sd`, `detectable` and `target` are fractions of the baseline's bits per byte.
    `sequential_pairs` and `sequential_power` are of the test that runs until decided."""

    cells: list[CellForecast]
    slots: int
    minutes: float
    pairs: int
    tests: int
    alpha: float
    smallest_p: dict[str, float]
    sd: float
    sd_from: str
    detectable: float | None
    target: float | None
    pairs_needed: int | None
    fewest_sequential_pairs: int | None
    sequential_power: float | None
    sequential_pairs: float | None


def forecast(experiment: Experiment, places: list[dict[str, str]], progress: Progress) -> Forecast:
    """The forecast of a prepared experiment. Trains a short run for each arm and column of which no run
    was trained yet. Raises InputError where such a run fails."""
    plan = experiment.plan
    slots = len(places)
    cells = _cells(experiment, places, progress)
    sd, sd_from = noise(plan, experiment.runs)
    alpha, tests = 1 - plan.confidence, len(plan.arms) - 1
    # Holm's first step, and the sequential test: alpha shared out over the arms.
    shared = alpha / tests
    sequential = sequential_power(sd, plan.target, plan.pairs, shared) if plan.target is not None else None
    return Forecast(
        cells=cells,
        slots=slots,
        minutes=sum(cell.left * cell.seconds for cell in cells) / slots / 60,
        pairs=plan.pairs,
        tests=tests,
        alpha=alpha,
        smallest_p={name: smallest_p(name, plan.pairs) for name in ("paired t", "sign flip", "rank")},
        sd=sd,
        sd_from=sd_from,
        detectable=minimal_detectable(sd, plan.pairs, shared, POWER) if plan.pairs > 1 else None,
        target=plan.target,
        pairs_needed=pairs_needed(sd, plan.target, shared, POWER) if plan.target is not None else None,
        fewest_sequential_pairs=SequentialTest(shared).fewest_pairs if plan.until_decided else None,
        sequential_power=sequential.power if sequential and plan.until_decided else None,
        sequential_pairs=sequential.mean_pairs if sequential and plan.until_decided else None,
    )


def noise(plan: Plan, runs: Sequence[RunFacts]) -> tuple[float, str]:
    """Standard deviation of a pair's difference as a fraction of the baseline's bits per byte, and where it
    is from: the first column's own pairs once there are enough (the largest of its arms), else the prior."""
    scores = {
        (run.arm, run.pair): run.bpb for run in runs if run.column == plan.columns[0] and run.bpb is not None
    }
    spreads: list[tuple[float, int]] = []
    for arm in plan.arms[1:]:
        both = [
            (scores[arm.name, pair], scores[plan.baseline.name, pair])
            for pair in range(plan.pairs)
            if (arm.name, pair) in scores and (plan.baseline.name, pair) in scores
        ]
        if len(both) >= ENOUGH_PAIRS:
            mean = statistics.fmean(base for _, base in both)
            spreads.append((statistics.stdev(one - base for one, base in both) / mean, len(both)))
    if spreads and max(spreads)[0] > 0:
        sd, pairs = max(spreads)
        return sd, f"measured here, over {pairs} pairs"
    return PRIOR_SD, "a prior: nano, 1 MB of training, 5 pairs (TRAINER.md 4.3); not measured here yet"


def _cells(experiment: Experiment, places: list[dict[str, str]], progress: Progress) -> list[CellForecast]:
    settings = experiment.prepared()
    planned = experiment.planned()
    known = {run: settled(experiment.task(run)) is not None for run in planned}
    walls: dict[tuple[str, str], list[float]] = {}
    for run in planned:
        spent = status(experiment.task(run)).wall_seconds if known[run] else 0.0
        walls.setdefault((run.column, run.arm), []).extend([spent] if spent else [])
    timed = [
        cell for cell in settings.cells if not walls[cell.column, cell.arm] and cell.owner == cell.column
    ]
    short = {(cell.column, cell.arm): _short(experiment, cell, settings.code_sha256) for cell in timed}
    if left := sum(settled(task) is None for task in short.values()):
        progress.note(f"timing {left} short runs, {len(places)} at a time")
        train_short(list(short.values()), places)
    found: list[CellForecast] = []
    for cell in settings.cells:
        mine = [run for run in planned if (run.column, run.arm) == (cell.column, cell.arm)]
        shared = cell.owner != cell.column
        own = walls[cell.owner, cell.arm]
        task = short.get((cell.owner, cell.arm))
        found.append(
            CellForecast(
                column=cell.column,
                arm=cell.arm,
                parameters=cell.parameters,
                steps=_steps(cell),
                runs=0 if shared else len(mine),
                left=0 if shared else sum(not known[run] for run in mine),
                seconds=statistics.fmean(own) if task is None else _seconds(cell, task),
                measured="another column's" if shared else "earlier runs" if own else "a short run",
            )
        )
    return found


def _short(experiment: Experiment, cell: Cell, code_sha256: str) -> Task:
    """The short run of a cell."""
    tables = {"dataset": str(experiment.datasets()[cell.arm].resolve())} | cell.tables
    return short_task(experiment, tables, f"{cell.column}/{cell.arm}", code_sha256)


def _seconds(cell: Cell, task: Task) -> float:
    """Wall seconds of one run, from a short one: its steps stretched to the budget, the rest (start,
    scoring twice, compressing) as it is."""
    run = read_run(task.path)
    first, last = run.steps[0], run.steps[-1]
    step = (last.seconds - first.seconds) / (PROBE_STEPS - 1)
    rest = status(task).wall_seconds - run.result.timing.training
    steps = _steps(cell)
    return rest + (step * steps if steps is not None else cell.tables["budget"]["seconds"])


def _steps(cell: Cell) -> float | None:
    """Steps that the budget gives; None for one of seconds."""
    budget = cell.tables["budget"]
    if "steps" in budget:
        return float(budget["steps"])
    return budget["train_bytes"] / cell.batch_bytes if "train_bytes" in budget else None
