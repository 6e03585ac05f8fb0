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
from tokenlab.build.parts import PartInput, PartRecord, finished_part
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


def encode_part(job: Job, part: PartInput) -> PartRecord:
    """The part on disk, encoded unless an earlier run of the task left it. Raises as
    `PartEncoder.encode`."""
    return finished_part(job.parts, part) or _encoder(job).encode(part)


def assemble_shard(job: Job, task: ShardTask) -> tuple[ShardRecord, bool]:
    """The record of a shard, and whether an earlier run of the task had written it."""
    path = job.shards / f"{task.plan.split}-{task.plan.index:06d}.json"
    if (record := _finished_shard(job, path, task)) is not None:
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
        file.write(msgspec.json.encode(record))
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


def _finished_shard(job: Job, path: Path, task: ShardTask) -> ShardRecord | None:
    try:
        record = msgspec.json.decode(path.read_bytes(), type=ShardRecord)
        files = [(record.file, record.sha256)]
        if record.sidecar is not None:
            files.append((record.sidecar.file, record.sidecar.sha256))
        for name, sha256 in files:
            with open(job.dataset / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    return None
    except (OSError, msgspec.MsgspecError):
        return None
    same = record.tokens == task.plan.tokens and (record.sidecar is not None) == task.sidecar
    return record if same else None
