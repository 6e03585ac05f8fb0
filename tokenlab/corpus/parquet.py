"""Parquet files: one column of text, a batch at a time and without an object for each row.

The column's bytes and offsets are taken from Arrow's buffers as they are. Arrow reads a string
column without a look at its UTF-8 (a writer may have put anything there), so every batch is
checked: by Arrow on demand (10 GB/s; Python's decoder does 0.5 on the same English web pages),
and row by row in Python only when something is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.corpus.documents import (
    Chunk,
    Flaw,
    Reading,
    SourceFile,
    invalid_utf8,
    names,
    one_line,
    too_long,
)
from tokenlab.cuts import MAX_DOCUMENT_BYTES
from tokenlab.errors import InputError
from tokenlab.own_process import prepare_arrow
from tokenlab.ragged import Ragged

MAX_BATCH_ROWS = 1 << 16

BUFFER_BYTES = 1 << 22
"""Bytes of a column that are fetched at a time. As pyarrow has it, it would hold all of the file that was
read so far, and a row group whole."""


def read_parquet(file: SourceFile, how: Reading) -> Iterator[Chunk]:
    """The documents of one column of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    prepare_arrow()
    text_field = how.text_field
    failures = (pa.ArrowException, OSError, UnicodeDecodeError)  # the last from names of columns
    try:
        source = pa.OSFile(file.path) if file.remote is None else pa.PythonFile(file.remote.ranges(), "r")
    except failures as error:
        raise InputError(f"{one_line(file.path)}: cannot be read: {_first_line(error)}") from error
    with source:
        try:
            table = pq.ParquetFile(
                source, pre_buffer=False, buffer_size=BUFFER_BYTES, page_checksum_verification=True
            )
            columns = dict(zip(table.schema_arrow.names, table.schema_arrow.types, strict=True))
        except failures as error:
            raise InputError(f"{one_line(file.path)}: not a parquet file: {_first_line(error)}") from error
        if text_field not in columns:
            raise InputError(
                f"{one_line(file.path)}: no column {text_field!r} (columns: {names(columns)}); "
                "name the right one with --text-field"
            )
        if not _is_text(columns[text_field]):
            raise InputError(
                f"{one_line(file.path)}: column {text_field!r} is {columns[text_field]}, not text; "
                "name the right one with --text-field"
            )
        total = table.metadata.num_rows
        step = min(how.limit, _rows_for(table.metadata, how.batch_bytes))
        batches = table.iter_batches(batch_size=step, columns=[text_field], use_threads=False)
        done = 0
        while True:
            try:
                batch = next(batches, None)
                column = None if batch is None else flat(batch.column(batch.schema.names.index(text_field)))
            except failures as error:
                raise InputError(
                    f"{one_line(file.path)}: corrupt after row {done}: {_first_line(error)}"
                ) from error
            if column is None:
                break
            for documents, rows, flaws, stop in _pieces(column, how.batch_bytes):
                numbered = [(row + done, flaw) for row, flaw in flaws]
                yield Chunk(documents, rows + done, numbered, file.size * (done + stop) // max(1, total))
            done += len(column)
        if done != total:
            raise InputError(f"{one_line(file.path)}: corrupt: {done} rows, where its footer says {total}")


def _pieces(
    column: Any, batch_bytes: int
) -> Iterator[tuple[Ragged, NDArray[np.int64], list[tuple[int, Flaw]], int]]:
    """A large_string array in pieces of about `batch_bytes`, as a dictionary or a skewed file holds more than
    its footer lets expect: (documents, their rows, flaws by row, the last row)."""
    text, sound = text_of_column(column), is_sound(column)
    for start, stop in text.slices(batch_bytes):
        documents = text.rows(start, stop)
        rows = np.arange(start, stop, dtype=np.int64) + 1
        if sound:
            yield documents, rows, [], stop
            continue
        null = column.slice(start, stop - start).is_null().to_numpy(zero_copy_only=False)
        found = list(map(flaw_of, documents, null))
        flaws = [(row, flaw) for row, flaw in zip(rows.tolist(), found, strict=True) if flaw]
        keep = np.array([flaw is None for flaw in found])
        yield documents.take(keep), rows[keep], flaws, stop


def flat(column: Any) -> Any:
    """An Arrow array of any kind of text as one of large_string, whose UTF-8 is not yet checked."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.large_binary()).view(pa.large_string())


def text_of_column(column: Any) -> Ragged:
    """A large_string array as a uint8 batch, without a copy; a slice of an array starts at 0 again."""
    if len(column) == 0:
        return Ragged.from_bytes([])
    _, offsets_buffer, values_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[column.offset : column.offset + len(column) + 1]
    values = np.frombuffer(values_buffer if values_buffer is not None else b"", np.uint8)
    return Ragged(values[offsets[0] : offsets[-1]], offsets - offsets[0])


def is_sound(column: Any) -> bool:
    """Whether every row of a large_string array is a document."""
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return column.null_count == 0 and bool((text_of_column(column).lengths <= MAX_DOCUMENT_BYTES).all())


def flaw_of(text: NDArray[np.uint8], null: bool) -> Flaw | None:
    """Why a row is no document, or None: the slow twin of `is_sound`."""
    if null:
        return Flaw("the text is null, not a string")
    if len(text) > MAX_DOCUMENT_BYTES:
        return too_long(len(text))
    try:
        str(text.data, "utf-8")
    except UnicodeDecodeError as error:
        return invalid_utf8(error)
    return None


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    strings = (pa.string(), pa.large_string(), pa.string_view())
    return kind in (*strings, pa.binary(), pa.large_binary(), pa.binary_view())


def _rows_for(metadata: Any, batch_bytes: int) -> int:
    """How many rows hold at most about `batch_bytes`, from the sizes that the file's footer gives.

    They are those of whole rows: asked for one column's, pyarrow 26 aborts the process on a
    footer with a flipped bit, where reading the column raises.
    """
    rows = int(metadata.num_rows)
    size = sum(int(metadata.row_group(g).total_byte_size) for g in range(metadata.num_row_groups))
    return max(1, min(MAX_BATCH_ROWS, batch_bytes * rows // max(1, size)))


def _first_line(error: BaseException) -> str:
    return one_line((str(error).splitlines() or [type(error).__name__])[0])
