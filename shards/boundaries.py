"""The boundary file: where the patches of a byte shard begin, one bit a token.

    header[0]      magic       20261125
    header[1]      version     1
    header[2]      count       number of bits = tokens of the parent shard
    header[3]      rule        number of the rule, a value of RULES
    header[4]      causal      1 when a bit depends on the tokens before its own only, else 0
    header[5:13]   sha256 of the rule's parameters and tables
    header[13:21]  sha256 of the parent shard's file
    header[21:]    0

256 little-endian int32, then ceil(count / 8) bytes. Bit i belongs to token i of the parent shard; the first
token of a byte is its lowest bit (`np.packbits(bits, bitorder="little")`); bits behind the last token are 0.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / boundaries_name("val", 0)
>>> header = BoundaryHeader(3, "space", True, "00" * 32, "ff" * 32)
>>> digest = write_boundaries(path, header, [np.array([1, 1, 0], np.uint8)])
>>> found, packed = open_boundaries(path)
>>> found == header, packed.tolist(), unpack(packed, 0, 3).tolist()
(True, [3], [1, 1, 0])
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.atomic import write_atomically
from shards.format import HEADER_BYTES, HEADER_INTS, MAX_COUNT, ShardError, read_header_ints

MAGIC = 20261125
VERSION = 1

RULES = {"fixed": 1, "space": 2, "table2": 3, "entropy": 4, "monotonic": 5, "topk": 6, "bpe": 7}
"""Number of each kind of rule."""


@dataclass(frozen=True, slots=True)
class BoundaryHeader:
    """What a boundary file says of itself. `rule` is a key of RULES; digests are 64 hexadecimal digits."""

    count: int
    rule: str
    causal: bool
    parameters_sha256: str
    parent_sha256: str


def boundaries_name(split: str, index: int) -> str:
    """File name of the boundaries of a shard, kept in `boundaries/`: see `sidecar_name` for why."""
    return f"fineweb_{split}_boundaries_{index:06d}.bin"


def write_boundaries(path: Path, header: BoundaryHeader, chunks: Iterable[NDArray[Any]]) -> str:
    """Write the bits, given as arrays of bool or uint8 (0 or 1) of any length, atomically; the file's sha256.

    Raises ShardError when the chunks hold another number of bits than the header says.
    """
    if not 0 <= header.count <= MAX_COUNT:
        raise ShardError(f"{path}: a shard holds at most {MAX_COUNT:,} values, asked for {header.count:,}")
    head = _to_ints(header).tobytes()
    digest = hashlib.sha256(head)
    written = 0
    rest = np.zeros(0, np.uint8)  # bits that do not fill a byte yet
    with write_atomically(path) as file:
        file.write(head)
        for chunk in chunks:
            written += len(chunk)
            bits = np.concatenate([rest, chunk.view(np.uint8)]) if len(rest) else chunk
            whole = len(bits) - len(bits) % 8
            packed = np.packbits(bits[:whole], bitorder="little").tobytes()
            rest = bits[whole:].astype(np.uint8)
            digest.update(packed)
            file.write(packed)
        packed = np.packbits(rest, bitorder="little").tobytes()
        digest.update(packed)
        file.write(packed)
        if written != header.count:
            raise ShardError(f"{path}: {written:,} bits were given for a shard of {header.count:,} tokens")
    return digest.hexdigest()


def read_boundary_header(path: Path) -> BoundaryHeader:
    """The header. Raises ShardError for one that is not a boundary file's, or a wrong size."""
    ints, size = read_header_ints(path)
    magic, version, count, number, causal = (int(value) for value in ints[:5])
    if (magic, version) != (MAGIC, VERSION):
        raise ShardError(
            f"{path}: header says magic {magic} version {version}; boundaries have {MAGIC} version {VERSION}"
        )
    rule = next((kind for kind, known in RULES.items() if known == number), None)
    if rule is None or causal not in (0, 1):
        raise ShardError(f"{path}: header says rule {number}, causal {causal}; neither is known")
    expected = HEADER_BYTES + (count + 7) // 8
    if count < 0 or size != expected:
        raise ShardError(
            f"{path}: header promises {count:,} bits ({expected:,} bytes), the file has {size:,}"
        )
    return BoundaryHeader(count, rule, bool(causal), ints[5:13].tobytes().hex(), ints[13:21].tobytes().hex())


def open_boundaries(path: Path) -> tuple[BoundaryHeader, NDArray[np.uint8]]:
    """The header, and the packed bits (uint8, ceil(count / 8)), memory-mapped read-only.

    Raises ShardError as `read_boundary_header`.
    """
    header = read_boundary_header(path)
    if header.count == 0:
        return header, np.zeros(0, np.uint8)
    return header, np.memmap(path, np.uint8, "r", HEADER_BYTES, ((header.count + 7) // 8,))


def unpack(packed: NDArray[np.uint8], start: int, stop: int) -> NDArray[np.uint8]:
    """Bits `start:stop` of packed ones, as uint8 0 or 1."""
    first = start // 8
    bits = np.unpackbits(packed[first : (stop + 7) // 8], bitorder="little")
    return bits[start - 8 * first : stop - 8 * first]


def _to_ints(header: BoundaryHeader) -> NDArray[np.int32]:
    ints = np.zeros(HEADER_INTS, "<i4")
    ints[:5] = MAGIC, VERSION, header.count, RULES[header.rule], header.causal
    ints[5:13] = np.frombuffer(bytes.fromhex(header.parameters_sha256), "<i4")
    ints[13:21] = np.frombuffer(bytes.fromhex(header.parent_sha256), "<i4")
    return ints
