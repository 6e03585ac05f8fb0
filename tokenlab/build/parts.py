"""Parts: the corpus cut at fixed document indices, each encoded by an independent task.

A part is one file, named by the digest of the plan (its folder) and its number, so a file
that is there and whole is the part, whoever wrote it and when:

    lengths    2 integers of 8 bytes, little-endian: of the digests and of the record, in bytes
    digests    sha256 of every document read, 32 bytes each
    record     JSON, a `PartRecord`
    sha256     of all before, 32 bytes
    ids        tokens values of 2 or 4 bytes, BOS before each document
    charges    tokens values of 1 or 2 bytes

When its tokens are in shards that are done, the file is cut off before them: the build does not keep them
twice, and what freed memory held is written faster than fresh memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shards import write_atomically
from tokenlab.accounting.ledger import Ledger
from tokenlab.corpus import Corpus, bad_row, document_digests, parse_lines
from tokenlab.errors import InputError
from tokenlab.manifest import Split
from tokenlab.ragged import Ragged, offsets_of

FOLDER_PARTS = 1000
"""Parts of a folder: a shared file system dislikes a million files in one."""

BATCH_BYTES = 3 << 20
"""Of rows that are parsed and encoded at a time: the encoder's 2 ms a call do not count, and the largest
array, eight bytes for each of rewritten text, is a block that `own_process` keeps for the next batch."""

LENGTHS_BYTES = 16
SHA256_BYTES = 32


class ChangedInput(InputError):
    """The input is not what the unfinished build read, though its size and time are; the work is kept."""

    def __init__(self, where: str, folder: Path) -> None:
        super().__init__(
            f"{where}: another document than the unfinished build read, though sizes and times of the input "
            f"are the same; bring the old input back to finish {folder}, or pass --force to start anew"
        )
        self.where = where


@dataclass(frozen=True, slots=True)
class PartInput:
    """Documents of one part: of one split, `first` being the index of the first in the corpus.

    `contents`: texts, or lines of JSON that have them in `json_field`, as `RowBatch` has them; `origins` says
    which file and rows they came from, for errors.
    """

    number: int
    split: Split
    first: int
    contents: Ragged
    json_field: str | None
    origins: tuple[tuple[str, NDArray[np.int64]], ...]

    def documents(self, start: int, stop: int) -> Ragged:
        """Some of the documents. Raises InputError for a row that is none."""
        contents = self.contents.rows(start, stop)
        if self.json_field is None:
            return contents
        texts = parse_lines(contents, self.json_field)
        if isinstance(texts, Ragged):
            return texts
        bad, flaw = texts
        raise bad_row(*self._row(start + bad), flaw)

    def digests(self) -> NDArray[np.uint8]:
        """The sha256 of each document, uint8 [documents, 32]. Raises as `documents`."""
        digests = [document_digests(self.documents(*bounds)) for bounds in self.contents.slices(BATCH_BYTES)]
        return np.concatenate(digests)

    def origin(self, document: int) -> str:
        """The file and row of a document of the part."""
        file, row = self._row(document)
        return f"{file}: row {row} (document {self.first + document})"

    def _row(self, document: int) -> tuple[str, int]:
        for file, rows in self.origins:
            if document < len(rows):
                return file, int(rows[document])
            document -= len(rows)
        raise IndexError(document)


class PartRecord(msgspec.Struct, frozen=True):
    """What a part holds. `dropped`: corpus indices left out of train because they equal a
    validation document; `documents` counts the others; `id_bytes` and `charge_bytes` are the width of an
    id and of a charge; `values_sha256` is of ids and charges."""

    number: int
    split: Split
    first: int
    documents_read: int
    bytes_read: int
    documents: int
    tokens: int
    source_bytes: int
    charged_bytes: int
    unattributed_bytes: int
    id_bytes: int
    dropped: tuple[int, ...]
    charge_bytes: int
    values_sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part on disk: its record and its arrays, memory-mapped; `ids` and `charges` are empty where the file
    was cut off."""

    record: PartRecord
    ids: NDArray[Any]
    charges: NDArray[Any]
    digests: NDArray[np.uint8]


def read_parts(
    corpus: Corpus,
    *,
    val_docs: int,
    part_bytes: int,
    empty: Callable[[int], NDArray[np.uint8]] = lambda size: np.empty(size, np.uint8),
) -> Generator[tuple[PartInput, int]]:
    """Cut the corpus: a part ends at the split, between rows that are texts and rows to be parsed, or where
    the next row would take it over `part_bytes`. Yields (part, bytes of input files read so far). `empty`:
    gives an array of so many bytes, of any content, where the rows of a part are put together."""
    number = first = held = size = 0
    room = empty(0)
    field: str | None = None
    lengths: list[NDArray[np.int64]] = []
    origins: list[tuple[str, NDArray[np.int64]]] = []

    def part() -> PartInput:
        split: Split = "val" if first < val_docs else "train"
        contents = Ragged(room[:size], offsets_of(np.concatenate(lengths)))
        return PartInput(number, split, first, contents, field, tuple(origins))

    for batch in corpus.row_batches():
        start = 0
        while start < len(batch.contents):
            same = not held or batch.json_field == field
            stop = batch.contents.fitting(start, part_bytes - size) if same else start
            if first + held < val_docs:
                stop = min(stop, start + val_docs - first - held)
            if stop == start and not held:
                stop = start + 1
            if stop > start:
                piece = batch.contents.rows(start, stop)
                if not held:
                    room = empty(max(part_bytes, len(piece.values)))
                    field = batch.json_field
                room[size : size + len(piece.values)] = piece.values
                lengths.append(piece.lengths)
                origins.append((batch.file, batch.rows[start:stop]))
                size += len(piece.values)
                held += stop - start
                start = stop
            if start < len(batch.contents) or first + held == val_docs:
                yield part(), batch.consumed
                number, first, held, size = number + 1, first + held, 0, 0
                room, lengths, origins = empty(0), [], []
    if held:
        yield part(), batch.consumed


