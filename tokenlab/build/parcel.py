"""An item on its way to a worker on this machine: its arrays lie in memory that both map.

Through the pipe of a process pool the documents of a part would be copied eight times. Here they are
written once, to an anonymous file in memory. The file is used again for another item, as fresh memory costs
twice as much to write, and goes when the last of those who hold it ends.
"""

from __future__ import annotations

import mmap
import os
import pickle
from itertools import accumulate
from typing import Any, NamedTuple

LEAST_BYTES = 1 << 20
"""Arrays smaller than this, together, go through the pipe."""


class Label(NamedTuple):
    """What a worker needs to open a parcel: the item without its arrays, where those are (a path, or
    "" for the pipe), and their sizes."""

    item: bytes
    path: str
    sizes: tuple[int, ...]


class Parcel:
    """An item for a worker, until `discard`. `free`: files that other parcels no longer need; this one
    takes one of them, and leaves its own there."""

    def __init__(self, item: object, free: list[int]) -> None:
        self._free = free
        arrays: list[pickle.PickleBuffer] = []
        packed = pickle.dumps(item, protocol=5, buffer_callback=arrays.append)
        views = [array.raw() for array in arrays]
        self._file: int | None = None
        if sum(map(len, views)) < LEAST_BYTES or not hasattr(os, "memfd_create"):
            self.label = Label(pickle.dumps(item, protocol=5), "", ())
            return
        self._file = free.pop() if free else os.memfd_create("tokenlab-parcel")
        with open(self._file, "wb", buffering=0, closefd=False) as file:
            file.seek(0)
            for view in views:
                written = 0
                while written < len(view):
                    written += file.write(view[written:])
        self.label = Label(packed, f"/proc/{os.getpid()}/fd/{self._file}", tuple(map(len, views)))

    def discard(self) -> None:
        """Let go of the file: no worker uses the item any more."""
        if self._file is not None:
            self._free.append(self._file)
            self._file = None


def open_parcel(label: Label) -> Any:
    """The item; its arrays are writable and belong to this process until the parcel is discarded."""
    if not label.path:
        return pickle.loads(label.item)  # packed by this build
    file = os.open(label.path, os.O_RDWR)
    try:
        # All at once: a fault for each page would cost as much as reading it.
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        memory = memoryview(mmap.mmap(file, sum(label.sizes), flags=flags))
    finally:
        os.close(file)
    starts = accumulate(label.sizes, initial=0)
    return pickle.loads(
        label.item,
        buffers=[memory[start : start + size] for start, size in zip(starts, label.sizes, strict=False)],
    )
