"""The engine of Slurm, through submitit: job arrays of bounded size.

A Slurm job costs seconds to start, so it takes several tasks; the first arrays take one
each, the next twice as many, up to `TASKS_PER_JOB`. Items lie in `inputs/` of the workspace
until their array is done.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shards import write_atomically
from tokenlab.build.engine import Failure, Item, Job, Result, attempt_packed, pack, unwrap
from tokenlab.errors import TokenlabError

TASKS_PER_JOB = 32
"""Parts of a job, at most: a gigabyte of text, half a minute of work beside a second of start."""

MAX_ARRAY = 500
"""Jobs of an array, at most; sites stop at 1,000 or so (MaxArraySize)."""

PARAMETERS: dict[str, Any] = {"timeout_min": 60, "cpus_per_task": 1, "mem_gb": 2, "name": "tokenlab"}
"""What a job asks for, unless --engine-option says otherwise."""


class SlurmEngine:
    """Jobs of Slurm, or with the address `local` the same jobs as processes of this machine."""

    mixes = False  # an array is of one kind

    def __init__(self, job: Job, workers: int, address: str | None, options: Sequence[str]) -> None:
        import submitit

        if address not in (None, "local"):
            raise TokenlabError(
                f"--engine-address {address}: --engine slurm takes `local`, or none for Slurm"
            )
        self._job = job
        self._inputs = job.folder / "inputs"
        self._logs = job.folder / "slurm"
        for folder in (self._inputs, self._logs):
            shutil.rmtree(folder, ignore_errors=True)  # of a killed run, whose jobs end with it
            folder.mkdir()
        self._array = min(MAX_ARRAY, -(-workers // 2))
        try:
            self._executor = submitit.AutoExecutor(folder=self._logs, cluster=address or "slurm")
            self._executor.update_parameters(
                **PARAMETERS | {"slurm_array_parallelism": self._array} | _parsed(options)
            )
        except (RuntimeError, NameError, TypeError) as error:
            raise TokenlabError(f"--engine slurm: {error}") from error
        self._tasks_per_job = self._submitted = 1
        self._numbers = itertools.count()
        self._open: _Array | None = None
        self._arrays: list[_Array] = []

    @property
    def in_flight(self) -> int:
        """An array that runs, and the one that is being filled meanwhile."""
        return self._array * (self._submitted + self._tasks_per_job)

    def submit(self, work: Callable[[Job, Item], Result], item: Item) -> Callable[[], Result]:
        """Put the item into the array that is being filled; a full one is submitted."""
        path = self._inputs / f"{next(self._numbers):08d}.pickle"
        with write_atomically(path) as file:
            file.write(pack(item))
        array = self._open
        if array is None or array.work is not work:
            self._submit_open()
            if self._arrays and self._arrays[-1].work is not work:
                self._tasks_per_job = 1
            array = self._open = _Array(work, self._tasks_per_job)
        index = array.add(path)
        if index + 1 == self._array * self._tasks_per_job:
            self._submit_open()

        def wait() -> Result:
            if array is self._open:
                self._submit_open()
            result: Result = array.result(index)
            return result

        return wait

    def close(self) -> None:
        """Cancel what still runs."""
        for array in self._arrays:
            array.cancel()
        shutil.rmtree(self._inputs, ignore_errors=True)

    def _submit_open(self) -> None:
        if self._open is not None:
            self._arrays = [array for array in self._arrays if not array.finished] + [self._open]
            self._open.start(self._executor, self._job)
            self._submitted = self._tasks_per_job
            self._tasks_per_job = min(TASKS_PER_JOB, 2 * self._tasks_per_job)
            self._open = None


class _Array:
    """A job array: tasks 0, 1, … in jobs of `tasks_per_job`."""

    def __init__(self, work: Callable[[Job, Any], Any], tasks_per_job: int) -> None:
        self.work = work
        self.paths: list[Path] = []
        self._tasks_per_job = tasks_per_job
        self._jobs: list[Any] = []
        self._results: dict[int, list[Any]] = {}

    @property
    def finished(self) -> bool:
        """Whether every job's results were taken."""
        return len(self._results) == len(self._jobs) > 0

    def add(self, path: Path) -> int:
        """Take a task in; its index."""
        self.paths.append(path)
        return len(self.paths) - 1

    def start(self, executor: Any, job: Job) -> None:
        """Submit the jobs."""
        n = self._tasks_per_job
        groups = [self.paths[start : start + n] for start in range(0, len(self.paths), n)]
        self._jobs = executor.map_array(run_tasks, *zip(*((self.work, job, g) for g in groups), strict=True))

    def result(self, index: int) -> Any:
        """Wait for the job of a task; its result."""
        number, at = divmod(index, self._tasks_per_job)
        if number not in self._results:
            job = self._jobs[number]
            try:
                self._results[number] = job.result()
            except Exception as error:  # submitit's own, and whatever the job died of
                last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                raise TokenlabError(
                    f"Slurm job {job.job_id} failed: {last[:300]} (log: {job.paths.stderr}); "
                    "run the same command again to go on"
                ) from error
            for path in self.paths[number * self._tasks_per_job :][: self._tasks_per_job]:
                path.unlink(missing_ok=True)
        return unwrap(self._results[number][at])

    def cancel(self) -> None:
        """Cancel the jobs whose results were not taken."""
        for number, job in enumerate(self._jobs):
            if number not in self._results:
                job.cancel(check=False)


def run_tasks(work: Callable[[Job, Any], Any], job: Job, paths: Sequence[Path]) -> list[Any | Failure]:
    """What a Slurm job does: the tasks whose items lie at `paths`."""
    outcomes = []
    for path in paths:
        outcomes.append(attempt_packed(work, job, path.read_bytes()))
    return outcomes


def _parsed(options: Sequence[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        parsed[name] = int(value) if value.isdecimal() else value
    return parsed
