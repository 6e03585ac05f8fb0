"""The two tasks of a build, as every engine runs them: encode a part, assemble a shard."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shards import ShardFormat, write_atomically
from tokenlab.build.assemble import ShardPlan, write_planned_shard
from tokenlab.build.encode import PartEncoder
from tokenlab.build.engine import Job
from tokenlab.build.parts import PartInput, PartRecord, finished_part, part_digest
from tokenlab.errors import InputError, TokenlabError
from tokenlab.manifest import ShardRecord
from tokenlab.scheme import Scheme

_encoders: dict[Job, PartEncoder] = {}
"""The encoder of the job that this process works for; at most one."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to write: what goes into it, and how."""

    plan: ShardPlan
    form: ShardFormat
    bos: int
    sidecar: bool


class FinishedShard(msgspec.Struct, frozen=True):
    """What is kept of a shard that was written: its record, and the digest of the parts it was made of."""

    record: ShardRecord
    parts_sha256: str


def encode_part(job: Job, part: PartInput) -> PartRecord:
    """The part on disk, encoded unless an earlier run of the task left it. Raises as
    `PartEncoder.encode`."""
    return finished_part(job.parts, part) or _encoder(job).encode(part)


def assemble_shard(job: Job, task: ShardTask) -> tuple[ShardRecord, bool]:
    """The record of a shard, and whether an earlier run of the task had written it."""
    path = job.shards / f"{task.plan.split}-{task.plan.index:06d}.json"
    parts = _parts_sha256(job, task.plan)
    if (record := _finished_shard(job, path, task, parts)) is not None:
        return record, True
    record = write_planned_shard(
        task.plan,
        parts=job.parts,
        output=job.dataset,
        form=task.form,
        bos=task.bos,
        sidecar=task.sidecar,
    )
    with write_atomically(path) as file:
        file.write(msgspec.json.encode(FinishedShard(record, parts)))
    return record, False


def use_scheme(job: Job, scheme: Scheme) -> None:
    """Let tasks that run in this process encode with a scheme that is open already."""
    _encoders.clear()
    _encoders[job] = PartEncoder(scheme, job)


def forget_scheme() -> None:
    """Let go of the encoder of this process."""
    _encoders.clear()


def _encoder(job: Job) -> PartEncoder:
    if job not in _encoders:
        try:
            use_scheme(job, Scheme.open(job.dataset))
        except InputError as error:  # about this machine, not about the input
            raise TokenlabError(
                f"worker on {socket.gethostname()}: {error}; --output must be on a file system "
                "that all workers share"
            ) from error
    return _encoders[job]


def _parts_sha256(job: Job, plan: ShardPlan) -> str:
    """Of the digests of the parts in a shard, and of what it has of each."""
    digest = hashlib.sha256()
    for r in plan.ranges:
        digest.update(part_digest(job.parts, r.number) + b"%d:%d" % (r.start, r.stop))
    return digest.hexdigest()


def _finished_shard(job: Job, path: Path, task: ShardTask, parts: str) -> ShardRecord | None:
    try:
        finished = msgspec.json.decode(path.read_bytes(), type=FinishedShard)
        record = finished.record
        files = [(record.file, record.sha256)]
        if record.sidecar is not None:
            files.append((record.sidecar.file, record.sidecar.sha256))
        for name, sha256 in files:
            with open(job.dataset / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return None
    except (OSError, msgspec.MsgspecError):
        return None
    same = finished.parts_sha256 == parts and (record.sidecar is not None) == task.sidecar
    return record if same else None
