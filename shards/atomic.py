"""Files that are complete or absent: written beside, fsynced, renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_SUFFIX = ".partial"


@contextmanager
def write_atomically(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears at `path` when the block ends well, and not at all otherwise.

    Without `sync` a machine that loses its power may keep the name and lose the content: for files that
    whoever reads them holds against a digest. Raises OSError (a full disk, a missing folder) with nothing
    left behind.
    """
    # A name of its own: a writer that was thought dead, perhaps on another machine, may still write.
    beside = path.with_name(f"{path.name}.{secrets.token_hex(6)}{_SUFFIX}")
    try:
        with open(beside, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if sync:
        _sync_folder(path.parent)


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
