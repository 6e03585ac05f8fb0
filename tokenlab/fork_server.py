"""The process from which workers are forked, started ahead of them, beside what is still to be done here.

Imports next to nothing, so that a command can start it first thing: it takes half a second to load numba and
the kernels, which a forked worker then has.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver

WARM = "tokenlab.build.warm"
WARM_SCHEME = "TOKENLAB_WARM_SCHEME"
"""Environment variable of the process that imports WARM: a scheme as `build --scheme` has it, "" for none."""


def start_ahead(scheme: str = "") -> None:
    """Let the process start, with the kernels of `scheme` loaded. It starts once: a later call changes
    nothing."""
    # Not forked from this process: numba and the encoders have threads that a fork would break.
    multiprocessing.set_forkserver_preload([WARM])
    os.environ[WARM_SCHEME] = scheme
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[WARM_SCHEME]
