"""One update of the weights: forward, backward, gradients of all processes summed, optimizers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.batches import Batches
from trainer.config import MachineConfig
from trainer.devices import arithmetic
from trainer.errors import RunFailure
from trainer.hierarchical import Hierarchical
from trainer.loss import Losses, flat_loss, hierarchical_loss
from trainer.muon import Optimizers, orthogonalize
from trainer.network import Model
from trainer.processes import Processes

DIVERGED = 3.0
"""Nats above the loss of an untrained model (ln vocabulary): no run that recovers gets there."""
WARMUP_STEPS = 3
"""Where something is compiled: the second step still finds new memory layouts."""


class Step:
    """The update; what the machine has to do with it (precision, compiler) is decided here."""

    def __init__(
        self,
        model: Model,
        optimizers: Optimizers,
        *,
        machine: MachineConfig,
        rows: int,
        micro_rows: int,
        processes: Processes,
    ) -> None:
        """`rows` are those of a batch over all processes, `micro_rows` the most at a time."""
        self.model, self.optimizers = model, optimizers
        self.device = model.embedding.weight.device
        self._precision = machine.precision
        self._rows, self._micro_rows = rows, micro_rows
        self._processes = processes
        backend = machine.compile
        if backend == "auto":
            backend = "inductor" if self.device.type == "cuda" else "off"
        self._loss: Callable[..., Losses] = (
            hierarchical_loss if isinstance(model, Hierarchical) else flat_loss
        )
        if backend != "off":
            self._loss = torch.compile(self._loss, backend=backend, dynamic=False, fullgraph=True)
            optimizers.muon.orthogonalize = torch.compile(orthogonalize, backend=backend, dynamic=False)
        default = WARMUP_STEPS if backend != "off" else 0
        self._warmup_steps = machine.warmup_steps if machine.warmup_steps is not None else default

    def __call__(self, batch: tuple[NDArray[Any], ...], index: int, rate: float) -> dict[str, float]:
        """Step `index` (from 0) on this process's rows, learning rates times `rate`. Means over the whole
        batch: `loss`, nats a target, and what a hierarchical model tells besides
        (`Hierarchical.training_hidden`). Raises RunFailure, in all processes, when it diverged."""
        tensors = [torch.from_numpy(part) for part in batch]
        self.model.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {"loss": torch.zeros((), dtype=torch.float64, device=self.device)}
        for start, stop in micro_batches(len(tensors[0]), self._micro_rows):
            rows = [tensor[start:stop].to(self.device, non_blocking=True) for tensor in tensors]
            share = (stop - start) / self._rows
            with arithmetic(self.device, self._precision):
                nats, objective, told = self._loss(self.model, *rows)
                objective = objective * share
            torch.autograd.backward(objective)
            for name, part in {"loss": nats, **told}.items():
                totals[name] = part.detach() * share + totals.get(name, 0.0)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self._processes.sum([*totals.values(), *gradients])
        self.optimizers.step(index, rate)
        means = {name: float(total) for name, total in totals.items()}  # waits for a GPU, hence last
        value = means["loss"]
        if not value <= math.log(self.model.shape.vocab_size) + DIVERGED:
            raise RunFailure(
                f"step {index + 1}: the loss is {value:.4g}, the run diverged; lower "
                "rates.matrix_rate and rates.embedding_rate, or take more tokens a step"
            )
        return means

    def warm_up(self, batches: Batches) -> float:
        """Make real steps so that everything is compiled, then put weights and optimizers back as
        they were; the seconds it took. `batches` are used up: give others to training."""
        if not self._warmup_steps:
            return 0.0
        started = time.monotonic()
        before = [tensor.detach().clone() for tensor in self._state()]
        for index in range(self._warmup_steps):
            self(batches.next(), index, 1.0)
        with torch.no_grad():
            for tensor, value in zip(self._state(), before, strict=True):
                tensor.copy_(value)
        self.model.zero_grad(set_to_none=True)
        self.finish()
        return time.monotonic() - started

    def finish(self) -> None:
        """Wait for what a GPU has still to do, so that a clock read next is right."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _state(self) -> list[Tensor]:
        return [*self.model.parameters(), *self.optimizers.state().values()]


def micro_batches(rows: int, most: int) -> Iterator[tuple[int, int]]:
    """As few parts [start, stop) of so many rows as `most` rows each allow, of nearly equal size.

    >>> list(micro_batches(10, 4))
    [(0, 3), (3, 6), (6, 10)]
    """
    parts = -(-rows // most)
    for part in range(parts):
        yield part * rows // parts, (part + 1) * rows // parts
