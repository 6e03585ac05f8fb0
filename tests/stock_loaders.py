"""Readers written to the rules of other people's trainers, and to none of ours."""

from __future__ import annotations

import glob
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


def stock_shard(path: Path, magic: int = 20240520, version: int = 1, dtype: str = "<u2") -> np.ndarray:
    """One shard as parameter-golf, modded-nanogpt and llm.c check it: header, count, size."""
    header = np.fromfile(path, "<i4", 256)
    assert len(header) == 256
    assert (int(header[0]), int(header[1])) == (magic, version), path
    count = int(header[2])
    assert count > 0
    assert path.stat().st_size == 1024 + count * np.dtype(dtype).itemsize, path
    return np.fromfile(path, dtype, count, offset=1024)


def stock_tokens(pattern: str | Path, skip: str = "\0", **form: Any) -> np.ndarray:
    """Everything the pattern matches, by name, put together; CaseOps trainers skip `_bytes_`."""
    paths = [Path(name) for name in sorted(glob.glob(str(pattern)))]
    return np.concatenate([stock_shard(path, **form) for path in paths if skip not in path.name])


def megatron_documents(prefix: Path) -> list[list[int]]:
    """Documents of an indexed dataset, as its reader finds them: by sequence, then by document."""
    index = Path(f"{prefix}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    dtype = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}[code]
    sizes = np.frombuffer(index, "<i4", sequences, 34)
    pointers = np.frombuffer(index, "<i8", sequences, 34 + sizes.nbytes)
    bounds = np.frombuffer(index, "<i8", documents, 34 + sizes.nbytes + pointers.nbytes)
    assert len(index) == 34 + sizes.nbytes + pointers.nbytes + bounds.nbytes
    assert bounds[0] == 0
    assert bounds[-1] == sequences
    data = Path(f"{prefix}.bin").read_bytes()
    assert len(data) == sizes.sum() * np.dtype(dtype).itemsize
    read = [
        np.frombuffer(data, dtype, size, pointer).tolist()
        for size, pointer in zip(sizes.tolist(), pointers.tolist(), strict=True)
    ]
    return [[token for part in read[a:b] for token in part] for a, b in pairwise(bounds)]
