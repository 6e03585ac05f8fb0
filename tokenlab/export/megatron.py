"""Megatron's indexed dataset: `SPLIT_text_document.bin` and `.idx`, a document a sequence.

`.bin` is the ids alone, BOS before each document. `.idx`, little-endian:

    9 bytes    b"MMIDIDX\\0\\0"
    uint64     version, 1
    uint8      dtype code of the ids: 8 uint16, 4 int32
    uint64     sequences
    uint64     documents + 1
    int32[]    tokens of each sequence
    int64[]    byte in `.bin` at which each sequence begins
    int64[]    sequence at which each document begins, and the number of sequences
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from tokenlab.dataset import Dataset
from tokenlab.errors import InputError
from tokenlab.export.folder import ExportFolder
from tokenlab.export.tokens import document_starts, token_chunks
from tokenlab.manifest import SPLITS, Split
from tokenlab.progress import Progress

MAGIC = b"MMIDIDX\0\0"
VERSION = 1
CODES = {"uint16": 8, "int32": 4}
UINT16_BELOW = 65_500
"""Megatron writes smaller vocabularies as uint16, others as int32; it has no uint32."""

_CHUNK = 1 << 20


def write(dataset: Dataset, target: ExportFolder, progress: Progress) -> None:
    """See the module."""
    dtype = np.dtype("<u2" if dataset.manifest.vocab_size < UINT16_BELOW else "<i4")
    for split in SPLITS:
        _write_split(dataset, split, dtype, target, progress)
    target.note(
        "--train-data-path OUTPUT/train_text_document --valid-data-path OUTPUT/val_text_document; "
        f"every document is a sequence that BOS ({dataset.manifest.bos_id}) opens, none ends with EOD"
    )


def _write_split(
    dataset: Dataset, split: Split, dtype: np.dtype[np.generic], target: ExportFolder, progress: Progress
) -> None:
    tokens = dataset.manifest.splits[split].tokens
    progress.start(f"{split} ids", tokens, "tokens")
    with target.create(f"{split}_text_document.bin") as file:
        done = 0
        for chunk in token_chunks(dataset, split):
            file.write(np.ascontiguousarray(chunk, dtype))
            progress.advance(done := done + len(chunk))
    progress.finish()

    starts = np.concatenate([*document_starts(dataset, split), [tokens]]).astype(np.int64)
    documents = len(starts) - 1
    if documents and np.diff(starts).max() >= 2**31:
        raise InputError(f"a document of {split} has 2^31 tokens or more, and Megatron's sizes are int32")
    with target.create(f"{split}_text_document.idx") as file:
        file.write(MAGIC + struct.pack("<QBQQ", VERSION, CODES[dtype.name], documents, documents + 1))
        for part in _parts(documents):
            file.write(np.diff(starts[part.start : part.stop + 1]).astype("<i4"))
        for part in _parts(documents):
            file.write((starts[part] * dtype.itemsize).astype("<i8"))
        for part in _parts(documents + 1):
            file.write(np.arange(part.start, part.stop, dtype="<i8"))


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, min(start + _CHUNK, count))
