"""Reading a dataset back: its documents in batches, straight from the shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards import ShardError, read_header, read_shard
from shards.boundaries import open_boundaries, unpack
from tokenlab.boundaries.record import read_rule
from tokenlab.boundaries.rule import Rule
from tokenlab.errors import InputError
from tokenlab.manifest import Manifest, ShardRecord, Split, read_manifest
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme

BATCH_TOKENS = 1 << 20
"""About four megabytes of text: enough for what a call of gigatoken costs not to count."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Whole documents of a split: `ids` without BOS; `charges` (uint16) in the same rows and
    `bos_charges` (uint16, one a document), or None for a split without sidecar; `first` =
    index of the first document in the split."""

    first: int
    ids: Ragged
    charges: Ragged | None
    bos_charges: NDArray[np.uint16] | None


class DocumentError(ValueError):
    """Shards that do not hold whole documents: tokens stand before the first BOS."""

    def __init__(self, message: str, *, document: int, expected: int, found: int) -> None:
        super().__init__(message)
        self.message = message
        self.document = document
        self.expected = expected
        self.found = found


class Dataset:
    """A dataset on disk. Raises InputError when the folder holds none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self.scheme = Scheme.open(folder)

    def batches(self, split: Split) -> Iterator[TokenBatch]:
        """The documents of a split, in order. Raises ShardError, DocumentError."""
        record = self.manifest.splits[split]
        tokens = [self.folder / shard.file for shard in record.shards]
        sidecars = [self.folder / shard.sidecar.file for shard in record.shards if shard.sidecar]
        if sidecars and len(sidecars) != len(tokens):
            raise ShardError(f"{self.folder}: {split} has {len(tokens)} shards and {len(sidecars)} sidecars")
        yield from read_documents(tokens, sidecars, self.scheme.segmenter.bos)


def read_boundary_rule(folder: Path, manifest: Manifest) -> Rule | None:
    """The rule of a dataset's boundaries with its tables, or None where it has none.

    Raises InputError for a rule that cannot be read, or is another than its digest says.
    """
    record = manifest.boundaries
    if record is None:
        return None
    try:
        tables = (folder / record.model.file).read_bytes() if record.model is not None else b""
    except OSError as error:
        raise InputError(
            f"{error.filename}: {error.strerror}; the boundary rule has its tables there"
        ) from error
    rule = read_rule(record.kind, record.parameters, tables)
    if rule.sha256 != record.parameters_sha256:
        raise InputError(f"{folder}: the boundary rule's parameters and tables are not those of their digest")
    return rule


class BoundaryBits:
    """The bits of a split, over the boundary files of its shards. Raises ShardError for another file."""

    def __init__(self, folder: Path, shards: Sequence[ShardRecord]) -> None:
        self._files = [shard.boundaries.file for shard in shards if shard.boundaries is not None]
        opened = [open_boundaries(folder / file) for file in self._files]
        self._packed = [packed for _, packed in opened]
        self._bounds = np.cumsum([0, *(header.count for header, _ in opened)]).tolist()

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Bits `start:stop` of the split's tokens, uint8. Raises ShardError where the files end before."""
        if stop > self._bounds[-1]:
            raise ShardError(f"the boundary files end before token {stop:,}")
        pieces = [np.zeros(0, np.uint8)]
        for (begin, end), packed in zip(pairwise(self._bounds), self._packed, strict=True):
            if begin < stop and end > start:
                pieces.append(unpack(packed, max(start, begin) - begin, min(stop, end) - begin))
        return np.concatenate(pieces)

    def stray(self) -> list[str]:
        """Files where a bit behind the last token is set."""
        counts = [end - begin for begin, end in pairwise(self._bounds)]
        rows = zip(self._files, self._packed, counts, strict=True)
        return [file for file, packed, count in rows if unpack(packed, count, 8 * len(packed)).any()]


def read_documents(tokens: list[Path], sidecars: list[Path], bos: int) -> Iterator[TokenBatch]:
    """Documents that may cross shards, in batches of about BATCH_TOKENS (one at least).

    Raises ShardError for files that are not shards of one length, DocumentError when the
    stream does not start with BOS.
    """
    first = 0
    pending: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for ids, charges in _chunks(tokens, sidecars):
        starts = np.flatnonzero(ids == bos)
        if len(starts) and (pending or len(starts) > 1):
            # The last document of the chunk may go on in the next one.
            cut = int(starts[-1])
            batch = _batch(first, [*pending, (ids[:cut], charges[:cut])], bool(sidecars), bos)
            yield batch
            first += len(batch.ids)
            pending, ids, charges = [], ids[cut:], charges[cut:]
        pending.append((ids, charges))
    if pending:
        yield _batch(first, pending, bool(sidecars), bos)


def _chunks(tokens: list[Path], sidecars: list[Path]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for index, path in enumerate(tokens):
        if not sidecars:
            for ids in read_shard(path, BATCH_TOKENS):
                yield ids, np.zeros(0, np.uint16)
            continue
        counts = [read_header(file)[1] for file in (path, sidecars[index])]
        if counts[0] != counts[1]:
            raise ShardError(
                f"{sidecars[index]}: {counts[1]:,} charges for the {counts[0]:,} tokens of {path}"
            )
        yield from zip(read_shard(path, BATCH_TOKENS), read_shard(sidecars[index], BATCH_TOKENS), strict=True)


def _batch(
    first: int, pieces: list[tuple[NDArray[Any], NDArray[Any]]], with_charges: bool, bos: int
) -> TokenBatch:
    ids = np.concatenate([piece[0] for piece in pieces])
    charges = np.concatenate([piece[1] for piece in pieces])
    is_bos = ids == bos
    starts = np.flatnonzero(is_bos)
    if len(starts) == 0 or starts[0] != 0:
        raise DocumentError(
            "tokens stand before the first BOS", document=first, expected=bos, found=int(ids[0])
        )
    # Document d begins behind its own BOS, and d BOS stand before that.
    offsets = np.append(starts - np.arange(len(starts)), len(ids) - len(starts)).astype(np.int64)
    body = Ragged(ids[~is_bos].astype(np.uint32), offsets)
    if not with_charges:
        return TokenBatch(first, body, None, None)
    return TokenBatch(first, body, Ragged(charges[~is_bos], offsets), charges[starts])
