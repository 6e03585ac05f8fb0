"""A tokenlab dataset as the trainer sees it: manifest, shards through mmap, sidecars of bytes and patches.

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
import json
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shards import ShardError, open_shard
from shards.boundaries import open_boundaries, unpack
from trainer.boundaries import Rule
from trainer.errors import DataError

MANIFEST = "manifest.json"
FORMAT = ("tokenlab-dataset", 1)
COMPARED_AT_ONCE = 1 << 20
"""Tokens whose patches are recomputed together."""


class SidecarRecord(msgspec.Struct, frozen=True):
    """A file beside a shard, or of a rule, in the manifest."""

    file: str
    sha256: str


class ShardRecord(msgspec.Struct, frozen=True):
    """A token shard in the manifest; `documents` counts those that begin in it."""

    file: str
    documents: int
    tokens: int
    sha256: str
    sidecar: SidecarRecord | None
    boundaries: SidecarRecord | None = None


class BoundariesRecord(msgspec.Struct, frozen=True):
    """The rule of a dataset's patches in the manifest; `patches` are those of each split."""

    rule: str
    kind: str
    causal: bool
    parameters: dict[str, int]
    model: SidecarRecord | None
    parameters_sha256: str
    patches: dict[str, int]


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
    boundaries: BoundariesRecord | None = None


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
            except ShardError as error:
                raise DataError(str(error)) from error
            if len(values) != count or _sha256(path) != sha256:
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

    def start_of(self, position: int) -> int:
        """Position of the BOS of the document that a token belongs to."""
        shard = bisect_right(self._offsets, position) - 1
        while True:
            starts = self._shard_starts(shard)
            index = int(np.searchsorted(starts, position, side="right"))
            if index:
                return int(starts[index - 1])
            shard -= 1  # the first shard begins with a BOS

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

    def patches(self, rule: Rule, parameters_sha256: str) -> Patches:
        """Where patches begin, from the bitmaps. Raises DataError for a shard without one."""
        files = []
        for shard in self.record.shards:
            if shard.boundaries is None:
                raise DataError(
                    f"{self._root}: no boundaries for {shard.file}; build the dataset again with "
                    "`tokenlab build --boundaries`"
                )
            files.append((shard.boundaries.file, shard.tokens, shard.boundaries.sha256, shard.sha256))
        return Patches(self, rule, Bitmaps(self._root, files, rule.kind, parameters_sha256))

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


