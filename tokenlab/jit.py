"""How kernels are compiled: numba, cached on disk, without the interpreter lock.

Only the `*_kernels` modules import this, and they are imported where they are first used:
numba takes 0.3 s to load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tokenlab.own_process import is_ours, without

with without("scipy", "yaml"):
    from numba import njit
    from numba.core import entrypoints
    from numba.core.caching import FunctionCache
    from numba.core.runtime import rtsys
    from numba.np import arraymath  # noqa: F401  # it looks for BLAS in scipy

F = TypeVar("F", bound=Callable[..., Any])

if is_ours():
    entrypoints._already_initialized = True  # numba has no public way


class _Cache(FunctionCache):  # type: ignore[misc]
    """Compiled kernels on disk. numba's own prepares, before it loads one, all that it takes to compile one,
    0.2 s; here that is left to the compiler, which does it too."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)  # what compiled code calls
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def kernel(function: F) -> F:
    """A compiled function over flat arrays."""
    return _cached(function)


def inlined(function: F) -> F:
    """A small compiled function, copied into the kernels that call it."""
    return _cached(function, inline="always")


def _cached(function: F, **options: str) -> F:
    compiled = njit(nogil=True, **options)(function)
    compiled._cache = _Cache(function)
    return compiled  # type: ignore[no-any-return]
