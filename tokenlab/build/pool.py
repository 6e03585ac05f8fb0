"""The engine of one machine: this process, or a pool of worker processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from types import FrameType
from typing import Any

from tokenlab.build.engine import Item, Job, Result
from tokenlab.build.parcel import Label, Parcel, open_parcel
from tokenlab.errors import TokenlabError
from tokenlab.own_process import take_over

WARM = "tokenlab.build.warm"
WARM_OPERATORS = "TOKENLAB_WARM_OPERATORS"
"""Environment variable of the process that imports WARM: a scheme's `operators`, as JSON."""

TUNABLES = "GLIBC_TUNABLES"
HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""A worker touches 200 MB for the first time; by pages of 4 KB that is half a second of CPU."""


def start_ahead(operators: Sequence[str | Mapping[str, Any]] = ()) -> None:
    """Let the process from which workers are forked start now, beside what is still to be done here, with the
    kernels of a scheme's `operators` loaded. It starts once: a later call changes nothing."""
    # Not forked from this process: numba and the encoders have threads that a fork would break.
    multiprocessing.set_forkserver_preload([WARM])
    tunables = ":".join(filter(None, [os.environ.get(TUNABLES), HUGE_PAGES]))
    with _environment({WARM_OPERATORS: json.dumps(list(operators)), TUNABLES: tunables}):
        forkserver.ensure_running()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a process that is started in the block."""
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


class LocalEngine:
    """Worker processes, started with the first task; with one worker, this process itself."""

    mixes = True

    def __init__(self, job: Job, workers: int) -> None:
        self.in_flight = 1 if workers == 1 else 2 * workers
        self._job = job
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._parcels: set[Parcel] = set()
        self._free_files: list[int] = []

    def submit(self, work: Callable[[Job, Item], Result], item: Item) -> Callable[[], Result]:
        """Start a task, or do it."""
        if self._workers == 1:
            result = work(self._job, item)
            return lambda: result
        if self._pool is None:
            start_ahead()
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("forkserver"), initializer=start_worker
            )
        parcel = Parcel(item, self._free_files)
        self._parcels.add(parcel)
        try:
            with _uninterrupted():
                future = self._pool.submit(_work_on, work, self._job, parcel.label)
        except BrokenProcessPool as error:
            raise killed() from error

        def wait() -> Result:
            try:
                return future.result()
            except BrokenProcessPool as error:
                raise killed() from error
            finally:
                self._parcels.discard(parcel)
                parcel.discard()

        return wait

    def close(self) -> None:
        """Wait for the tasks that run; those that wait are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for parcel in self._parcels:
            parcel.discard()
        for file in self._free_files:
            os.close(file)
        self._free_files.clear()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block. An executor that is interrupted while it starts a worker never
    ends that worker, for which the process then waits at its own end."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if caught:
        handler(*caught[0])


def _work_on(work: Callable[[Job, Item], Result], job: Job, label: Label) -> Result:
    return work(job, open_parcel(label))


def killed() -> TokenlabError:
    """What to raise when the pool is broken."""
    return TokenlabError(
        "a worker was killed (out of memory?); run the same command again to go on, "
        "perhaps with fewer --workers"
    )


def start_worker() -> None:
    """First thing in a worker process: it ends with its parent and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    take_over()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
