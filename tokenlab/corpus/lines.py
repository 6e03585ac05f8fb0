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
from typing import Any, BinaryIO, Protocol

import numpy as np

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

BOM = b"\xef\xbb\xbf"


def read_jsonl(file: SourceFile, how: Reading) -> Iterator[Chunk]:
    """The documents of a file of one JSON object a line."""
    fast = fast_decoder(how.text_field)
    left = how.limit
    row = 1
    with _open(file) as raw:
        for text in _whole_lines(_text(raw, file.path), how.batch_bytes, how.limit):
            lines = _lines(text.removeprefix(BOM) if row == 1 else text)
            while left and (group := _take(lines, how.batch_bytes, left)):
                chunk = _parse_fast(fast, row, group, raw.tell())
                if chunk is not None:
                    left -= len(group)
                    yield chunk
                else:
                    parsed = _parse(row, group, how.text_field)
                    for chunk in chunks_of(parsed, replace(how, limit=left), raw.tell):
                        left -= len(chunk.documents)
                        yield chunk
                row += len(group)
            if not left:
                return


def _take(lines: Iterator[memoryview], size: int, most: int) -> list[memoryview]:
    """The next lines, about `size` bytes and `most` lines of them; none at the end."""
    group: list[memoryview] = []
    held = 0
    for line in lines:
        group.append(line)
        held += len(line)
        if held >= size or len(group) == most:
            break
    return group


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


def _parse_fast(
    decode: Callable[[memoryview], Any] | None, row: int, lines: list[memoryview], consumed: int
) -> Chunk | None:
    """The documents of lines that are all as they should be, or None: then `_parse` says more."""
    import msgspec

    from tokenlab.corpus.json_kernels import unescape

    if decode is None:
        return None
    try:
        strings = [decode(line).text for line in lines]
    except (msgspec.DecodeError, RecursionError):
        return None
    joined = np.frombuffer(b"".join(strings), np.uint8)
    values, offsets, good = unescape(joined, offsets_of([len(memoryview(string)) for string in strings]))
    if not good or np.diff(offsets).max(initial=0) > MAX_DOCUMENT_BYTES:
        return None
    rows = np.arange(row, row + len(lines), dtype=np.int64)
    return Chunk(Ragged(values, offsets), rows, [], consumed)


def fast_decoder(field: str) -> Callable[[memoryview], Any] | None:
    """A parser of lines that gives the field as its `text`, a slice of JSON, and raises on what
    is no JSON object with that field; None for a name that msgspec cannot have (one with a quote
    or a control character in it)."""
    import msgspec

    try:
        record = msgspec.defstruct("Record", [("text", msgspec.Raw)], rename={"text": field}, gc=False)
    except ValueError:
        return None
    return msgspec.json.Decoder(record).decode


def _parse(first_row: int, lines: list[memoryview], field: str) -> Iterator[tuple[int, bytes | Flaw]]:
    """The rows of some lines, each parsed by itself; a blank line is no row."""
    for row, line in enumerate(map(bytes, lines), first_row):
        if line.strip(b" \t\r"):
            yield row, parse_slowly(line, field)


def parse_slowly(line: bytes, field: str) -> bytes | Flaw:
    """The text of one line, or what is wrong with the line."""
    try:
        # Integers become 0: their value is ignored, and Python refuses some of over 4,300 digits.
        record = json.loads(line.decode(), parse_int=lambda digits: 0)
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


def _lines(text: bytes) -> Iterator[memoryview]:
    """The lines without their b"\\n"; what follows the last one is a line unless empty."""
    view = memoryview(text)
    start = 0
    while (end := text.find(b"\n", start)) >= 0:
        yield view[start:end]
        start = end + 1
    if start < len(text):
        yield view[start:]


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
