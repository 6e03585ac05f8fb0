"""Running the command line as a user does: as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

READ_AT_START = ("PYTHON", "NUMBA", "NUMPY", "GLIBC", "LD_")
"""Beginnings of the names of variables that a process reads before it runs a command."""

ONE_THREAD = """
from tokenlab.own_process import import_numpy, take_over
take_over()
import_numpy()
"""
"""A program's first lines, with which a command begins that may fork."""


def _read_at_start() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(READ_AT_START)}


AT_FIRST = _read_at_start()
"""What they were before the first test."""


def tokenlab(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`tokenlab ARGUMENTS`, its output captured. A process of its own, forked by `tests.command_server`, or
    started anew where a test has set what is read at the start."""
    given = list(map(str, arguments))
    if _read_at_start() != AT_FIRST:
        command = [sys.executable, "-m", "tokenlab", *given]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)
    server = _server()
    assert server.stdin
    assert server.stdout
    with tempfile.NamedTemporaryFile("r") as stdout, tempfile.NamedTemporaryFile("r") as stderr:
        request = [given, dict(os.environ), str(cwd or Path.cwd()), stdout.name, stderr.name]
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(given, code, stdout.read(), stderr.read())


@cache
def _server() -> subprocess.Popen[str]:
    """It ends when this process does, and with it its end of the pipe."""
    command = [sys.executable, "-m", "tests.command_server"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )


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
