"""What an export is: `export.json`, written last, and the report of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tokenlab.errors import InputError

EXPORT_FILE = "export.json"
FORMAT = "tokenlab-export"
FORMAT_VERSION = 1


class ExportedFile(msgspec.Struct, frozen=True):
    """A file of an export. `linked`: a hard link to a file of the dataset, so its bytes are shared."""

    name: str
    bytes: int
    sha256: str
    linked: bool = False


class ExportSource(msgspec.Struct, frozen=True):
    """The dataset that was exported; `manifest_sha256` is that of its manifest.json."""

    name: str
    scheme: str
    fingerprint: str
    documents_sha256: str
    manifest_sha256: str


class ExportRecord(msgspec.Struct, frozen=True):
    """The content of `export.json`. It holds no path and no time."""

    format: str
    format_version: int
    tokenlab_version: str
    layout: str
    source: ExportSource
    files: dict[str, dict[str, str | int]]
    notes: tuple[str, ...]

    def to_json(self) -> bytes:
        """The file's content: indented, keys in declaration order, a newline at the end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


class ExportReport(msgspec.Struct, frozen=True):
    """What an export wrote; `notes` are what its user must know to use it rightly."""

    layout: str
    dataset: str
    output: str
    files: tuple[ExportedFile, ...]
    notes: tuple[str, ...]


def read_record(folder: Path) -> ExportRecord | None:
    """The record of an export, or None where the folder holds none. Raises InputError for a broken one."""
    path = folder / EXPORT_FILE
    try:
        content = path.read_bytes()
    except OSError:
        return None
    try:
        record = msgspec.json.decode(content, type=ExportRecord)
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: not the record of a tokenlab export: {error}") from error
    return record if (record.format, record.format_version) == (FORMAT, FORMAT_VERSION) else None