class Bitmaps:
    """The bits of consecutive boundary files as one array; a file is opened, and held against the
    manifest, its shard and its rule, when a read first touches it."""

    def __init__(
        self, root: Path, files: list[tuple[str, int, str, str]], kind: str, parameters_sha256: str
    ) -> None:
        """`files` are (name under `root`, bits, sha256, sha256 of the shard)."""
        self._root, self._files = root, files
        self._rule = (kind, True, parameters_sha256)
        self._ends = list(accumulate(count for _, count, _, _ in files))
        self._open: dict[int, NDArray[np.uint8]] = {}

    def read(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Bits `start` to `stop`, across files. Raises DataError for a file that is another's."""
        parts = [np.zeros(0, np.bool_)]
        while start < stop:
            index = bisect_right(self._ends, start)
            begin = self._ends[index] - self._files[index][1]
            end = min(stop, self._ends[index])
            parts.append(unpack(self._file(index), start - begin, end - begin).astype(np.bool_))
            start = end
        return np.concatenate(parts)

    def _file(self, index: int) -> NDArray[np.uint8]:
        if index not in self._open:
            name, count, sha256, parent = self._files[index]
            path = self._root / name
            try:
                header, packed = open_boundaries(path)
            except ShardError as error:
                raise DataError(str(error)) from error
            if header.count != count or _sha256(path) != sha256:
                raise DataError(f"{path}: not the file that the manifest describes; see `tokenlab verify`")
            if header.parent_sha256 != parent:
                raise DataError(f"{path}: boundaries of another shard; see `tokenlab verify`")
            if (header.rule, header.causal, header.parameters_sha256) != self._rule:
                raise DataError(f"{path}: boundaries of another rule; see `tokenlab verify`")
            self._open[index] = packed
        return self._open[index]


class Patches:
    """Where patches begin in a split, as a model may know it: after each token, from that token and
    those before it alone."""

    def __init__(self, split: Split, rule: Rule, bits: Bitmaps) -> None:
        self._split, self._rule, self._bits = split, rule, bits

    def opens(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Whether a patch begins after each of the tokens `start` to `stop`, bool[stop - start].

        The bitmap says it of the next token; but before a BOS its bit is 1 whatever the rule says, and
        a model that read it would know that the document ends. There the rule is asked."""
        count = self._split.record.tokens
        opens = np.append(self._bits.read(start + 1, min(stop + 1, count)), [True] * (stop == count))
        following = self._split.tokens.read(start + 1, min(stop + 1, count))
        ends = np.flatnonzero(following == self._rule.bos).tolist() + [stop - start - 1] * (stop == count)
        for end in ends:
            opens[end] = self.recomputed(start + end, start + end + 1)[0]
        return opens

    def recomputed(self, start: int, stop: int) -> NDArray[np.bool_]:
        """What `opens` gives, from the tokens by the rule."""
        document = self._split.start_of(start)
        first = max(document, start - self._rule.reach)
        answers = self._rule.opens(self._split.tokens.read(first, stop), first - document)
        return answers[start - first :]

    def recomputed_and_compared(self) -> NDArray[np.bool_]:
        """`recomputed` of the whole split, held against the bitmaps. Raises DataError naming the first
        token at which they differ."""
        count = self._split.record.tokens
        opens = np.zeros(count, np.bool_)
        for start in range(0, count, COMPARED_AT_ONCE):
            stop = min(start + COMPARED_AT_ONCE, count)
            opens[start:stop] = self.recomputed(start, stop)
            before = opens[start - 1 : stop - 1] if start else np.append(True, opens[: stop - 1])
            ids = self._split.tokens.read(start, stop)
            wrong = np.flatnonzero(self._bits.read(start, stop) != (before | (ids == self._rule.bos)))
            if len(wrong):
                raise DataError(
                    f"the boundaries of {self._split.name} are not those of their rule at token "
                    f"{start + int(wrong[0]):,}; see `tokenlab verify`"
                )
        return opens


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

    def boundaries(self) -> BoundariesRecord:
        """The manifest's record of patches. Raises DataError where there are none, or they look ahead."""
        record = self.manifest.boundaries
        if record is None:
            raise DataError(
                f"{self.root}: no boundaries; build it with `tokenlab build --scheme bytes --boundaries RULE`"
            )
        if not record.causal:
            raise DataError(
                f"{self.root}: the boundaries {record.rule} look ahead (causal = false), so a model that "
                "reads them knows what it shall predict; they are for analysis only"
            )
        return record

    def rule(self) -> Rule:
        """The rule of the dataset's patches, with its table. Raises DataError as `boundaries`, and where
        its files are not the manifest's."""
        record = self.boundaries()
        table = b""
        if record.model is not None:
            path = self.root / record.model.file
            try:
                table = path.read_bytes()
            except OSError as error:
                raise DataError(f"{path}: {error.strerror}") from error
        plain = {"kind": record.kind, "parameters": record.parameters}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
        if hashlib.sha256(text + table).hexdigest() != record.parameters_sha256:
            raise DataError(f"{self.root}: the rule of its boundaries is not the manifest's")
        try:
            return Rule(
                kind=record.kind,
                parameters=record.parameters,
                table=np.frombuffer(table, np.uint8),
                bos=self.manifest.bos_id,
                first_byte=self.manifest.vocab_size - 256,
            )
        except ValueError as error:
            raise DataError(f"{self.root / MANIFEST}: boundaries: {error}") from error

    def patches(self, split: Split) -> Patches:
        """Where patches begin in one of the dataset's splits. Raises DataError as `rule`."""
        return split.patches(self.rule(), self.boundaries().parameters_sha256)

    def bytes_per_patch(self, name: str) -> float:
        """Source bytes a patch, mean over a split, by the manifest. Raises DataError as `boundaries`."""
        patches = self.boundaries().patches.get(name, 0)
        return self.split(name).record.source_bytes / max(1, patches)


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


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(str(error)) from error
