"""The source documents in the order of the dataset: validation first, then train without its twins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tokenlab.corpus import Corpus, CorpusDigest, DigestSet, document_digests, is_local, open_corpus
from tokenlab.errors import InputError
from tokenlab.manifest import Manifest, Split
from tokenlab.own_process import may_fork
from tokenlab.processes.iterator_process import IteratorProcess
from tokenlab.processes.shared_memory import SharedMemory
from tokenlab.ragged import Ragged

Item = TypeVar("Item")

AHEAD = 8
"""Batches that wait at most: some take longer than others, and with fewer one of two cores often has none."""

LEAST_BYTES = 1 << 20
"""Of text that is handed over at a time: of many small files, each is a batch."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Some documents, and the sha256 of each (uint8 [n, 32])."""

    documents: Ragged
    digests: NDArray[np.uint8]


class SourceDocuments:
    """Hands out the documents that each split must hold, as often as a verifier asks;
    without `drop_twins`, training documents that equal a validation document too.

    With `ahead_of_time` they are read from now on, by a process of its own if this one is a command of one
    thread, until `close`. `documents`, `bytes`, `dropped` and `digest` cover everything read so far, dropped
    documents included.
    """

    def __init__(
        self, corpus: Corpus, val_docs: int, *, drop_twins: bool = True, ahead_of_time: bool = False
    ) -> None:
        self.documents = 0
        self.bytes = 0
        self.dropped: list[int] = []
        self.digest = CorpusDigest()
        self._val_docs = val_docs
        self._drop_twins = drop_twins
        self._validation = DigestSet()
        self._process: IteratorProcess[Digested] | None = None
        if ahead_of_time and is_local(corpus) and may_fork():
            self._process = IteratorProcess(partial(_digested, corpus), memory=SharedMemory(), ahead=AHEAD)
        self._stream = self._kept(self._process or ahead(_digested(corpus)))
        self._held: tuple[Split, Taken] | None = None

    def take(self, split: Split, count: int) -> Taken:
        """The next `count` documents of the split, or fewer when the source has no more of it."""
        documents: list[Ragged] = []
        digests: list[NDArray[np.uint8]] = [np.zeros((0, 32), np.uint8)]
        while count > 0:
            if self._held is None:
                self._held = next(self._stream, None)
            if self._held is None or self._held[0] != split:
                break
            held = self._held[1]
            here = min(count, len(held.documents))
            count -= here
            documents.append(held.documents.rows(0, here))
            if count > 0:  # a copy: what reads ahead waits for memory that is not let go of
                documents[-1] = documents[-1].copy()
            digests.append(held.digests[:here])
            rest = Taken(held.documents.rows(here, len(held.documents)), held.digests[here:])
            self._held = (split, rest) if len(rest.documents) else None
        return Taken(Ragged.concatenate(documents, np.uint8), np.concatenate(digests))

    def remaining(self, split: Split) -> int:
        """Reads on: how many documents of the split were never asked for."""
        left = 0
        while len(rest := self.take(split, 1 << 12).documents):
            left += len(rest)
        return left

    def close(self) -> None:
        """Stop reading."""
        if self._process is not None:
            self._process.close()

    def _kept(self, batches: Iterable[Digested]) -> Iterator[tuple[Split, Taken]]:
        for documents, digests in batches:
            cut = max(0, min(len(documents), self._val_docs - self.documents))
            if cut:
                self._validation.add(digests[:cut])
            keep = np.ones(len(documents), bool)
            if self._drop_twins:
                keep[cut:] = ~self._validation.find(digests[cut:])
            self.dropped.extend((self.documents + np.flatnonzero(~keep)).tolist())
            self.digest.update(digests)
            self.documents += len(documents)
            self.bytes += len(documents.values)
            for split, start, stop in (("val", 0, cut), ("train", cut, len(documents))):
                if stop > start:
                    here = keep[start:stop]
                    taken = Taken(documents.rows(start, stop).take(here), digests[start:stop][here])
                    yield split, taken  # type: ignore[misc]


Digested = tuple[Ragged, NDArray[np.uint8]]


def _digested(corpus: Corpus, empty: Callable[[int], NDArray[np.uint8]] | None = None) -> Iterator[Digested]:
    """The documents and the sha256 of each; `empty` as for `Ragged.copy`, if they are to be copied."""
    for documents in _together(batch.documents for batch in corpus.batches()):
        documents = documents if empty is None else documents.copy(empty)
        yield documents, document_digests(documents)


def _together(batches: Iterable[Ragged]) -> Iterator[Ragged]:
    """Batches of LEAST_BYTES at least, but the last."""
    held: list[Ragged] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += len(batch.values)
        if size >= LEAST_BYTES:
            yield Ragged.concatenate(held, np.uint8)
            held, size = [], 0
    if held:
        yield Ragged.concatenate(held, np.uint8)


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items; a thread makes the next ones while the last is looked at. The threads take turns with
    the interpreter lock, and hold it for a fifth of their time."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        ended = object()
        pending: deque[Future[Any]] = deque(pool.submit(next, items, ended) for _ in range(AHEAD))
        while (item := pending.popleft().result()) is not ended:
            pending.append(pool.submit(next, items, ended))
            yield item


def open_source(
    manifest: Manifest, docs: Sequence[str], text_field: str | None, *, ahead_of_time: bool = False
) -> SourceDocuments:
    """The documents of `docs`, read as the manifest says they were read; `["embedded"]` is the
    corpus that Python carries. Raises InputError."""
    described: dict[str, Any] = manifest.source.corpus
    corpus = open_corpus(
        None if list(docs) == ["embedded"] else list(docs),
        text_field=text_field or str(described.get("text_field", "text")),
        limit_docs=described.get("limit_docs"),
        on_bad_document=described.get("on_bad_document", "stop"),
    )
    val_docs = manifest.options.get("val_docs")
    if not isinstance(val_docs, int):
        raise InputError(
            f"the manifest does not say how many documents are validation ({Path('manifest.json')})"
        )
    return SourceDocuments(corpus, val_docs, ahead_of_time=ahead_of_time)
