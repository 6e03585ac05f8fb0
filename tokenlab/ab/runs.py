"""Training the runs of an experiment: one process a run, done once, and never lost.

    ab/runs/COLUMN/ARM/seed-N/        the trainer's folder
                       seed-N.toml    its configuration
                       seed-N.json    how it ended, and what it cost
                       seed-N.log     what the trainer said
                       seed-N.lock    held while it is trained

A run is whole when its result.json is there, and is then not trained again. One that diverged is kept
as such. Anything else is started (the trainer itself goes on at its checkpoint).
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from shards import write_atomically
from tokenlab.ab.facts import State
from tokenlab.ab.launch import Child, Ended, interrupt_all
from tokenlab.build.engine import Job
from tokenlab.errors import InputError, TokenlabError
from tokenlab.runs import read_run

POLL_SECONDS = 0.02
TRAINER_SAYS = "trainer: "
DIVERGED, REFUSED = 1, 2
"""Exit codes of the trainer."""
MOVABLE = {"output", "dataset"}
"""Where things lie does not make another run; the dataset's digest does."""


class Status(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`seed-N.json`: what became of a run, and the seconds of all attempts that were seen to end."""

    schema: str = "tokenlab-ab-run-1"
    state: State | None = None
    failure: str | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    attempts: int = 0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A run to train: its folder, and the trainer's tables without `output`. `code_sha256` is the
    trainer that the experiment is made with, `manifest_sha256` the dataset's."""

    folder: str
    tables: dict[str, Any]
    code_sha256: str
    manifest_sha256: str

    @property
    def path(self) -> Path:
        """The trainer's folder."""
        return Path(self.folder)

    def beside(self, suffix: str) -> Path:
        """A file beside the folder."""
        return self.path.with_name(self.path.name + suffix)

    def toml(self) -> bytes:
        """The trainer's configuration."""
        return tomli_w.dumps({"output": self.folder} | self.tables).encode()


def status(task: Task) -> Status:
    """What is known of a run; an unknown or unfinished one has no state."""
    path = task.beside(".json")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except FileNotFoundError:
        return Status()
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: not a run of this version of tokenlab: {error}") from error


def settled(task: Task) -> Status | None:
    """The status of a run that need not be trained (any more), after its files were held against the
    task; else None. Raises InputError for a result of another trainer, dataset or configuration."""
    known = status(task)
    if (task.path / "result.json").exists():
        _require_own(task)
        if known.state != "whole":  # it was killed between its result and its status
            known = msgspec.structs.replace(known, state="whole")
            _write(task, known)
        return known
    return known if known.state == "diverged" else None


def train_all(
    tasks: Iterable[Task], slots: Sequence[dict[str, str]], done: Callable[[Task, Status], None]
) -> None:
    """Train these runs in their order, one at a time in each slot (what to set in the environment);
    `done` hears of each. Ctrl-C, and the first run that cannot be trained, let the others save and end.
    Raises InputError, TokenlabError."""
    waiting = list(tasks)
    running: dict[int, tuple[Task, Child]] = {}
    try:
        while waiting or running:
            for slot, environment in enumerate(slots):
                if slot not in running and waiting:
                    task = waiting.pop(0)
                    running[slot] = task, start(task, environment)
            for slot, (task, child) in list(running.items()):
                if (ended := child.poll()) is not None:
                    del running[slot]
                    done(task, conclude(task, ended))
            time.sleep(POLL_SECONDS)
    except BaseException:
        left = list(running.values())
        for (task, _), ended in zip(left, interrupt_all([child for _, child in left]), strict=True):
            _write(task, _spent(task, ended, None, None))
        raise


def train_one(_: Job, task: Task) -> Status:
    """One run to its end: the task of an engine that is not here."""
    known = settled(task)
    return known if known is not None else conclude(task, start(task, {}).wait())


def start(task: Task, environment: dict[str, str]) -> Child:
    """Start a run, its configuration written first."""
    task.path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(task.beside(".toml")) as file:
        file.write(task.toml())
    return Child(task.beside(".toml"), task.beside(".log"), task.beside(".lock"), environment)


def conclude(task: Task, ended: Ended) -> Status:
    """Keep how a run ended. Raises InputError for what the trainer refuses, TokenlabError for a process
    that was lost."""
    failed = ended.code == DIVERGED and ended.said.startswith(TRAINER_SAYS)
    state: State | None = "whole" if ended.code == 0 else "diverged" if failed else None
    failure = ended.said.removeprefix(TRAINER_SAYS) if failed else None
    outcome = _spent(task, ended, state, failure)
    _write(task, outcome)
    if ended.code == 0:
        _require_own(task)
    elif not failed:
        raise _lost(task, ended)
    return outcome


def said(task: Task, outcome: Status) -> str:
    """A run in a few words."""
    *_, column, arm, seed = task.path.parts
    how = f"diverged: {outcome.failure}" if outcome.state == "diverged" else f"{outcome.wall_seconds:.0f} s"
    return f"{arm} {seed} ({column}): {how}"


def _spent(task: Task, ended: Ended, state: State | None, failure: str | None) -> Status:
    before = status(task)
    return Status(
        state=state,
        failure=failure,
        cpu_seconds=before.cpu_seconds + ended.cpu_seconds,
        wall_seconds=before.wall_seconds + ended.wall_seconds,
        attempts=before.attempts + 1,
    )


def _write(task: Task, outcome: Status) -> None:
    with write_atomically(task.beside(".json")) as file:
        file.write(msgspec.json.encode(outcome) + b"\n")


def _lost(task: Task, ended: Ended) -> TokenlabError:
    if ended.code == REFUSED:
        return InputError(f"{task.folder}: {ended.said.removeprefix(TRAINER_SAYS)}")
    if ended.code < 0:
        return TokenlabError(
            f"{task.folder}: its trainer was killed by signal {-ended.code} (out of memory?); run the same "
            "command again to go on, perhaps with fewer --workers"
        )
    return TokenlabError(
        f"{task.folder}: the trainer ended with exit code {ended.code}: {ended.said} "
        f"(all it said is in {task.beside('.log')})"
    )


def _require_own(task: Task) -> None:
    """Raise InputError when a finished run is not what the task would train."""
    result = read_run(task.path).result
    found = {
        "another version of the trainer": (result.code_sha256, task.code_sha256),
        "another dataset": (result.dataset.manifest_sha256, task.manifest_sha256),
        "another seed": (result.seed, task.tables["seed"]),
    }
    for what, (mine, wanted) in found.items():
        if mine != wanted:
            raise InputError(
                f"{task.folder}: trained by {what} ({str(mine)[:12]}, not {str(wanted)[:12]}); choose "
                "another --output, or remove that folder to train it again"
            )
    path = task.beside(".toml")
    stored = tomllib.loads(path.read_text()) if path.exists() else {}
    for key in (stored.keys() | task.tables.keys()) - MOVABLE:
        if stored.get(key) != task.tables.get(key):
            raise InputError(f"{path}: {key} is not what the plan asks for now; choose another --output")
