"""Assembling shards: every shard is an exact range of the parts' tokens, copied in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards import FORMATS, ShardFormat, shard_name, sidecar_name, write_shard
from tokenlab.build.parts import Part, open_part
from tokenlab.manifest import ShardRecord, SidecarRecord, Split

SIDECAR_FOLDER = "bytes"

COPY_VALUES = 1 << 20


@dataclass(frozen=True, slots=True)
class PartRange:
    """Tokens `start:stop` of a part."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard to write: what is copied into it, in order."""

    split: Split
    index: int
    ranges: tuple[PartRange, ...]

    @property
    def tokens(self) -> int:
        """Tokens of the shard."""
        return sum(r.stop - r.start for r in self.ranges)


class ShardCutter:
    """Cuts the tokens of a split's parts, which come in order, into shards of `shard_tokens`."""

    def __init__(self, split: Split, shard_tokens: int) -> None:
        self.split: Split = split
        self._shard_tokens = shard_tokens
        self._room = shard_tokens
        self._index = 0
        self._ranges: list[PartRange] = []

    def add(self, number: int, tokens: int) -> Iterator[ShardPlan]:
        """Take in a part; the shards that it completes."""
        start = 0
        while start < tokens:
            stop = min(tokens, start + self._room)
            self._ranges.append(PartRange(number, start, stop))
            self._room -= stop - start
            start = stop
            if self._room == 0:
                yield self._cut()

    def finish(self) -> Iterator[ShardPlan]:
        """The last shard, which is shorter, if anything is left for it."""
        if self._ranges:
            yield self._cut()

    def _cut(self) -> ShardPlan:
        plan = ShardPlan(self.split, self._index, tuple(self._ranges))
        self._index += 1
        self._room, self._ranges = self._shard_tokens, []
        return plan


def plan_shards(
    split: Split, first: int, tokens: NDArray[np.int64], shard_tokens: int
) -> Iterator[ShardPlan]:
    """The shards of a split whose parts are numbered from `first`, with a count of tokens for each."""
    cutter = ShardCutter(split, shard_tokens)
    for number, count in enumerate(tokens.tolist(), first):
        yield from cutter.add(number, count)
    yield from cutter.finish()


def write_planned_shard(
    plan: ShardPlan, *, parts: Path, output: Path, form: ShardFormat, bos: int, sidecar: bool
) -> ShardRecord:
    """Write a shard, and its byte sidecar if asked for, from the part files."""
    documents, charged = _totals(plan, parts, bos)
    file = shard_name(plan.split, plan.index)
    sha256 = write_shard(
        output / file, form, plan.tokens, _copy(plan, parts, form.dtype, lambda part: part.ids)
    )
    record = None
    if sidecar:
        name = f"{SIDECAR_FOLDER}/{sidecar_name(plan.split, plan.index)}"
        sidecar_form = FORMATS["uint16"]
        charges = _copy(plan, parts, sidecar_form.dtype, lambda part: part.charges)
        record = SidecarRecord(name, write_shard(output / name, sidecar_form, plan.tokens, charges))
    return ShardRecord(
        file=file, documents=documents, tokens=plan.tokens, bytes=charged, sha256=sha256, sidecar=record
    )


def _totals(plan: ShardPlan, parts: Path, bos: int) -> tuple[int, int]:
    """Documents that begin in a shard, and bytes charged to its tokens; counted where the shard
    has some tokens of a part only, else from the part's record."""
    documents = charged = 0
    for r in plan.ranges:
        part = open_part(parts, r.number)
        if r.stop - r.start == part.record.tokens:
            documents += part.record.documents
            charged += part.record.charged_bytes
        else:
            documents += int(np.count_nonzero(part.ids[r.start : r.stop] == bos))
            charged += int(part.charges[r.start : r.stop].sum(dtype=np.int64))
    return documents, charged


def _copy(
    plan: ShardPlan, parts: Path, dtype: np.dtype[Any], kind: Callable[[Part], NDArray[Any]]
) -> Iterator[NDArray[Any]]:
    for r in plan.ranges:
        values = kind(open_part(parts, r.number))
        for start in range(r.start, r.stop, COPY_VALUES):
            yield values[start : min(r.stop, start + COPY_VALUES)].astype(dtype, copy=False)
