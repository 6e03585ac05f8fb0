"""Flat `.npy` files, for `numpy.load(path, mmap_mode="r")`.

SPLIT/ids_000000.npy      uint16 or uint32, the tokens of a shard, BOS before each document
SPLIT/charges_000000.npy  uint16, the source bytes of each token (where there are sidecars)
SPLIT/offsets.npy         int64, documents + 1: document d is tokens offsets[d]:offsets[d + 1]
                          of the split's ids put together
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from shards import open_shard
from tokenlab.dataset import Dataset
from tokenlab.export.folder import DigestFile, ExportFolder
from tokenlab.export.tokens import document_starts
from tokenlab.manifest import SPLITS
from tokenlab.progress import Progress

_CHUNK = 1 << 20


def write(dataset: Dataset, target: ExportFolder, progress: Progress) -> None:
    """See the module."""
    for split in SPLITS:
        record = dataset.manifest.splits[split]
        progress.start(f"{split} arrays", record.tokens, "tokens")
        done = 0
        for index, shard in enumerate(record.shards):
            _write_values(target, f"{split}/ids_{index:06d}.npy", open_shard(dataset.folder / shard.file))
            if shard.sidecar:
                charges = open_shard(dataset.folder / shard.sidecar.file)
                _write_values(target, f"{split}/charges_{index:06d}.npy", charges)
            progress.advance(done := done + shard.tokens)
        with target.create(f"{split}/offsets.npy") as file:
            ends: list[NDArray[np.int64]] = [np.array([record.tokens])]
            _write_npy(file, record.documents + 1, np.dtype("<i8"), document_starts(dataset, split))
            _write_chunks(file, np.dtype("<i8"), ends)
        progress.finish()
    if not any(shard.sidecar for shard in dataset.manifest.splits["train"].shards):
        target.note("train has no charges: the dataset was built without --train-bytes")


def _write_values(target: ExportFolder, name: str, values: NDArray[Any]) -> None:
    dtype = values.dtype.newbyteorder("<")
    chunks = (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
    with target.create(name) as file:
        _write_npy(file, len(values), dtype, chunks)


def _write_npy(file: DigestFile, count: int, dtype: np.dtype[Any], chunks: Iterable[NDArray[Any]]) -> None:
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    npy.write_array_header_1_0(file, header)
    _write_chunks(file, dtype, chunks)


def _write_chunks(file: DigestFile, dtype: np.dtype[Any], chunks: Iterable[NDArray[Any]]) -> None:
    for chunk in chunks:
        file.write(np.ascontiguousarray(chunk, dtype))
