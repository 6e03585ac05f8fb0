"""A byte transformer that groups its bytes itself: encoder, chunking, main network, dechunking, decoder.

    bytes -> encoder -> states h_i, one a byte
             where a patch begins: h_i -> main network, one step a patch -> z
             every byte: z of the last patch begun, + a linear map of h_i -> decoder -> next byte

Encoder and decoder are blocks of the baseline at byte rate, the main network is the baseline's at patch
rate, `layers` blocks of `dim`. Position i, which has read byte i, makes a step of the main network if a
patch begins at byte i + 1, so that the step helps to predict the patch's first byte; the first position
always does. Where patches begin comes from `boundary_source`:

- `sidecar`: a rule over the bytes read (SpaceByte, arXiv 2404.14408; BLT, arXiv 2412.09871), given as
  `opens`; z is copied to the bytes of its patch;
- `router`: the model itself (H-Net, arXiv 2507.07955): p_i = (1 - cos(Wq h_i, Wk h_{i-1})) / 2
  and a patch begins where p_i >= 0.5. z is smoothed over patches by p, and its gradient reaches p by a
  straight-through factor of value 1. A ratio loss pulls the share of patches towards the target. With two
  stages the main network is itself such a hierarchy, between blocks of `middle_dim`.

In training a row has room for a fixed number of patches, SLACK times those of the target rate, so that all
shapes are known beforehand; later ones in the row are dropped and counted. Otherwise there is no bound.

This file is part of an artifact of such a model and is counted in its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.boundaries import Rule
from trainer.model import Block, ModelShape, rms_norm, rope_angles, through_blocks

SLACK = 1.5
"""Patches a row of training has room for, over those of the target rate."""
LEAST = 1e-4
"""What a router's probabilities keep away from 0 and 1 where patches are smoothed, as published."""
HASH = 0x1E3779B97F4A7C15


@dataclass(frozen=True, kw_only=True)
class HierarchicalShape(ModelShape):
    """What the network is: the main network's sizes as a baseline has them, and what is around it.

    `target_bytes_per_patch` are those of a step of the main network; of two stages each takes its square
    root. `ngram_orders` lists the lengths of byte n-grams whose hashed embeddings, `ngram_slots` a length,
    are added to a byte's own (BLT, section 3.2.1)."""

    boundary_source: str
    target_bytes_per_patch: float
    stages: int = 1
    encoder_layers: int = 2
    decoder_layers: int = 2
    byte_dim: int = 256
    byte_heads: int = 4
    byte_kv_heads: int = 2
    middle_dim: int = 256
    ratio_weight: float = 0.03
    ngram_orders: tuple[int, ...] = ()
    ngram_slots: int = 8192

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "ngram_orders", tuple(self.ngram_orders))  # JSON has lists
        if self.boundary_source not in ("sidecar", "router"):
            raise ValueError(f"boundary_source {self.boundary_source!r}: there are sidecar and router")
        if self.stages not in (1, 2) or (self.stages == 2 and self.boundary_source != "router"):
            raise ValueError("stages must be 1, or 2 with the router (a sidecar has one level of patches)")
        if not self.target_bytes_per_patch > 1:
            raise ValueError(f"target_bytes_per_patch {self.target_bytes_per_patch} must be more than 1")
        if min(self.encoder_layers, self.decoder_layers, self.ngram_slots) < 1:
            raise ValueError("encoder_layers, decoder_layers and ngram_slots must be at least 1")
        if any(not 2 <= order <= 16 for order in self.ngram_orders):
            raise ValueError(f"ngram_orders {list(self.ngram_orders)}: each must be 2 to 16")
        widths = [outer.dim for outer in self.outer] + [self.dim]
        if widths != sorted(widths):
            raise ValueError(f"widths must not shrink inwards, and are {' and '.join(map(str, widths))}")

    @property
    def outer(self) -> list[ModelShape]:
        """Of the blocks around the main network, outermost first."""
        same = {name: getattr(self, name) for name in ("mlp_multiple", "rope_base", "qk_gain")}
        heads = {"heads": self.byte_heads, "kv_heads": self.byte_kv_heads}
        dims = (self.byte_dim, self.middle_dim)[: self.stages]
        return [ModelShape(dim=dim, **heads, **same) for dim in dims]

    @property
    def target(self) -> float:
        """Positions a patch, in each stage."""
        return float(self.target_bytes_per_patch ** (1 / self.stages))


