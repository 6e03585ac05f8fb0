"""From what a user names to a corpus: files, URLs and globs, FineWeb, or the embedded documents."""

from __future__ import annotations

import glob
import os
import platform
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from tokenlab.corpus.documents import (
    BadDocument,
    Chunk,
    Corpus,
    DocumentBatch,
    Flaw,
    Reading,
    RowBatch,
    SourceFile,
    bad_row,
    chunks_of,
    one_line,
)
from tokenlab.corpus.fineweb import DATASET, FineWeb, open_fineweb, parse_fineweb, read_fineweb
from tokenlab.corpus.lines import read_jsonl, read_txt
from tokenlab.corpus.parquet import read_parquet
from tokenlab.corpus.remote import expand
from tokenlab.corpus.urls import is_remote, public_name
from tokenlab.errors import InputError

Reader = Callable[[SourceFile, Reading], Iterator[Chunk]]

READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".jsonl.gz": read_jsonl,
    ".jsonl.zst": read_jsonl,
    ".ndjson": read_jsonl,
    ".ndjson.gz": read_jsonl,
    ".ndjson.zst": read_jsonl,
    ".parquet": read_parquet,
    ".txt": read_txt,
    ".txt.gz": read_txt,
    ".txt.zst": read_txt,
}

NEAR = 0.8
"""How much alike names are, by difflib, of which one is offered for the other."""


def open_corpus(
    inputs: Sequence[str] | None,
    *,
    text_field: str = "text",
    limit_docs: int | None = None,
    on_bad_document: Literal["stop", "skip"] = "stop",
    batch_bytes: int = 1 << 22,
) -> Corpus:
    """The documents that `inputs` name: paths, URLs and globs; `["fineweb"]`; None for the embedded ones.

    `limit_docs` ends the corpus after that many good documents. Batches hold about
    `batch_bytes` of text, at least one document. Raises InputError.
    """
    if not text_field:
        raise InputError("--text-field is empty; give the name of the field that holds the text")
    if limit_docs is not None and limit_docs < 1:
        raise InputError(f"--limit-docs is {limit_docs}; give at least 1, or leave it out for all documents")
    if on_bad_document not in ("stop", "skip"):
        raise InputError(f"--on-bad-document is {on_bad_document!r}; give stop or skip")
    build = partial(
        OpenCorpus,
        text_field=text_field,
        limit_docs=limit_docs,
        on_bad_document=on_bad_document,
        batch_bytes=batch_bytes,
    )
    if inputs is None:
        return build(*_embedded())
    for given in inputs:
        if (which := parse_fineweb(given)) is not None:
            if len(inputs) > 1:
                raise InputError(
                    f"{given!r} cannot be mixed with other inputs; a file of that name is ./{given}"
                )
            return build(*_fineweb(which))
    return build(*_files(inputs))


@dataclass(frozen=True)
class Source:
    """One sequence of rows: what messages call it, its size on disk, how to read it."""

    label: str
    size: int
    read: Callable[[Reading], Iterator[Chunk]]


@dataclass
class OpenCorpus:
    """What `open_corpus` returns; see `Corpus`."""

    name: str
    kind: dict[str, object]
    files: tuple[SourceFile, ...]
    sources: tuple[Source, ...]
    text_field: str
    limit_docs: int | None
    on_bad_document: str
    batch_bytes: int
    bad_documents: list[BadDocument] = field(default_factory=list)

    def describe(self) -> dict[str, object]:
        """What the documents depend on, for a manifest."""
        files = [_described(file) for file in self.files]
        options = {
            "text_field": self.text_field,
            "limit_docs": self.limit_docs,
            "on_bad_document": self.on_bad_document,
        }
        return {**self.kind, "files": files, **options}

    def batches(self) -> Iterator[DocumentBatch]:
        """Read from the start. Raises InputError; one reading at a time."""
        self.bad_documents = []
        return (
            DocumentBatch(chunk.documents, label, chunk.rows, consumed)
            for label, chunk, consumed in self._read(self.bad_documents, parse=True)
        )

    def row_batches(self) -> Iterator[RowBatch]:
        """As `batches`, but lines of JSON are not parsed unless bad ones are skipped: else every line that
        is not blank is a document, or stops whoever parses it."""
        self.bad_documents = []
        return (
            RowBatch(chunk.documents, None if chunk.parsed else self.text_field, label, chunk.rows, consumed)
            for label, chunk, consumed in self._read(self.bad_documents, parse=self.on_bad_document == "skip")
        )

    def _read(self, bad: list[BadDocument], *, parse: bool) -> Iterator[tuple[str, Chunk, int]]:
        """Chunks with documents, each with its source's label and the bytes of files read so far."""
        left = self.limit_docs or sys.maxsize
        before = after = 0
        for source in self.sources:
            empty = True
            for chunk in source.read(Reading(self.text_field, self.batch_bytes, left, parse)):
                empty = False
                if len(chunk.documents) >= left:
                    chunk = chunk.first(left)
                self._judge(source.label, chunk.flaws, bad)
                if len(chunk.documents):
                    after = before + chunk.consumed
                    yield source.label, chunk, after
                left -= len(chunk.documents)
                if left == 0:
                    return
            if empty:
                raise _empty(source.label)
            before = before + source.size if source.size else after

    def _judge(self, label: str, flaws: list[tuple[int, Flaw]], bad: list[BadDocument]) -> None:
        if flaws and self.on_bad_document == "stop":
            raise bad_row(label, *flaws[0])
        bad.extend(BadDocument(label, row, flaw.reason) for row, flaw in flaws)


Parts = tuple[str, dict[str, object], tuple[SourceFile, ...], tuple[Source, ...]]


