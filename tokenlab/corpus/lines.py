"""Text files: JSON lines and plain text, as they are or compressed.

A JSONL file is split at b"\\n" and nowhere else: a text may hold U+0085 or U+2028, which
`str.splitlines` takes for the end of a row. Two parsers read it. The fast one takes lines by
the group (msgspec finds the text field, a kernel unescapes the strings); a group in which
anything is out of the ordinary goes to the slow one (stdlib `json`), line by line. That words
the reason, or accepts the line after all: Python programs write `NaN`, and a lone surrogate
in some other field is not our business.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenlab.corpus.documents import (
    Chunk,
    Flaw,
    Reading,
    SourceFile,
    chunks_of,
    invalid_utf8,
    one_line,
    text_of,
    too_long,
)
from tokenlab.cuts import MAX_DOCUMENT_BYTES
from tokenlab.errors import InputError
from tokenlab.ragged import Ragged, offsets_of

BLOCK_BYTES = 1 << 16
"""Bytes of the file read at a time. Small, because a block of zstd may become 30,000 times its size."""

UNPARSED_BYTES = 1 << 19
"""Lines that are handed over at a time, about: they are put together where they are in the core's cache."""

BOM = b"\xef\xbb\xbf"

BLANK = b" \t\r\n"
"""A line of nothing else is no row."""


def read_jsonl(file: SourceFile, how: Reading) -> Iterator[Chunk]:
    """The documents of a file of one JSON object a line, or the lines."""
    size = how.batch_bytes if how.parse else UNPARSED_BYTES
    left = how.limit
    row = 1
    with _open(file) as raw:
        for text in _whole_lines(_text(raw, file.path), size, how.limit):
            lines, rows, row = _lines(text.removeprefix(BOM) if row == 1 else text, row)
            start = 0
            while left and start < len(lines):
                fitting = lines.fitting(start, size) if how.parse else len(lines)
                stop = min(max(start + 1, fitting), start + left)
                group, numbers = lines.rows(start, stop), rows[start:stop]
                start = stop
                for chunk in _chunks(group, numbers, replace(how, limit=left), raw.tell):
                    left -= len(chunk.documents)
                    yield chunk
            if not left:
                return


def _chunks(
    lines: Ragged, rows: NDArray[np.int64], how: Reading, consumed: Callable[[], int]
) -> Iterator[Chunk]:
    """The documents of some lines, parsed fast if they are all as they should be, else one by one."""
    if not how.parse:
        return iter([Chunk(lines, rows, [], consumed(), parsed=False)])
    texts = _parse_fast(lines, how.text_field)
    if texts is not None:
        return iter([Chunk(texts, rows, [], consumed())])
    parsed = (parse_slowly(line, how.text_field) for line in lines.tobytes())
    return chunks_of(zip(rows.tolist(), parsed, strict=True), how, consumed)


def parse_lines(lines: Ragged, field: str) -> Ragged | tuple[int, Flaw]:
    """The texts of lines of JSON as `row_batches` has them, at least one; or the first that has none, and
    why."""
    how = Reading(field, sys.maxsize, sys.maxsize)
    [chunk] = _chunks(lines, np.arange(len(lines)), how, lambda: 0)
    return chunk.flaws[0] if chunk.flaws else chunk.documents


def read_txt(file: SourceFile, how: Reading) -> Iterator[Chunk]:
    """A file that is one document, byte for byte (a byte order mark is kept)."""
    with _open(file) as raw:
        yield from chunks_of(_whole(_text(raw, file.path)), how, raw.tell)


def _whole(blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes | Flaw]]:
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        size += len(block)
        if size <= MAX_DOCUMENT_BYTES:
            parts.append(block)
        else:
            parts.clear()
    text = b"".join(parts)
    if text:
        try:
            text.decode()
            yield 1, text
        except UnicodeDecodeError as error:
            yield 1, invalid_utf8(error)
    elif size:
        yield 1, too_long(size)


def _parse_fast(lines: Ragged, field: str) -> Ragged | None:
    """The texts of lines that are all as they should be, or None: then `parse_slowly` says more."""
    import msgspec

    from tokenlab.corpus.json_kernels import unescape

    decode = _decoder(field)
    if decode is None:
        return None
    flat = lines.values.data
    try:
        strings = [decode(flat[a:b]).text for a, b in pairwise(lines.offsets.tolist())]
    except (msgspec.DecodeError, RecursionError):
        return None
    joined = np.frombuffer(b"".join(strings), np.uint8)
    values, offsets, good = unescape(joined, offsets_of([len(memoryview(string)) for string in strings]))
    if not good or np.diff(offsets).max(initial=0) > MAX_DOCUMENT_BYTES:
        return None
    return Ragged(values, offsets)


