"""Text files: JSON lines and plain text, as they are or compressed.

A JSONL file is split at b"\\n" and nowhere else: a text may hold U+0085 or U+2028, which
`str.splitlines` takes for the end of a row. Two parsers read it. The fast one (msgspec) takes
the text field and checks only what it passes; a line that it refuses goes to the slow one
(stdlib `json`), which words the reason, or accepts the line after all: Python programs write
`NaN`, and a lone surrogate in some other field is not our business.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol

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

BLOCK_BYTES = 1 << 16
"""Bytes of the file read at a time. Small, because a block of zstd may become 30,000 times its size."""

BOM = b"\xef\xbb\xbf"


def read_jsonl(file: SourceFile, how: Reading) -> Iterator[Chunk]:
    """The documents of a file of one JSON object a line."""
    with _open(file) as raw:
        yield from chunks_of(_parse(_lines(_text(raw, file.path)), how.text_field), how, raw.tell)


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


def _parse(lines: Iterator[bytes], field: str) -> Iterator[tuple[int, bytes | Flaw]]:
    import msgspec

    decode = fast_decoder(field)
    refused = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
    for row, line in enumerate(lines, 1):
        if row == 1:
            line = line.removeprefix(BOM)
        try:
            document: bytes | Flaw = decode(line).text.encode()
        except refused:
            if not line.strip(b" \t\r"):
                continue
            document = parse_slowly(line, field)
        yield row, document


def fast_decoder(field: str) -> Callable[[bytes], Any]:
    """A parser of lines whose result has the field as its `text`, a str; raises on any other line."""
    import msgspec

    try:
        record = msgspec.defstruct("Record", [("text", str)], rename={"text": field}, gc=False)
    except ValueError:  # msgspec takes no field name with a quote or a control character in it

        def refuse(line: bytes) -> Any:
            raise msgspec.DecodeError

        return refuse
    return msgspec.json.Decoder(record).decode


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


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines without their b"\\n"; what follows the last one is a line unless empty."""
    parts: list[bytes] = []  # of a line that is not over; joined once, as it may span many blocks
    for block in blocks:
        first, *rest = block.split(b"\n")
        parts.append(first)
        if rest:
            yield b"".join(parts)
            parts = [rest.pop()]
            yield from rest
    if last := b"".join(parts):
        yield last


def _open(file: SourceFile) -> BinaryIO:
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
