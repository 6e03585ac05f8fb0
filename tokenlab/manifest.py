"""The manifest: what a dataset is. Written last; its presence means the dataset is whole.

The top level holds the keys of the field's own exporter (`name`, `tokenizer_name`,
`train_glob`, `stats`, …), so that its tools read it; the rest is tokenlab's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from tokenlab.errors import InputError

MANIFEST_FILE = "manifest.json"
BOUNDARY_FOLDER = "boundaries"
FORMAT = "tokenlab-dataset"
FORMAT_VERSION = 1

Split = Literal["val", "train"]
SPLITS: tuple[Split, ...] = ("val", "train")
"""In the order of the source: validation is its first documents."""


class SidecarRecord(msgspec.Struct, frozen=True):
    """A file that goes with a shard or a rule: its name under the dataset, and its sha256."""

    file: str
    sha256: str


class ShardRecord(msgspec.Struct, frozen=True):
    """A token shard. `documents` counts those that begin in it; `bytes` sums its tokens' charges."""

    file: str
    documents: int
    tokens: int
    bytes: int
    sha256: str
    sidecar: SidecarRecord | None
    boundaries: SidecarRecord | None = None


class SplitRecord(msgspec.Struct, frozen=True):
    """A split. `source_bytes` = `charged_bytes` + `unattributed_bytes`; `documents_sha256` is
    the sha256 of the concatenated sha256 digests of its source documents, in order."""

    documents: int
    tokens: int
    source_bytes: int
    charged_bytes: int
    unattributed_bytes: int
    documents_sha256: str
    shards: tuple[ShardRecord, ...]


class SchemeRecord(msgspec.Struct, frozen=True):
    """The scheme, and what decides about its ids."""

    name: str
    fingerprint: str
    scheme_sha256: str
    vocabulary_sha256: dict[str, str]
    backends: dict[str, str]
    probe_ids_sha256: str
    vocab_size: int
    bos: int
    reversible: bool


class SourceRecord(msgspec.Struct, frozen=True):
    """Where the documents came from. `documents` counts all good ones, in both splits or
    dropped; `dropped_duplicates` are the indices of training documents left out because they
    equal a validation document; `bad_documents` are the rows that were skipped."""

    corpus: dict[str, Any]
    documents: int
    bytes: int
    documents_sha256: str
    dropped_duplicates: tuple[int, ...]
    bad_documents: tuple[dict[str, Any], ...]


class BoundariesRecord(msgspec.Struct, frozen=True):
    """Where patches begin. `rule`: as a user writes it, `kind` and `parameters` (and the tables in `model`)
    being what it is; `parameters_sha256` covers those three; `patches` counts by split, BOS ones included."""

    rule: str
    kind: str
    causal: bool
    parameters: dict[str, int]
    model: SidecarRecord | None
    parameters_sha256: str
    patches: dict[Split, int]


class Stats(msgspec.Struct, frozen=True):
    """The field's exporter counts."""

    docs_total: int
    docs_val: int
    docs_train: int
    files_total: int
    files_val: int
    files_train: int
    tokens_total: int
    tokens_val: int
    tokens_train: int


class Manifest(msgspec.Struct, frozen=True):
    """A dataset's manifest; see `docs/format.md` for every key."""

    format: str
    format_version: int
    tokenlab_version: str
    name: str
    tokenizer_name: str
    tokenizer_kind: str
    train_glob: str
    val_glob: str
    vocab_size: int
    bos_id: int
    stats: Stats
    scheme: SchemeRecord
    source: SourceRecord
    splits: dict[Split, SplitRecord]
    files: dict[str, str]
    vocabulary: dict[str, Any]
    options: dict[str, Any]
    boundaries: BoundariesRecord | None = None

    def to_json(self) -> bytes:
        """The file's content: indented, keys in declaration order, a newline at the end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a dataset. Raises InputError when there is none, or it cannot be read."""
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        what = "no such folder" if not folder.exists() else "no manifest.json, so it is not a (whole) dataset"
        raise InputError(f"{folder}: {what}; make one with `tokenlab build --output {folder}`") from error
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: not a tokenlab manifest: {error}") from error
    if (manifest.format, manifest.format_version) != (FORMAT, FORMAT_VERSION):
        raise InputError(
            f"{path}: format {manifest.format} version {manifest.format_version}; "
            f"this tokenlab reads {FORMAT} version {FORMAT_VERSION}"
        )
    return manifest
