"""The shard file: 256 little-endian int32 of header, then the values.

    header[0]   magic     one row of FORMATS
    header[1]   version   the same row
    header[2]   count     number of values that follow
    header[3:]  0

>>> from pathlib import Path; import tempfile
>>> path = Path(tempfile.mkdtemp()) / shard_name("val", 0)
>>> digest = write_shard(path, FORMATS["uint16"], 3, [np.array([1, 7, 9], np.uint16)])
>>> open_shard(path).tolist()
[1, 7, 9]

The uint16 row is that of llm.c and modded-nanogpt (`dev/data/data_common.py`, "gpt-2"), which
Parameter Golf took over; the uint32 row is llm.c's for larger vocabularies ("llama-3").
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.atomic import AtomicFile

HEADER_INTS = 256
HEADER_BYTES = HEADER_INTS * 4
MAX_COUNT = 2**31 - 1


class ShardError(ValueError):
    """A file that is not a whole shard; the text names the file and what is wrong with it."""


@dataclass(frozen=True)
class ShardFormat:
    """One row of the format table."""

    magic: int
    version: int
    dtype: np.dtype[Any]


FORMATS = {
    "uint16": ShardFormat(20240520, 1, np.dtype("<u2")),
    "uint32": ShardFormat(20240801, 7, np.dtype("<u4")),
}


def format_for_vocabulary(vocab_size: int) -> ShardFormat:
    """The narrowest format that holds ids below `vocab_size`."""
    return FORMATS["uint16" if vocab_size <= 2**16 else "uint32"]


def shard_name(split: str, index: int) -> str:
    """File name of a token shard; `split` is "train" or "val"."""
    return f"fineweb_{split}_{index:06d}.bin"


def sidecar_name(split: str, index: int) -> str:
    """File name of the byte sidecar of a shard, to be kept in `bytes/`: stock trainers
    glob `fineweb_val_*.bin`, which matches it, and would train on byte counts."""
    return f"fineweb_{split}_bytes_{index:06d}.bin"


def write_shard(path: Path, form: ShardFormat, count: int, chunks: Iterable[NDArray[Any]]) -> str:
    """Write `count` values, given as arrays of the format's dtype, atomically; the file's sha256.

    Raises ShardError when the chunks hold another number of values or another dtype.
    """
    writer = ShardWriter(path, form, count)
    try:
        for chunk in chunks:
            writer.append(chunk)
        if writer.written != count:
            raise ShardError(f"{path}: {writer.written:,} values were given for a shard of {count:,}")
        return writer.finish()
    except BaseException:
        writer.discard()
        raise


class ShardWriter:
    """A shard that is written as its values come, and appears with `finish` or not at all.

    `expected`: how many they will probably be. The header stands before them and the digest is that of
    the whole file, so one of another length is read again. Raises ShardError for a number that no shard
    holds.
    """

    def __init__(self, path: Path, form: ShardFormat, expected: int) -> None:
        self._path = path
        self._form = form
        self._expected = expected
        header = self._header(expected)
        self._digest = hashlib.sha256(header)
        self._atomic = AtomicFile(path)
        self._atomic.file.write(header)
        self.written = 0

    def append(self, values: NDArray[Any]) -> None:
        """Write the next values. Raises ShardError when their dtype is not the format's."""
        if values.dtype != self._form.dtype:
            raise ShardError(f"{self._path}: values of {values.dtype}, the format holds {self._form.dtype}")
        data = np.ascontiguousarray(values).data
        self._digest.update(data)
        self._atomic.file.write(data)
        self.written += len(values)

    def finish(self) -> str:
        """Let the shard appear; the file's sha256."""
        if self.written != self._expected:
            file = self._atomic.file
            file.seek(0)
            file.write(self._header(self.written))
            file.flush()
            with ThreadPoolExecutor(1) as beside:  # the disk writes while the digest is taken
                synced = beside.submit(os.fsync, file.fileno())
                file.seek(0)
                self._digest = hashlib.file_digest(file, "sha256")
                synced.result()
        self._atomic.commit()
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._atomic.discard()

    def _header(self, count: int) -> bytes:
        if not 0 <= count <= MAX_COUNT:
            raise ShardError(f"{self._path}: a shard holds at most {MAX_COUNT:,} values, asked for {count:,}")
        header = np.zeros(HEADER_INTS, "<i4")
        header[:3] = self._form.magic, self._form.version, count
        return header.tobytes()


def read_header_ints(path: Path) -> tuple[NDArray[np.int32], int]:
    """The 256 integers of a file's header, and the file's size in bytes. Raises ShardError for one that is
    shorter or cannot be read."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            raw = file.read(HEADER_BYTES)
    except OSError as error:
        raise ShardError(f"{path}: {error.strerror}") from error
    if len(raw) < HEADER_BYTES:
        raise ShardError(f"{path}: {size} bytes, shorter than the header of {HEADER_BYTES}")
    return np.frombuffer(raw, "<i4"), size


def read_header(path: Path) -> tuple[ShardFormat, int]:
    """Format and count of a shard. Raises ShardError for a bad header or a wrong size."""
    header, size = read_header_ints(path)
    magic, version, count = (int(value) for value in header[:3])
    form = next((f for f in FORMATS.values() if (f.magic, f.version) == (magic, version)), None)
    if form is None:
        known = ", ".join(f"{f.magic} version {f.version} ({name})" for name, f in FORMATS.items())
        raise ShardError(f"{path}: header says magic {magic} version {version}; known: {known}")
    expected = HEADER_BYTES + count * form.dtype.itemsize
    if count < 0 or size != expected:
        raise ShardError(
            f"{path}: header promises {count:,} values ({expected:,} bytes), the file has {size:,}"
        )
    return form, count


def open_shard(path: Path) -> NDArray[Any]:
    """The values of a shard, memory-mapped read-only. Raises ShardError as `read_header`."""
    form, count = read_header(path)
    if count == 0:
        return np.zeros(0, form.dtype)
    return np.memmap(path, form.dtype, "r", HEADER_BYTES, (count,))


def read_shard(path: Path, chunk: int) -> Iterator[NDArray[Any]]:
    """The values of a shard, `chunk` at most at a time, read and not mapped: what was read stays
    out of the process's memory. Raises ShardError as `read_header`."""
    form, count = read_header(path)
    with open(path, "rb") as file:
        file.seek(HEADER_BYTES)
        while count:
            values = np.fromfile(file, form.dtype, min(chunk, count))
            if not len(values):
                raise ShardError(f"{path}: ends {count:,} values before its header's count")
            count -= len(values)
            yield values
