"""A file behind a URL, read as if it were here.

A reading asks for ranges and never holds more than REQUEST_BYTES of a file that is read from
end to end. A connection that breaks is made again at the byte where it broke. A server of
http without ranges can be read from end to end too, but not after a break.

What stands in for the mtime of a local file is the first of ETag, version, checksum and time
that the server tells. It is compared, with the size, before and after a reading and at
every new connection.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, TypeVar, cast

from tokenlab.corpus.documents import one_line
from tokenlab.corpus.retries import PAUSES, Tries
from tokenlab.corpus.urls import is_http, lasts, said
from tokenlab.errors import InputError, InputUnavailable

REQUEST_BYTES = 1 << 22
"""Bytes of one request for a range. At 50 ms a request that is 80 MB/s, more than a core encodes."""

LEAST_REQUEST_BYTES = 1 << 16

VERSIONS = ("ETag", "etag", "VersionId", "blob_id", "md5Hash", "Last-Modified", "LastModified", "mtime")
"""What drivers call the version of a file, the surest first."""

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """A file as its server described it when the corpus was opened.

    `size`: None when the server does not tell. `version`: "" likewise.
    """

    name: str
    size: int | None
    version: str
    path: str = field(repr=False)
    system: Any = field(repr=False)

    def stream(self) -> BinaryIO:
        """The file, to be read from end to end."""
        return cast(BinaryIO, _Reader(self, ahead=True))

    def ranges(self) -> BinaryIO:
        """The file, to be read here and there. Raises InputError where the server cannot."""
        if self.size is None:
            raise InputError(f"{one_line(self.name)}: {_NEEDS_RANGES.format('does not tell its size')}")
        return cast(BinaryIO, _Reader(self, ahead=False))

    def check(self) -> None:
        """Raise InputError when it is no longer the file that it was."""
        tried(self.compare, self.name, PAUSES)

    def compare(self) -> None:
        """The same with one try, and whatever the driver raises."""
        self.system.invalidate_cache()
        info = self.system.info(self.path)
        if (info.get("size"), version_of(info)) != (self.size, self.version):
            raise self.changed()

    def changed(self) -> InputError:
        """What a reading ends with that finds another file."""
        return InputError(f"{one_line(self.name)}: changed since it was opened; start again")


def version_of(info: dict[str, Any]) -> str:
    """What tells a file from what it was before; "" when nothing does."""
    found = next((info[key] for key in VERSIONS if info.get(key)), "")
    return str(found).strip('"')


def tried(action: Callable[[], T], name: str, pauses: tuple[float, ...]) -> T:
    """Ask a server about a file, again if it may help."""
    tries = Tries(pauses)
    while True:
        try:
            return action()
        except InputError:
            raise
        except Exception as error:  # as above
            if lasts(error):
                raise InputUnavailable(f"{one_line(name)}: {said(error)}") from None
            if not tries.pause():
                made = f" ({tries.made} tries)"
                raise InputUnavailable(f"{one_line(name)}: cannot be reached: {said(error)}{made}") from None


class _Connection(Protocol):
    """Reads at most so many bytes from `at` on; `stop` is where the bytes end that are wanted, if known."""

    def read(self, at: int, most: int, stop: int | None, /) -> bytes: ...
    def close(self) -> None: ...


_NEEDS_RANGES = "the server {}, which parquet needs; download the file and give its path"


class _NoRangesError(Exception):
    """The server answered a request for a part of the file with all of it."""


class _Http:
    """Responses that are read while they arrive, each up to `stop` or the end of the file."""

    def __init__(self, file: RemoteFile) -> None:
        self._remote = file
        self._file: Any = None
        self._at = 0
        self._stop: int | None = None

    def read(self, at: int, most: int, stop: int | None) -> bytes:
        if self._file is None or at != self._at or at == self._stop:
            self.close()
            self._open(at, stop)
        data = bytes(self._file.read(most))
        self._at += len(data)
        return data

    def _open(self, start: int, stop: int | None) -> None:
        remote = self._remote
        headers = {"Accept-Encoding": "identity"}
        part = start > 0 or stop is not None
        if part:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        # With a size, fsspec asks no questions; with no blocks, it streams.
        self._file = remote.system.open(remote.path, "rb", block_size=0, size=1, headers=headers)
        self._at, self._stop = start, stop
        if part:
            response = self._file.r
            answer = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if response.status != 206 or answer is None or int(answer[1]) != start:
                raise _NoRangesError
            if remote.size is not None and answer[2] not in ("*", str(remote.size)):
                raise remote.changed()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Store:
    """A request for each read: what object stores are made for."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file.system.open(file.path, "rb", cache_type="none")

    def read(self, at: int, most: int, stop: int | None) -> bytes:
        self._file.seek(at)
        return bytes(self._file.read(most))

    def close(self) -> None:
        self._file.close()


