"""The weights of an artifact: a table of tensors in one compressed file, and no pickle.

    4 bytes   codec: b"none", b"zlib", b"lzma" or b"zstd"; what follows is compressed by it
    4 bytes   length of the header, little-endian
    header    JSON: {"about": {...}, "tensors": [{"name", "kind", "shape"}, ...]}
    payload   the tensors in that order, little-endian, without gaps

Kinds: `float32`, `float16`, and `int8_rows`: int8[rows, columns], then a float16 scale a row.

This file is part of an artifact and is counted in its bytes. It runs by itself:

>>> table = encode({"x": np.ones(2, np.float32)}, {"made": "here"})
>>> about, tensors = decode(compress("zlib", table))
>>> about, tensors["x"].tolist()
({'made': 'here'}, [1.0, 1.0])
"""

from __future__ import annotations

import json
import lzma
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class WeightsError(ValueError):
    """Bytes that are not a whole weights file."""


@dataclass(frozen=True)
class Int8Rows:
    """A matrix as int8[rows, columns] times a float16[rows] scale."""

    values: NDArray[np.int8]
    scales: NDArray[np.float16]

    def dequantize(self) -> NDArray[np.float32]:
        """float32[rows, columns]."""
        return self.values.astype(np.float32) * self.scales.astype(np.float32)[:, None]


def encode(tensors: Mapping[str, NDArray[Any] | Int8Rows], about: dict[str, Any]) -> bytes:
    """The table, not compressed; `about` is any JSON object."""
    entries, payload = [], []
    for name, tensor in tensors.items():
        if isinstance(tensor, Int8Rows):
            kind, shape = "int8_rows", tensor.values.shape
            payload += [tensor.values.tobytes(), tensor.scales.astype("<f2").tobytes()]
        else:
            kind, shape = tensor.dtype.name, tensor.shape
            payload.append(tensor.astype({"float32": "<f4", "float16": "<f2"}[kind]).tobytes())
        entries.append({"name": name, "kind": kind, "shape": list(shape)})
    header = json.dumps({"about": about, "tensors": entries}, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(header)), header, *payload])


def compress(codec: str, table: bytes) -> bytes:
    """A weights file: the table behind its codec's name, at the codec's hardest setting."""
    if codec == "zlib":
        packed = zlib.compress(table, 9)
    elif codec == "lzma":
        packed = lzma.compress(table, preset=9 | lzma.PRESET_EXTREME)
    elif codec == "zstd":
        import zstandard

        packed = zstandard.ZstdCompressor(level=22).compress(table)
    elif codec == "none":
        packed = table
    else:
        raise WeightsError(f"codec {codec!r}; known: none, zlib, lzma, zstd")
    return codec.encode() + packed


def decode(file: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """`about`, and every tensor as float32 by name. Raises WeightsError for a broken file."""
    try:
        table = _decompress(file[:4], file[4:])
        (length,) = struct.unpack_from("<I", table)
        header = json.loads(table[4 : 4 + length])
        at = 4 + length
        tensors = {}
        for entry in header["tensors"]:
            tensors[entry["name"]], at = _read(table, at, entry["kind"], tuple(entry["shape"]))
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"not a weights file: {error}") from error
    if at != len(table):
        raise WeightsError(f"{len(table) - at} bytes follow the last tensor")
    return header["about"], tensors


def _decompress(codec: bytes, packed: bytes) -> bytes:
    if codec == b"zlib":
        return zlib.decompress(packed)
    if codec == b"lzma":
        return lzma.decompress(packed)
    if codec == b"zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompress(packed)
    if codec == b"none":
        return packed
    raise WeightsError(f"codec {codec!r}; known: none, zlib, lzma, zstd")


def _read(table: bytes, at: int, kind: str, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], int]:
    count = math.prod(shape)
    if kind == "int8_rows":
        values = np.frombuffer(table, np.int8, count, at).reshape(shape)
        scales = np.frombuffer(table, "<f2", shape[0], at + count).astype(np.float16)
        return Int8Rows(values, scales).dequantize(), at + count + 2 * shape[0]
    dtype = np.dtype({"float32": "<f4", "float16": "<f2"}[kind])
    tensor = np.frombuffer(table, dtype, count, at).astype(np.float32).reshape(shape)
    return tensor, at + count * dtype.itemsize
