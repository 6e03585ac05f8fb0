"""What a build keeps of each shard that is done, for a run that goes on after it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec

from shards import write_atomically
from tokenlab.build.assemble import ShardCutter, ShardPlan
from tokenlab.build.engine import Job
from tokenlab.build.parts import PartRecord, open_part, part_digest
from tokenlab.manifest import SPLITS, ShardRecord, Split


class FinishedShard(msgspec.Struct, frozen=True):
    """A shard that was written: its record, and the digest of the parts it was made of."""

    record: ShardRecord
    parts_sha256: str


def keep_shard(job: Job, plan: ShardPlan, record: ShardRecord) -> None:
    """Note that a shard is done."""
    with write_atomically(_path(job, plan.split, plan.index)) as file:
        file.write(msgspec.json.encode(FinishedShard(record, _parts_sha256(job, plan))))


def is_noted(job: Job, split: Split, index: int) -> bool:
    """Whether an earlier run noted this shard as done; whether it is, `finished_shard` says."""
    return _path(job, split, index).exists()


def finished_shard(job: Job, plan: ShardPlan) -> ShardRecord | None:
    """The record of a shard that is done, or None when it must be written (again): not there, damaged, or
    of other parts."""
    try:
        finished = msgspec.json.decode(_path(job, plan.split, plan.index).read_bytes(), type=FinishedShard)
        record = finished.record
        if finished.parts_sha256 != _parts_sha256(job, plan):
            return None
        files = [(record.file, record.sha256)]
        if record.sidecar is not None:
            files.append((record.sidecar.file, record.sidecar.sha256))
        for name, sha256 in files:
            with open(job.dataset / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return None
    except (OSError, msgspec.MsgspecError):
        return None
    return record


def tokens_in_shards(job: Job, shard_tokens: int) -> dict[Split, int]:
    """Tokens of each split, from its first on, that are in shards which are done, as far as the parts that
    are there tell what belongs into them."""
    tokens: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for split, plans in itertools.groupby(_plans(job, shard_tokens), lambda plan: plan.split):
        for plan in itertools.takewhile(lambda plan: finished_shard(job, plan) is not None, plans):
            tokens[split] += plan.tokens
    return tokens


def _plans(job: Job, shard_tokens: int) -> Iterator[ShardPlan]:
    """The shards of the parts that are there, up to the first that is missing or damaged."""
    cutter = ShardCutter(shard_tokens)
    for record in _records(job):
        yield from cutter.add(record.split, record.number, record.tokens)
    yield from cutter.finish()


def _records(job: Job) -> Iterator[PartRecord]:
    for number in itertools.count():
        if part_digest(job.parts, number) is None:
            return
        yield open_part(job.parts, number).record


def _path(job: Job, split: Split, index: int) -> Path:
    return job.shards / f"{split}-{index:06d}.json"


def _parts_sha256(job: Job, plan: ShardPlan) -> str:
    """Of the digests of the parts in a shard, and of what it has of each."""
    digest = hashlib.sha256()
    for r in plan.ranges:
        digest.update((part_digest(job.parts, r.number) or b"") + b"%d:%d" % (r.start, r.stop))
    return digest.hexdigest()
