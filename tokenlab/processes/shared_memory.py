"""Items on their way to another process of this machine: their documents lie in memory that both map.

Through the pipe of a process pool the documents of a part would be copied eight times. Here they are put
together where the other process reads them: in an anonymous file in memory, which is used again when nothing
refers to it, as fresh memory costs twice as much to write.
"""

from __future__ import annotations

import mmap
import os
import pickle
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenlab.errors import ProcessKilled

_MAPPED_BEHIND = 1 << 20  # the next item may be a little longer

_MOST_MAPPED = 8  # a build has two for each worker

Maps = dict[str, tuple[int, mmap.mmap]]
"""What was mapped last of another process's files: by name, the inode and the memory of a file."""

_opened: Maps = {}
"""For the items that a worker opens."""


class Label(NamedTuple):
    """What a worker needs to have an item: the item without its documents, and for each array that was left
    out the file where it is, and its size."""

    item: bytes
    arrays: tuple[tuple[str, int], ...]


class _Block(NamedTuple):
    file: int
    memory: mmap.mmap
    address: int


class SharedMemory:
    """Arrays that workers map; plain ones, which go through a pipe, where the system has no such files."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        """By address."""
        self._received: dict[int, str] = {}
        """The names of files of another process that are mapped here, by address."""
        self._maps: Maps = {}
        self._free: list[_Block] = []

    def empty(self, size: int) -> NDArray[np.uint8]:
        """An array of `size`, of any content."""
        if not hasattr(os, "memfd_create") or size == 0:
            return np.empty(size, np.uint8)
        block = self._free.pop() if self._free else self._made(size)
        if len(block.memory) < size:
            os.close(self._blocks.pop(block.address).file)
            block = self._made(size)
        array = np.frombuffer(block.memory, np.uint8)
        weakref.finalize(array, self._free.append, block).atexit = False
        return array[:size]

    def _made(self, size: int) -> _Block:
        capacity = 1 << (size - 1).bit_length()  # what is not used costs nothing
        file = os.memfd_create("tokenlab-documents")
        os.truncate(file, capacity)
        memory = mmap.mmap(file, capacity)
        block = _Block(file, memory, np.frombuffer(memory, np.uint8).ctypes.data)
        self._blocks[block.address] = block
        return block

    def label(self, item: object) -> Label:
        """The label of an item, which must be kept for as long as a worker uses it."""
        arrays: list[tuple[str, int]] = []

        def in_band(buffer: pickle.PickleBuffer) -> bool:
            raw = np.frombuffer(buffer.raw(), np.uint8)
            file = self._file_at(raw.ctypes.data) if len(raw) else None
            if file is not None:
                arrays.append((file, len(raw)))
            return file is None

        return Label(pickle.dumps(item, protocol=5, buffer_callback=in_band), tuple(arrays))

    def receive(self, label: Label, let_go: Callable[[str], None]) -> Any:
        """The item of a label that another process made; it may be labelled again. `let_go` is called with
        the name of each of its files when nothing refers to it. Raises ProcessKilled."""
        arrays = []
        for name, size in label.arrays:
            array = np.frombuffer(_mapped(self._maps, name, size), np.uint8)
            self._received[array.ctypes.data] = name
            weakref.finalize(array, self._forget, array.ctypes.data, let_go).atexit = False
            arrays.append(array)
        return pickle.loads(label.item, buffers=arrays)  # packed by this build

    def _forget(self, address: int, let_go: Callable[[str], None]) -> None:
        let_go(self._received.pop(address))

    def _file_at(self, address: int) -> str | None:
        block = self._blocks.get(address)
        return f"/proc/{os.getpid()}/fd/{block.file}" if block is not None else self._received.get(address)

    def close(self) -> None:
        """Let go of the files, of the memory that no array refers to, and of what is mapped of another
        process's files: whoever lets go of those last frees them, which takes a while."""
        for block in self._blocks.values():
            os.close(block.file)
        self._blocks.clear()
        self._free.clear()
        self._maps.clear()


def open_item(label: Label) -> Any:
    """The item; its arrays are writable, and of this process until its sender forgets the item. Raises
    ProcessKilled when the process is gone whose memory they are in."""
    # All at once: a fault for each page would cost as much as reading it.
    arrays = [_mapped(_opened, *array, flags=getattr(mmap, "MAP_POPULATE", 0)) for array in label.arrays]
    return pickle.loads(label.item, buffers=arrays)  # packed by this build


def sender_killed() -> ProcessKilled:
    """The error for items whose memory is gone with the process that made them: all of ours read input."""
    return ProcessKilled("the process that reads the input")


def _mapped(maps: Maps, name: str, size: int, flags: int = 0) -> memoryview:
    """The first bytes of a file. It stays mapped, for as long as it has that name: mapping it anew takes as
    long as reading it."""
    try:
        file = os.open(name, os.O_RDWR)
    except FileNotFoundError as error:
        raise sender_killed() from error
    try:
        found = os.fstat(file)
        inode, memory = maps.pop(name, (None, None))
        if memory is None or inode != found.st_ino or len(memory) < size:
            length = min(found.st_size, size + _MAPPED_BEHIND)
            memory = mmap.mmap(file, length, flags=mmap.MAP_SHARED | flags)
        maps[name] = found.st_ino, memory
        if len(maps) > _MOST_MAPPED:  # many workers have many files, and would hold them all
            del maps[next(iter(maps))]
        return memoryview(memory)[:size]
    finally:
        os.close(file)
