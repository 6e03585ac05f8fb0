"""Optimizers of the baseline: Muon for the blocks' matrices, Adam for everything else.

Muon: momentum with Nesterov, then the update is made nearly orthogonal by five steps of a
quintic Newton-Schulz iteration, then scaled by sqrt(max(1, rows / columns)).

Source: Keller Jordan, "Muon" (2024), https://kellerjordan.github.io/posts/muon/; learning rates
and warm-up as published in track_10min_16mb/2026-03-17_NaiveBaseline.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.model import Baseline

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Chosen by Muon's author for slope at zero; singular values end in about 0.7..1.2, not at 1."""
EPSILON = 1e-7


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Nearly the closest semi-orthogonal matrix to `matrix`[rows, columns]; the same dtype.

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
    return out.to(matrix.dtype)


@dataclass
class Muon:
    """Muon over 2-D parameters, which must have gradients when `step` is called."""

    parameters: list[Tensor]
    momentum: list[Tensor] = field(default_factory=list)
    """One float32 buffer a parameter, of its shape."""

    def __post_init__(self) -> None:
        if not self.momentum:
            self.momentum = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, rate: float, momentum: float) -> None:
        """parameter -= rate * sqrt(max(1, rows / columns)) * orthogonalized update."""
        for parameter, buffer in zip(self.parameters, self.momentum, strict=True):
            assert parameter.grad is not None
            buffer.mul_(momentum).add_(parameter.grad)
            update = orthogonalize(parameter.grad.add(buffer, alpha=momentum))
            rows, columns = parameter.shape
            parameter.add_(update, alpha=-rate * max(1.0, rows / columns) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Learning rates and momenta; the defaults are the published baseline."""

    matrix_rate: float = 0.04
    embedding_rate: float = 0.05
    scalar_rate: float = 0.04
    momentum: float = 0.95
    momentum_start: float = 0.85
    momentum_steps: int = 500
    """Steps over which Muon's momentum rises linearly."""
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8


class Optimizers:
    """The three groups of the baseline, stepped together."""

    def __init__(self, model: Baseline, rates: Rates) -> None:
        self.rates = rates
        matrices, scalars = split_parameters(model)
        self.muon = Muon(matrices)
        embedding = [model.embedding.weight]
        self._base = (rates.embedding_rate, rates.scalar_rate)
        self.adam = torch.optim.Adam(
            [{"params": embedding, "lr": self._base[0]}, {"params": scalars, "lr": self._base[1]}],
            betas=(rates.beta1, rates.beta2),
            eps=rates.epsilon,
        )

    def step(self, index: int, multiplier: float) -> None:
        """The update of step `index` (from 0), all learning rates times `multiplier`."""
        warm = min(1.0, index / max(1, self.rates.momentum_steps))
        momentum = (1 - warm) * self.rates.momentum_start + warm * self.rates.momentum
        self.muon.step(self.rates.matrix_rate * multiplier, momentum)
        for group, rate in zip(self.adam.param_groups, self._base, strict=True):
            group["lr"] = rate * multiplier
        self.adam.step()

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on besides the parameters, by name."""
        tensors = {f"muon.{index}": buffer for index, buffer in enumerate(self.muon.momentum)}
        for index, parameter in enumerate(self._adam_parameters()):
            for name, value in self.adam.state[parameter].items():
                tensors[f"adam.{index}.{name}"] = value
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Undo `state`."""
        for index, buffer in enumerate(self.muon.momentum):
            buffer.copy_(tensors[f"muon.{index}"])
        for index, parameter in enumerate(self._adam_parameters()):
            prefix = f"adam.{index}."
            self.adam.state[parameter] = {
                name.removeprefix(prefix): value.clone()
                for name, value in tensors.items()
                if name.startswith(prefix)
            }

    def _adam_parameters(self) -> list[Tensor]:
        return [parameter for group in self.adam.param_groups for parameter in group["params"]]


def split_parameters(model: Baseline) -> tuple[list[Tensor], list[Tensor]]:
    """Muon's matrices (2-D weights of the blocks' linear maps), and the scalars and vectors for
    Adam; `resid_mix` is 2-D but a pair of vectors. The embedding is in neither."""
    matrices: list[Tensor] = []
    vectors: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if name == "embedding.weight":
            continue
        (matrices if name.endswith(".weight") else vectors).append(parameter)
    return matrices, vectors
