"""An iterator over what is read that runs in a process of its own, some items ahead of what is taken."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tokenlab.errors import TokenlabError
from tokenlab.processes.shared_memory import Label, SharedMemory, sender_killed
from tokenlab.processes.worker import start_worker

Item = TypeVar("Item")
Items = Callable[[Callable[[int], NDArray[np.uint8]]], Iterator[Item]]
"""Makes the iterator. Arrays that it has from what it is given, of so many bytes and any content, are not
copied on their way."""


class IteratorProcess(Generic[Item]):
    """The process is forked from this one, which must have one thread, and starts at once."""

    def __init__(self, items: Items[Item], *, memory: SharedMemory, ahead: int) -> None:
        """`memory` gets to know the items' arrays. `ahead`: so many items that have some are held at most,
        with those that this process refers to: who refers to as many gets no more."""
        self._memory = memory
        self._connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(items, ahead, theirs, self._connection), daemon=True
        )
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def __iter__(self) -> Iterator[Item]:
        """Raises what the iterator raised, or ProcessKilled."""
        while True:
            try:
                message: Label | _Failure | None = self._connection.recv()
            except (EOFError, ConnectionError) as error:
                raise sender_killed() from error
            if message is None:
                return
            if isinstance(message, _Failure):
                raise message.error from message.cause
            yield self._memory.receive(message, self._let_go)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _let_go(self, file: str) -> None:
        with suppress(OSError):  # the process has ended
            self._connection.send(file)


class _Failure(NamedTuple):
    error: Exception
    cause: Exception | None


def _serve(items: Items[Any], ahead: int, connection: Connection, other_end: Connection) -> None:
    """The process: it sends the items, and is sent the files that the other end is done with."""
    start_worker()
    other_end.close()
    memory = SharedMemory()
    held: dict[str, Any] = {}
    with (
        suppress(EOFError, ConnectionError),  # the other process has ended
        ThreadPoolExecutor(1) as sender,  # a pipe holds less than what is ahead
    ):
        try:
            for item in items(memory.empty):
                label = memory.label(item)
                held.update((file, item) for file, _ in label.arrays)
                sender.submit(connection.send, label)
                del item
                while len(held) >= ahead:
                    del held[connection.recv()]
            sender.submit(connection.send, None)
        except (TokenlabError, OSError) as error:
            sender.submit(connection.send, _Failure(error, _cause(error)))
        except Exception:  # a bug of ours
            sender.submit(connection.send, _Failure(RuntimeError(traceback.format_exc()), None))
        while held:  # its files are there for as long as it is
            del held[connection.recv()]


def _cause(error: Exception) -> Exception | None:
    """Where an error came from: whether the work is kept depends on it, and pickle drops it."""
    return error.__cause__ if isinstance(error.__cause__, TokenlabError | OSError) else None
