"""`tokenlab build`: documents to a dataset, the same bytes for any number of workers.

Two phases. *Encode*: the corpus is cut into parts at fixed document indices, each an
independent task that leaves part files with their digests. *Assemble*: the parts' token
counts give every shard its exact range; shards are copied together from the parts. A scheme
with boundaries has a pass over its shards then (`boundaries.py`). All of
it happens in `OUTPUT.partial`, which is renamed to OUTPUT when the manifest is written, so
an output is whole or absent, and a killed build goes on where it stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenlab.on_demand import on_demand

if TYPE_CHECKING:
    from tokenlab.build.plan import BuildOptions, Plan, make_plan
    from tokenlab.build.run import BuildReport, build

__all__ = ["BuildOptions", "BuildReport", "Plan", "build", "make_plan"]

# A worker takes tasks alone.
__getattr__ = on_demand(
    __name__,
    {
        "BuildOptions": "tokenlab.build.plan",
        "Plan": "tokenlab.build.plan",
        "make_plan": "tokenlab.build.plan",
        "BuildReport": "tokenlab.build.run",
        "build": "tokenlab.build.run",
    },
)
