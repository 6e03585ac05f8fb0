"""The engine of one machine: this process, or a pool of worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from tokenlab.build.engine import Item, Job, Result
from tokenlab.errors import TokenlabError
from tokenlab.memory import keep_freed_memory


class LocalEngine:
    """Worker processes, started with the first task; with one worker, this process itself."""

    def __init__(self, job: Job, workers: int) -> None:
        self.in_flight = 1 if workers == 1 else 2 * workers
        self._job = job
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, work: Callable[[Job, Item], Result], item: Item) -> Callable[[], Result]:
        """Start a task, or do it."""
        if self._workers == 1:
            result = work(self._job, item)
            return lambda: result
        if self._pool is None:
            # Spawned, not forked: numba and the encoders have threads that a fork would break.
            self._pool = ProcessPoolExecutor(
                self._workers,
                multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(os.getpid(),),
            )
        try:
            future = self._pool.submit(work, self._job, item)
        except BrokenProcessPool as error:
            raise _killed() from error

        def wait() -> Result:
            try:
                return future.result()
            except BrokenProcessPool as error:
                raise _killed() from error

        return wait

    def close(self) -> None:
        """Wait for the tasks that run; those that wait are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _killed() -> TokenlabError:
    return TokenlabError(
        "a worker was killed (out of memory?); run the same command again to go on, "
        "perhaps with fewer --workers"
    )


def _start_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    keep_freed_memory()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
