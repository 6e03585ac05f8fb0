"""Engines run tasks: here, in worker processes, or on machines that somebody else manages.

The whole protocol is this file. A task is a pure function of a job and one item; it leaves
a file that is whole or absent, named by the digest of the plan and a number, and returns a
small record of it. A file that is there and whole means done. So no engine holds state, a
task may run twice or on a machine that was given up for dead, and any engine may finish
what another began. What engines need of each other's machines is one file system.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from tokenlab.errors import InputError, TokenlabError
from tokenlab.processes.shared_memory import SharedMemory

EngineName = Literal["local", "ray", "slurm"]

NEEDS = {"ray": "ray", "slurm": "submitit"}
"""The library of an engine; the extra is called as the engine."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Job:
    """What the tasks of a build share: the workspace, the digest of the plan, its seed, and whether
    they all run on the machine of the build."""

    folder: Path
    plan: str
    seed: int
    one_machine: bool = False

    @property
    def dataset(self) -> Path:
        """The dataset in the making: scheme, vocabulary, shards."""
        return self.folder / "dataset"

    @property
    def parts(self) -> Path:
        """The parts of this plan."""
        return self.folder / "parts" / self.plan

    @property
    def shards(self) -> Path:
        """The records of the shards that are done."""
        return self.folder / "shards" / self.plan


class Engine(Protocol):
    """Where tasks run; `in_flight` bounds the documents that are held."""

    @property
    def in_flight(self) -> int:
        """Tasks to submit before the first result is waited for."""
        ...

    @property
    def mixes(self) -> bool:
        """Whether tasks of two kinds may be submitted in turn, at no cost."""
        ...

    def submit(self, work: Callable[[Job, Item], Result], item: Item) -> Callable[[], Result]:
        """Start a task; the returned function waits for its result, or raises what it raised."""
        ...

    def close(self) -> None:
        """Give up what still runs."""
        ...


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What `--engine…` and `--workers` say; nothing of it shows in the output."""

    name: EngineName = "local"
    address: str | None = None
    options: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise InputError for what this machine has not, or this engine takes not."""
        library = NEEDS.get(self.name)
        if library and importlib.util.find_spec(library) is None:
            raise InputError(
                f"--engine {self.name} needs the package {library}; pip install 'tokenlab-bpb[{self.name}]'"
            )
        if self.name == "local" and self.address is not None:
            raise InputError("--engine-address is for --engine ray or slurm; local workers have none")
        if self.name != "slurm" and self.options:
            raise InputError("--engine-option is for --engine slurm")
        for option in self.options:
            if not option.partition("=")[0].isidentifier() or "=" not in option:
                raise InputError(f"--engine-option {option}: write NAME=VALUE, such as slurm_partition=cpu")


@dataclass(frozen=True, slots=True)
class Done:
    """Stands among items for the result of one that need not run."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """An error on its way home: engines wrap what a task raises, each in its own way."""

    error: Exception


def open_engine(chosen: EngineOptions, job: Job, workers: int, memory: SharedMemory | None = None) -> Engine:
    """The engine of a build; `memory` as for `LocalEngine`. Raises TokenlabError when it does not start."""
    if chosen.name == "ray":
        from tokenlab.build.ray_engine import RayEngine

        return RayEngine(job, workers, chosen.address)
    if chosen.name == "slurm":
        from tokenlab.build.slurm_engine import SlurmEngine

        return SlurmEngine(job, workers, chosen.address, chosen.options)
    from tokenlab.build.pool import LocalEngine

    return LocalEngine(job, workers, memory)


def run_in_order(
    engine: Engine, work: Callable[[Job, Item], Result], items: Iterable[Item | Done]
) -> Iterator[Result]:
    """The results of `work` on items, in their order; items are taken as they can be started."""
    waiting: deque[Callable[[], Result]] = deque()
    for item in items:
        if not isinstance(item, Done):
            waiting.append(engine.submit(work, item))
        elif waiting:
            waiting.append(lambda result=item.result: result)  # type: ignore[misc]
        else:
            yield item.result
        while len(waiting) >= engine.in_flight:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def attempt(work: Callable[[Job, Item], Result], job: Job, item: Item) -> Result | Failure:
    """A task as remote engines run it: errors on purpose come home as values."""
    try:
        return work(job, item)
    except (TokenlabError, OSError) as error:
        return Failure(error)


def attempt_packed(work: Callable[[Job, Any], Result], job: Job, packed: bytes) -> Result | Failure:
    """`attempt` on an item that was packed for the way."""
    return attempt(work, job, pickle.loads(packed))  # packed by this build


def pack(item: object) -> bytes:
    """An item as bytes. Not an engine's own way: arrays that arrive read-only make kernels compile anew."""
    return pickle.dumps(item, protocol=5)


def unwrap(outcome: Result | Failure) -> Result:
    """The result that `attempt` returned, or its error raised."""
    if isinstance(outcome, Failure):
        raise outcome.error
    return outcome
