"""The two tasks of a build, as every engine runs them: encode a part, assemble a shard."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from tokenlab.build.assemble import ShardOptions, ShardPlan, write_planned_shard
from tokenlab.build.encode import PartEncoder
from tokenlab.build.engine import Job
from tokenlab.build.parts import PartInput, PartRecord, finished_part
from tokenlab.build.shard_records import finished_shard, keep_shard
from tokenlab.errors import InputError, TokenlabError
from tokenlab.manifest import ShardRecord
from tokenlab.scheme import Scheme

_encoders: dict[Job, PartEncoder] = {}
"""The encoder of the job that this process works for; at most one."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to write: what goes into it, and how."""

    plan: ShardPlan
    how: ShardOptions


def encode_part(job: Job, part: PartInput) -> PartRecord:
    """The part on disk, encoded unless an earlier run of the task left it. Raises as
    `PartEncoder.encode`."""
    return finished_part(job.parts, part) or _encoder(job).encode(part)


def assemble_shard(job: Job, task: ShardTask) -> tuple[ShardRecord, bool]:
    """The record of a shard, and whether an earlier run of the task had written it."""
    if (record := finished_shard(job, task.plan)) is not None:
        return record, True
    record = write_planned_shard(task.plan, parts=job.parts, output=job.dataset, how=task.how)
    keep_shard(job, task.plan, record)
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
