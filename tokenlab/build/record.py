"""The manifest of a build, from what its stages counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokenlab
from tokenlab.build.parts import open_part
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
from tokenlab.progress import Progress
from tokenlab.scheme import Scheme

RECORDED_OPTIONS = ("val_docs", "shard_tokens", "train_bytes", "seed", "part_bytes", "imported", "license")


def source_digests(parts: Path, totals: PartTotals, progress: Progress) -> dict[str, str]:
    """The corpus digest of the "source", and of what each split kept of it, from the parts."""
    source = CorpusDigest()
    splits = {split: CorpusDigest() for split in SPLITS}
    dropped = np.array(totals.dropped, np.int64)
    progress.start("digests", totals.documents_read, "documents")
    documents = 0
    for number in range(totals.parts):
        part = open_part(parts, number)
        source.update(part.digests)
        splits[part.record.split].update(part.digests[_kept(part.record.first, len(part.digests), dropped)])
        documents += len(part.digests)
        progress.advance(documents)
    progress.finish()
    return {"source": source.hexdigest()} | {split: d.hexdigest() for split, d in splits.items()}


def _kept(first: int, count: int, dropped: NDArray[np.int64]) -> NDArray[np.bool_]:
    keep = np.ones(count, bool)
    a, b = np.searchsorted(dropped, [first, first + count])
    keep[dropped[a:b] - first] = False
    return keep


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
    """The manifest; `digests` as `source_digests` gives them."""
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
