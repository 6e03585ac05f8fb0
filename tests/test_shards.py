"""The shard file, byte for byte, and every way in which a file is not one."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shards.atomic
from shards import (
    FORMATS,
    HEADER_BYTES,
    ShardError,
    ShardFormat,
    format_for_vocabulary,
    open_shard,
    read_header,
    remove_leftovers,
    shard_name,
    sidecar_name,
    write_atomically,
    write_shard,
)

GOLDEN = {
    # 20240520 = 0x0134D888, version 1; 20240801 = 0x0134D9A1, version 7.
    "uint16": ("88d83401 01000000 03000000", "0100 00ff ffff"),
    "uint32": ("a1d93401 07000000 03000000", "01000000 00ff0000 ffffffff"),
}
VALUES = {"uint16": [1, 0xFF00, 0xFFFF], "uint32": [1, 0xFF00, 0xFFFFFFFF]}


def write(path: Path, form: ShardFormat, *chunks: list[int]) -> str:
    count = sum(map(len, chunks))
    return write_shard(path, form, count, [np.array(chunk, form.dtype) for chunk in chunks])


def header(magic: int, version: int, count: int) -> bytes:
    return struct.pack("<3i", magic, version, count) + bytes(HEADER_BYTES - 12)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("name", FORMATS)
def test_golden_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.bin"
    digest = write(path, FORMATS[name], VALUES[name])
    head, payload = (bytes.fromhex(part) for part in GOLDEN[name])
    assert path.read_bytes() == head + bytes(1024 - len(head)) + payload
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_header(path) == (FORMATS[name], 3)
    assert open_shard(path).tolist() == VALUES[name]
    assert open_shard(path).dtype == np.dtype(name)


def test_the_shard_of_the_field_is_read(shared: Path) -> None:
    tokens = open_shard(shared / "data" / "fineweb_pgval_sp1024.bin")
    assert (tokens.dtype, len(tokens), int((tokens == 1).sum())) == (np.uint16, 841_576, 713)


def test_names() -> None:
    assert shard_name("val", 0) == "fineweb_val_000000.bin"
    assert shard_name("train", 12) == "fineweb_train_000012.bin"
    assert sidecar_name("val", 0) == "fineweb_val_bytes_000000.bin"
    assert sidecar_name("train", 123_456) == "fineweb_train_bytes_123456.bin"


@pytest.mark.parametrize("split", ["train", "val"])
def test_why_sidecars_have_a_folder_of_their_own(tmp_path: Path, split: str) -> None:
    """The trap: beside the shards, a stock trainer would take byte counts for tokens."""
    stock = f"fineweb_{split}_*.bin"
    assert fnmatch(sidecar_name(split, 0), stock)
    (tmp_path / "bytes").mkdir()
    for path in (tmp_path / shard_name(split, 0), tmp_path / "bytes" / sidecar_name(split, 0)):
        write(path, FORMATS["uint16"], [1])
    assert [path.name for path in tmp_path.glob(stock)] == [shard_name(split, 0)]


@pytest.mark.parametrize(
    ("vocab_size", "name"), [(1, "uint16"), (260, "uint16"), (65_536, "uint16"), (65_537, "uint32")]
)
def test_width_of_ids(vocab_size: int, name: str) -> None:
    assert format_for_vocabulary(vocab_size) == FORMATS[name]
    assert np.iinfo(FORMATS[name].dtype).max >= vocab_size - 1


@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.lists(st.integers(0, 2**16 - 1), max_size=9), max_size=5),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, name: str, chunks: list[list[int]]) -> None:
    path = tmp_path_factory.mktemp("shard") / "a.bin"
    digest = write(path, FORMATS[name], *chunks)
    values = [value for chunk in chunks for value in chunk]
    assert open_shard(path).tolist() == values
    assert path.stat().st_size == HEADER_BYTES + len(values) * FORMATS[name].dtype.itemsize
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_chunks_that_are_not_contiguous(tmp_path: Path) -> None:
    every_other = np.arange(8, dtype=np.uint16)[::2]
    write_shard(tmp_path / "a.bin", FORMATS["uint16"], 4, iter([every_other]))
    assert open_shard(tmp_path / "a.bin").tolist() == [0, 2, 4, 6]


def test_values_are_read_only(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", FORMATS["uint16"], [1, 2])
    with pytest.raises(ValueError, match="read-only"):
        open_shard(tmp_path / "a.bin")[0] = 7


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[np.ndarray]:
        yield np.zeros(5, np.uint16)
        assert len(names(tmp_path)) == 1  # under another name until it is whole
        assert "a.bin" not in names(tmp_path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "a.bin", FORMATS["uint16"], 10, chunks())
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("count", "chunk", "message"),
    [
        (3, np.zeros(2, np.uint16), "2 values were given for a shard of 3"),
        (1, np.zeros(2, np.uint16), "2 values were given for a shard of 1"),
        (2, np.zeros(2, np.uint32), "values of uint32, the format holds uint16"),
        (2, np.zeros(2, np.int16), "values of int16"),
        (2, np.zeros(2, ">u2"), "values of >u2"),
        (-1, np.zeros(0, np.uint16), "at most 2,147,483,647 values, asked for -1"),
        (2**31, np.zeros(0, np.uint16), "at most 2,147,483,647 values, asked for 2,147,483,648"),
    ],
)
def test_a_wrong_shard_is_not_written(tmp_path: Path, count: int, chunk: Any, message: str) -> None:
    path = tmp_path / "a.bin"
    write(path, FORMATS["uint16"], [7])
    before = path.read_bytes()
    with pytest.raises(ShardError, match=message) as caught:
        write_shard(path, FORMATS["uint16"], count, [chunk])
    assert str(path) in str(caught.value)
    assert names(tmp_path) == ["a.bin"]
    assert path.read_bytes() == before


def test_a_new_shard_replaces_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write(path, FORMATS["uint16"], [7])

    def chunks() -> Iterator[np.ndarray]:
        assert open_shard(path).tolist() == [7]
        yield np.array([8, 9], np.uint16)
        assert open_shard(path).tolist() == [7]

    write_shard(path, FORMATS["uint16"], 2, chunks())
    assert open_shard(path).tolist() == [8, 9]
    assert names(tmp_path) == ["a.bin"]


def test_a_file_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(shards.atomic.os, "fsync", lambda f: (steps.append("fsync"), fsync(f)))
    monkeypatch.setattr(shards.atomic.os, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))
    with write_atomically(tmp_path / "a") as file:
        file.write(b"x")
    assert steps == ["fsync", "replace", "fsync"]  # the file, its name, the folder
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space"), write_atomically(tmp_path / "a") as file:
        file.write(b"x")
    assert names(tmp_path) == []


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "no" / "a"):
        pass
    assert names(tmp_path) == []


def test_leftovers_of_a_killed_writer(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", FORMATS["uint16"], [7])
    (tmp_path / "b.bin.123.partial").write_bytes(b"half")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a.bin"]


GOOD = FORMATS["uint16"]
BAD_FILES = {
    "empty": (b"", "0 bytes, shorter than the header of 1024"),
    "short header": (bytes(1023), "1023 bytes, shorter than the header"),
    "no magic": (header(0, 0, 0), "header says magic 0 version 0; known: 20240520 version 1"),
    "wrong version": (header(GOOD.magic, 7, 0), "magic 20240520 version 7"),
    "big-endian": (struct.pack(">3i", GOOD.magic, 1, 0) + bytes(1012), "header says magic"),
    "cut short": (
        header(GOOD.magic, 1, 3) + bytes(5),
        r"promises 3 values \(1,030 bytes\), the file has 1,029",
    ),
    "count too big": (header(GOOD.magic, 1, 4) + bytes(6), "promises 4 values"),
    "count too small": (header(GOOD.magic, 1, 2) + bytes(6), "promises 2 values"),
    "trailing byte": (header(GOOD.magic, 1, 3) + bytes(7), "promises 3 values"),
    "negative count": (header(GOOD.magic, 1, -1) + bytes(6), "promises -1 values"),
    # As many bytes as a count of -3 would leave, were it believed.
    "negative count that fits": (header(GOOD.magic, 1, -3)[: HEADER_BYTES - 6], "shorter than the header"),
    "width of the other format": (header(FORMATS["uint32"].magic, 7, 3) + bytes(6), r"\(1,036 bytes\)"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_shard(tmp_path: Path, name: str) -> None:
    data, message = BAD_FILES[name]
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    for read in (read_header, open_shard):
        with pytest.raises(ShardError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="No such file"):
        open_shard(tmp_path / "a.bin")
    with pytest.raises(ShardError, match="directory"):
        open_shard(tmp_path)


@given(position=st.integers(0, 11), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_header_is_seen(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    """Of magic, version and count; the rest of the header means nothing to a reader."""
    path = tmp_path_factory.mktemp("flip") / "a.bin"
    write(path, GOOD, [1, 2, 3])
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(ShardError):
        open_shard(path)