def _embedded() -> Parts:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError("this Python comes without pydoc_data.topics; name a corpus with --input") from error
    python = platform.python_version()
    texts = [topics[topic].encode() for topic in sorted(topics)]

    def read(how: Reading) -> Iterator[Chunk]:
        return chunks_of(enumerate(texts, 1), how, lambda: 0)

    kind: dict[str, object] = {"kind": "embedded", "source": "pydoc_data.topics", "python": python}
    return f"embedded corpus (pydoc_data.topics of Python {python})", kind, (), (Source("embedded", 0, read),)


def _fineweb(which: FineWeb) -> Parts:
    rows, revision = open_fineweb(which)

    def read(how: Reading) -> Iterator[Chunk]:
        return chunks_of(read_fineweb(rows, how.text_field), how, lambda: 0)

    kind: dict[str, object] = {
        "kind": "fineweb",
        "dataset": DATASET,
        "config": which.config,
        "revision": revision,
    }
    name = f"{DATASET} {which.config}, revision {revision or 'unknown'}"
    return name, kind, (), (Source(DATASET, 0, read),)


def _files(inputs: Sequence[str]) -> Parts:
    found = [file for given in inputs for file in (_remote(given) if is_remote(given) else _local(given))]
    if not found:
        raise InputError("no input; give --input a file or a glob")
    sources: list[Source] = []
    seen: dict[object, str] = {}
    for file, identity in found:
        reader = _reader(file.path)
        if identity in seen:
            also = "" if seen[identity] == file.path else f" (first as {one_line(seen[identity])})"
            raise InputError(f"{one_line(file.path)} is given twice{also}; give each file once")
        if (file.size if file.remote is None else file.remote.size) == 0:
            raise _empty(file.path)
        seen[identity] = file.path
        sources.append(Source(file.path, file.size, partial(_read_file, file, reader)))
    files = tuple(file for file, _ in found)
    size = f"{sum(file.size for file in files) / 1e6:,.1f} MB"
    if not all(file.size for file in files):
        size = f"{size} and files whose server does not tell" if len(files) > 1 else "size unknown"
    first, last = one_line(files[0].path), one_line(files[-1].path)
    name = first if len(files) == 1 else f"{len(files)} files, {first} … {last}"
    return f"{name} ({size})", {"kind": "files"}, files, tuple(sources)


Found = tuple[SourceFile, object]
"""A file, and what is the same when the same file is given twice."""


def _local(given: str) -> Iterator[Found]:
    for path in _expand(given):
        _reader(path)
        found = _stat(path)
        yield SourceFile(path, found.st_size, found.st_mtime_ns), (found.st_dev, found.st_ino)


def _remote(given: str) -> Iterator[Found]:
    if not any(mark in public_name(given) for mark in "*?["):
        _reader(public_name(given))  # before a server is asked
    for file in expand(given):
        yield SourceFile(file.name, file.size or 0, 0, file.version, file), file.name


def _described(file: SourceFile) -> dict[str, object]:
    """What a manifest keeps of a file."""
    if file.remote is None:
        return {"path": file.path, "size": file.size}
    return {"path": file.path, "size": file.remote.size, "version": file.version or None}


def _expand(given: str) -> list[str]:
    """The files that one input names: itself, or what it matches, sorted by name."""
    if os.path.isdir(given):
        pattern = os.path.join(given, "*.jsonl")
        raise InputError(f"{one_line(given)} is a directory; give a glob, such as '{one_line(pattern)}'")
    if os.path.lexists(given):
        return [given]
    if not any(mark in given for mark in "*?["):
        raise InputError(f"{one_line(given)}: no such file{_hint(given)}")
    matches = sorted({path for path in glob.glob(given, recursive=True) if not os.path.isdir(path)})
    if not matches:
        raise InputError(f"{one_line(given)}: no file matches")
    return matches


def _hint(missing: str) -> str:
    """For the message about a missing file: the dataset that may be meant, the folder that is missing too, a
    name that is much alike, or the kinds of file there are."""
    from difflib import get_close_matches

    if get_close_matches(missing.partition(":")[0].lower(), ["fineweb", DATASET.lower()], cutoff=NEAR):
        return "; the dataset is called fineweb"
    folder, name = os.path.split(missing)
    if not os.path.isdir(folder or "."):
        return f"; there is no folder {one_line(folder)}"
    with suppress(OSError):  # a folder that may not be listed
        corpora = sorted(entry for entry in os.listdir(folder or ".") if _kind(entry))
        if near := get_close_matches(name, corpora, n=1, cutoff=NEAR):
            return f"; there is {one_line(os.path.join(folder, near[0]))}"
    return "" if _kind(missing) else f" (kinds of file: {' '.join(READERS)})"


def _reader(path: str) -> Reader:
    kind = _kind(path)
    if kind is None:
        raise InputError(f"{one_line(path)}: unknown kind of file; known are {' '.join(READERS)}")
    return READERS[kind]


def _kind(path: str) -> str | None:
    return next((kind for kind in READERS if path.lower().endswith(kind)), None)


def _stat(path: str) -> os.stat_result:
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f"{one_line(path)}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{one_line(path)}: not a regular file; a corpus is read more than once")
    return found


def _read_file(file: SourceFile, reader: Reader, how: Reading) -> Iterator[Chunk]:
    _same(file)
    yield from reader(file, how)
    _same(file)


def _same(file: SourceFile) -> None:
    """A corpus is the same at every reading, or says that it is not."""
    if file.remote is not None:
        file.remote.check()
        return
    found = _stat(file.path)
    if (found.st_size, found.st_mtime_ns) != (file.size, file.mtime_ns):
        raise InputError(f"{one_line(file.path)}: changed since it was opened; start again")


def _empty(label: str) -> InputError:
    return InputError(f"{one_line(label)} is empty")
