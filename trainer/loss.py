"""The training loss without the logits: cross-entropy under a softcap, a few rows at a time.

With 8,192 ids, the logits of 65,536 targets are 2 GB in float32, and autograd keeps more than one
copy. Here the loss and its gradients are computed together, for as many rows at once as make
`CHUNK_VALUES` logits, and only the gradients of the inputs are kept. The result is that of
`Baseline.forward`; on a CPU it is faster, as a chunk stays in the cache.

Softcap: Gemma 2 (2024), section 2; gradients in the forward pass: Liger Kernel (2024), "fused
linear cross entropy".
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor

from trainer.hierarchical import Hierarchical
from trainer.model import Baseline

Losses: TypeAlias = tuple[Tensor, Tensor, dict[str, Tensor]]
"""Mean nats a target, a float32 scalar; what training minimises; and what metrics tell besides."""

CHUNK_VALUES = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Logits held at once: 4 MB and 256 MB in float32."""


def training_loss(model: Baseline, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean nats a target, a float32 scalar; ids and targets int64[batch, time]."""
    return _nats(model, model.hidden(ids), targets)


def flat_loss(model: Baseline, ids: Tensor, targets: Tensor) -> Losses:
    """`training_loss` as the losses of a step."""
    nats = training_loss(model, ids, targets)
    return nats, nats, {}


def hierarchical_loss(
    model: Hierarchical, ids: Tensor, targets: Tensor, opens: Tensor | None = None
) -> Losses:
    """The losses of a step: training minimises nats plus the weighted ratio loss, and is told what
    `Hierarchical.training_hidden` tells. `opens` bool[batch, time]."""
    hidden, ratio, told = model.training_hidden(ids, opens)
    nats = _nats(model, hidden, targets)
    return nats, nats + model.shape.ratio_weight * ratio, told


def _nats(model: Baseline | Hierarchical, hidden: Tensor, targets: Tensor) -> Tensor:
    hidden = hidden.flatten(0, 1)
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    return softcap_cross_entropy(hidden, model.embedding.weight, targets.flatten(), model.shape.softcap)


def softcap_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float, chunk_rows: int | None = None
) -> Tensor:
    """Mean of -log softmax(softcap * tanh(hidden @ weight.T / softcap))[target] over rows.

    hidden [n, dim] (its dtype is that of the matrix products), weight [vocabulary, dim], targets
    int64[n]; float32, or float64 where hidden is. Differentiable once."""
    rows = chunk_rows or max(1, CHUNK_VALUES[hidden.device.type] // len(weight))
    loss: Tensor = _SoftcapCrossEntropy.apply(hidden, weight, targets, softcap, rows)  # type: ignore[no-untyped-call]
    return loss


class _SoftcapCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float, rows: int
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            loss, hidden_gradient, weight_gradient = _loss_and_gradients(
                hidden, weight, targets, softcap, rows
            )
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden, weight = ctx.saved_tensors
        return hidden * outer.to(hidden.dtype), weight * outer.to(weight.dtype), None, None, None


def _loss_and_gradients(
    hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradients in the shapes and dtypes of `hidden` and `weight`."""
    count = len(hidden)
    exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    table = weight.to(hidden.dtype)
    total = torch.zeros((), dtype=exact, device=hidden.device)
    hidden_gradients = []
    weight_gradient = torch.zeros_like(weight)
    for at in range(0, count, rows):
        part, wanted = hidden[at : at + rows], targets[at : at + rows, None]
        capped = (part @ table.T).to(exact).mul_(1 / softcap).tanh_()
        logits = torch.log_softmax(capped * softcap, dim=1)
        total -= logits.gather(1, wanted).sum()
        gradient = logits.exp_()
        gradient.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=exact))
        gradient.mul_(capped.square_().mul_(-1 / count).add_(1 / count))  # the slope of tanh
        narrow = gradient.to(hidden.dtype)
        hidden_gradients.append(narrow @ table)
        weight_gradient += narrow.T @ part
    return total / count, torch.cat(hidden_gradients), weight_gradient
