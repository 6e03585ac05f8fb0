"""How often an experiment has looked at its validation documents: looks.jsonl, which only grows.

Who looks often enough sees a difference by chance. So each computation over a set of runs is one line,
shown in every report; reading the same runs again adds nothing and is not counted. Documents held back
for confirmation are opened once: a second opening is refused, whatever it would be for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from filelock import FileLock

from tokenlab.errors import InputError

LOOKS = "looks.jsonl"


class Look(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One look: `slice` of the validation documents, `what` was computed, over which `runs` (folders
    within the experiment), at `time` (ISO 8601, UTC)."""

    time: str
    slice: Literal["validation", "confirmation"]
    what: str
    runs: tuple[str, ...]


def read_looks(folder: Path) -> tuple[Look, ...]:
    """The looks of an experiment, oldest first. Raises InputError for a file that is not a list of them."""
    path = folder / LOOKS
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    decoder = msgspec.json.Decoder(Look)
    looks = []
    for number, line in enumerate(lines, 1):
        try:
            looks.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise InputError(f"{path}, line {number}: not a look: {error}") from error
    return tuple(looks)


def look(folder: Path, what: str, runs: Sequence[str]) -> bool:
    """Note a look at the validation documents; False if the same was seen before. Raises InputError
    where it cannot be noted."""
    with _locked(folder):
        entry = Look(time=_now(), slice="validation", what=what, runs=tuple(sorted(runs)))
        if entry in (msgspec.structs.replace(seen, time=entry.time) for seen in read_looks(folder)):
            return False
        _append(folder, entry)
        return True


def open_confirmation(folder: Path, what: str, runs: Sequence[str]) -> None:
    """Note that the confirmation documents are opened. Raises InputError if they were before."""
    with _locked(folder):
        for seen in read_looks(folder):
            if seen.slice == "confirmation":
                raise InputError(
                    f"{folder / LOOKS}: the confirmation documents were opened at {seen.time} "
                    f"for {seen.what}; they confirm once. Hold back others with --confirm-docs N"
                )
        _append(folder, Look(time=_now(), slice="confirmation", what=what, runs=tuple(sorted(runs))))


def _locked(folder: Path) -> FileLock:
    """Two analyses at once must not both be the first."""
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: cannot write {LOOKS}; a look that is not counted is not given")
    return FileLock(folder / f".{LOOKS}.lock")


def _append(folder: Path, entry: Look) -> None:
    path = folder / LOOKS
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # One write: a line is there whole, or not at all.
            os.write(descriptor, msgspec.json.encode(entry) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(f"{path}: cannot note a look: {error.strerror}") from error


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
