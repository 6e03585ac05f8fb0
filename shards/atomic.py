"""Files that are complete or absent: written beside, fsynced, renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO

_SUFFIX = ".partial"


class AtomicFile:
    """A binary `file` under another name, which becomes `path` by `commit` and nothing by `discard`.

    Without `sync` a machine that loses its power may keep the name and lose the content: for files that
    whoever reads them holds against a digest. Raises OSError (a full disk, a missing folder).
    """

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        self._path = path
        self._sync = sync
        # A name of its own: a writer that was thought dead, perhaps on another machine, may still write.
        self._beside = path.with_name(f"{path.name}.{secrets.token_hex(6)}{_SUFFIX}")
        self.file: BufferedRandom = open(self._beside, "w+b")  # noqa: SIM115  # closed by both ends

    def commit(self) -> None:
        """Let the file appear at its path. Raises OSError with nothing left behind."""
        try:
            with self.file:
                if self._sync:
                    self.file.flush()
                    os.fsync(self.file.fileno())
            os.replace(self._beside, self._path)
        except BaseException:
            self.discard()
            raise
        if self._sync:
            _sync_folder(self._path.parent)

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # what it could not write on a full disk
            self.file.close()
        self._beside.unlink(missing_ok=True)


@contextmanager
def write_atomically(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears at `path` when the block ends well, and not at all otherwise; `sync` and
    errors as for `AtomicFile`."""
    atomic = AtomicFile(path, sync=sync)
    try:
        yield atomic.file
    except BaseException:
        atomic.discard()
        raise
    atomic.commit()


def remove_leftovers(folder: Path) -> None:
    """Delete what killed writers left beside their targets in `folder` and below."""
    for leftover in folder.rglob(f"*{_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
