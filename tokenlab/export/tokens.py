"""The token stream of a split in pieces, and where its documents begin in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards import ShardError, open_shard
from tokenlab.dataset import BATCH_TOKENS, Dataset
from tokenlab.manifest import Split


def token_chunks(dataset: Dataset, split: Split) -> Iterator[NDArray[Any]]:
    """The ids of a split as they stand in its shards, memory-mapped, BATCH_TOKENS at most at a time."""
    for shard in dataset.manifest.splits[split].shards:
        ids = open_shard(dataset.folder / shard.file)
        if len(ids) != shard.tokens:
            raise ShardError(f"{shard.file}: {len(ids):,} tokens, the manifest has {shard.tokens:,}")
        for start in range(0, len(ids), BATCH_TOKENS):
            yield ids[start : start + BATCH_TOKENS]


def document_starts(dataset: Dataset, split: Split) -> Iterator[NDArray[np.int64]]:
    """Positions of the BOS in the split's token stream, in order, piece by piece.

    Raises ShardError when they are not as many as the manifest has documents.
    """
    bos, position, found = dataset.scheme.segmenter.bos, 0, 0
    for chunk in token_chunks(dataset, split):
        starts = np.flatnonzero(chunk == bos).astype(np.int64) + position
        position += len(chunk)
        found += len(starts)
        yield starts
    expected = dataset.manifest.splits[split].documents
    if found != expected:
        raise ShardError(f"{dataset.folder}: {split} has {found:,} BOS, the manifest {expected:,} documents")
