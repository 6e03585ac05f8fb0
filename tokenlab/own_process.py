"""What tokenlab does in a process of its own, a command or a worker, and not as a library in another's.

Freed memory is kept. A batch takes some forty megabytes of arrays and frees them all. glibc hands such
blocks back to the kernel, which clears them anew for the next batch: a sixth of a build's CPU time.

numba is kept from loading the extensions of other packages, which no kernel here needs: awkward, which
gigatoken brings, has one, and is 0.4 s of a start.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 1 << 28
_LARGEST_BLOCK = 1 << 25  # what glibc accepts


_ours = False


def is_ours() -> bool:
    """Whether `take_over` was called."""
    return _ours


def take_over() -> None:
    """Call first thing in a command or a worker."""
    global _ours
    _ours = True
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Keep up to 256 MB of freed memory for the next batch, and blocks up to 32 MB among it; without
    glibc nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
