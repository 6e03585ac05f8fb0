"""Parts: the corpus cut at fixed document indices, each encoded by an independent task.

A part on disk is four files named by its number: `.ids`, `.charges`, `.digests` (sha256 of
every document, 32 bytes each) and `.json`, which carries counts and the others' sha256 and
is written last: its presence means the part is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shards import write_atomically
from tokenlab.accounting.ledger import Ledger
from tokenlab.corpus import Corpus, DocumentBatch
from tokenlab.manifest import Split
from tokenlab.ragged import Ragged


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
    """What a part's `.json` says. `dropped`: corpus indices left out of train because they
    equal a validation document; `documents` counts the others."""

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
    dropped: tuple[int, ...]
    sha256: dict[str, str]


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


def part_path(folder: Path, number: int, kind: str) -> Path:
    """File of a part; `kind` is "ids", "charges", "digests" or "json"."""
    return folder / f"part-{number:06d}.{kind}"


def finished_part(folder: Path, part: PartInput) -> PartRecord | None:
    """The record of a part that an earlier run finished, or None when it must be (re)done:
    missing, of other documents, or with a file whose digest does not match."""
    try:
        record = msgspec.json.decode(part_path(folder, part.number, "json").read_bytes(), type=PartRecord)
        for kind, digest in record.sha256.items():
            with open(part_path(folder, part.number, kind), "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return None
    except (OSError, msgspec.MsgspecError):
        return None
    same = (record.split, record.first, record.documents_read, record.bytes_read) == (
        part.split,
        part.first,
        len(part.documents),
        len(part.documents.values),
    )
    return record if same else None


def write_part(
    folder: Path,
    part: PartInput,
    keep: NDArray[np.bool_],
    ledger: Ledger,
    ids: NDArray[Any],
    charges: NDArray[np.uint16],
    digests: NDArray[np.uint8],
) -> PartRecord:
    """Write a part's files, its record last. `keep`: which of its documents were not dropped."""
    sha256 = {}
    for kind, array in (("ids", ids), ("charges", charges), ("digests", digests)):
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        sha256[kind] = hashlib.sha256(data).hexdigest()
        with write_atomically(part_path(folder, part.number, kind)) as file:
            file.write(data)
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
        dropped=tuple(int(part.first + d) for d in np.flatnonzero(~keep)),
        sha256=sha256,
    )
    with write_atomically(part_path(folder, part.number, "json")) as file:
        file.write(msgspec.json.encode(record))
    return record
