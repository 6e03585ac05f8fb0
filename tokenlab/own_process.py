"""What tokenlab does in a process of its own, a command or a worker, and not as a library in another's.

Freed memory is kept. A batch takes some forty megabytes of arrays and frees them all. glibc hands such
blocks back to the kernel, which clears them anew for the next batch: a sixth of a build's CPU time. Threads
allocate from one arena: of those that they would have, whole heaps go back however much is to be kept.
Arrow allocates from there too: its own pool gives memory back a hundredth of a second after it is freed, a
tenth of the CPU time of a build from parquet files.

Garbage is looked for seldom: as Python has it, seventy times while numba loads, which is a tenth of a start.

A command has one thread until it starts workers, so that it may fork them; numpy's BLAS would have more.

Memory is taken page by page, as it is needed. numpy asks for huge pages for every large array, and each of a
build's processes has some: on a virtual machine, which has to find two megabytes that are free on its host,
the first part of a worker took half as long again.

A process asks the scheduler for the longest time slices that there are. A build has more processes than cores
and each works on megabytes, which are gone from the core's cache when it comes back: with slices of 1.4 ms
two workers and the process that decompresses for them took 4 % longer. Linux before 6.12 keeps its own.

A command ends without freeing all that it loaded, object by object, which takes a quarter of a second.

numba is kept from loading what no kernel here needs: the extensions of other packages (awkward, which
gigatoken brings, has one, and is 0.4 s of a start), scipy, where it looks for BLAS (0.15 s), and yaml, for a
configuration file in the working folder (0.03 s; where one is, numba warns that it does not read it).
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT_BYTES = 1 << 28
_LARGEST_BLOCK = 1 << 25  # what glibc accepts
_OBJECTS_BEFORE_COLLECTION = 500_000

_LONGEST_SLICE = 100_000_000  # nanoseconds; what Linux accepts
_SYSTEM_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""sched_setattr and sched_getattr, which not every libc has."""

_FRAGILE_PACKAGES = ("numba", "llvmlite", "gigatoken")
_RETRY_SECONDS = 0.05

_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
_HUGE_PAGES = "NUMPY_MADVISE_HUGEPAGE"

_ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"

_ours = False


def is_ours() -> bool:
    """Whether `take_over` was called."""
    return _ours


def take_over() -> None:
    """Call first thing in a command or a worker."""
    global _ours
    _ours = True
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
    _keep_freed_memory()
    _ask_for_long_slices()


def import_numpy() -> None:
    """Import numpy without the threads of its BLAS: a process that has none may fork. And without huge pages,
    but where the environment says something about them."""
    settings = {_BLAS_THREADS: "1", _HUGE_PAGES: os.environ.get(_HUGE_PAGES, "0")}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        import numpy  # noqa: F401  # to be there
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def prepare_arrow() -> None:
    """Let pyarrow allocate where freed memory is kept, but where the environment names a pool."""
    import pyarrow

    if _ours and _ARROW_POOL not in os.environ:
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())


def may_fork() -> bool:
    """Whether a fork of this process would be all of it: a command, of one thread. Elsewhere than on Linux
    the system's own libraries may have some."""
    return _ours and sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1


def interrupt_safely() -> None:
    """Let Ctrl-C wait while numba loads a kernel or gigatoken encodes: an exception in the midst of their
    native code ends in a crash or a panic. For the main thread; a handler that is not Python's own stays."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _FRAGILE_PACKAGES:
            # To this thread: sent to the timer's, it would not wake this one from a wait.
            again = threading.Timer(_RETRY_SECONDS, signal.pthread_kill, [threading.get_ident(), number])
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def leave(code: int) -> NoReturn:
    """End the process as Python does, but for freeing its objects."""
    # Waits for threads; Python has no public way. A pool that Ctrl-C found half started ends by itself, and
    # may close its pipe just as it is to be woken through it.
    try:
        threading._shutdown()  # type: ignore[attr-defined]
    except OSError:
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # what was printed is lost
        code = code or 1
    os._exit(code)


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """In a process that was taken over, imports in the block do not find packages that are not loaded yet."""
    hidden = [package for package in packages if is_ours() and package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


def _keep_freed_memory() -> None:
    """Keep up to 256 MB of freed memory for the next batch, and blocks up to 32 MB among it; without
    glibc nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, 1)


class _SchedulingAttributes(ctypes.Structure):
    """`struct sched_attr` (sched_setattr(2)), as it was first."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def _ask_for_long_slices() -> None:
    """Ask for them for this thread, and those that it starts, where its scheduling is the usual one."""
    machine = os.uname().machine if sys.platform == "linux" and sys.maxsize > 1 << 32 else ""
    if machine not in _SYSTEM_CALLS:
        return
    set_attributes, get_attributes = _SYSTEM_CALLS[machine]
    system_call = ctypes.CDLL(None).syscall
    attributes = _SchedulingAttributes()
    found = system_call(get_attributes, 0, ctypes.byref(attributes), ctypes.sizeof(attributes), 0) == 0
    if found and attributes.policy in (os.SCHED_OTHER, os.SCHED_BATCH):
        attributes.runtime = _LONGEST_SLICE
        system_call(set_attributes, 0, ctypes.byref(attributes), 0)
