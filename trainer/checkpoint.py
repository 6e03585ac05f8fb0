"""Checkpoints: everything the next step depends on, in one file that is whole or absent.

A checkpoint is a weights table (trainer/weights.py, not compressed, float32) of parameters and
optimizer state; its `about` holds the counters and the digest of what it belongs to.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from shards import write_atomically
from trainer.errors import TrainerError
from trainer.muon import Optimizers
from trainer.network import Model
from trainer.weights import WeightsError, compress, decode, encode


class Progress(msgspec.Struct, kw_only=True):
    """Where a run stands. `identity` is the sha256 of configuration, dataset and code; `seconds` of
    training include those of validation, not those of warm-up."""

    identity: str
    steps: int = 0
    seconds: float = 0.0
    validation_seconds: float = 0.0
    warmup_seconds: float = 0.0
    losses: list[float] = msgspec.field(default_factory=list)
    """Mean nats a target of every step, for the curve."""
    patches: dict[str, float] = msgspec.field(default_factory=dict)
    """What a hierarchical model's last step said of its patches."""


def save(path: Path, model: Model, optimizers: Optimizers, progress: Progress) -> None:
    """Write a checkpoint atomically."""
    tensors = {f"model.{name}": p for name, p in model.named_parameters()} | {
        f"optimizer.{name}": tensor for name, tensor in optimizers.state().items()
    }
    arrays = {name: tensor.detach().float().cpu().numpy() for name, tensor in tensors.items()}
    with write_atomically(path) as file:
        file.write(compress("none", encode(arrays, msgspec.to_builtins(progress))))


def restore(path: Path, model: Model, optimizers: Optimizers, identity: str) -> Progress:
    """Put a checkpoint back. Raises TrainerError when it is of another run, or broken."""
    try:
        about, arrays = decode(path.read_bytes())
        progress = msgspec.convert(about, Progress)
    except (WeightsError, msgspec.ValidationError) as error:
        raise TrainerError(f"{path}: {error}; delete it, or start again with --force") from error
    if progress.identity != identity:
        raise TrainerError(
            f"{path.parent} holds an unfinished run of another configuration, dataset or version; "
            "choose another --output, or replace it with --force"
        )
    device = model.embedding.weight.device
    tensors = {name: torch.from_numpy(values.copy()).to(device) for name, values in arrays.items()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    prefix = "optimizer."
    optimizers.load_state(
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    )
    return progress
