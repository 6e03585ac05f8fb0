"""The manifest of a build, from what its stages counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import tokenlab
from tokenlab.build.parts import PartRecord, open_part
from tokenlab.build.plan import Plan
from tokenlab.build.totals import PartTotals
from tokenlab.corpus import CorpusDigest
from tokenlab.manifest import (
    FORMAT,
    FORMAT_VERSION,
    SPLITS,
    BoundariesRecord,
    Manifest,
    SchemeRecord,
    ShardRecord,
    SourceRecord,
    Split,
    SplitRecord,
    Stats,
)
from tokenlab.scheme import Scheme

RECORDED_OPTIONS = ("val_docs", "shard_tokens", "train_bytes", "seed", "part_bytes", "imported", "license")


class SourceDigests:
    """The corpus digest of the "source", and of what each split kept of it, from the parts."""

    def __init__(self, parts: Path) -> None:
        self._parts = parts
        self._source = CorpusDigest()
        self._splits = {split: CorpusDigest() for split in SPLITS}

    def add(self, record: PartRecord) -> None:
        """Enter the next part, which must be on disk."""
        digests = open_part(self._parts, record.number).digests
        keep = np.ones(len(digests), bool)
        keep[np.array(record.dropped, np.int64) - record.first] = False
        self._source.update(digests)
        self._splits[record.split].update(digests[keep])

    def hexdigests(self) -> dict[str, str]:
        """By "source" and the names of the splits."""
        splits = {split: digest.hexdigest() for split, digest in self._splits.items()}
        return {"source": self._source.hexdigest()} | splits


def make_manifest(
    plan: Plan,
    scheme: Scheme,
    dataset: Path,
    *,
    vocabulary: dict[str, Any],
    totals: PartTotals,
    shards: Mapping[Split, Sequence[ShardRecord]],
    digests: Mapping[str, str],
    boundaries: BoundariesRecord | None,
) -> Manifest:
    """The manifest; `digests` as `SourceDigests` has them."""
    spec, corpus = scheme.spec, plan.corpus
    size = scheme.segmenter.vocab_size
    splits = {
        split: SplitRecord(
            **asdict(totals.splits[split].ledger),
            documents_sha256=digests[split],
            shards=tuple(shards[split]),
        )
        for split in SPLITS
    }
    val, train = splits["val"], splits["train"]
    return Manifest(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        tokenlab_version=tokenlab.__version__,
        name=f"{spec.name}_{size}",
        tokenizer_name=f"{spec.name}_{size}",
        tokenizer_kind=str(plan.record["scheme"]["segmenter"]["kind"]),
        train_glob="fineweb_train_*.bin",
        val_glob="fineweb_val_*.bin",
        vocab_size=size,
        bos_id=scheme.segmenter.bos,
        stats=Stats(
            docs_total=val.documents + train.documents,
            docs_val=val.documents,
            docs_train=train.documents,
            files_total=len(val.shards) + len(train.shards),
            files_val=len(val.shards),
            files_train=len(train.shards),
            tokens_total=val.tokens + train.tokens,
            tokens_val=val.tokens,
            tokens_train=train.tokens,
        ),
        scheme=SchemeRecord(
            name=spec.name,
            vocab_size=size,
            bos=scheme.segmenter.bos,
            reversible=scheme.reversible,
            **scheme.identity,
        ),
        source=SourceRecord(
            corpus=corpus.describe(),
            documents=totals.documents_read,
            bytes=totals.bytes_read,
            documents_sha256=digests["source"],
            dropped_duplicates=tuple(totals.dropped),
            bad_documents=tuple(asdict(bad) for bad in corpus.bad_documents),
        ),
        splits=splits,
        files={name: _sha256(dataset / name) for name in _scheme_files(scheme)},
        vocabulary=vocabulary,
        options={key: plan.record[key] for key in RECORDED_OPTIONS if key in plan.record},
        boundaries=boundaries,
    )


def _scheme_files(scheme: Scheme) -> list[str]:
    return ["scheme.toml", *(f"tokenizer/{name}" for name in scheme.segmenter.files)]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
