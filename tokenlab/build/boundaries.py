"""The boundaries of a dataset: a pass over its assembled shards, in constant memory.

The rule is fitted on the beginning of the training shards where it needs it; then each shard gets its file
of bits. Documents cross shards, so what the rule must know of the last one is handed on, and is kept with
the record of each shard for a build that is resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from shards import read_shard, write_atomically
from shards.boundaries import BoundaryHeader, boundaries_name, write_boundaries
from tokenlab.boundaries.fit import SAMPLE_TOKENS, fit_rule
from tokenlab.boundaries.record import read_rule
from tokenlab.boundaries.request import RuleRequest
from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import State, new_state
from tokenlab.boundaries.stream import as_stream
from tokenlab.build.engine import Job
from tokenlab.dataset import read_documents
from tokenlab.errors import InputError
from tokenlab.manifest import BOUNDARY_FOLDER, SPLITS, BoundariesRecord, ShardRecord, SidecarRecord, Split
from tokenlab.progress import Progress
from tokenlab.scheme_spec import SchemeSpec

MODEL_FILE = f"{BOUNDARY_FOLDER}/model.bin"
CHUNK = 1 << 20

_Shards = dict[Split, list[ShardRecord]]


class _Fitted(msgspec.Struct, frozen=True):
    """A rule that was fitted: on the shards of these digests, with these tables."""

    kind: str
    parameters: dict[str, int]
    tables_sha256: str
    fitted_on: tuple[str, ...]


class _Written(msgspec.Struct, frozen=True):
    """A boundary file that was written, and what the next shard must know."""

    file: SidecarRecord
    parent_sha256: str
    parameters_sha256: str
    patches: int
    state: tuple[int, ...]


def add_boundaries(
    job: Job, spec: SchemeSpec, shards: Mapping[Split, list[ShardRecord]], progress: Progress
) -> tuple[BoundariesRecord, _Shards]:
    """Write the boundary files of all shards; their record, and the shards' records with them.

    What an earlier run of the job wrote stays. Raises InputError for a text to fit on that has no bytes.
    """
    request = spec.boundary_rule
    if request is None:
        raise InputError(f"scheme {spec.name} has no boundaries")
    (job.dataset / BOUNDARY_FOLDER).mkdir(exist_ok=True)
    rule = _rule(job, request, spec.bytes_per_patch, shards["train"], progress)
    found: _Shards = {}
    patches: dict[Split, int] = {}
    for split in SPLITS:
        written = _write_split(job, rule, split, shards[split], progress)
        patches[split] = sum(one.patches for one in written)
        found[split] = [
            msgspec.structs.replace(shard, boundaries=one.file)
            for shard, one in zip(shards[split], written, strict=True)
        ]
    model = SidecarRecord(MODEL_FILE, hashlib.sha256(rule.tables).hexdigest()) if rule.tables else None
    record = BoundariesRecord(rule.text, rule.kind, rule.causal, rule.parameters, model, rule.sha256, patches)
    return record, found


def _rule(
    job: Job, request: RuleRequest, target: float | None, train: list[ShardRecord], progress: Progress
) -> Rule:
    """The rule, fitted unless an earlier run did; its tables are in the dataset then."""
    if not request.is_fitted:
        return fit_rule(request, target, np.zeros(0, np.uint16))
    stored = job.shards / "boundaries.json"
    sample, digests = _first_tokens(job.dataset, train)
    if (rule := _stored_rule(job, stored, digests)) is not None:
        progress.note(f"resumed: boundaries {rule.text} were already fitted")
        return rule
    aim = f" to {target:g} bytes a patch" if target is not None else ""
    progress.start(f"fit {request.kind} boundaries{aim}", len(sample), "tokens")
    rule = fit_rule(request, target, sample)
    progress.finish()
    fitted = _Fitted(rule.kind, rule.parameters, hashlib.sha256(rule.tables).hexdigest(), digests)
    for path, content in ((job.dataset / MODEL_FILE, rule.tables), (stored, msgspec.json.encode(fitted))):
        with write_atomically(path) as file:
            file.write(content)
    progress.note(f"boundaries: {rule.text}, fitted on the first {len(sample):,} tokens of train{aim}")
    return rule


def _first_tokens(dataset: Path, train: list[ShardRecord]) -> tuple[NDArray[np.uint16], tuple[str, ...]]:
    """The first SAMPLE_TOKENS ids of train, and the digests of the shards they are in."""
    pieces: list[NDArray[Any]] = []
    digests: list[str] = []
    left = SAMPLE_TOKENS
    for shard in train:
        if left <= 0:
            break
        digests.append(shard.sha256)
        for ids in read_shard(dataset / shard.file, CHUNK):
            pieces.append(ids[:left])
            left -= len(pieces[-1])
            if left <= 0:
                break
    return np.concatenate([np.zeros(0, np.uint16), *pieces]), tuple(digests)


def _stored_rule(job: Job, stored: Path, digests: tuple[str, ...]) -> Rule | None:
    try:
        fitted = msgspec.json.decode(stored.read_bytes(), type=_Fitted)
        tables = (job.dataset / MODEL_FILE).read_bytes()
    except (OSError, msgspec.MsgspecError):
        return None
    if fitted.fitted_on != digests or hashlib.sha256(tables).hexdigest() != fitted.tables_sha256:
        return None
    return read_rule(fitted.kind, fitted.parameters, tables)


def _write_split(
    job: Job, rule: Rule, split: Split, shards: list[ShardRecord], progress: Progress
) -> list[_Written]:
    progress.start(f"boundaries {split}", sum(shard.tokens for shard in shards), "tokens")
    state = new_state()
    files = [job.dataset / shard.file for shard in shards]
    whole = (
        None
        if rule.causal
        else _Bits(
            rule.starts(as_stream(batch.ids), new_state()) for batch in read_documents(files, [], rule.bos)
        )
    )
    written: list[_Written] = []
    done = patches = reused = 0
    for index, shard in enumerate(shards):
        kept = job.shards / f"{split}-{index:06d}-boundaries.json"
        one = _finished(job, kept, rule, shard) if rule.causal else None
        if one is not None:
            reused += 1
        else:
            chunks = _starts(rule, files[index], state) if whole is None else whole.take(shard.tokens)
            one = _write(
                job.dataset, rule, f"{BOUNDARY_FOLDER}/{boundaries_name(split, index)}", shard, chunks, state
            )
            with write_atomically(kept) as file:
                file.write(msgspec.json.encode(one))
        state[:] = np.array(one.state, np.uint64)
        written.append(one)
        done += shard.tokens
        patches += one.patches
        progress.advance(done, f"{patches:,} patches, {done / patches:.2f} tokens a patch")
    progress.finish()
    if reused:
        progress.note(f"resumed: boundaries of {reused} of {len(shards)} {split} shards were already there")
    return written


def _starts(rule: Rule, path: Path, state: State) -> Iterator[NDArray[np.uint8]]:
    for ids in read_shard(path, CHUNK):
        yield rule.starts(ids, state)


def _write(
    dataset: Path,
    rule: Rule,
    name: str,
    shard: ShardRecord,
    chunks: Iterator[NDArray[np.uint8]],
    state: State,
) -> _Written:
    patches = 0

    def counted() -> Iterator[NDArray[np.uint8]]:
        nonlocal patches
        for bits in chunks:
            patches += int(np.count_nonzero(bits))
            yield bits

    header = BoundaryHeader(shard.tokens, rule.kind, rule.causal, rule.sha256, shard.sha256)
    digest = write_boundaries(dataset / name, header, counted())
    return _Written(
        SidecarRecord(name, digest), shard.sha256, rule.sha256, patches, tuple(int(value) for value in state)
    )


def _finished(job: Job, kept: Path, rule: Rule, shard: ShardRecord) -> _Written | None:
    """What an earlier run wrote for a shard, if it is whole and of this rule and shard."""
    try:
        one = msgspec.json.decode(kept.read_bytes(), type=_Written)
        with open(job.dataset / one.file.file, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, msgspec.MsgspecError):
        return None
    same = (one.file.sha256, one.parent_sha256, one.parameters_sha256) == (digest, shard.sha256, rule.sha256)
    return one if same else None


class _Bits:
    """Bits of whole documents, taken out in other pieces."""

    def __init__(self, pieces: Iterator[NDArray[np.uint8]]) -> None:
        self._pieces = pieces
        self._rest = np.zeros(0, np.uint8)

    def take(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """The next `count` bits."""
        while count:
            if not len(self._rest):
                self._rest = next(self._pieces)
            bits, self._rest = self._rest[:count], self._rest[count:]
            count -= len(bits)
            yield bits
