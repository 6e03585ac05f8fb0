"""Worker processes of this machine, and the engine that has them.

A command forks them from itself, with all that it has loaded by then: the kernels, the scheme, half a second
of work for each. A fork takes along the thread that asks for it and no other, so a process that has more,
as a library in another's may, has them forked from one that imports `warm` for that.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tokenlab.build.engine import Item, Job, Result
from tokenlab.errors import ProcessKilled
from tokenlab.own_process import may_fork
from tokenlab.processes.shared_memory import Label, SharedMemory, open_item
from tokenlab.processes.worker import start_worker

WARM = "tokenlab.build.warm"
"""What the process that workers are forked from imports, if it is not this one."""

TASKS_OF_A_WORKER = 2
"""One that it does, and one that is there when it has done that."""

_dropped = mmap.mmap(-1, 1)
"""Whether tasks that no worker has begun are dropped; workers that are forked from this process see it."""


class WorkerPool:
    """Worker processes, which start at once.

    A thread hands them their tasks and, where they are not forked from this process, starts them: that takes
    half a second, in which the first documents are read. Ctrl-C, which comes to the main thread, cannot leave
    one half started either way.
    """

    def __init__(self, workers: int) -> None:
        _dropped[0] = False
        forked = _forked_pool(workers) if may_fork() else None
        self._thread = ThreadPoolExecutor(1, "workers")
        self._pool = self._thread.submit(lambda: forked or _served_pool(workers))

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Start a task; what it raises, or ProcessKilled, is in the future."""
        outcome: Future[Result] = Future()
        self._thread.submit(self._hand_over, outcome, work, arguments)
        return outcome

    def close(self) -> None:
        """Wait for the tasks that run; those that wait are dropped, but for some that the pool has sent ahead
        where workers are not forked from this process."""
        _dropped[0] = True
        self._thread.shutdown(wait=True, cancel_futures=True)
        if not self._pool.cancelled() and self._pool.exception() is None:
            self._pool.result().shutdown(wait=True, cancel_futures=True)

    def _hand_over(self, outcome: Future[Result], work: Callable[..., Result], arguments: Any) -> None:
        def settle(task: Future[Result]) -> None:
            if task.cancelled():
                return
            if (error := task.exception()) is not None:
                fail(error)
            else:
                outcome.set_result(task.result())

        def fail(error: BaseException) -> None:
            if isinstance(error, BrokenProcessPool):
                error = ProcessKilled("a worker", " to go on, perhaps with fewer --workers")
            outcome.set_exception(error)

        try:
            self._pool.result().submit(_unless_dropped, work, *arguments).add_done_callback(settle)
        except Exception as error:
            fail(error)


class LocalEngine:
    """Worker processes; with one worker, this process itself."""

    mixes = True

    def __init__(self, job: Job, workers: int, memory: SharedMemory | None = None) -> None:
        """`memory`: where the documents of the items are; what is not there goes through a pipe."""
        self.in_flight = 1 if workers == 1 else TASKS_OF_A_WORKER * workers
        self._job = job
        self._memory = memory or SharedMemory()
        self._pool = WorkerPool(workers) if workers > 1 else None

    def submit(self, work: Callable[[Job, Item], Result], item: Item) -> Callable[[], Result]:
        """Start a task, or do it."""
        if self._pool is None:
            result = work(self._job, item)
            return lambda: result
        started: Future[Result] = self._pool.submit(_work_on, work, self._job, self._memory.label(item))
        kept = [item]  # its memory is used again when it is forgotten

        def wait() -> Result:
            try:
                return started.result()
            finally:
                kept.clear()

        return wait

    def close(self) -> None:
        """Wait for the tasks that run; those that wait are dropped."""
        if self._pool is not None:
            self._pool.close()
        self._memory.close()


def _forked_pool(workers: int) -> ProcessPoolExecutor:
    """Workers forked from this process."""
    gc.freeze()  # a collection in a worker would copy every page that it looks at
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return _started_pool(workers, "fork")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _served_pool(workers: int) -> ProcessPoolExecutor:
    """Workers forked from a process that is started for it."""
    multiprocessing.set_forkserver_preload([WARM])
    return _started_pool(workers, "forkserver")


def _started_pool(workers: int, method: str) -> ProcessPoolExecutor:
    """A pool whose workers run. It starts one with each task, or all with the first."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(method), initializer=start_worker)
    for _ in range(workers):
        pool.submit(int)
    return pool


def _unless_dropped(work: Callable[..., Result], *arguments: Any) -> Result:
    if _dropped[0]:
        raise CancelledError
    return work(*arguments)


def _work_on(work: Callable[[Job, Item], Result], job: Job, label: Label) -> Result:
    return work(job, open_item(label))
