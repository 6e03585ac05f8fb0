"""One document of a dataset, read back from its shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenlab.cuts import CutMap
from tokenlab.dataset import Dataset, TokenBatch
from tokenlab.errors import DecodingError, InputError
from tokenlab.inspection.tokens import Inspection, token_rows
from tokenlab.manifest import SPLITS, Manifest, Split
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.segment.spelling import spell
from tokenlab.verification.source import open_source


def inspect_document(
    folder: Path,
    number: int,
    *,
    split: Split | None = None,
    docs: Sequence[str] | None = None,
    text_field: str | None = None,
) -> Inspection:
    """The tokens of one document, with the charges on record.

    `number` counts the documents of the source from 0, or those of `split` if given. A
    normalising scheme shows the normal form unless `docs` gives the source. Raises
    InputError for a number that is not there, DecodingError for ids that cannot be read.
    """
    return read_document(folder, number, split=split, docs=docs, text_field=text_field)[0]


def read_document(
    folder: Path,
    number: int,
    *,
    split: Split | None = None,
    docs: Sequence[str] | None = None,
    text_field: str | None = None,
) -> tuple[Inspection, bytes]:
    """`inspect_document`, and the text whose slices it shows."""
    dataset = Dataset(folder)
    split, index = _locate(dataset.manifest, number, split)
    batch = _find(dataset, split, index)
    scheme = dataset.scheme
    text = spell(batch.ids, scheme.segmenter.token_bytes)
    if docs is not None:
        documents = _source_document(dataset.manifest, docs, text_field, split, index)
        cuts, text_is = scheme.rewrite(documents)[1], "source"
    elif scheme.reversible:
        documents = scheme.read_back(text)
        cuts, text_is = scheme.rewrite(documents)[1], "source"
    else:
        documents, cuts = _normal_form(scheme, text)
        text_is = "normal form"
    positions = cuts.document(0)
    if len(positions) != len(text.values) + 1:
        raise InputError(
            "the documents given are not those of the dataset; check with `tokenlab verify --docs`"
        )
    document = documents[0].tobytes()
    charges = batch.charges.values if batch.charges is not None else None
    rows = token_rows(scheme, batch.ids, text, positions, document, charges)
    result = Inspection(
        dataset=str(folder),
        split=split,
        document=index,
        source_document=_source_number(dataset.manifest, split, index),
        text_is=text_is,
        source_bytes=len(document),
        charged_bytes=sum(row.bytes for row in rows),
        tokens=rows,
        scheme=dataset.manifest.scheme.name,
        vocabulary=f"that of {folder}",
    )
    return result, document


def _normal_form(scheme: Scheme, text: Ragged) -> tuple[Ragged, CutMap]:
    """What the operators make of a normal form, and its cuts; the form itself where it has no
    reading (see `Scheme.read_back`)."""
    try:
        documents = scheme.read_back(text)
    except DecodingError:
        return text, CutMap.identity(text)
    again, cuts = scheme.rewrite_losslessly(documents)
    return (documents, cuts) if again.first_difference(text) is None else (text, CutMap.identity(text))


def locate(manifest: Manifest, number: int, split: Split | None) -> tuple[Split, int, int]:
    """Split, number in it, and number in the source of a document, `number` counting as for
    `inspect_document`. Raises InputError for one that is not there."""
    found, index = _locate(manifest, number, split)
    return found, index, _source_number(manifest, found, index)


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
        step = len(source.take(split, min(index - skipped, 1 << 12)).documents)
        if not step:
            break
        skipped += step
    document = source.take(split, 1).documents
    if skipped < index or not len(document):
        raise InputError(f"the documents given end before document {index} of {split}")
    return document