class Patches(NamedTuple):
    """What a stage did with a row: `begins` bool[batch, time] before any bound, `valid` of the same shape
    (the positions that are not padding), the router's `probability` likewise or None, and `dropped`
    int64[batch], the patches beyond the bound."""

    begins: Tensor
    valid: Tensor
    probability: Tensor | None
    dropped: Tensor


class Router(nn.Module):
    """The probability that a patch begins, from two states that follow each other."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        for linear in (self.query, self.key):
            nn.init.eye_(linear.weight)

    def forward(self, h: Tensor) -> Tensor:
        """h[batch, time, dim] -> [batch, time] within 0..1; 1 at the first position."""
        h = h.to(self.query.weight.dtype)
        cosine = F.cosine_similarity(self.query(h[:, 1:]), self.key(h[:, :-1]), dim=-1)
        first = torch.ones_like(h[:, :1, 0])
        return torch.cat((first, ((1 - cosine) / 2).clamp(0, 1)), dim=1)


class MainNetwork(nn.Module):
    """The baseline's blocks, without embedding and logits."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.skip_weights = nn.Parameter(torch.ones(shape.layers // 2, shape.dim))

    def forward(
        self, x: Tensor, valid: Tensor, opens: Tensor | None, bounded: bool
    ) -> tuple[Tensor, list[Patches]]:
        """x[batch, patches, dim] -> the same shape; `valid` and the others as `Stage` has them."""
        return through_blocks(self.blocks, self.skip_weights, x, self.shape), []


