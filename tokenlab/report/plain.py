"""Columns of plain text, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


def to_json(value: Any) -> str:
    """Any result as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()


def table(rows: Sequence[Sequence[str]], align: str = "") -> list[str]:
    """Columns side by side; by default the first is left-aligned, the others right."""
    align = align or "<" + ">" * (len(rows[0]) - 1)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            f"{cell:{how}{width}}" for cell, how, width in zip(row, align, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
