"""A tokenlab dataset as the trainer sees it: manifest, shards through mmap, byte sidecars.

    >>> from trainer.data import open_dataset                                  # doctest: +SKIP
    >>> train = open_dataset(Path("out/caseops")).split("train")               # doctest: +SKIP
    >>> train.tokens.read(0, 4)                                                # doctest: +SKIP
    array([   1,    4,  617, 1092])

A folder without manifest, or a split to be scored without sidecar, is refused: there is no table of
token lengths to fall back to. A file's sha256 is checked when it is first opened, not before, so
that training opens no validation file.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shards import ShardError, open_shard
from trainer.errors import DataError

MANIFEST = "manifest.json"
FORMAT = ("tokenlab-dataset", 1)


class SidecarRecord(msgspec.Struct, frozen=True):
    """A byte sidecar in the manifest."""

    file: str
    sha256: str


class ShardRecord(msgspec.Struct, frozen=True):
    """A token shard in the manifest; `documents` counts those that begin in it."""

    file: str
    documents: int
    tokens: int
    sha256: str
    sidecar: SidecarRecord | None


class SplitRecord(msgspec.Struct, frozen=True):
    """A split in the manifest."""

    documents: int
    tokens: int
    source_bytes: int
    charged_bytes: int
    unattributed_bytes: int
    documents_sha256: str
    shards: tuple[ShardRecord, ...]


class SchemeRecord(msgspec.Struct, frozen=True):
    """The scheme in the manifest."""

    name: str
    fingerprint: str


class Manifest(msgspec.Struct, frozen=True):
    """The keys of `manifest.json` that the trainer reads; docs/format.md has them all."""

    format: str
    format_version: int
    vocab_size: int
    bos_id: int
    scheme: SchemeRecord
    splits: dict[str, SplitRecord]
    files: dict[str, str]


class Values:
    """The values of consecutive shard files as one array; a file is opened, and its digest
    checked, when a read first touches it."""

    def __init__(self, root: Path, files: list[tuple[str, int, str]]) -> None:
        """`files` are (name under `root`, values, sha256)."""
        self._root = root
        self._files = files
        self._ends = list(accumulate(count for _, count, _ in files))
        self._open: dict[int, NDArray[Any]] = {}

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def shard(self, index: int) -> NDArray[Any]:
        """The values of one file, memory-mapped. Raises DataError if it is not what the manifest says."""
        if index not in self._open:
            name, count, sha256 = self._files[index]
            path = self._root / name
            try:
                values = open_shard(path)
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except (ShardError, OSError) as error:
                raise DataError(str(error)) from error
            if len(values) != count or digest != sha256:
                raise DataError(f"{path}: not the file that the manifest describes; see `tokenlab verify`")
            self._open[index] = values
        return self._open[index]

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        """Values `start` to `stop` as int64[stop - start], across files."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"{start}..{stop} of {len(self)} values")
        parts = []
        while start < stop:
            index = bisect_right(self._ends, start)
            begin = self._ends[index] - self._files[index][1]
            end = min(stop, self._ends[index])
            parts.append(self.shard(index)[start - begin : end - begin])
            start = end
        return np.concatenate([np.zeros(0, np.int64), *parts], dtype=np.int64)


class Split:
    """One split: tokens, where documents start, and charges where there are sidecars."""

    def __init__(self, root: Path, name: str, record: SplitRecord, vocab_size: int, bos: int) -> None:
        self.name = name
        self.record = record
        self.tokens = Values(root, [(s.file, s.tokens, s.sha256) for s in record.shards])
        self._root = root
        self._vocab_size = vocab_size
        self._bos = bos
        self._starts: dict[int, NDArray[np.int64]] = {}
        self._first = [0, *accumulate(shard.documents for shard in record.shards)]
        self._offsets = [0, *accumulate(shard.tokens for shard in record.shards)]
        if len(self.tokens) != record.tokens or self._first[-1] != record.documents:
            raise DataError(f"{root / MANIFEST}: {name} does not sum to its shards; see `tokenlab verify`")

    @property
    def bytes_per_token(self) -> float:
        """Source bytes a token, mean over the split, by the manifest."""
        return self.record.source_bytes / max(1, self.record.tokens)

    def document_start(self, document: int) -> int:
        """Position of a document's BOS; the end of the split for the document after the last."""
        if document == self.record.documents:
            return self.record.tokens
        shard = bisect_right(self._first, document) - 1
        return int(self._shard_starts(shard)[document - self._first[shard]])

    def document_starts(self) -> NDArray[np.int64]:
        """Positions of all documents' BOS, int64[documents]; reads the whole split."""
        return np.concatenate(
            [np.zeros(0, np.int64), *(self._shard_starts(i) for i in range(len(self.record.shards)))]
        )

    def charges(self) -> Values:
        """Source bytes charged to each token. Raises DataError for a shard without sidecar."""
        files = []
        for shard in self.record.shards:
            if shard.sidecar is None:
                raise DataError(
                    f"{self._root}: no byte sidecar for {shard.file}, so {self.name} cannot be scored; "
                    "build the dataset again with `tokenlab build`"
                )
            files.append((shard.sidecar.file, shard.tokens, shard.sidecar.sha256))
        return Values(self._root, files)

    def _shard_starts(self, index: int) -> NDArray[np.int64]:
        if index not in self._starts:
            values, record = self.tokens.shard(index), self.record.shards[index]
            starts = np.flatnonzero(values == self._bos).astype(np.int64)
            where = self._root / record.file
            if len(starts) != record.documents:
                raise DataError(f"{where}: {len(starts)} BOS, the manifest has {record.documents} documents")
            if len(values) and int(values.max()) >= self._vocab_size:
                raise DataError(f"{where}: id {int(values.max())}, the vocabulary has {self._vocab_size}")
            if index == 0 and len(values) and values[0] != self._bos:
                raise DataError(f"{where}: does not begin with BOS ({self._bos})")
            self._starts[index] = starts + self._offsets[index]
        return self._starts[index]


class Dataset:
    """A dataset that `tokenlab build` made."""

    def __init__(self, root: Path, manifest: Manifest, digest: str) -> None:
        self.root = root
        self.manifest = manifest
        self.digest = digest
        """sha256 of manifest.json, which holds the digest of every other file."""

    def split(self, name: str) -> Split:
        """A split by name. Raises DataError if it is missing or empty."""
        record = self.manifest.splits.get(name)
        if record is None or not record.documents:
            raise DataError(f"{self.root}: the split {name} is empty")
        return Split(self.root, name, record, self.manifest.vocab_size, self.manifest.bos_id)


def open_dataset(root: Path) -> Dataset:
    """The dataset in a folder. Raises DataError when there is no (readable) manifest."""
    path = root / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        what = "no manifest.json, so it is not a (whole) dataset" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}; make one with `tokenlab build --output {root}`") from error
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path}: not a tokenlab manifest: {error}") from error
    if (manifest.format, manifest.format_version) != FORMAT:
        found = f"{manifest.format} version {manifest.format_version}"
        raise DataError(f"{path}: {found}; this trainer reads {FORMAT[0]} version {FORMAT[1]}")
    return Dataset(root, manifest, hashlib.sha256(content).hexdigest())