class Stage(nn.Module):
    """Encoder and decoder at one rate, around a network at the rate of their patches."""

    def __init__(self, shape: HierarchicalShape, index: int) -> None:
        super().__init__()
        own = shape.outer[index]
        last = index + 1 == shape.stages
        inner_dim = shape.dim if last else shape.outer[index + 1].dim
        self.own, self.target = own, shape.target
        self.encoder = nn.ModuleList(Block(own) for _ in range(shape.encoder_layers))
        self.router = Router(own.dim) if shape.boundary_source == "router" else None
        self.padding = nn.Parameter(torch.zeros(inner_dim - own.dim)) if inner_dim > own.dim else None
        self.inner: MainNetwork | Stage = MainNetwork(shape) if last else Stage(shape, index + 1)
        self.residual = nn.Linear(own.dim, own.dim, bias=False)
        nn.init.zeros_(self.residual.weight)
        self.decoder = nn.ModuleList(Block(own) for _ in range(shape.decoder_layers))

    def forward(
        self, x: Tensor, valid: Tensor, opens: Tensor | None, bounded: bool
    ) -> tuple[Tensor, list[Patches]]:
        """x[batch, time, dim] -> the same shape, and what this stage and those inside it did.

        `valid` bool[batch, time] are the positions that are not padding (at the end of a row); `opens`,
        of the same shape, is whether a patch begins behind a position, for a stage without router;
        `bounded`: whether a row has room for a fixed number of patches only."""
        x0 = x = rms_norm(x)
        angles = rope_angles(x.shape[1], self.own.dim // self.own.heads, self.own.rope_base, x.device)
        for block in self.encoder:
            x = block(x, x0, angles)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would move what is near 0.5
            begins, probability = self._begins(x, valid, opens)
        room = room_for(x.shape[1], self.target) if bounded else int(begins.sum(1).max())
        position, patch, filled, dropped = chunk(begins, room)
        inner = x.gather(1, position[..., None].expand(-1, -1, x.shape[2]))
        if self.padding is not None:
            more = self.padding.to(inner.dtype).expand(*inner.shape[:2], -1)
            inner = torch.cat((inner, more), dim=2)
        z, patches = self.inner(inner, filled, None, bounded)
        z = z[..., : x.shape[2]]
        with torch.autocast(x.device.type, enabled=False):
            z = self._dechunk(z, begins, probability, position, patch)
        x = z + self.residual(x)
        for block in self.decoder:
            x = block(x, x0, angles)
        return x, [Patches(begins, valid, probability, dropped), *patches]

    def _begins(self, x: Tensor, valid: Tensor, opens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.router is not None:
            probability: Tensor = self.router(x)
            return (probability >= 0.5) & valid, probability
        if opens is None:
            raise ValueError("this model reads where patches begin, and was not told")
        first = torch.arange(x.shape[1], device=x.device) == 0
        return (opens | first) & valid, None

    def _dechunk(
        self, z: Tensor, begins: Tensor, probability: Tensor | None, position: Tensor, patch: Tensor
    ) -> Tensor:
        if probability is not None:
            z = smooth(z.to(probability.dtype), probability.gather(1, position).clamp(LEAST, 1 - LEAST))
        z = z.gather(1, patch[..., None].expand(-1, -1, z.shape[2]))
        if probability is not None:
            confidence = torch.where(begins, probability, 1 - probability)
            z = z * (1 + confidence - confidence.detach())[..., None]
        return z


class Hierarchical(nn.Module):
    """The whole network. `rule` is what `opens` is computed by, None for a router's."""

    def __init__(self, shape: HierarchicalShape, rule: Rule | None = None) -> None:
        super().__init__()
        if (rule is None) != (shape.boundary_source == "router"):
            raise ValueError("a model that reads patches needs their rule, a router has none")
        self.shape = shape
        self.rule = rule
        self.embedding = nn.Embedding(shape.vocab_size, shape.byte_dim)
        nn.init.normal_(self.embedding.weight, std=shape.embedding_std)
        tables = [nn.Embedding(shape.ngram_slots, shape.byte_dim) for _ in shape.ngram_orders]
        for table in tables:
            nn.init.zeros_(table.weight)
        self.ngrams = nn.ModuleList(tables)
        self.stage = Stage(shape, 0)

    def hidden(self, ids: Tensor, opens: Tensor | None = None) -> Tensor:
        """ids int64[batch, time] -> float[batch, time, byte_dim], ready for `logits`; `opens` bool of the
        same shape, where the model has a rule."""
        return self._run(ids, opens, bounded=False)[0]

    def training_hidden(
        self, ids: Tensor, opens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """`hidden` with room for a fixed number of patches, the ratio loss (mean over rows, sum over
        stages; 0 without router), and means over rows of what metrics tell: `ratio_loss`,
        `patches_per_byte` of each stage, outermost first, and `dropped` patches a row."""
        hidden, patches = self._run(ids, opens, bounded=True)
        loss = torch.zeros((), device=ids.device)
        told: dict[str, Tensor] = {}
        for index, stage in enumerate(patches):
            begun = (stage.begins & stage.valid).sum(1)
            told[f"patches_per_byte.{index}"] = begun.double().mean() / ids.shape[1]
            told["dropped"] = told.get("dropped", 0) + stage.dropped.double().mean()
            if stage.probability is not None:
                loss = loss + ratio_loss(stage.probability, stage.begins, stage.valid, self.shape.target)
        if self.shape.boundary_source == "router":
            told["ratio_loss"] = loss.detach().double()
        return hidden, loss, told

    def patches(self, ids: Tensor, opens: Tensor | None = None) -> Tensor:
        """After which positions a patch begins, bool[batch, time]; the outermost stage's."""
        return self.hidden_and_patches(ids, opens)[1]

    def hidden_and_patches(self, ids: Tensor, opens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`hidden` and `patches` of one pass."""
        hidden, patches = self._run(ids, opens, bounded=False)
        return hidden, patches[0].begins

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden[..., byte_dim] -> float32[..., vocab_size] within +-softcap."""
        raw = F.linear(hidden, self.embedding.weight.to(hidden.dtype)).float()
        return self.shape.softcap * torch.tanh(raw / self.shape.softcap)

    def _run(self, ids: Tensor, opens: Tensor | None, bounded: bool) -> tuple[Tensor, list[Patches]]:
        x = self.embedding(ids)
        for order, table in zip(self.shape.ngram_orders, self.ngrams, strict=True):
            x = x + table(ngram_slot(ids, order, self.shape.ngram_slots))
        x, patches = self.stage(x, torch.ones_like(ids, dtype=torch.bool), opens, bounded)
        return rms_norm(x), patches


def room_for(time: int, target: float) -> int:
    """Patches that a row of so many positions has room for in training."""
    return min(time, 1 + int(SLACK * time / target))


def chunk(begins: Tensor, room: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first `room` patches of each row of begins bool[batch, time].

    Position of each patch's state int64[batch, room] (0 where there are fewer); of each position the last
    patch begun, int64[batch, time]; which patches there are, bool[batch, room]; and how many more there
    would have been, int64[batch]."""
    batch, time = begins.shape
    rank = begins.cumsum(1) - 1
    slot = torch.where(begins & (rank < room), rank, room)  # the slot behind the last is thrown away
    everywhere = torch.arange(time, device=begins.device).expand(batch, -1)
    position = torch.zeros((batch, room + 1), dtype=torch.int64, device=begins.device)
    position = position.scatter(1, slot, everywhere)[:, :room]
    count = begins.sum(1)
    filled = torch.arange(room, device=begins.device) < count[:, None]
    position = torch.where(filled, position, 0)
    return position, rank.clamp(0, room - 1), filled, (count - room).clamp(min=0)


def smooth(values: Tensor, p: Tensor) -> Tensor:
    """Exponential smoothing, y_c = p_c values_c + (1 - p_c) y_{c-1} with y_{-1} = 0, without a loop over c.

    values[batch, patches, dim], p[batch, patches]. A step c is the map y -> a y + b; maps are composed with
    those 1, 2, 4, … before them (Hillis and Steele 1986), so p may be 1 and long rows lose no digits."""
    a, b = (1 - p)[..., None], p[..., None] * values
    reach = 1
    while reach < values.shape[1]:
        b = torch.cat((b[:, :reach], b[:, reach:] + a[:, reach:] * b[:, :-reach]), dim=1)
        a = torch.cat((a[:, :reach], a[:, reach:] * a[:, :-reach]), dim=1)
        reach *= 2
    return b


def ratio_loss(probability: Tensor, begins: Tensor, valid: Tensor, target: float) -> Tensor:
    """H-Net's, n / (n - 1) ((n - 1) F G + (1 - F) (1 - G)) for n = `target`, mean over rows.

    F is the share of positions at which a patch begins, G the mean probability of one (the gradient goes
    through G only), over the valid positions of a row; all are [batch, time]. It is 1 at F = G = 1 / n."""
    count = valid.sum(1)
    share = (begins & valid).sum(1) / count
    mean = (probability * valid).sum(1) / count
    rows: Tensor = target / (target - 1) * ((target - 1) * share * mean + (1 - share) * (1 - mean))
    return rows.mean()


def ngram_slot(ids: Tensor, order: int, slots: int) -> Tensor:
    """Which of `slots` the last `order` ids at each position hash to, int64 of the shape of
    ids[batch, time]; before the first there are zeros."""
    key = ids
    for back in range(1, order):
        before = F.pad(ids, (back, 0))[:, : ids.shape[1]]
        key = key * 0x1_0003 + before  # int64 arithmetic wraps around
    return ((key * HASH) >> 32) % slots


def build_hierarchical(shape: HierarchicalShape, seed: int, rule: Rule | None = None) -> Hierarchical:
    """A fresh float32 network on the CPU; its weights depend on shape and seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Hierarchical(shape, rule)
