"""What readers hand over: rows, grouped into chunks; and what a corpus is to its user.

A reader yields `(row, document)`, where the document is its UTF-8 bytes or a `Flaw`:

    (1, b"The cat"), (2, Flaw("invalid UTF-8 at byte 5")), (4, b"")

`chunks_of` turns that into `Chunk`s of about `batch_bytes`. Parquet makes its chunks itself,
a column at a time, and JSON lines are parsed a group at a time, or handed over as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenlab.cuts import MAX_DOCUMENT_BYTES
from tokenlab.errors import InputError
from tokenlab.ragged import Ragged

FLAW_BYTES = 4096
"""What a flaw counts for in a batch, so that a file of nothing but flaws is soon reported."""

SHOWN_NAMES = 12
"""Names that a message lists before it writes an ellipsis."""


class Remote(Protocol):
    """A file behind a URL, for the readers."""

    @property
    def size(self) -> int | None:
        """None when the server does not tell."""
        ...

    def stream(self) -> BinaryIO:
        """To be read from end to end."""
        ...

    def ranges(self) -> BinaryIO:
        """To be read here and there."""
        ...

    def check(self) -> None:
        """Raise InputError when it is no longer the file that it was."""
        ...


@dataclass(frozen=True)
class SourceFile:
    """An input file as it was when the corpus was opened.

    `remote`: how to read one that is behind a URL. Then `path` is the URL without secrets, `size`
    is 0 when the server does not tell, and `version` stands in for the mtime.
    """

    path: str
    size: int
    mtime_ns: int
    version: str = ""
    remote: Remote | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class BadDocument:
    """A row that is no document; `row` counts from 1 (line of a text file, row of a table)."""

    file: str
    row: int
    reason: str


@dataclass(frozen=True)
class DocumentBatch:
    """Consecutive documents of one file.

    `documents`: uint8, valid UTF-8. `rows`: int64, the row of each document in `file`, from 1.
    `consumed`: bytes of input files read so far, over all files, as they lie on disk.
    """

    documents: Ragged
    file: str
    rows: NDArray[np.int64]
    consumed: int


@dataclass(frozen=True)
class RowBatch:
    """Consecutive documents of one file, perhaps not parsed yet; else as `DocumentBatch`.

    `contents`: lines of JSON with the text in the field `json_field`, for `parse_lines`; where that is None,
    the texts.
    """

    contents: Ragged
    json_field: str | None
    file: str
    rows: NDArray[np.int64]
    consumed: int


class Corpus(Protocol):
    """Ordered documents, the same at every reading.

    `name`: one line for humans. `files`: in reading order; empty when there are none.
    `bad_documents`: what the latest reading skipped; a new call of `batches` starts a new list.
    """

    name: str
    files: tuple[SourceFile, ...]
    bad_documents: list[BadDocument]

    def batches(self) -> Iterator[DocumentBatch]:
        """Read from the start. Raises InputError; one reading at a time."""
        ...

    def row_batches(self) -> Iterator[RowBatch]:
        """As `batches`, but rows are left to be parsed by who takes them, where they can be: then reading
        takes half the time, or a third."""
        ...

    def describe(self) -> dict[str, object]:
        """What the documents depend on, for a manifest: kind, files, options."""
        ...


def is_local(corpus: Corpus) -> bool:
    """Whether it is files of this machine, which a forked process may read. Clients of servers have threads
    and connections, which do not survive a fork."""
    return bool(corpus.files) and all(file.remote is None for file in corpus.files)


@dataclass(frozen=True)
class Reading:
    """How to read a source: which field, how much text a chunk, and how many documents are
    wanted. Readers end a chunk where the limit is reached, so that what lies behind it is
    neither read nor judged. Unless `parse`, lines of JSON are handed over as they are."""

    text_field: str
    batch_bytes: int
    limit: int
    parse: bool = True


class Flaw(NamedTuple):
    """Why a row is no document."""

    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of one source: the good ones, the flawed ones, how far into the source (in
    bytes on disk) they reach, and whether the documents are `parsed` or the lines with them."""

    documents: Ragged
    rows: NDArray[np.int64]
    flaws: list[tuple[int, Flaw]]
    consumed: int
    parsed: bool = True

    def first(self, count: int) -> Chunk:
        """The chunk as if it ended at its `count`-th document."""
        last = int(self.rows[count - 1])
        flaws = [(row, flaw) for row, flaw in self.flaws if row < last]
        return replace(self, documents=self.documents.rows(0, count), rows=self.rows[:count], flaws=flaws)


def chunks_of(
    rows: Iterable[tuple[int, bytes | Flaw]], how: Reading, consumed: Callable[[], int]
) -> Iterator[Chunk]:
    """Group rows; `consumed` says how far into the source they were read."""
    left = how.limit
    texts: list[bytes] = []
    numbers: list[int] = []
    flaws: list[tuple[int, Flaw]] = []
    size = 0
    for row, document in rows:
        if isinstance(document, bytes) and len(document) > MAX_DOCUMENT_BYTES:
            document = too_long(len(document))
        if isinstance(document, Flaw):
            flaws.append((row, document))
            size += FLAW_BYTES
        else:
            texts.append(document)
            numbers.append(row)
            size += len(document)
        if size >= how.batch_bytes or len(numbers) == left:
            left -= len(numbers)
            yield Chunk(Ragged.from_bytes(texts), np.array(numbers, np.int64), flaws, consumed())
            texts, numbers, flaws, size = [], [], [], 0
    if numbers or flaws:
        yield Chunk(Ragged.from_bytes(texts), np.array(numbers, np.int64), flaws, consumed())


def text_of(record: object, field: str) -> bytes | Flaw:
    """The text of a parsed row, or what is wrong with it: the slow, explaining way."""
    if not isinstance(record, dict):
        return Flaw(f"not an object but {_KINDS.get(type(record), type(record).__name__)}")
    if field not in record:
        return Flaw(f"no field {field!r} (fields: {names(record)}); name the right one with --text-field")
    text = record[field]
    if not isinstance(text, str):
        return Flaw(f"field {field!r} is {_KINDS.get(type(text), type(text).__name__)}, not a string")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        return Flaw(f"lone surrogate U+{ord(text[error.start]):04X} at character {error.start + 1}")


def too_long(length: int) -> Flaw:
    """The flaw of a document over the limit."""
    return Flaw(f"{length:,} bytes of UTF-8, more than the {MAX_DOCUMENT_BYTES:,} that a document may have")


def invalid_utf8(error: UnicodeDecodeError) -> Flaw:
    """The flaw of bytes that are no text."""
    return Flaw(f"invalid UTF-8 at byte {error.start + 1}")


def names(fields: Iterable[object]) -> str:
    """Names for a message: the first few, on one line."""
    known = [str(field) for field in fields]
    shown = [one_line(name if len(name) <= 40 else name[:39] + "…") for name in known[:SHOWN_NAMES]]
    return ", ".join(shown + ["…"] * (len(known) > SHOWN_NAMES)) or "none"


def bad_row(file: str, row: int, flaw: Flaw) -> InputError:
    """The error for a row that is no document."""
    return InputError(f"{one_line(file)}: row {row}: {flaw.reason} (or pass --on-bad-document skip)")


def one_line(text: str) -> str:
    """A name from outside, safe to print in a message."""
    return text if text.isprintable() else ascii(text)


_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "a string",
    list: "an array",
    dict: "an object",
}
