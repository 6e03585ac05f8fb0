"""Builds that are killed with -9 at their n-th file operation, each in a process of its own.

A script, because the children are forked and must inherit nothing but tokenlab. It reads
lines of JSON, [OUT, KILL_AT, FORCE], and for each builds at OUT (KILL_AT 0: to the end), then
prints a line of JSON: file operations by stage, the numbers of those that renamed, parts
encoded, parts and shards reused, whether it was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tokenlab.build import BuildOptions, build, make_plan, run
from tokenlab.build.encode import PartEncoder

EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir"}
OPTIONS: dict[str, Any] = {
    "scheme": "bpe",
    "vocab_size": 400,
    "part_bytes": 50_000,
    "shard_tokens": 60_000,
    "train_bytes": True,
}


def build_until(output: Path, kill_at: int, pipe: int, force: bool) -> None:
    """The build, killed at a file operation below the folder of `output`."""
    home = str(output.parent)
    counts: dict[str, int] = {}
    stage = ["start"]
    done = 0
    renames = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event in EVENTS and str(arguments[0]).startswith(home):
            done += 1
            counts[stage[0]] = counts.get(stage[0], 0) + 1
            if event == "os.rename":
                renames.append(done)
            if done == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    original, encode = run._Build._stage, PartEncoder.encode

    def staged(self: Any, name: str) -> Any:
        stage[0] = name
        return original(self, name)

    def encoding(self: Any, part: Any) -> Any:
        os.write(pipe, b"e")
        return encode(self, part)

    run._Build._stage = staged  # type: ignore[method-assign,assignment]
    PartEncoder.encode = encoding  # type: ignore[method-assign]
    sys.addaudithook(hook)
    report = build(make_plan(BuildOptions(output=output, force=force, **OPTIONS)))
    record = {
        "operations": counts,
        "renames": renames,
        "parts": report.reused_parts,
        "shards": report.reused_shards,
    }
    os.write(pipe, b"\n" + json.dumps(record).encode())


def run_once(output: Path, kill_at: int, force: bool) -> dict[str, Any]:
    """`build_until` in a child process, and what is known of it afterwards."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            build_until(output, kill_at, writer, force)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        encoded, _, record = pipe.read().partition("\n")
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return json.loads(record or "{}") | {"encoded": len(encoded), "killed": killed}


if __name__ == "__main__":
    for line in sys.stdin:
        output, kill_at, force = json.loads(line)
        print(json.dumps(run_once(Path(output), kill_at, force)), flush=True)
