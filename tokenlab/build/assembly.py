"""Shards of a build, each written while later parts are encoded.

On one machine they grow part by part, beside the workers, so that the last one is done when the last part
is. Engines of many machines take a task for each shard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from tokenlab.build.assemble import PartRange, PlannedShard, ShardCutter, ShardOptions, ShardPlan
from tokenlab.build.engine import Engine, Job
from tokenlab.build.parts import PartRecord, cut_part
from tokenlab.build.shard_records import finished_shard, is_noted, keep_shard
from tokenlab.build.tasks import ShardTask, assemble_shard
from tokenlab.manifest import ShardRecord, Split

Assembled = tuple[Split, ShardRecord, bool]
"""A shard that is done: its split, its record, whether an earlier run had written it."""


class Assembly(Protocol):
    """Fed with the parts in order."""

    def add(self, part: PartRecord) -> None:
        """Take in the next part."""
        ...

    def end(self) -> None:
        """No part follows."""
        ...

    def finish(self) -> Iterator[Assembled]:
        """All shards in order, as they are done; called after `end`."""
        ...

    def close(self) -> None:
        """Leave no shard half written."""
        ...


class TaskAssembly:
    """A task of the engine for each shard; started before the parts' end if the engine takes tasks of two
    kinds in turn."""

    def __init__(self, engine: Engine, how: ShardOptions) -> None:
        self._engine = engine
        self._how = how
        self._cutter = ShardCutter(how.shard_tokens)
        self._planned: deque[ShardPlan] = deque()
        self._running: deque[Callable[[], Assembled]] = deque()
        self._done: deque[Assembled] = deque()

    def add(self, part: PartRecord) -> None:
        """Take in the next part, and start the shards that it completes."""
        self._planned.extend(self._cutter.add(part.split, part.number, part.tokens))
        if self._engine.mixes:
            self._start_planned()

    def end(self) -> None:
        """No part follows."""
        self._planned.extend(self._cutter.finish())

    def finish(self) -> Iterator[Assembled]:
        """All shards in order, as they are done."""
        while self._planned or self._running:
            self._start_planned()
            if self._running:
                self._done.append(self._running.popleft()())
            while self._done:
                yield self._done.popleft()

    def close(self) -> None:
        """The engine drops what runs."""

    def _start_planned(self) -> None:
        while self._planned:
            plan = self._planned.popleft()
            if len(self._running) == self._engine.in_flight:
                self._done.append(self._running.popleft()())
            self._running.append(self._started(plan))

    def _started(self, plan: ShardPlan) -> Callable[[], Assembled]:
        wait = self._engine.submit(assemble_shard, ShardTask(plan, self._how))
        return lambda: (plan.split, *wait())


class GrowingAssembly:
    """Written here, part by part: in a thread if `beside` the work of this process, else as the parts are
    taken in. What is in a shard that is done is cut off its part."""

    def __init__(self, job: Job, how: ShardOptions, *, beside: bool) -> None:
        self._shards = _GrowingShards(job, how)
        self._thread = ThreadPoolExecutor(1, "assembly") if beside else None
        self._running: deque[Future[list[Assembled]]] = deque()
        self._done: deque[Assembled] = deque()

    def add(self, part: PartRecord) -> None:
        """Take in the next part, or have it taken in. Raises what earlier ones raised since."""
        if self._thread is None:
            self._done.extend(self._shards.add(part))
            return
        self._running.append(self._thread.submit(self._shards.add, part))
        while self._running and self._running[0].done():
            self._done.extend(self._running.popleft().result())

    def end(self) -> None:
        """No part follows: have the last shard written, if there is a thread for it."""
        if self._thread is not None:
            self._running.append(self._thread.submit(self._shards.finish))

    def finish(self) -> Iterator[Assembled]:
        """All shards in order, as they are done."""
        for running in self._running:
            yield from self._done
            self._done = deque(running.result())
        yield from self._done
        if self._thread is None:
            yield from self._shards.finish()

    def close(self) -> None:
        """Leave no shard half written."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._shards.discard()


class _GrowingShards:
    """The shards, of which one is open."""

    def __init__(self, job: Job, how: ShardOptions) -> None:
        self._job = job
        self._how = how
        self._cutter = ShardCutter(how.shard_tokens)
        self._open: PlannedShard | None = None
        self._written = 0  # ranges of the open shard

    def add(self, part: PartRecord) -> list[Assembled]:
        """Take in the next part; the shards that it completes."""
        done = []
        for plan in self._cutter.add(part.split, part.number, part.tokens):
            last = plan.ranges[-1]
            goes_on = last.number == part.number and last.stop < part.tokens
            done.append(self._complete(plan, plan.ranges[:-1] if goes_on else plan.ranges))
        # One that an earlier run wrote is held against its plan when that is complete.
        if not is_noted(self._job, self._cutter.split, self._cutter.index):
            self._grow(self._cutter.split, self._cutter.index, self._cutter.ranges)
        return done

    def finish(self) -> list[Assembled]:
        """The last shard of the split."""
        return [self._complete(plan, plan.ranges) for plan in self._cutter.finish()]

    def discard(self) -> None:
        """Drop the shard that is open."""
        if self._open is not None:
            self._open.discard()

    def _grow(self, split: Split, index: int, ranges: Sequence[PartRange]) -> None:
        """Write what the open shard has not yet of its ranges."""
        for r in ranges[self._written :]:
            if self._open is None:
                job, tokens = self._job, self._how.shard_tokens
                self._open = PlannedShard(
                    split, index, tokens, parts=job.parts, output=job.dataset, how=self._how
                )
            self._open.add(r)
        self._written = len(ranges)

    def _complete(self, plan: ShardPlan, used_up: Sequence[PartRange]) -> Assembled:
        """End a shard; `used_up`: ranges at the end of their part."""
        record = finished_shard(self._job, plan)
        was_there = record is not None
        if record is None:
            self._grow(plan.split, plan.index, plan.ranges)
            assert self._open is not None, "a shard has tokens"
            record = self._open.finish()
            keep_shard(self._job, plan, record)
        self._open, self._written = None, 0
        for r in used_up:
            cut_part(self._job.parts, r.number)
        return plan.split, record, was_there
