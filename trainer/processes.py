"""The processes of one run: one, or as many as `torchrun` started, each with a device of its own.

All of them hold the same weights. Each takes its rows of the same global batch, gradients are
summed, and what depends on a clock or a signal is agreed on, so that all take the same decisions.
The first process (rank 0) alone reads checkpoints and writes files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor

from trainer.errors import RunFailure, TrainerError

PATIENCE = timedelta(hours=1)
"""How long one waits for the others: the first scores the validation split alone."""


@dataclass(frozen=True)
class Processes:
    """This process among `count`; `rank` is from 0, `local_rank` counts on this machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this one reads and writes files."""
        return self.rank == 0

    def share(self, rows: int) -> tuple[int, int]:
        """The rows [start, stop) of a batch that are this process's. Raises TrainerError unless
        all get as many."""
        if rows % self.count:
            below = rows // self.count * self.count
            raise TrainerError(
                f"batch.rows {rows} does not divide over {self.count} processes; take "
                f"{below or self.count} or {below + self.count}, or with batch.bytes "
                f"batch.row_multiple = {self.count}"
            )
        each = rows // self.count
        return self.rank * each, (self.rank + 1) * each

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count == 1:
            return
        pending = [torch.distributed.all_reduce(tensor, async_op=True) for tensor in tensors]
        for work in pending:
            work.wait()

    def maximum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The largest of each value over all processes."""
        if self.count == 1:
            return list(values)
        agreed = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(agreed, torch.distributed.ReduceOp.MAX)
        return agreed.tolist()

    def wait(self, device: torch.device) -> None:
        """Until all processes are here."""
        self.maximum([0.0], device)

    def broadcast(self, tensors: Sequence[Tensor], sources: Sequence[int]) -> None:
        """Fill each tensor with that of the process it belongs to."""
        if self.count == 1:
            return
        pending = [
            torch.distributed.broadcast(tensor, source, async_op=True)
            for tensor, source in zip(tensors, sources, strict=True)
        ]
        for work in pending:
            work.wait()

    @contextmanager
    def together(self, device: torch.device) -> Iterator[None]:
        """While it is entered the others can be reached: over NCCL on GPUs, over gloo on CPUs."""
        if self.count == 1:
            yield
            return
        gpu = device.type == "cuda"
        torch.distributed.init_process_group(
            "nccl" if gpu else "gloo", timeout=PATIENCE, device_id=device if gpu else None
        )
        try:
            yield
        except (RunFailure, KeyboardInterrupt):
            torch.distributed.destroy_process_group()  # all raise these together
            raise
        torch.distributed.destroy_process_group()


ALONE = Processes()


def launched() -> Processes:
    """What `torchrun` says in the environment; one process without it."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        rank, count, local_rank = (int(os.environ[name]) for name in names)
    except (KeyError, ValueError) as error:
        raise TrainerError(
            f"WORLD_SIZE is set, but not all of {', '.join(names)} to numbers; start several "
            "processes with `torchrun --nproc_per_node N -m trainer …`"
        ) from error
    return Processes(rank, count, local_rank)


def launched_rank() -> str:
    """This process's rank for messages, also where what `torchrun` said is wrong."""
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    return os.environ.get("RANK", "0") if several else "0"


@contextmanager
def as_one(kind: type[TrainerError] = TrainerError) -> Iterator[None]:
    """For errors of this kind that all processes find alike: only the first raises it, the others
    wait to be ended by `torchrun`, which ends all when it sees one end."""
    try:
        yield
    except kind as error:
        if launched_rank() == "0":
            raise
        time.sleep(10)
        raise SystemExit(error.exit_code) from error
