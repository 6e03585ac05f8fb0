"""Where tasks run: in this process, or in a pool of worker processes. Results come in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tokenlab.build.encode import PartEncoder
from tokenlab.build.parts import PartInput, PartRecord
from tokenlab.errors import TokenlabError
from tokenlab.memory import keep_freed_memory
from tokenlab.scheme import Scheme

_encoder: PartEncoder | None = None


def encode_parts(
    parts: Iterable[PartInput | PartRecord],
    *,
    scheme: Scheme,
    dataset: Path,
    folder: Path,
    seed: int,
    workers: int,
) -> Iterator[PartRecord]:
    """Encode what is not yet a record, in order; at most two parts a worker are in memory."""
    if workers == 1:
        encoder = PartEncoder(scheme, folder, seed)
        for part in parts:
            yield part if isinstance(part, PartRecord) else encoder.encode(part)
        return
    # Spawned, not forked: numba and the encoders have threads that a fork would break.
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(dataset, folder, seed, os.getpid()),
    )
    waiting: deque[PartRecord | Future[PartRecord]] = deque()
    try:
        for part in parts:
            waiting.append(part if isinstance(part, PartRecord) else pool.submit(_encode, part))
            while len(waiting) >= 2 * workers:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    except BrokenProcessPool as error:
        raise TokenlabError(
            "a worker was killed (out of memory?); run the same command again to go on, "
            "perhaps with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(entry: PartRecord | Future[PartRecord]) -> PartRecord:
    return entry if isinstance(entry, PartRecord) else entry.result()


def _start_worker(dataset: Path, folder: Path, seed: int, parent: int) -> None:
    global _encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    keep_freed_memory()
    _encoder = PartEncoder(Scheme.open(dataset), folder, seed)


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _encode(part: PartInput) -> PartRecord:
    if _encoder is None:
        raise RuntimeError("the worker was not started")
    return _encoder.encode(part)
