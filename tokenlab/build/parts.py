"""Parts: the corpus cut at fixed document indices, each encoded by an independent task.

A part is one file, named by the digest of the plan (its folder) and its number, so a file
that is there and whole is the part, whoever wrote it and when:

    ids        tokens values of 2 or 4 bytes, BOS before each document
    charges    tokens values of 1 or 2 bytes
    digests    sha256 of every document read, 32 bytes each
    record     JSON, a `PartRecord`
    tail       8 bytes: length of the record, little-endian; 32 bytes: sha256 of all before
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shards import write_atomically
from tokenlab.accounting.ledger import Ledger
from tokenlab.corpus import Corpus, DocumentBatch, document_digests
from tokenlab.errors import InputError
from tokenlab.manifest import Split
from tokenlab.ragged import Ragged

FOLDER_PARTS = 1000
"""Parts of a folder: a shared file system dislikes a million files in one."""

TAIL_BYTES = 40


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
    """Documents of one part: of one split, `first` being the index of the first in the
    corpus; `origins` says which file and rows they came from, for errors."""

    number: int
    split: Split
    first: int
    documents: Ragged
    origins: tuple[tuple[str, NDArray[np.int64]], ...]

    def origin(self, document: int) -> str:
        """The file and row of a document of the part."""
        left = document
        for file, rows in self.origins:
            if left < len(rows):
                return f"{file}: row {rows[left]} (document {self.first + document})"
            left -= len(rows)
        raise IndexError(document)


class PartRecord(msgspec.Struct, frozen=True):
    """What a part holds. `dropped`: corpus indices left out of train because they equal a
    validation document; `documents` counts the others; `id_bytes` and `charge_bytes` are the width of an
    id and of a charge."""

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
    charge_bytes: int = 2


@dataclass(frozen=True, slots=True)
class Part:
    """A part on disk: its record and its arrays, memory-mapped."""

    record: PartRecord
    ids: NDArray[Any]
    charges: NDArray[Any]
    digests: NDArray[np.uint8]


def read_parts(corpus: Corpus, *, val_docs: int, part_bytes: int) -> Iterator[tuple[PartInput, int]]:
    """Cut the corpus: a part ends at the split, or where the next document would take it over
    `part_bytes`. Yields (part, bytes of input files read so far)."""
    number = first = size = 0
    pieces: list[Ragged] = []
    origins: list[tuple[str, NDArray[np.int64]]] = []

    def part() -> PartInput:
        split: Split = "val" if first < val_docs else "train"
        return PartInput(number, split, first, Ragged.concatenate(pieces, np.uint8), tuple(origins))

    for batch in corpus.batches():
        start = 0
        while start < len(batch.documents):
            held = sum(map(len, pieces))
            stop = _part_end(batch, start, part_bytes - size)
            if first + held < val_docs:
                stop = min(stop, start + val_docs - first - held)
            if stop == start and not held:
                stop = start + 1
            if stop > start:
                pieces.append(batch.documents.rows(start, stop))
                origins.append((batch.file, batch.rows[start:stop]))
                size += len(pieces[-1].values)
                held += stop - start
                start = stop
            if start < len(batch.documents) or first + held == val_docs:
                yield part(), batch.consumed
                number, first, size = number + 1, first + held, 0
                pieces, origins = [], []
    if pieces:
        yield part(), batch.consumed


def _part_end(batch: DocumentBatch, start: int, room: int) -> int:
    offsets = batch.documents.offsets
    return max(start, int(np.searchsorted(offsets, offsets[start] + room, side="right")) - 1)


def part_path(folder: Path, number: int) -> Path:
    """File of a part; `folder` holds the parts of one plan."""
    return folder / f"{number // FOLDER_PARTS:05d}" / f"{number:08d}.part"


def open_part(folder: Path, number: int) -> Part:
    """A part that is there, not verified."""
    path = part_path(folder, number)
    raw = np.memmap(path, np.uint8, "r")
    end = len(raw) - TAIL_BYTES
    start = end - int.from_bytes(raw[end : end + 8].tobytes(), "little")
    record = msgspec.json.decode(raw[start:end].tobytes(), type=PartRecord)
    charges_at = record.tokens * record.id_bytes
    digests_at = charges_at + record.tokens * record.charge_bytes
    return Part(
        record,
        raw[:charges_at].view(f"<u{record.id_bytes}"),
        raw[charges_at:digests_at].view(f"<u{record.charge_bytes}"),
        raw[digests_at:start].reshape(-1, 32),
    )


def part_digest(folder: Path, number: int) -> bytes:
    """The sha256 that a part ends with, not verified."""
    with open(part_path(folder, number), "rb") as file:
        file.seek(-32, os.SEEK_END)
        return file.read()


def finished_part(folder: Path, part: PartInput) -> PartRecord | None:
    """The record of a part that is on disk, or None when it must be done (again): missing, or
    damaged. Raises ChangedInput when it is whole, but of other documents."""
    path = part_path(folder, part.number)
    if not path.exists() or not _whole(path):
        return None
    found = open_part(folder, part.number)
    digests = document_digests(part.documents)
    if found.record.split == part.split and found.record.first == part.first:
        if np.array_equal(found.digests, digests):
            return found.record
        same = min(len(found.digests), len(digests))
        different = (found.digests[:same] != digests[:same]).any(axis=1)
        where = part.origin(int(different.argmax()) if different.any() else max(0, same - 1))
    else:
        where = part.origin(0)
    raise ChangedInput(where, path.parents[3])


def _whole(path: Path) -> bool:
    size = path.stat().st_size - 32
    if size < TAIL_BYTES - 32:
        return False
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while size:
            block = file.read(min(size, 1 << 20))
            if not block:
                return False
            digest.update(block)
            size -= len(block)
        return file.read() == digest.digest()


def write_part(
    folder: Path,
    part: PartInput,
    keep: NDArray[np.bool_],
    ledger: Ledger,
    ids: list[NDArray[Any]],
    charges: list[NDArray[Any]],
    digests: NDArray[np.uint8],
    *,
    sync: bool,
) -> PartRecord:
    """Write a part. `keep`: which of its documents were not dropped; `ids` (of one dtype) and
    `charges` (uint8 or uint16) are arrays to be put together; `sync` as in `write_atomically`."""
    width = max((array.dtype for array in charges), key=lambda dtype: dtype.itemsize, default=np.dtype("u1"))
    record = PartRecord(
        number=part.number,
        split=part.split,
        first=part.first,
        documents_read=len(part.documents),
        bytes_read=len(part.documents.values),
        documents=ledger.documents,
        tokens=ledger.tokens,
        source_bytes=ledger.source_bytes,
        charged_bytes=ledger.charged_bytes,
        unattributed_bytes=ledger.unattributed_bytes,
        id_bytes=ids[0].dtype.itemsize,
        charge_bytes=width.itemsize,
        dropped=tuple(int(part.first + d) for d in np.flatnonzero(~keep)),
    )
    path = part_path(folder, part.number)
    path.parent.mkdir(exist_ok=True)
    described = msgspec.json.encode(record)
    digest = hashlib.sha256()
    with write_atomically(path, sync=sync) as file:
        for array in (*ids, *(array.astype(width, copy=False) for array in charges), digests):
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            digest.update(data)
            file.write(data)
        end = described + len(described).to_bytes(8, "little")
        digest.update(end)
        file.write(end)
        file.write(digest.digest())
    return record
