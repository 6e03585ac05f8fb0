"""The folder an export is written in: `OUTPUT.partial`, renamed to OUTPUT when all of it is there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from tokenlab.errors import InputError
from tokenlab.export.record import EXPORT_FILE, ExportedFile, read_record

LOCK_FILE = "export.lock"
_CHUNK = 1 << 22


class ExportFolder:
    """Opened by `with`: takes the lock and clears what a killed export left. `files` and `notes`
    fill as a layout writes; `publish` makes it OUTPUT. Without `publish` nothing is left.

    Raises InputError when OUTPUT exists (unless `force` and an export alone is there), or
    OUTPUT.partial is not ours or in use.
    """

    def __init__(self, output: Path, *, force: bool) -> None:
        self.output = output
        self.path = output.with_name(output.name + ".partial")
        self.files: list[ExportedFile] = []
        self.notes: list[str] = []
        self.copied = False
        self._force = force
        self._lock = FileLock(self.path / LOCK_FILE)

    def __enter__(self) -> ExportFolder:
        check_output(self.output, force=self._force)
        if self.path.exists() and any(self.path.iterdir()) and not (self.path / LOCK_FILE).exists():
            raise InputError(f"{self.path} is in the way, and is no unfinished export; finish or remove it")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(f"{self.output}: another export is writing it") from error
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != LOCK_FILE:
                entry.unlink()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.path.exists():
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    @contextmanager
    def create(self, name: str) -> Iterator[DigestFile]:
        """A file to write front to back; it is fsynced and recorded when the block ends well."""
        path = self._place(name)
        with open(path, "wb") as raw:
            file = DigestFile(raw)
            yield file
            raw.flush()
            os.fsync(raw.fileno())
        self.files.append(ExportedFile(name, file.written, file.digest.hexdigest()))

    def write(self, name: str, content: bytes | str) -> None:
        """A small file in one go."""
        with self.create(name) as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def link(self, name: str, source: Path, sha256: str) -> None:
        """A hard link to a file of the dataset, whose sha256 is known; a copy where the file
        system refuses a link, which `copied` tells."""
        path = self._place(name)
        try:
            os.link(source, path)
            linked = True
        except OSError:  # another file system, or one without hard links
            linked = False
            self.copied = True
            with open(source, "rb") as origin, open(path, "wb") as copy:
                shutil.copyfileobj(origin, copy, _CHUNK)
                copy.flush()
                os.fsync(copy.fileno())
        self.files.append(ExportedFile(name, path.stat().st_size, sha256, linked))

    def note(self, line: str) -> None:
        """One line that the export's user must know."""
        self.notes.append(line)

    def publish(self, record: bytes) -> None:
        """Write `export.json` and rename the folder to OUTPUT, in place of the export there."""
        self.files.sort(key=lambda file: file.name)
        with open(self.path / EXPORT_FILE, "wb") as file:
            file.write(record)
            file.flush()
            os.fsync(file.fileno())
        (self.path / LOCK_FILE).unlink(missing_ok=True)
        for folder, _, _ in os.walk(self.path, topdown=False):
            _sync(Path(folder))
        replaced = self.output.with_name(f"{self.output.name}.{os.getpid()}.replaced")
        if self.output.exists():
            self.output.rename(replaced)
        self.path.rename(self.output)
        _sync(self.output.parent)
        shutil.rmtree(replaced, ignore_errors=True)

    def _place(self, name: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class DigestFile(RawIOBase):
    """A file opened for writing that counts and digests what goes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.written = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self.written

    def write(self, data: Any) -> int:
        """All of `data`, any buffer; its length in bytes."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self.digest.update(view)
        self.written += len(view)
        return len(view)


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_output(output: Path, *, force: bool) -> None:
    """Raise InputError when OUTPUT is there and must not be replaced: it is not an export, it holds
    files that the export did not write, or `force` is not given."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    record = read_record(output) if output.is_dir() else None
    if record is None:
        raise InputError(f"{output} exists and is no export; choose another --output or remove it yourself")
    if not force:
        raise InputError(f"{output} exists; choose another --output or pass --force to replace it")
    names = (str(path.relative_to(output)) for path in output.rglob("*") if not path.is_dir())
    foreign = sorted(set(names) - set(record.files) - {EXPORT_FILE})
    if foreign:
        raise InputError(f"{output} holds {foreign[0]}, which no export wrote; move it away first")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