def part_path(folder: Path, number: int) -> Path:
    """File of a part; `folder` holds the parts of one plan."""
    return folder / f"{number // FOLDER_PARTS:05d}" / f"{number:08d}.part"


def open_part(folder: Path, number: int) -> Part:
    """A part that is there, not verified."""
    raw = np.memmap(part_path(folder, number), np.uint8, "r")
    digest_bytes, record_bytes = raw[:LENGTHS_BYTES].view("<u8").tolist()
    record_at = LENGTHS_BYTES + digest_bytes
    record = msgspec.json.decode(raw[record_at : record_at + record_bytes].tobytes(), type=PartRecord)
    values = raw[record_at + record_bytes + SHA256_BYTES :]
    if len(values) != record.tokens * (record.id_bytes + record.charge_bytes):
        values = values[:0]
    charges_at = record.tokens * record.id_bytes
    return Part(
        record,
        values[:charges_at].view(f"<u{record.id_bytes}"),
        values[charges_at:].view(f"<u{record.charge_bytes}"),
        raw[LENGTHS_BYTES:record_at].reshape(-1, 32),
    )


def cut_part(folder: Path, number: int) -> None:
    """Cut the tokens of a part off its file: they are in shards that are done."""
    path = part_path(folder, number)
    with open(path, "rb") as file:
        os.truncate(path, _head_bytes(file.read(LENGTHS_BYTES)))


def part_digest(folder: Path, number: int) -> bytes | None:
    """The sha256 of a part's digests and record, which knows that of its tokens; None for a part that is
    missing or damaged there."""
    try:
        with open(part_path(folder, number), "rb") as file:
            lengths = file.read(LENGTHS_BYTES)
            if len(lengths) < LENGTHS_BYTES or _head_bytes(lengths) > os.fstat(file.fileno()).st_size:
                return None
            head = lengths + file.read(_head_bytes(lengths) - LENGTHS_BYTES)
    except FileNotFoundError:
        return None
    digest = hashlib.sha256(head[:-SHA256_BYTES]).digest()
    return digest if head.endswith(digest) else None


def finished_part(folder: Path, part: PartInput, *, in_shards: int = 0) -> PartRecord | None:
    """The record of a part that is on disk, or None when it must be done (again): missing, or
    damaged. `in_shards`: tokens of the split, from this part's first on, that are in shards which are done,
    so that the part may have lost them. Raises ChangedInput when it is whole, but of other documents."""
    if part_digest(folder, part.number) is None:
        return None
    found = open_part(folder, part.number)
    if not _has_tokens(found) and found.record.tokens > in_shards:
        return None
    digests = part.digests()
    if found.record.split == part.split and found.record.first == part.first:
        if np.array_equal(found.digests, digests):
            return found.record
        same = min(len(found.digests), len(digests))
        different = (found.digests[:same] != digests[:same]).any(axis=1)
        where = part.origin(int(different.argmax()) if different.any() else max(0, same - 1))
    else:
        where = part.origin(0)
    raise ChangedInput(where, part_path(folder, part.number).parents[3])


def _has_tokens(part: Part) -> bool:
    """Whether the tokens are there, as they were written."""
    digest = hashlib.sha256(part.ids.data)
    digest.update(part.charges.data)
    return digest.hexdigest() == part.record.values_sha256


def _head_bytes(lengths: bytes) -> int:
    return LENGTHS_BYTES + int(np.frombuffer(lengths, "<u8").sum()) + SHA256_BYTES


def write_part(
    folder: Path,
    part: PartInput,
    keep: NDArray[np.bool_],
    ledger: Ledger,
    ids: list[NDArray[Any]],
    charges: list[NDArray[Any]],
    digests: NDArray[np.uint8],
    *,
    bytes_read: int,
    sync: bool,
) -> PartRecord:
    """Write a part. `keep`: which of its documents were not dropped; `ids` (of one dtype) and
    `charges` (uint8 or uint16) are arrays to be put together; `bytes_read`: of the text of all documents;
    `sync` as in `write_atomically`."""
    width = max((array.dtype for array in charges), key=lambda dtype: dtype.itemsize, default=np.dtype("u1"))
    values = [np.ascontiguousarray(array).data for array in ids]
    values += [array.astype(width, copy=False).data for array in charges]
    values_digest = hashlib.sha256()
    for data in values:
        values_digest.update(data)
    record = PartRecord(
        number=part.number,
        split=part.split,
        first=part.first,
        documents_read=len(part.contents),
        bytes_read=bytes_read,
        documents=ledger.documents,
        tokens=ledger.tokens,
        source_bytes=ledger.source_bytes,
        charged_bytes=ledger.charged_bytes,
        unattributed_bytes=ledger.unattributed_bytes,
        id_bytes=ids[0].dtype.itemsize,
        charge_bytes=width.itemsize,
        dropped=tuple(int(part.first + d) for d in np.flatnonzero(~keep)),
        values_sha256=values_digest.hexdigest(),
    )
    described = msgspec.json.encode(record)
    described += b" " * (-len(described) % 8)  # what follows is aligned
    head = np.array([digests.size, len(described)], "<u8").tobytes() + digests.tobytes() + described
    path = part_path(folder, part.number)
    path.parent.mkdir(exist_ok=True)
    with write_atomically(path, sync=sync) as file:
        file.write(head + hashlib.sha256(head).digest())
        for data in values:
            file.write(data)
    return record
