"""One document, token by token: id, piece, source slice, bytes charged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from tokenlab.cuts import CutMap
from tokenlab.dataset import Dataset, TokenBatch
from tokenlab.errors import InputError
from tokenlab.manifest import SPLITS, Manifest, Split
from tokenlab.ragged import Ragged
from tokenlab.segment.spelling import cover, spell
from tokenlab.verification.source import open_source


class TokenRow(msgspec.Struct, frozen=True):
    """A token: its place behind BOS, what it is, the source bytes `start:start + bytes` it stands for."""

    token: int
    id: int
    piece: str
    start: int
    bytes: int
    source: str


class Inspection(msgspec.Struct, frozen=True):
    """A document of a dataset. `text_is`: whether slices are of the source or of its normal form."""

    dataset: str
    split: Split
    document: int
    source_document: int
    text_is: str
    source_bytes: int
    charged_bytes: int
    tokens: tuple[TokenRow, ...]


def inspect_document(
    folder: Path,
    number: int,
    *,
    split: Split | None = None,
    docs: Sequence[str] | None = None,
    text_field: str | None = None,
) -> Inspection:
    """Read one document back.

    `number` counts the documents of the source from 0, or those of `split` if given. A
    normalising scheme shows the normal form unless `docs` gives the source. Raises
    InputError for a number that is not there, DecodingError for ids that cannot be read.
    """
    dataset = Dataset(folder)
    split, index = _locate(dataset.manifest, number, split)
    batch = _find(dataset, split, index)
    scheme = dataset.scheme
    text = spell(batch.ids, scheme.segmenter.token_bytes)
    if docs is not None:
        documents, text_is = _source_document(dataset.manifest, docs, text_field, split, index), "source"
    elif scheme.reversible:
        documents, text_is = scheme.read_back(text), "source"
    else:
        documents, text_is = text, "normal form"
    cuts = CutMap.identity(text) if text_is == "normal form" else scheme.rewrite(documents)[1]
    spans = _spans(batch, text, cuts, scheme.segmenter.token_bytes)
    document = documents[0].tobytes()
    rows = tuple(
        TokenRow(
            token=t,
            id=int(batch.ids.values[t]),
            piece=scheme.segmenter.piece(int(batch.ids.values[t])),
            start=start,
            bytes=int(batch.charges.values[t]) if batch.charges is not None else stop - start,
            source=document[start:stop].decode(errors="backslashreplace"),
        )
        for t, (start, stop) in enumerate(spans)
    )
    return Inspection(
        dataset=str(folder),
        split=split,
        document=index,
        source_document=_source_number(dataset.manifest, split, index),
        text_is=text_is,
        source_bytes=len(document),
        charged_bytes=sum(row.bytes for row in rows),
        tokens=rows,
    )


def _spans(batch: TokenBatch, text: Ragged, cuts: CutMap, token_bytes: Ragged) -> list[tuple[int, int]]:
    """Source span of each token of a batch of one document."""
    ends = cover(batch.ids, token_bytes, text).values
    positions = cuts.document(0)
    if len(positions) != len(text.values) + 1:
        raise InputError(
            "the documents given are not those of the dataset; check with `tokenlab verify --docs`"
        )
    bounds = positions[np.concatenate([[0], ends])].tolist()
    return list(pairwise(bounds))


def _locate(manifest: Manifest, number: int, split: Split | None) -> tuple[Split, int]:
    if split is not None:
        count = manifest.splits[split].documents
        if not 0 <= number < count:
            raise InputError(f"{split} has documents 0 to {count - 1}; there is no {number}")
        return split, number
    if not 0 <= number < manifest.source.documents:
        raise InputError(
            f"the dataset has documents 0 to {manifest.source.documents - 1}; there is no {number}"
        )
    dropped = manifest.source.dropped_duplicates
    if number in dropped:
        raise InputError(f"document {number} was left out of train: it equals a validation document")
    val_docs = manifest.splits["val"].documents
    if number < val_docs:
        return "val", number
    return "train", number - val_docs - sum(d < number for d in dropped)


def _source_number(manifest: Manifest, split: Split, index: int) -> int:
    if split == "val":
        return index
    number = index + manifest.splits["val"].documents
    for dropped in manifest.source.dropped_duplicates:
        number += dropped <= number
    return number


def _find(dataset: Dataset, split: Split, index: int) -> TokenBatch:
    for batch in dataset.batches(split):
        at = index - batch.first
        if at < len(batch.ids):
            charges = batch.charges.rows(at, at + 1) if batch.charges is not None else None
            return TokenBatch(index, batch.ids.rows(at, at + 1), charges, None)
    raise InputError(f"{dataset.folder}: {split} ends before document {index}; run `tokenlab verify`")


def _source_document(
    manifest: Manifest, docs: Sequence[str], text_field: str | None, split: Split, index: int
) -> Ragged:
    source = open_source(manifest, docs, text_field)
    for earlier in SPLITS[: SPLITS.index(split)]:
        source.remaining(earlier)
    skipped = 0
    while skipped < index:
        step = len(source.take(split, min(index - skipped, 1 << 12)))
        if not step:
            break
        skipped += step
    document = source.take(split, 1)
    if skipped < index or not len(document):
        raise InputError(f"the documents given end before document {index} of {split}")
    return document
