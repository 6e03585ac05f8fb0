"""A build from plan to published dataset."""

from __future__ import annotations

import errno
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tokenlab
from shards import format_for_vocabulary, write_atomically
from tokenlab.accounting.ledger import Ledger
from tokenlab.build.assemble import SIDECAR_FOLDER, plan_shards, write_planned_shard
from tokenlab.build.encode import VALIDATION_DIGESTS
from tokenlab.build.forecast import forecast
from tokenlab.build.parts import PartInput, PartRecord, finished_part, part_path, read_parts
from tokenlab.build.plan import Plan
from tokenlab.build.pool import encode_parts
from tokenlab.build.prepare import store_scheme
from tokenlab.build.workspace import Workspace
from tokenlab.card import CARD_FILE, dataset_card
from tokenlab.corpus import CorpusDigest, document_digests
from tokenlab.errors import TokenlabError
from tokenlab.manifest import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST_FILE,
    SPLITS,
    Manifest,
    SchemeRecord,
    ShardRecord,
    SourceRecord,
    Split,
    SplitRecord,
    Stats,
    read_manifest,
)
from tokenlab.progress import Progress
from tokenlab.scheme import Scheme
from tokenlab.vocabulary import require_split

RECORDED_OPTIONS = ("val_docs", "shard_tokens", "train_bytes", "seed", "part_bytes", "imported", "license")


@dataclass
class BuildReport:
    """How a build went: the manifest, where it is, seconds by stage, parts taken from an earlier run."""

    output: Path
    manifest: Manifest
    seconds: dict[str, float] = field(default_factory=dict)
    reused_parts: int = 0


def build(
    plan: Plan, progress: Progress | None = None, *, accept: Callable[[Path], None] | None = None
) -> BuildReport:
    """Make the dataset of a plan; it is at `plan.options.output` when this returns.

    `accept` sees the finished folder before it is published and may raise InputError.
    Raises InputError for bad input, with nothing left behind; TokenlabError when the disk
    fails, with everything kept for the next run of the same command.
    """
    progress = progress or Progress()
    try:
        with Workspace(plan) as workspace:
            return _Build(plan, workspace, progress).run(accept)
    except OSError as error:
        what = error.strerror or str(error)
        hint = "free some space and " if error.errno == errno.ENOSPC else ""
        raise TokenlabError(
            f"{error.filename or plan.options.output}: {what}; {hint}run the same command again, it resumes"
        ) from error


