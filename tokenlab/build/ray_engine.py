"""The engine of Ray: core tasks, on this machine or on a cluster that is there.

Documents travel in Ray's object store, whose owner is this process, so a part outlives the
node that was encoding it: Ray runs the task again elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tokenlab.build.engine import Item, Job, Result, attempt_packed, pack, unwrap
from tokenlab.errors import TokenlabError

RETRIES = 20
"""Nodes that may die under one task; spot machines do it in series."""

STORE_BYTES = 256 << 20
"""Object store of a Ray that is started here, at least; it spills to disk beyond."""

PART_STORE_BYTES = 40 << 20
"""Room in the store for a part in flight."""


class RayEngine:
    """Ray core tasks of one CPU (and `gpus` GPUs) each, 2 x workers in flight."""

    mixes = True

    def __init__(self, job: Job, workers: int, address: str | None, *, gpus: int = 0) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray reads it here and in what it starts
        import ray

        self.in_flight = 2 * workers
        self._job = job
        self._ray = ray
        self._started = not ray.is_initialized()
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self._started and address is not None:
                ray.init(address=address, **quiet)
            elif self._started:
                store = max(STORE_BYTES, self.in_flight * PART_STORE_BYTES)
                ray.init(num_cpus=workers, include_dashboard=False, object_store_memory=store, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            where = f"--engine-address {address}" if address else "--engine ray"
            raise TokenlabError(f"{where}: Ray does not start: {str(error)[:300]}") from error
        self._attempt: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(attempt_packed)

    def submit(self, work: Callable[[Job, Item], Result], item: Item) -> Callable[[], Result]:
        """Start a task; the item goes into the object store and leaves it with the result."""
        reference = self._attempt.remote(work, self._job, pack(item))

        def wait() -> Result:
            try:
                outcome: Result = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                raise TokenlabError(
                    f"Ray gave a task up: {str(error).splitlines()[0][:300]}; "
                    "run the same command again to go on"
                ) from error
            return unwrap(outcome)

        return wait

    def close(self) -> None:
        """Leave the cluster, or end the Ray that was started here; tasks that run are dropped."""
        if self._started:
            self._ray.shutdown()
