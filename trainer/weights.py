"""The weights of an artifact: a table of tensors in one compressed file, and no pickle.

    4 bytes   codec, the first letters of its name in CODECS; what follows is compressed by it
    4 bytes   length of the header, little-endian
    header    JSON: {"about": {...}, "tensors": [{"name", "kind", "shape"}, ...]}
    payload   the tensors in that order, little-endian, without gaps

Kinds: `float32`, `float16`, `uint8`, and `int8_rows`: int8[rows, columns], then a float16 scale a row.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST_TABLE = 1 << 30
"""Bytes; a file that claims to hold more is refused before they are allocated."""


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
            payload.append(tensor.astype({"float32": "<f4", "float16": "<f2", "uint8": "u1"}[kind]).tobytes())
        entries.append({"name": name, "kind": kind, "shape": list(shape)})
    header = json.dumps({"about": about, "tensors": entries}, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(header)), header, *payload])


def compress(codec: str, table: bytes) -> bytes:
    """A weights file: the table behind its codec's name, at the codec's hardest setting.

    Raises WeightsError for an unknown codec, or one whose package is missing."""
    if codec not in CODECS:
        raise WeightsError(f"codec {codec!r}; known: {', '.join(CODECS)}")
    try:
        return codec[:4].encode() + CODECS[codec].compress(table)
    except ImportError as error:
        raise WeightsError(f"codec {codec} needs a package: pip install {error.name}") from error


def decode(file: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """`about`, and every tensor as float32 by name. Raises WeightsError for a broken file."""
    try:
        table = _decompress(file[:4], file[4:])
        (length,) = struct.unpack_from("<I", table)
        at = 4 + length
        if at > len(table):
            raise WeightsError(f"cut short: a header of {length:,} bytes in {len(table):,}")
        header = json.loads(table[4:at])
        tensors = {}
        for entry in header["tensors"]:
            tensors[entry["name"]], at = _read(table, at, entry["kind"], tuple(entry["shape"]))
        about: dict[str, Any] = header["about"]
    except WeightsError:
        raise
    except ImportError as error:
        raise WeightsError(f"its codec needs a package: pip install {error.name}") from error
    except Exception as error:  # whatever a hostile file makes a decompressor or json raise
        raise WeightsError(f"not a weights file: {error}") from error
    if at != len(table):
        raise WeightsError(f"{len(table) - at} bytes follow the last tensor")
    return about, tensors


def _decompress(tag: bytes, packed: bytes) -> bytes:
    for name, codec in CODECS.items():
        if name[:4].encode() == tag:
            return codec.decompress(packed)
    raise WeightsError(f"codec {tag!r}; known: {', '.join(CODECS)}")


def _read(table: bytes, at: int, kind: str, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], int]:
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise WeightsError(f"a tensor of shape {shape}")
    count = math.prod(shape)
    dtype = np.dtype({"float32": "<f4", "float16": "<f2", "uint8": "u1", "int8_rows": "i1"}[kind])
    rows = shape[0] if kind == "int8_rows" else 0
    end = at + count * dtype.itemsize + 2 * rows
    if end > len(table):
        raise WeightsError(f"a tensor of shape {shape} reaches {end - len(table):,} bytes beyond the end")
    values = np.frombuffer(table, dtype, count, at).reshape(shape)
    if kind != "int8_rows":
        return values.astype(np.float32), end
    scales = np.frombuffer(table, "<f2", rows, at + count).astype(np.float16)
    return Int8Rows(values, scales).dequantize(), end


class Codec(NamedTuple):
    """How bytes are compressed, and back; `decompress` raises for broken bytes, and before it
    allocates more than LARGEST_TABLE."""

    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]


def _whole(table: bytes, ended: bool) -> bytes:
    """What a bounded decompressor gave, if it was all and nothing follows it."""
    if len(table) > LARGEST_TABLE:
        raise WeightsError(f"more than {LARGEST_TABLE:,} bytes of weights")
    if not ended:
        raise WeightsError("the compressed weights are cut short, or something follows them")
    return table


def _zlib_decompress(packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    table = stream.decompress(packed, LARGEST_TABLE + 1)
    return _whole(table, stream.eof and not stream.unused_data)


def _lzma_decompress(packed: bytes) -> bytes:
    stream = lzma.LZMADecompressor(memlimit=1 << 28)  # the hardest setting's dictionary takes 65 MiB
    table = stream.decompress(packed, LARGEST_TABLE + 1)
    return _whole(table, stream.eof and not stream.unused_data)


def _zstd_compress(table: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=22).compress(table)


def _zstd_decompress(packed: bytes) -> bytes:
    import zstandard

    # One-shot frames state their size; it is checked before it is allocated.
    if not 0 <= zstandard.frame_content_size(packed) <= LARGEST_TABLE:
        raise WeightsError(f"more than {LARGEST_TABLE:,} bytes of weights, or a size that is not stated")
    return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)


def _brotli_compress(table: bytes) -> bytes:
    import brotli

    packed: bytes = brotli.compress(table, quality=11, lgwin=24)
    return packed


def _brotli_decompress(packed: bytes) -> bytes:
    import brotli

    stream = brotli.Decompressor()
    parts = [stream.process(packed, output_buffer_limit=1 << 20)]
    size = len(parts[0])
    while size <= LARGEST_TABLE and parts[-1] and not stream.is_finished():
        parts.append(stream.process(b"", output_buffer_limit=1 << 20))
        size += len(parts[-1])
    return _whole(b"".join(parts), stream.is_finished())


CODECS = {
    "none": Codec(bytes, bytes),
    "zlib": Codec(lambda table: zlib.compress(table, 9), _zlib_decompress),
    "lzma": Codec(lambda table: lzma.compress(table, preset=9 | lzma.PRESET_EXTREME), _lzma_decompress),
    "zstd": Codec(_zstd_compress, _zstd_decompress),
    "brotli": Codec(_brotli_compress, _brotli_decompress),
}
