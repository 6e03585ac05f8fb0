"""The engine of one machine: this process, or a pool of worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from tokenlab.build.engine import Item, Job, Result
from tokenlab.build.shared_memory import Label, SharedMemory, open_item
from tokenlab.errors import TokenlabError
from tokenlab.fork_server import start_ahead
from tokenlab.own_process import take_over


class LocalEngine:
    """Worker processes, which start at once; with one worker, this process itself.

    A thread starts them and hands them their tasks. A start takes a second, in which the first documents are
    read; and Ctrl-C, which comes to the main thread, cannot leave one half started.
    """

    mixes = True

    def __init__(self, job: Job, workers: int, memory: SharedMemory | None = None) -> None:
        """`memory`: where the documents of the items are; what is not there goes through a pipe."""
        self.in_flight = 1 if workers == 1 else 2 * workers
        self._job = job
        self._memory = memory or SharedMemory()
        self._thread: ThreadPoolExecutor | None = None
        if workers > 1:
            self._thread = ThreadPoolExecutor(1, "workers")
            self._pool = self._thread.submit(_started_pool, workers)

    def submit(self, work: Callable[[Job, Item], Result], item: Item) -> Callable[[], Result]:
        """Start a task, or do it."""
        if self._thread is None:
            result = work(self._job, item)
            return lambda: result
        started = self._thread.submit(self._submit_to_pool, work, self._memory.label(item))
        kept = [item]  # its memory is used again when it is forgotten

        def wait() -> Result:
            try:
                return started.result().result()
            except BrokenProcessPool as error:
                raise killed() from error
            finally:
                kept.clear()

        return wait

    def close(self) -> None:
        """Wait for the tasks that run; those that wait are dropped."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            if not self._pool.cancelled() and self._pool.exception() is None:
                self._pool.result().shutdown(wait=True, cancel_futures=True)
        self._memory.close()

    def _submit_to_pool(self, work: Callable[[Job, Item], Result], label: Label) -> Future[Result]:
        return self._pool.result().submit(_work_on, work, self._job, label)


def _started_pool(workers: int) -> ProcessPoolExecutor:
    """A pool whose workers run. It starts one with each task, so each gets one to start with."""
    start_ahead()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver"), initializer=start_worker)
    for _ in range(workers):
        pool.submit(int)
    return pool


def _work_on(work: Callable[[Job, Item], Result], job: Job, label: Label) -> Result:
    return work(job, open_item(label))


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
