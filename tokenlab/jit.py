"""How kernels are compiled: numba, cached on disk, without the interpreter lock.

Only the `*_kernels` modules import this, and they are imported where they are first used:
numba takes 0.6 s to load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tokenlab.own_process import is_ours, without

with without("scipy"):
    from numba import njit
    from numba.core import entrypoints
    from numba.np import arraymath  # noqa: F401  # it looks for BLAS in scipy

F = TypeVar("F", bound=Callable[..., Any])

if is_ours():
    entrypoints._already_initialized = True  # numba has no public way


def kernel(function: F) -> F:
    """A compiled function over flat arrays."""
    compiled: F = njit(cache=True, nogil=True)(function)
    return compiled


def inlined(function: F) -> F:
    """A small compiled function, copied into the kernels that call it."""
    compiled: F = njit(cache=True, nogil=True, inline="always")(function)
    return compiled