class _Reader(io.RawIOBase):
    """What the readers of files take for a file. `ahead`: fetch beyond what is asked for."""

    def __init__(self, file: RemoteFile, *, ahead: bool) -> None:
        self._remote = file
        self._ahead = ahead
        self._at = 0  # of the next byte to hand out
        self._held = memoryview(b"")  # fetched, and not yet handed out
        self._connection: _Connection | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._remote.size or 0}[whence]
        if base + offset != self._at:
            self._at = base + offset
            self._held = memoryview(b"")
        return self._at

    def close(self) -> None:
        self._disconnect()
        super().close()

    def read(self, size: int = -1) -> bytes:
        """That many bytes, or all; fewer only at the end."""
        parts: list[bytes] = []
        stop = None if self._ahead or size < 0 else self._at + size
        while size:
            if not self._held:
                most = REQUEST_BYTES if stop is None else min(size, REQUEST_BYTES)
                self._held = memoryview(self._fetch(most, stop))
                if not self._held:
                    break
            part = bytes(self._held[:size] if size > 0 else self._held)
            self._held = self._held[len(part) :]
            self._at += len(part)
            size -= len(part) if size > 0 else 0
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _fetch(self, most: int, stop: int | None) -> bytes:
        """The next bytes, with as many tries as it takes; b"" at the end."""
        file, tries = self._remote, Tries()
        if file.size is not None:
            stop = None if stop is None else min(stop, file.size)
            if self._at >= file.size:
                return b""
        while True:
            try:
                if tries.made > 1:
                    file.compare()
                if self._connection is None:
                    self._connection = _Http(file) if is_http(file.name) else _Store(file)
                data = self._connection.read(self._at, most, stop)
                if file.size is None or 0 < len(data) <= file.size - self._at:
                    return data
                if data:
                    raise file.changed()
                raise EOFError("the server ends the file early")
            except InputError:
                raise
            except Exception as error:  # whatever the network stack of the protocol raises
                self._disconnect()
                self._pause(tries, error)
            # A connection that breaks takes with it what arrived and was not yet read (aiohttp: up to
            # 400 KB), or the whole request: smaller ones get through.
            most = max(min(most, LEAST_REQUEST_BYTES), most // 2)
            if file.size is not None:
                stop = min(self._at + most, file.size)

    def _pause(self, tries: Tries, error: Exception) -> None:
        """Wait for the next try; raise InputError when there is none."""
        file = self._remote
        name = one_line(file.name)
        size = "" if file.size is None else f" of {file.size:,}"
        where = f"{name}: cannot be read after byte {self._at:,}{size}"
        if isinstance(error, _NoRangesError):
            if not self._ahead:
                raise InputError(f"{name}: {_NEEDS_RANGES.format('sends no parts of a file')}") from None
            raise InputUnavailable(
                f"{where}: the connection broke, and the server sends no parts of a file, so the reading "
                "cannot go on where it stopped; start again, or download the file and give its path"
            ) from None
        if lasts(error):
            raise InputUnavailable(f"{where}: {said(error)}") from None
        if not tries.pause():
            raise InputUnavailable(f"{where}: {said(error)} ({tries.made} tries)") from None

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be broken
                connection.close()
