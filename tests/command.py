"""Running the command line as a user does: as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def tokenlab(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`tokenlab ARGUMENTS`, its output captured."""
    command = [sys.executable, "-m", "tokenlab", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


def refused(*arguments: object) -> str:
    """The one line on stderr of a command that must end with exit code 2 and no traceback."""
    result = tokenlab(*arguments)
    assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
    lines = [line for line in result.stderr.splitlines() if line.startswith("tokenlab: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    return lines[0]


def write_jsonl(path: Path, texts: list[str], **fields: Any) -> Path:
    """A JSONL file of documents."""
    rows = [json.dumps({"text": text, **fields}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(rows) + "\n")
    return path
