"""From what a user names to a corpus: files and globs, FineWeb, or the embedded documents."""

from __future__ import annotations

import glob
import importlib
import os
import platform
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    SourceFile,
    chunks_of,
    one_line,
    text_of,
)
from tokenlab.corpus.lines import read_jsonl, read_txt
from tokenlab.corpus.parquet import read_parquet
from tokenlab.errors import InputError

FINEWEB = "HuggingFaceFW/fineweb"
FINEWEB_CONFIG = "sample-10BT"

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


def open_corpus(
    inputs: Sequence[str] | None,
    *,
    text_field: str = "text",
    limit_docs: int | None = None,
    on_bad_document: Literal["stop", "skip"] = "stop",
    batch_bytes: int = 1 << 22,
) -> Corpus:
    """The documents that `inputs` name: paths and globs, `["fineweb"]`, or None for the embedded ones.

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
    if list(inputs) == ["fineweb"]:
        return build(*_fineweb())
    if "fineweb" in inputs:
        raise InputError("'fineweb' cannot be mixed with other inputs; a file of that name is ./fineweb")
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
        files = [{"path": file.path, "size": file.size} for file in self.files]
        options = {
            "text_field": self.text_field,
            "limit_docs": self.limit_docs,
            "on_bad_document": self.on_bad_document,
        }
        return {**self.kind, "files": files, **options}

    def batches(self) -> Iterator[DocumentBatch]:
        """Read from the start. Raises InputError; one reading at a time."""
        self.bad_documents = []
        return self._read(self.bad_documents)

    def _read(self, bad: list[BadDocument]) -> Iterator[DocumentBatch]:
        left = self.limit_docs or sys.maxsize
        before = 0
        for source in self.sources:
            empty = True
            for chunk in source.read(Reading(self.text_field, self.batch_bytes, left)):
                empty = False
                if len(chunk.documents) >= left:
                    chunk = chunk.first(left)
                self._judge(source.label, chunk.flaws, bad)
                if len(chunk.documents):
                    yield DocumentBatch(chunk.documents, source.label, chunk.rows, before + chunk.consumed)
                left -= len(chunk.documents)
                if left == 0:
                    return
            if empty:
                raise _empty(source.label)
            before += source.size

    def _judge(self, label: str, flaws: list[tuple[int, Flaw]], bad: list[BadDocument]) -> None:
        if flaws and self.on_bad_document == "stop":
            row, flaw = flaws[0]
            raise InputError(f"{one_line(label)}: row {row}: {flaw.reason} (or pass --on-bad-document skip)")
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


def load_fineweb() -> tuple[Iterable[Mapping[str, object]], str | None]:
    """FineWeb's rows in streaming order, and the revision that they are pinned to."""
    datasets = importlib.import_module("datasets")
    hub = importlib.import_module("huggingface_hub")
    revision = hub.HfApi().dataset_info(FINEWEB).sha
    rows = datasets.load_dataset(
        FINEWEB, name=FINEWEB_CONFIG, split="train", streaming=True, revision=revision
    )
    return rows, revision


def _fineweb() -> Parts:
    try:
        rows, revision = load_fineweb()
    except ImportError as error:
        raise InputError(
            f"--input fineweb needs the package {error.name}; pip install 'tokenlab-bpb[fineweb]'"
        ) from error
    except Exception as error:  # whatever the network stack of the day raises
        raise _unreachable(error) from error

    def texts(text_field: str) -> Iterator[tuple[int, bytes | Flaw]]:
        row = 0
        try:
            for row, record in enumerate(rows, 1):
                yield row, text_of(record, text_field)
        except Exception as error:
            raise _unreachable(error, row) from error

    def read(how: Reading) -> Iterator[Chunk]:
        return chunks_of(texts(how.text_field), how, lambda: 0)

    kind: dict[str, object] = {
        "kind": "fineweb",
        "dataset": FINEWEB,
        "config": FINEWEB_CONFIG,
        "revision": revision,
    }
    name = f"{FINEWEB} {FINEWEB_CONFIG}, revision {revision or 'unknown'}"
    return name, kind, (), (Source(FINEWEB, 0, read),)


def _unreachable(error: Exception, row: int = 0) -> InputError:
    first = (str(error).splitlines() or [""])[0]
    where = f"after row {row}" if row else "at the start"
    return InputError(
        f"{FINEWEB}: cannot be read {where}: {type(error).__name__}: {one_line(first)[:300]}; "
        "check the network, or give files to --input"
    )


def _files(inputs: Sequence[str]) -> Parts:
    paths = [path for given in inputs for path in _expand(given)]
    if not paths:
        raise InputError("no input; give --input a file or a glob")
    files: list[SourceFile] = []
    sources: list[Source] = []
    seen: dict[tuple[int, int], str] = {}
    for path in paths:
        reader = _reader(path)
        found = _stat(path)
        inode = (found.st_dev, found.st_ino)
        if inode in seen:
            also = "" if seen[inode] == path else f" (first as {one_line(seen[inode])})"
            raise InputError(f"{one_line(path)} is given twice{also}; give each file once")
        if found.st_size == 0:
            raise _empty(path)
        seen[inode] = path
        file = SourceFile(path, found.st_size, found.st_mtime_ns)
        files.append(file)
        sources.append(Source(path, file.size, partial(_read_file, file, reader)))
    size = sum(file.size for file in files)
    first, last = one_line(paths[0]), one_line(paths[-1])
    name = first if len(paths) == 1 else f"{len(paths)} files, {first} … {last}"
    return f"{name} ({size / 1e6:,.1f} MB)", {"kind": "files"}, tuple(files), tuple(sources)


def _expand(given: str) -> list[str]:
    """The files that one input names: itself, or what it matches, sorted by name."""
    if os.path.isdir(given):
        pattern = os.path.join(given, "*.jsonl")
        raise InputError(f"{one_line(given)} is a directory; give a glob, such as '{one_line(pattern)}'")
    if os.path.lexists(given):
        return [given]
    if not any(mark in given for mark in "*?["):
        hint = "" if _kind(given) else f" (kinds of file: {' '.join(READERS)})"
        raise InputError(f"{one_line(given)}: no such file{hint}")
    matches = sorted({path for path in glob.glob(given, recursive=True) if not os.path.isdir(path)})
    if not matches:
        raise InputError(f"{one_line(given)}: no file matches")
    return matches


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
    found = _stat(file.path)
    if (found.st_size, found.st_mtime_ns) != (file.size, file.mtime_ns):
        raise InputError(f"{one_line(file.path)}: changed since it was opened; start again")


def _empty(label: str) -> InputError:
    return InputError(f"{one_line(label)} is empty")
