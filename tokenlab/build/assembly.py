"""Shards of a build, each written as soon as its parts are there, while later parts are encoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from shards import ShardFormat
from tokenlab.build.assemble import SIDECAR_FOLDER, ShardCutter, ShardPlan
from tokenlab.build.engine import Engine
from tokenlab.build.parts import PartRecord
from tokenlab.build.tasks import ShardTask, assemble_shard
from tokenlab.manifest import SPLITS, ShardRecord, Split

Assembled = tuple[Split, ShardRecord, bool]
"""A shard that is done: its split, its record, whether an earlier run had written it."""


class Assembly:
    """Fed with the parts in order; `train_bytes`: whether train has sidecars too."""

    def __init__(
        self,
        engine: Engine,
        dataset: Path,
        form: ShardFormat,
        bos: int,
        *,
        shard_tokens: int,
        train_bytes: bool,
    ) -> None:
        (dataset / SIDECAR_FOLDER).mkdir(exist_ok=True)
        self._engine = engine
        self._form = form
        self._bos = bos
        self._shard_tokens = shard_tokens
        self._train_bytes = train_bytes
        self._cutter = ShardCutter(SPLITS[0], shard_tokens)
        self._planned: deque[ShardPlan] = deque()
        self._running: deque[Callable[[], Assembled]] = deque()
        self._done: deque[Assembled] = deque()

    def add(self, part: PartRecord) -> None:
        """Take in the next part. The shards that it completes are started, if the engine takes tasks of
        two kinds in turn."""
        if part.split != self._cutter.split:
            self._planned.extend(self._cutter.finish())
            self._cutter = ShardCutter(part.split, self._shard_tokens)
        self._planned.extend(self._cutter.add(part.number, part.tokens))
        if self._engine.mixes:
            self._start_planned()

    def finish(self) -> Iterator[Assembled]:
        """All shards in order, as they are done."""
        self._planned.extend(self._cutter.finish())
        while self._planned or self._running:
            self._start_planned()
            if self._running:
                self._done.append(self._running.popleft()())
            while self._done:
                yield self._done.popleft()

    def _start_planned(self) -> None:
        while self._planned:
            plan = self._planned.popleft()
            if len(self._running) == self._engine.in_flight:
                self._done.append(self._running.popleft()())
            self._running.append(self._started(plan))

    def _started(self, plan: ShardPlan) -> Callable[[], Assembled]:
        sidecar = plan.split == "val" or self._train_bytes
        wait = self._engine.submit(assemble_shard, ShardTask(plan, self._form, self._bos, sidecar))
        return lambda: (plan.split, *wait())
