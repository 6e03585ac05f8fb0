"""Items on their way to workers on this machine: their documents lie in memory that both map.

Through the pipe of a process pool the documents of a part would be copied eight times. Here they are put
together where the worker reads them: in an anonymous file in memory, which is used again when nothing refers
to it, as fresh memory costs twice as much to write.
"""

from __future__ import annotations

import mmap
import os
import pickle
import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Label(NamedTuple):
    """What a worker needs to have an item: the item without its documents, and for each array that was left
    out the file where it is, and its size."""

    item: bytes
    arrays: tuple[tuple[str, int], ...]


class _Room(NamedTuple):
    file: int
    memory: mmap.mmap
    address: int


class Rooms:
    """Arrays that workers map; plain ones, which go through a pipe, where the system has no such files."""

    def __init__(self) -> None:
        self._rooms: dict[int, _Room] = {}
        """By address."""
        self._free: list[_Room] = []

    def room(self, size: int) -> NDArray[np.uint8]:
        """An array of `size`, of any content."""
        if not hasattr(os, "memfd_create") or size == 0:
            return np.empty(size, np.uint8)
        room = self._free.pop() if self._free else self._made(size)
        if len(room.memory) < size:
            os.close(self._rooms.pop(room.address).file)
            room = self._made(size)
        array = np.frombuffer(room.memory, np.uint8)
        weakref.finalize(array, self._free.append, room).atexit = False
        return array[:size]

    def _made(self, size: int) -> _Room:
        capacity = 1 << (size - 1).bit_length()  # what is not used costs nothing
        file = os.memfd_create("tokenlab-room")
        os.truncate(file, capacity)
        memory = mmap.mmap(file, capacity)
        room = _Room(file, memory, np.frombuffer(memory, np.uint8).ctypes.data)
        self._rooms[room.address] = room
        return room

    def label(self, item: object) -> Label:
        """The label of an item, which must be kept for as long as a worker uses it."""
        arrays: list[tuple[str, int]] = []

        def in_band(buffer: pickle.PickleBuffer) -> bool:
            raw = np.frombuffer(buffer.raw(), np.uint8)
            room = self._rooms.get(raw.ctypes.data) if len(raw) else None
            if room is not None:
                arrays.append((f"/proc/{os.getpid()}/fd/{room.file}", len(raw)))
            return room is None

        return Label(pickle.dumps(item, protocol=5, buffer_callback=in_band), tuple(arrays))

    def close(self) -> None:
        """Let go of the files."""
        for room in self._rooms.values():
            os.close(room.file)
        self._rooms.clear()


def open_item(label: Label) -> Any:
    """The item; its arrays are writable, and of this process until its sender forgets the item."""
    arrays = [_mapped(*array) for array in label.arrays]
    return pickle.loads(label.item, buffers=arrays)  # packed by this build


def _mapped(path: str, size: int) -> mmap.mmap:
    file = os.open(path, os.O_RDWR)
    try:
        # All at once: a fault for each page would cost as much as reading it.
        return mmap.mmap(file, size, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0))
    finally:
        os.close(file)
