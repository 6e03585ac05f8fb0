"""Assembling shards: every shard is an exact range of the parts' tokens, copied in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shards import FORMATS, ShardFormat, ShardWriter, shard_name, sidecar_name
from tokenlab.build.parts import open_part, part_path
from tokenlab.errors import TokenlabError
from tokenlab.manifest import SPLITS, ShardRecord, SidecarRecord, Split

SIDECAR_FOLDER = "bytes"
SIDECAR_FORM = FORMATS["uint16"]

COPY_VALUES = 1 << 16
"""Of a part, at a time: with 2 MB a build of 1 GB took twice the system time (Linux 6.18, ext4)."""


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """How the shards of a build are written: their format and tokens; `bos` begins a document;
    `train_bytes`: whether train has sidecars too."""

    form: ShardFormat
    shard_tokens: int
    bos: int
    train_bytes: bool

    def has_sidecar(self, split: Split) -> bool:
        """Whether the shards of a split have byte sidecars."""
        return split == "val" or self.train_bytes


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
    """Cuts the tokens of parts, which come in order, into shards of `shard_tokens`, each of one split."""

    def __init__(self, shard_tokens: int) -> None:
        self.split: Split = SPLITS[0]
        self.index = 0
        self.ranges: list[PartRange] = []
        """Of the shard that is not complete: its split, its index, and what it has so far."""
        self._shard_tokens = shard_tokens
        self._room = shard_tokens

    def add(self, split: Split, number: int, tokens: int) -> Iterator[ShardPlan]:
        """Take in a part; the shards that it completes, the last of the split before among them."""
        if split != self.split:
            yield from self.finish()
            self.split, self.index = split, 0
        start = 0
        while start < tokens:
            stop = min(tokens, start + self._room)
            self.ranges.append(PartRange(number, start, stop))
            self._room -= stop - start
            start = stop
            if self._room == 0:
                yield self._cut()

    def finish(self) -> Iterator[ShardPlan]:
        """The last shard of the split, which is shorter, if anything is left for it."""
        if self.ranges:
            yield self._cut()

    def _cut(self) -> ShardPlan:
        plan = ShardPlan(self.split, self.index, tuple(self.ranges))
        self.index += 1
        self._room, self.ranges = self._shard_tokens, []
        return plan


def plan_shards(
    split: Split, first: int, tokens: NDArray[np.int64], shard_tokens: int
) -> Iterator[ShardPlan]:
    """The shards of a split whose parts are numbered from `first`, with a count of tokens for each."""
    cutter = ShardCutter(shard_tokens)
    for number, count in enumerate(tokens.tolist(), first):
        yield from cutter.add(split, number, count)
    yield from cutter.finish()


class PlannedShard:
    """A shard that is written, with its byte sidecar if asked for, from ranges of the part files.

    `expected`: its tokens, as for `ShardWriter`. It appears with `finish` or not at all.
    """

    def __init__(
        self, split: Split, index: int, expected: int, *, parts: Path, output: Path, how: ShardOptions
    ) -> None:
        self._parts = parts
        self._bos = how.bos
        self._documents = self._charged = 0
        self._file = shard_name(split, index)
        self._sidecar_file = f"{SIDECAR_FOLDER}/{sidecar_name(split, index)}"
        self._shard = ShardWriter(output / self._file, how.form, expected)
        self._sidecar: ShardWriter | None = None
        if how.has_sidecar(split):
            self._sidecar = ShardWriter(output / self._sidecar_file, SIDECAR_FORM, expected)

    def add(self, r: PartRange) -> None:
        """Copy a range, in constant memory. Raises TokenlabError when the part has it not."""
        part = open_part(self._parts, r.number)
        if len(part.ids) < r.stop:
            raise TokenlabError(
                f"{part_path(self._parts, r.number)}: its tokens are gone; run the same command again"
            )
        if r.stop - r.start == part.record.tokens:
            self._documents += part.record.documents
            self._charged += part.record.charged_bytes
        else:
            self._documents += int(np.count_nonzero(part.ids[r.start : r.stop] == self._bos))
            self._charged += int(part.charges[r.start : r.stop].sum(dtype=np.int64))
        for start in range(r.start, r.stop, COPY_VALUES):
            stop = min(r.stop, start + COPY_VALUES)
            self._shard.append(part.ids[start:stop])
            if self._sidecar is not None:
                self._sidecar.append(part.charges[start:stop].astype(SIDECAR_FORM.dtype, copy=False))

    def finish(self) -> ShardRecord:
        """Let the files appear; their record."""
        tokens = self._shard.written
        sha256 = self._shard.finish()
        sidecar = None
        if self._sidecar is not None:
            sidecar = SidecarRecord(self._sidecar_file, self._sidecar.finish())
        return ShardRecord(
            file=self._file,
            documents=self._documents,
            tokens=tokens,
            bytes=self._charged,
            sha256=sha256,
            sidecar=sidecar,
        )

    def discard(self) -> None:
        """Leave nothing behind."""
        for writer in (self._shard, self._sidecar):
            if writer is not None:
                writer.discard()


def write_planned_shard(plan: ShardPlan, *, parts: Path, output: Path, how: ShardOptions) -> ShardRecord:
    """Write a shard, and its byte sidecar if asked for, from the part files."""
    shard = PlannedShard(plan.split, plan.index, plan.tokens, parts=parts, output=output, how=how)
    try:
        for r in plan.ranges:
            shard.add(r)
        return shard.finish()
    except BaseException:
        shard.discard()
        raise
