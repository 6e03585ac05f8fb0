"""The process from which workers are forked, started ahead of them, beside what is still to be done here.

Imports next to nothing, so that a command can start it first thing: it takes a second to load numba and the
kernels, which a forked worker then has.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver

WARM = "tokenlab.build.warm"
WARM_SCHEME = "TOKENLAB_WARM_SCHEME"
"""Environment variable of the process that imports WARM: a scheme as `build --scheme` has it, "" for none."""

TUNABLES = "GLIBC_TUNABLES"
HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""A worker touches 200 MB for the first time; by pages of 4 KB that is half a second of CPU."""


def start_ahead(scheme: str = "") -> None:
    """Let the process start, with the kernels of `scheme` loaded. It starts once: a later call changes
    nothing."""
    # Not forked from this process: numba and the encoders have threads that a fork would break.
    multiprocessing.set_forkserver_preload([WARM])
    tunables = ":".join(filter(None, [os.environ.get(TUNABLES), HUGE_PAGES]))
    with _environment({WARM_SCHEME: scheme, TUNABLES: tunables}):
        forkserver.ensure_running()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a process that is started in the block."""
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)