class _Build:
    """One run of the stages; each leaves its results on disk for the next run to find."""

    def __init__(self, plan: Plan, workspace: Workspace, progress: Progress) -> None:
        self.plan = plan
        self.options = plan.options
        self.workspace = workspace
        self.folder = workspace.folder
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.reused_parts = 0

    def run(self, accept: Callable[[Path], None] | None) -> BuildReport:
        self.progress.note(
            f"input: {self.plan.corpus.name}; validation is its first {self.plan.val_docs} documents"
        )
        if not (self.folder / MANIFEST_FILE).exists():
            with self._stage("vocabulary"):
                scheme, vocabulary = store_scheme(self.plan, self.workspace, self.progress)
            with self._stage("encode"):
                parts = self._encode(scheme)
            with self._stage("assemble"):
                manifest = self._assemble(scheme, vocabulary, parts)
                with write_atomically(self.folder / CARD_FILE) as file:
                    file.write(dataset_card(manifest).encode())
                with write_atomically(self.folder / MANIFEST_FILE) as file:
                    file.write(manifest.to_json())
        if accept is not None:
            accept(self.folder)
        self.workspace.publish()
        manifest = read_manifest(self.options.output)
        return BuildReport(self.options.output, manifest, self.seconds, self.reused_parts)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    def _encode(self, scheme: Scheme) -> list[PartRecord]:
        options = self.options
        stream = read_parts(self.plan.corpus, val_docs=self.plan.val_docs, part_bytes=options.part_bytes)
        ahead = list(itertools.islice(stream, 3))
        # Starting a pool takes longer than two parts.
        workers = options.workers if len(ahead) == 3 else 1
        expected = forecast(self.plan, scheme, ahead, workers)
        if expected is not None:
            expected.check_disk(self.folder)
            self.progress.note(f"forecast: {expected}")
        self.progress.start("encode", expected.source_bytes if expected else None, "B")
        records: list[PartRecord] = []
        started = time.perf_counter()
        for record in encode_parts(
            self._unfinished(itertools.chain(ahead, stream)),
            scheme=scheme,
            dataset=self.folder,
            folder=self.workspace.parts,
            seed=options.seed,
            workers=workers,
        ):
            records.append(record)
            done = sum_bytes(records)
            rate = done / (time.perf_counter() - started) / 1e6
            self.progress.advance(
                done, f"{record.first + record.documents_read:,} documents, {rate:.1f} MB/s"
            )
        self.progress.finish()
        require_split(sum(r.documents_read for r in records), self.plan.val_docs)
        require_split(sum(r.documents for r in records), self.plan.val_docs)
        if self.workspace.resumed:
            self.progress.note(f"resumed: {self.reused_parts} of {len(records)} parts were already encoded")
        return records

    def _unfinished(self, stream: Iterator[tuple[PartInput, int]]) -> Iterator[PartInput | PartRecord]:
        """Parts to encode, or the record where an earlier run did; validation digests are on
        disk before the first training part goes out."""
        digests: list[bytes] = []
        for part, _ in stream:
            if part.split == "val":
                digests.append(document_digests(part.documents).tobytes())
            elif digests:
                with write_atomically(self.workspace.parts / VALIDATION_DIGESTS) as file:
                    file.write(b"".join(digests))
                digests = []
            record = finished_part(self.workspace.parts, part) if self.workspace.resumed else None
            self.reused_parts += record is not None
            yield record or part

    def _assemble(self, scheme: Scheme, vocabulary: dict[str, Any], parts: list[PartRecord]) -> Manifest:
        splits: dict[Split, SplitRecord] = {}
        digests = {split: CorpusDigest() for split in SPLITS}
        source = CorpusDigest()
        for part in parts:
            rows = np.fromfile(part_path(self.workspace.parts, part.number, "digests"), np.uint8).reshape(
                -1, 32
            )
            source.update(rows)
            keep = np.ones(len(rows), bool)
            keep[np.array(part.dropped, np.int64) - part.first] = False
            digests[part.split].update(rows[keep])
        tokens = sum(part.tokens for part in parts)
        self.progress.start("assemble", tokens, "tokens")
        for split in SPLITS:
            members = [part for part in parts if part.split == split]
            shards = self._write_shards(split, members, scheme)
            ledger = Ledger()
            for part in members:
                ledger.add(
                    Ledger(
                        part.documents,
                        part.tokens,
                        part.source_bytes,
                        part.charged_bytes,
                        part.unattributed_bytes,
                    )
                )
            splits[split] = SplitRecord(
                **asdict(ledger), documents_sha256=digests[split].hexdigest(), shards=tuple(shards)
            )
        self.progress.finish()
        return self._manifest(scheme, vocabulary, parts, splits, source.hexdigest())

    def _write_shards(self, split: Split, parts: list[PartRecord], scheme: Scheme) -> list[ShardRecord]:
        sidecar = split == "val" or self.options.train_bytes
        if sidecar:
            (self.folder / SIDECAR_FOLDER).mkdir(exist_ok=True)
        records = []
        for planned in plan_shards(split, parts, self.options.shard_tokens):
            record = write_planned_shard(
                planned,
                parts=self.workspace.parts,
                output=self.folder,
                form=format_for_vocabulary(scheme.segmenter.vocab_size),
                bos=scheme.segmenter.bos,
                sidecar=sidecar,
            )
            records.append(record)
            self.progress.advance(sum(r.tokens for r in records), record.file)
        return records

    def _manifest(
        self,
        scheme: Scheme,
        vocabulary: dict[str, Any],
        parts: list[PartRecord],
        splits: dict[Split, SplitRecord],
        source_sha256: str,
    ) -> Manifest:
        spec, corpus = scheme.spec, self.plan.corpus
        size = scheme.segmenter.vocab_size
        val, train = splits["val"], splits["train"]
        return Manifest(
            format=FORMAT,
            format_version=FORMAT_VERSION,
            tokenlab_version=tokenlab.__version__,
            name=f"{spec.name}_{size}",
            tokenizer_name=f"{spec.name}_{size}",
            tokenizer_kind=str(self.plan.record["scheme"]["segmenter"]["kind"]),
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
                documents=sum(part.documents_read for part in parts),
                bytes=sum(part.bytes_read for part in parts),
                documents_sha256=source_sha256,
                dropped_duplicates=tuple(d for part in parts for d in part.dropped),
                bad_documents=tuple(asdict(bad) for bad in corpus.bad_documents),
            ),
            splits=splits,
            files={name: _sha256(self.folder / name) for name in _scheme_files(scheme)},
            vocabulary=vocabulary,
            options={key: self.plan.record[key] for key in RECORDED_OPTIONS if key in self.plan.record},
        )


def _scheme_files(scheme: Scheme) -> list[str]:
    return ["scheme.toml", *(f"tokenizer/{name}" for name in scheme.segmenter.files)]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sum_bytes(records: list[PartRecord]) -> int:
    """Source bytes read by the parts so far."""
    return sum(record.bytes_read for record in records)
