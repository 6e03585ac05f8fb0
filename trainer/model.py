"""The naive baseline of Parameter Golf: the network, and nothing but torch.

A pre-norm transformer with a tied embedding. The first half of the blocks push their outputs, the
second half add them back in reverse, scaled per dimension (U-Net skips); each block first mixes in
the embedding (`resid_mix`). Attention has grouped keys, RoPE, and normalised queries and keys with
a gain per head; the MLP is relu squared; logits are capped at +-softcap by tanh.

This file is part of an artifact and is counted in its bytes. It runs by itself:

>>> model = build(ModelShape(), seed=0)
>>> sum(parameter.numel() for parameter in model.parameters())
17059912

Definition: openai/parameter-golf, track_10min_16mb/2026-03-17_NaiveBaseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What the network is; the defaults are the published baseline."""

    vocab_size: int = 1024
    layers: int = 9
    dim: int = 512
    heads: int = 8
    kv_heads: int = 4
    mlp_multiple: int = 2
    rope_base: float = 10_000.0
    softcap: float = 30.0
    embedding_std: float = 0.005
    qk_gain: float = 1.5

    def __post_init__(self) -> None:
        if min(self.vocab_size, self.layers, self.dim, self.heads, self.kv_heads, self.mlp_multiple) < 1:
            raise ValueError("every size of a model must be at least 1")
        if self.dim % (2 * self.heads) or self.heads % self.kv_heads:
            raise ValueError(
                f"dim {self.dim} must be an even multiple of heads {self.heads}, "
                f"and heads a multiple of kv_heads {self.kv_heads}"
            )


def rms_norm(x: Tensor) -> Tensor:
    """Each vector (last dimension) over its root mean square; no weights."""
    return F.rms_norm(x, (x.shape[-1],))


def rope_angles(time: int, head_dim: int, base: float, device: torch.device) -> Tensor:
    """Radians float32[time, head_dim / 2]: position times base^(-2i / head_dim)."""
    exponents = torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim
    frequencies: Tensor = base**-exponents
    return torch.outer(torch.arange(time, device=device, dtype=torch.float32), frequencies)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """RoPE: x[..., time, d], the pair (i, i + d/2) turned by -angles[time, i]."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos + right * sin, right * cos - left * sin), dim=-1)


class Attention(nn.Module):
    """Causal attention with fewer keys than queries; the output projection starts at zero."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.head_dim = shape.dim // shape.heads
        self.query = nn.Linear(shape.dim, shape.dim, bias=False)
        self.key = nn.Linear(shape.dim, self.head_dim * shape.kv_heads, bias=False)
        self.value = nn.Linear(shape.dim, self.head_dim * shape.kv_heads, bias=False)
        self.output = nn.Linear(shape.dim, shape.dim, bias=False)
        nn.init.zeros_(self.output.weight)
        self.q_gain = nn.Parameter(torch.full((shape.heads,), shape.qk_gain))

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        """x[batch, time, dim], angles as `rotate` takes them -> the same shape as x."""
        batch, time, dim = x.shape
        query = self._heads(self.query(x), self.shape.heads)
        key = self._heads(self.key(x), self.shape.kv_heads)
        value = self._heads(self.value(x), self.shape.kv_heads)
        query = rotate(rms_norm(query), angles)
        key = rotate(rms_norm(key), angles)
        query = query * self.q_gain.to(query.dtype)[:, None, None]
        grouped = self.shape.heads != self.shape.kv_heads
        mixed = F.scaled_dot_product_attention(
            query, key.to(query.dtype), value.to(query.dtype), is_causal=True, enable_gqa=grouped
        )
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, time, dim))
        return out

    def _heads(self, x: Tensor, heads: int) -> Tensor:
        return x.reshape(*x.shape[:2], heads, self.head_dim).transpose(1, 2)


class Mlp(nn.Module):
    """dim -> dim * mlp_multiple -> dim with relu squared between; the second starts at zero."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.dim, shape.dim * shape.mlp_multiple, bias=False)
        self.down = nn.Linear(shape.dim * shape.mlp_multiple, shape.dim, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x[..., dim] -> the same shape."""
        out: Tensor = self.down(torch.relu(self.up(x)).square())
        return out


class Block(nn.Module):
    """x = m0 x + m1 x0; x += a * attention(norm x); x += b * mlp(norm x); m, a, b per dimension."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.mlp = Mlp(shape)
        self.attention_scale = nn.Parameter(torch.ones(shape.dim))
        self.mlp_scale = nn.Parameter(torch.ones(shape.dim))
        self.resid_mix = nn.Parameter(torch.tensor([[1.0], [0.0]]).repeat(1, shape.dim))

    def forward(self, x: Tensor, x0: Tensor, angles: Tensor) -> Tensor:
        """x and the normalised embedding x0, [batch, time, dim] each -> x."""
        mix = self.resid_mix.to(x.dtype)
        x = mix[0] * x + mix[1] * x0
        x = x + self.attention_scale.to(x.dtype) * self.attention(rms_norm(x), angles)
        out: Tensor = x + self.mlp_scale.to(x.dtype) * self.mlp(rms_norm(x))
        return out


def through_blocks(blocks: nn.ModuleList, skip_weights: Tensor, x: Tensor, shape: ModelShape) -> Tensor:
    """x[batch, time, dim], normalised, through the blocks with U-Net skips, and normalised; skip_weights
    [len(blocks) // 2, dim]."""
    x = x0 = rms_norm(x)
    angles = rope_angles(x.shape[1], shape.dim // shape.heads, shape.rope_base, x.device)
    encoders = len(blocks) // 2
    pushed: list[Tensor] = []
    for index, block in enumerate(blocks):
        if index < encoders:
            x = block(x, x0, angles)
            pushed.append(x)
            continue
        if pushed:
            x = x + skip_weights[index - encoders].to(x.dtype) * pushed.pop()
        x = block(x, x0, angles)
    return rms_norm(x)


class Baseline(nn.Module):
    """The whole network. `hidden` then `logits`, so that an evaluator computes logits only where
    it scores."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab_size, shape.dim)
        nn.init.normal_(self.embedding.weight, std=shape.embedding_std)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.skip_weights = nn.Parameter(torch.ones(shape.layers // 2, shape.dim))

    def hidden(self, ids: Tensor) -> Tensor:
        """ids int64[batch, time] -> float[batch, time, dim], ready for `logits`."""
        return through_blocks(self.blocks, self.skip_weights, self.embedding(ids), self.shape)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden[..., dim] -> float32[..., vocab_size] within +-softcap."""
        raw = F.linear(hidden, self.embedding.weight.to(hidden.dtype)).float()
        return self.shape.softcap * torch.tanh(raw / self.shape.softcap)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean nats a target (a float32 scalar); ids and targets int64[batch, time]."""
        logits = self.logits(self.hidden(ids).flatten(0, 1))
        return F.cross_entropy(logits, targets.flatten())


def build(shape: ModelShape, seed: int) -> Baseline:
    """A fresh float32 network on the CPU; its weights depend on shape and seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Baseline(shape)
