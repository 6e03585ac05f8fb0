"""Parts read in a process of their own, which starts before the scheme is open.

A scheme opens for half a second on one core. What is read on another meanwhile is there when the workers
are, and the process that hands it to them has not to read beside them.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NamedTuple

from tokenlab.build.parts import PartInput, read_parts
from tokenlab.build.pool import start_worker
from tokenlab.build.shared_memory import Label, SharedMemory
from tokenlab.corpus import BadDocument, Corpus
from tokenlab.errors import ProcessKilled, TokenlabError


class PartReader:
    """The parts of `read_parts`. Their process is forked from this one, which must have one thread."""

    def __init__(
        self, corpus: Corpus, memory: SharedMemory, *, val_docs: int, part_bytes: int, ahead: int
    ) -> None:
        """`memory` gets to know their documents. `ahead`: so many parts are held at most, with those that
        this process refers to."""
        self._corpus = corpus
        self._memory = memory
        self._connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(corpus, val_docs, part_bytes, ahead, theirs, self._connection), daemon=True
        )
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def __iter__(self) -> Iterator[tuple[PartInput, int]]:
        """Raises what reading raised, or ProcessKilled."""
        while True:
            try:
                message: _Part | _End | _Failure = self._connection.recv()
            except (EOFError, ConnectionError) as error:
                raise ProcessKilled("the process that reads the input") from error
            if isinstance(message, _End):
                self._corpus.bad_documents = message.bad_documents
                return
            if isinstance(message, _Failure):
                raise message.error from message.cause
            yield self._memory.receive(message.label, self._let_go), message.consumed

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _let_go(self, file: str) -> None:
        with suppress(OSError):  # the process has ended
            self._connection.send(file)


class _Part(NamedTuple):
    label: Label
    consumed: int


class _End(NamedTuple):
    bad_documents: list[BadDocument]


class _Failure(NamedTuple):
    error: Exception
    cause: Exception | None


def _serve(
    corpus: Corpus, val_docs: int, part_bytes: int, ahead: int, connection: Connection, other_end: Connection
) -> None:
    """The process: it sends the parts, and is sent the files that the other end is done with."""
    start_worker()
    other_end.close()
    memory = SharedMemory()
    held: dict[str, PartInput] = {}
    with (
        suppress(EOFError, ConnectionError),  # the build has ended
        ThreadPoolExecutor(1) as sender,  # a pipe holds less than what is read ahead
    ):
        try:
            for part, consumed in read_parts(
                corpus, val_docs=val_docs, part_bytes=part_bytes, empty=memory.empty
            ):
                label = memory.label(part)
                held.update((file, part) for file, _ in label.arrays)
                sender.submit(connection.send, _Part(label, consumed))
                del part
                while len(held) >= ahead:
                    del held[connection.recv()]
            sender.submit(connection.send, _End(corpus.bad_documents))
        except (TokenlabError, OSError) as error:
            sender.submit(connection.send, _Failure(error, _cause(error)))
        except Exception:  # a bug of ours
            sender.submit(connection.send, _Failure(RuntimeError(traceback.format_exc()), None))
        while held:  # its files are there for as long as it is
            del held[connection.recv()]


def _cause(error: Exception) -> Exception | None:
    """Where an error came from: whether the work is kept depends on it, and pickle drops it."""
    return error.__cause__ if isinstance(error.__cause__, TokenlabError | OSError) else None
