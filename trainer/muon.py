"""Optimizers of the baseline: Muon for the blocks' matrices, Adam for everything else.

A router's matrices begin as the identity and decide by the angle of two vectors: Adam at a rate of its own.

Muon: momentum with Nesterov, then the update is made nearly orthogonal by five steps of a
quintic Newton-Schulz iteration, then scaled by sqrt(max(1, rows / columns)).

Source: Keller Jordan, "Muon" (2024), https://kellerjordan.github.io/posts/muon/; learning rates
and warm-up as published in track_10min_16mb/2026-03-17_NaiveBaseline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.network import Model
from trainer.processes import ALONE, Processes

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Chosen by Muon's author for slope at zero; singular values end in about 0.7..1.2, not at 1."""
EPSILON = 1e-7


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Nearly the closest semi-orthogonal matrix to `matrix`[rows, columns]; the same dtype, contiguous.

    bfloat16 on a GPU, as published; on a CPU, where bfloat16 is no faster, float32."""
    a, b, c = COEFFICIENTS
    x = matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (torch.linalg.matrix_norm(x) + EPSILON)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: Tensor = x.T if tall else x
    return out.to(matrix.dtype).contiguous()


@dataclass
class Muon:
    """Muon over 2-D parameters, which must have gradients when `step` is called.

    Of several processes each orthogonalizes its share of the matrices and sends it to the others, as
    published; the momentum is kept whole by each, so that any one can write a checkpoint."""

    parameters: list[Tensor]
    processes: Processes = ALONE
    orthogonalize: Callable[[Tensor], Tensor] = orthogonalize
    momentum: list[Tensor] = field(default_factory=list)
    """One float32 buffer a parameter, of its shape."""

    def __post_init__(self) -> None:
        if not self.momentum:
            self.momentum = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, rate: float, momentum: float) -> None:
        """parameter -= rate * sqrt(max(1, rows / columns)) * orthogonalized update."""
        updates: list[Tensor] = []
        owners = [index % self.processes.count for index in range(len(self.parameters))]
        for owner, parameter, buffer in zip(owners, self.parameters, self.momentum, strict=True):
            if parameter.grad is None:
                raise RuntimeError("step before backward: a parameter has no gradient")
            buffer.mul_(momentum).add_(parameter.grad)
            mine = owner == self.processes.rank
            update = parameter.grad.add(buffer, alpha=momentum)
            updates.append(self.orthogonalize(update) if mine else torch.empty_like(update))
        self.processes.broadcast(updates, owners)
        for parameter, update in zip(self.parameters, updates, strict=True):
            rows, columns = parameter.shape
            parameter.add_(update, alpha=-rate * max(1.0, rows / columns) ** 0.5)


@dataclass
class Adam:
    """Adam over tensors of any shape, which must have gradients when `step` is called.

    Kingma and Ba (2014), algorithm 1. (`torch.optim` would do, but making one of its optimizers
    imports torch's compiler: 1.5 s more for every run.)"""

    parameters: list[Tensor]
    rate: float
    first: list[Tensor] = field(default_factory=list)
    second: list[Tensor] = field(default_factory=list)
    """Running means of gradient and of its square; float32, one a parameter, of its shape."""

    def __post_init__(self) -> None:
        self.first = self.first or [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = self.second or [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, index: int, multiplier: float, beta1: float, beta2: float, epsilon: float) -> None:
        """The update of step `index` (from 0) at `rate` times `multiplier`."""
        size = self.rate * multiplier / (1 - beta1 ** (index + 1))
        root = (1 - beta2 ** (index + 1)) ** 0.5
        for parameter, first, second in zip(self.parameters, self.first, self.second, strict=True):
            if parameter.grad is None:
                raise RuntimeError("step before backward: a parameter has no gradient")
            first.mul_(beta1).add_(parameter.grad, alpha=1 - beta1)
            second.mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
            parameter.addcdiv_(first, second.sqrt().div_(root).add_(epsilon), value=-size)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Learning rates and momenta; the defaults are the published baseline."""

    matrix_rate: float = 0.04
    embedding_rate: float = 0.05
    scalar_rate: float = 0.04
    router_rate: float = 0.002
    momentum: float = 0.95
    momentum_start: float = 0.85
    momentum_steps: int = 500
    """Steps over which Muon's momentum rises linearly."""
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8


class Optimizers:
    """The three groups of the baseline, and a router's, stepped together."""

    def __init__(self, model: Model, rates: Rates, processes: Processes = ALONE) -> None:
        self.rates = rates
        groups = split_parameters(model)
        self.muon = Muon(groups.matrices, processes)
        self.embedding = Adam(groups.embeddings, rates.embedding_rate)
        self.vectors = Adam(groups.vectors, rates.scalar_rate)
        self.router = Adam(groups.routers, rates.router_rate)

    def step(self, index: int, multiplier: float) -> None:
        """The update of step `index` (from 0), all learning rates times `multiplier`."""
        rates = self.rates
        warm = min(1.0, index / max(1, rates.momentum_steps))
        momentum = (1 - warm) * rates.momentum_start + warm * rates.momentum
        self.muon.step(rates.matrix_rate * multiplier, momentum)
        for adam in (self.embedding, self.vectors, self.router):
            adam.step(index, multiplier, rates.beta1, rates.beta2, rates.epsilon)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on besides the parameters, by name."""
        groups = {
            "muon.momentum": self.muon.momentum,
            "embedding.first": self.embedding.first,
            "embedding.second": self.embedding.second,
            "vectors.first": self.vectors.first,
            "vectors.second": self.vectors.second,
            "router.first": self.router.first,
            "router.second": self.router.second,
        }
        return {f"{name}.{i}": tensor for name, group in groups.items() for i, tensor in enumerate(group)}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Undo `state`."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])


class Groups(NamedTuple):
    """A network's parameters by how they are trained."""

    matrices: list[Tensor]
    """Muon's: 2-D weights of the blocks' linear maps."""
    embeddings: list[Tensor]
    """Look-up tables, of which each step touches some rows."""
    vectors: list[Tensor]
    """Scalars and vectors; `resid_mix` is 2-D but a pair of vectors."""
    routers: list[Tensor]


def split_parameters(model: Model) -> Groups:
    """Every parameter in one group."""
    groups = Groups([], [], [], [])
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for name, parameter in model.named_parameters():
        if id(parameter) in tables:
            groups.embeddings.append(parameter)
        elif ".router." in name:
            groups.routers.append(parameter)
        else:
            (groups.matrices if name.endswith(".weight") else groups.vectors).append(parameter)
    return groups
