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


def plan_shards(
    split: Split, first: int, tokens: NDArray[np.int64], shard_tokens: int
) -> Iterator[ShardPlan]:
    """Cut the tokens of a split's parts, in order, into shards of `shard_tokens` (the last is shorter).

    The parts are numbered from `first`; `tokens` has a count for each.
    """
    ends = np.cumsum(tokens)
    total = int(ends[-1]) if len(ends) else 0
    for index, start in enumerate(range(0, total, shard_tokens)):
        stop = min(start + shard_tokens, total)
        a = int(np.searchsorted(ends, start, side="right"))
        b = int(np.searchsorted(ends, stop, side="left")) + 1
        ranges = []
        for part in range(a, b):
            begin = int(ends[part] - tokens[part])
            if tokens[part]:
                ranges.append(
                    PartRange(first + part, max(start, begin) - begin, min(stop, int(ends[part])) - begin)
                )
        yield ShardPlan(split, index, tuple(ranges))


def write_planned_shard(
    plan: ShardPlan, *, parts: Path, output: Path, form: ShardFormat, bos: int, sidecar: bool
) -> ShardRecord:
    """Write a shard, and its byte sidecar if asked for, from the part files."""
    documents, charged = _totals(plan, parts, bos)
    file = shard_name(plan.split, plan.index)
    sha256 = write_shard(output / file, form, plan.tokens, _copy(plan, parts, form.dtype, lambda part: part.ids))
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