@cache
def _decoder(field: str) -> Callable[[memoryview], Any] | None:
    """A parser of lines that gives the field as its `text`, a slice of JSON, and raises on what
    is no JSON object with that field; None for a name that msgspec cannot have (one with a quote
    or a control character in it)."""
    import msgspec

    try:
        record = msgspec.defstruct("Record", [("text", msgspec.Raw)], rename={"text": field}, gc=False)
    except ValueError:
        return None
    return msgspec.json.Decoder(record).decode


def parse_slowly(line: bytes, field: str) -> bytes | Flaw:
    """The text of one line, or what is wrong with the line."""
    try:
        # Integers become 0: their value is ignored, and Python refuses some of over 4,300 digits.
        record = json.loads(line.removesuffix(b"\n").decode(), parse_int=lambda digits: 0)
    except UnicodeDecodeError as error:
        return invalid_utf8(error)
    except json.JSONDecodeError as error:
        return Flaw(f"invalid JSON: {error.msg.removesuffix(' at').rstrip(': ')} at column {error.colno}")
    except RecursionError:
        return Flaw("invalid JSON: nested too deeply")
    return text_of(record, field)


def _whole_lines(blocks: Iterator[bytes], size: int, limit: int) -> Iterator[bytes]:
    """The text cut behind line ends, about `size` bytes at a time. When `limit` lines were read no more is
    read than must be: there may be as many documents in them as are wanted."""
    parts: list[bytes] = []  # joined once, as a line may span many blocks
    held = 0
    for block in blocks:
        parts.append(block)
        held += len(block)
        if limit < sys.maxsize:
            limit -= block.count(b"\n")
        if (held >= size or limit <= 0) and (end := block.rfind(b"\n") + 1):
            parts[-1] = block[:end]
            yield b"".join(parts)
            parts = [block[end:]]
            held = len(block) - end
    yield b"".join(parts)


def _lines(text: bytes, row: int) -> tuple[Ragged, NDArray[np.int64], int]:
    """The lines that are not blank, each with its b"\n", their rows, and the row of what follows; `row` is
    that of the first line."""
    ends = [0]
    while end := text.find(b"\n", ends[-1]) + 1:
        ends.append(end)
    if ends[-1] < len(text):
        ends.append(len(text))
    lines = Ragged(np.frombuffer(text, np.uint8), np.array(ends, np.int64))
    keep = np.ones(len(lines), bool)
    for line in np.flatnonzero(lines.values[lines.offsets[:-1]] <= max(BLANK)).tolist():
        keep[line] = bool(text[ends[line] : ends[line + 1]].strip(BLANK))
    return lines.take(keep), row + np.flatnonzero(keep), row + len(lines)


def _open(file: SourceFile) -> BinaryIO:
    if file.remote is not None:
        return file.remote.stream()
    try:
        return open(file.path, "rb", buffering=0)
    except OSError as error:
        raise InputError(f"{one_line(file.path)}: cannot be read: {error.strerror}") from error


def _text(raw: BinaryIO, path: str) -> Iterator[bytes]:
    """The contents of a file in blocks, decompressed as its name says."""
    suffix = path.lower().rpartition(".")[2]
    blocks = _blocks(raw, path)
    if suffix == "gz":
        return _decompressed(blocks, path, "gzip", lambda: zlib.decompressobj(wbits=31), zlib.error)
    if suffix == "zst":
        import zstandard

        # Archives made with `zstd --long=31` need the full window.
        zstd = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        return _decompressed(blocks, path, "zstd", zstd.decompressobj, zstandard.ZstdError)
    return blocks


def _blocks(raw: BinaryIO, path: str) -> Iterator[bytes]:
    while True:
        try:
            block = raw.read(BLOCK_BYTES)
        except OSError as error:
            raise InputError(f"{one_line(path)}: cannot be read: {error.strerror}") from error
        if not block:
            return
        yield block


class _Frame(Protocol):
    """What zlib's and zstandard's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _decompressed(
    blocks: Iterator[bytes], path: str, kind: str, start: Callable[[], Any], corrupt: type[Exception]
) -> Iterator[bytes]:
    """Frame after frame (member after member) to the end of the file.

    Not the libraries' own file objects: zstandard's takes a file that was cut off for a whole one.
    """
    frame: _Frame | None = None
    for block in blocks:
        while block:
            if frame is None:
                block = block.lstrip(b"\0")  # padding, which tape and block devices leave behind
                if not block:
                    break
                frame = start()
            try:
                text = frame.decompress(block)
            except corrupt as error:
                raise InputError(
                    f"{one_line(path)}: not valid {kind}: {error}; fetch or compress the file again"
                ) from error
            yield text
            if not frame.eof:
                break
            block, frame = frame.unused_data, None
    if frame is not None:
        raise InputError(f"{one_line(path)}: the {kind} data is cut off; fetch or compress the file again")
