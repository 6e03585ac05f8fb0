"""Parquet of a row per document, for `datasets.load_dataset("parquet", …, streaming=True)`.

    doc_id       int64        the document's number in the source, from 0
    input_ids    list<int32>  its ids, BOS first
    byte_counts  list<int32>  the source bytes of each of them, or null where nobody knows
    n_bytes      int64        their sum, or null

Byte counts are the sidecar's; where there is none, a reversible scheme counts them anew from the
ids. A normalising scheme without sidecar cannot: its source is not in the ids.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.dataset import Dataset, TokenBatch
from tokenlab.export.folder import ExportFolder
from tokenlab.manifest import SPLITS, Manifest, Split
from tokenlab.progress import Progress
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.segment.spelling import spell

FILE_TOKENS = 100_000_000
"""Tokens after which a new file begins: about 200 MB of zstd."""


def write(dataset: Dataset, target: ExportFolder, progress: Progress) -> None:
    """See the module. A row group is a batch of the dataset: about half a million tokens."""
    for split in SPLITS:
        _Split(dataset, split, target).write(progress)
    target.note(
        'datasets.load_dataset("parquet", data_files={"train": "OUTPUT/data/train-*.parquet", '
        '"val": "OUTPUT/data/val-*.parquet"}, streaming=True)'
    )


class _Split:
    """One split on its way into files."""

    def __init__(self, dataset: Dataset, split: Split, target: ExportFolder) -> None:
        self._dataset, self._split, self._target = dataset, split, target
        self._numbers = _SourceNumbers(dataset.manifest, split)

    def write(self, progress: Progress) -> None:
        import pyarrow.parquet as pq

        record = self._dataset.manifest.splits[self._split]
        scheme = self._dataset.scheme
        progress.start(f"{self._split} rows", record.documents, "documents")
        batches = self._dataset.batches(self._split)
        batch = next(batches, None)
        schema = _schema()
        index = 0
        while batch is not None or index == 0:
            with (
                self._target.create(f"data/{self._split}-{index:05d}.parquet") as file,
                pq.ParquetWriter(file, schema, compression="zstd") as writer,
            ):
                tokens = 0
                while batch is not None and tokens < FILE_TOKENS:
                    writer.write_table(_table(batch, scheme, self._numbers, schema))
                    tokens += len(batch.ids.values)
                    progress.advance(batch.first + len(batch.ids))
                    batch = next(batches, None)
            index += 1
        progress.finish()
        self._note_charges()

    def _note_charges(self) -> None:
        has_sidecar = all(s.sidecar for s in self._dataset.manifest.splits[self._split].shards)
        if not self._dataset.scheme.reversible:
            why = (
                "n_bytes is what its tokens are charged: what the normaliser strips from a document's ends "
                "belongs to no token"
                if has_sidecar
                else "byte_counts and n_bytes are null: no sidecar, and a normalising scheme's ids do not "
                "hold the source; build with --train-bytes"
            )
            self._target.note(f"{self._split}: {why}")
        elif not has_sidecar:
            self._target.note(f"{self._split}: byte_counts were counted anew from the ids (no sidecar)")


def _schema() -> Any:
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    return pa.schema(
        [("doc_id", pa.int64()), ("input_ids", ids), ("byte_counts", ids), ("n_bytes", pa.int64())]
    )


def _table(batch: TokenBatch, scheme: Scheme, numbers: _SourceNumbers, schema: Any) -> Any:
    import pyarrow as pa

    bos = np.full(len(batch.ids), scheme.segmenter.bos)
    charges, bos_charges = batch.charges, batch.bos_charges
    if charges is None and scheme.reversible:
        charges, bos_charges = recount(scheme, batch.ids), np.zeros(len(batch.ids), np.uint16)
    columns = [pa.array(numbers.of(batch.first, len(batch.ids))), _lists(batch.ids, bos)]
    if charges is None or bos_charges is None:
        columns += [pa.nulls(len(batch.ids), field.type) for field in list(schema)[2:]]
    else:
        columns += [_lists(charges, bos_charges), pa.array(_sums(charges) + bos_charges.astype(np.int64))]
    return pa.Table.from_arrays(columns, schema=schema)


def recount(scheme: Scheme, ids: Ragged) -> Ragged:
    """Charges of a reversible scheme's ids, from the source that they spell. Raises DecodingError,
    EncodingError for ids that no encoder of the scheme emits."""
    text, cuts = scheme.rewrite(scheme.read_back(spell(ids, scheme.segmenter.token_bytes)))
    return scheme.charge(ids, text, cuts)


def _lists(rows: Ragged, first: NDArray[Any]) -> Any:
    """The rows as an Arrow list column, `first[d]` put before row d."""
    import pyarrow as pa

    values = np.insert(rows.values.astype(np.int32), rows.offsets[:-1], first)
    offsets = rows.offsets + np.arange(len(rows.offsets))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))


def _sums(rows: Ragged) -> NDArray[np.int64]:
    totals = np.concatenate([[0], np.cumsum(rows.values, dtype=np.int64)])
    return np.asarray(np.diff(totals[rows.offsets]))


class _SourceNumbers:
    """Numbers that a split's documents have in the source, where train lacks those that equal a
    validation document."""

    def __init__(self, manifest: Manifest, split: Split) -> None:
        self._first = 0 if split == "val" else manifest.splits["val"].documents
        dropped = np.array([] if split == "val" else manifest.source.dropped_duplicates, np.int64)
        # The k-th dropped document stood before this document of the split.
        self._shift_at = np.sort(dropped) - self._first - np.arange(len(dropped))

    def of(self, first: int, count: int) -> NDArray[np.int64]:
        """Of documents `first` to `first + count - 1` of the split."""
        index = np.arange(first, first + count, dtype=np.int64)
        return np.asarray(index + self._first + np.searchsorted(self._shift_at, index, side="right"))
