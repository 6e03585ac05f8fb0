"""A process of its own reads what the command would read itself, whatever befalls it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.command import ONE_THREAD, write_jsonl
from tests.test_build import digests
from tests.test_interruption import parts_of, wait_for_the_end_of
from tokenlab.build import BuildOptions, build, make_plan
from tokenlab.card import CARD_FILE
from tokenlab.errors import TokenlabError
from tokenlab.manifest import MANIFEST_FILE, read_manifest
from tokenlab.verification import source, verify

BUILD = """
import json, os, sys, time
from pathlib import Path
from tokenlab.build import BuildOptions, build, make_plan
from tokenlab.build import part_reader, run
from tokenlab.errors import TokenlabError

class Reader(part_reader.PartReader):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self._process._process.pid, flush=True)

def add(self, record, add=run.PartTotals.add):
    add(self, record)
    print("part", flush=True)
    time.sleep(pause)

run.PartReader, run.PartTotals.add = Reader, add
options, away, pause = json.loads(sys.argv[1])
options["output"] = Path(options["output"])
plan = make_plan(BuildOptions(**options))
if away:
    os.rename(away, away + ".away")
try:
    print(build(plan).reused_parts)
except TokenlabError as error:
    sys.exit(f"tokenlab: {error}")
"""
"""Prints the reading process, a line for each part that is done, and how many were there before."""


def options(output: Path, files: list[Path], **changed: Any) -> dict[str, Any]:
    few = {"scheme": "bytes", "output": output, "inputs": tuple(map(str, files)), "val_docs": 5}
    return few | {"part_bytes": 4_000, "workers": 2} | changed


def start(given: dict[str, Any], *, away: Path | None = None, pause: float = 0) -> subprocess.Popen[str]:
    argument = json.dumps([given, away and str(away), pause], default=str)
    return subprocess.Popen(
        [sys.executable, "-c", ONE_THREAD + BUILD, argument],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def run(given: dict[str, Any], **more: Any) -> str:
    """A build that must use a reading process; the last line that it printed."""
    process = start(given, **more)
    stdout, stderr = process.communicate(timeout=120)
    assert stdout.split("\n")[0].isdigit(), (stdout, stderr)
    assert process.returncode == ("tokenlab: " in stderr), stderr
    return (stdout + stderr).splitlines()[-1]


def texts(seed: int) -> list[str]:
    """Some of them empty, one longer than a part, one with what JSON escapes."""
    lengths = random.Random(seed)
    several = [f"{seed} {n} é\n" * lengths.randrange(60) for n in range(150)]
    return [*several, "long " * 2_000, "", '"\\ \u2028 \x00 \U0001f600']


def one_of_each_kind(folder: Path) -> list[Path]:
    plain = write_jsonl(folder / "a.jsonl", texts(1))
    with plain.open("a") as file:
        file.write("this row is bad\n")
    packed = folder / "b.jsonl.zst"
    packed.write_bytes(zstandard.compress(write_jsonl(folder / "b", texts(2)).read_bytes()))
    table = folder / "c.parquet"
    pq.write_table(pa.table({"text": texts(3)}), table)
    return [plain, packed, table]


def test_the_dataset_is_that_of_one_process(tmp_path: Path) -> None:
    files = one_of_each_kind(tmp_path)
    for limit in (None, 300):
        given = {"on_bad_document": "skip", "limit_docs": limit, "force": True}
        run(options(tmp_path / "two", files, **given))
        build(make_plan(BuildOptions(**options(tmp_path / "one", files, workers=1, **given))))
        assert digests(tmp_path / "two") == digests(tmp_path / "one")
    assert len(read_manifest(tmp_path / "two").source.bad_documents) == 1


def test_who_parses_does_not_show(tmp_path: Path) -> None:
    """Where bad rows are skipped the process that reads parses them all, else it is the workers."""
    files = one_of_each_kind(tmp_path)
    files[0].write_text(files[0].read_text().removesuffix("this row is bad\n") + "\n \t\r\n")
    for bad in ("skip", "stop"):
        run(options(tmp_path / bad, files, on_bad_document=bad))
    skip, stop = digests(tmp_path / "skip"), digests(tmp_path / "stop")
    differ = {name for name in skip | stop if skip.get(name) != stop.get(name)}
    assert differ == {MANIFEST_FILE, CARD_FILE}, "they record the option"


def test_a_bad_document_is_named_as_by_one_process(tmp_path: Path) -> None:
    files = one_of_each_kind(tmp_path)
    with pytest.raises(TokenlabError) as caught:
        build(make_plan(BuildOptions(**options(tmp_path / "one", files, workers=1))))
    assert "a.jsonl: row 154: invalid JSON" in str(caught.value)
    assert run(options(tmp_path / "two", files)) == f"tokenlab: {caught.value}"
    assert not list(tmp_path.glob("two*")), "a bad document stays bad"


def test_a_vanished_input_loses_nothing(tmp_path: Path) -> None:
    files = one_of_each_kind(tmp_path)
    given = options(tmp_path / "out", files, on_bad_document="skip")
    assert "c.parquet: cannot be read: No such file" in run(given, away=files[2])
    finished = len(parts_of(tmp_path / "out"))
    assert finished > 10
    Path(f"{files[2]}.away").rename(files[2])
    assert run(given) == str(finished)
    build(make_plan(BuildOptions(**(given | {"output": tmp_path / "one", "workers": 1}))))
    assert digests(tmp_path / "out") == digests(tmp_path / "one")


def files_of_documents(process: int) -> int:
    files = set()
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if "tokenlab-documents" in os.readlink(file):
                files.add(file.stat().st_ino)  # a mapping has a descriptor of its own
    return len(files)


@pytest.mark.parametrize("who", ["reader", "build", "Ctrl-C"])
def test_what_is_killed_goes_on(tmp_path: Path, who: str) -> None:
    """The reading process, the build, or all of them by Ctrl-C: no process is left, and the work is."""
    files = one_of_each_kind(tmp_path)
    given = options(tmp_path / "out", files, on_bad_document="skip")
    process = start(given, pause=0.05)
    assert process.stdout
    reader = int(process.stdout.readline())
    for _ in range(8):
        assert process.stdout.readline() == "part\n"
    assert 0 < files_of_documents(reader) <= 5, "two for each worker, and the one that comes next"
    if who == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(reader if who == "reader" else process.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert ("the process that reads the input was killed (out of memory?)" in stderr) == (who == "reader")
    assert process.returncode == {"reader": 1, "build": -signal.SIGKILL, "Ctrl-C": -signal.SIGINT}[who]
    wait_for_the_end_of([reader])
    there = len(parts_of(tmp_path / "out"))
    report = build(make_plan(BuildOptions(**given)))
    assert report.reused_parts >= there > 8
    build(make_plan(BuildOptions(**(given | {"output": tmp_path / "one", "workers": 1}))))
    assert digests(tmp_path / "out") == digests(tmp_path / "one")


VERIFY = """
import os, signal, sys, msgspec
from tokenlab.errors import TokenlabError
from tokenlab.verification import source, verify

class Reader(source.IteratorProcess):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print("reads", flush=True)
        if sys.argv[3] == "killed":
            os.kill(self._process.pid, signal.SIGKILL)

source.IteratorProcess = Reader
source.LEAST_BYTES = int(sys.argv[4])
try:
    result = verify(sys.argv[1], docs=sys.argv[2].split(":"))
    print(msgspec.json.encode(result).decode())
except TokenlabError as error:
    sys.exit(f"tokenlab: {error}")
"""


def test_verify_reads_the_source_so_too(tmp_path: Path) -> None:
    """The same verdicts, of documents that are the source and of others, more files than it reads ahead."""
    files = one_of_each_kind(tmp_path)
    files += [write_jsonl(tmp_path / f"{n}.jsonl", [f"document {n}"]) for n in range(20)]
    given = options(tmp_path / "out", files, workers=1, on_bad_document="skip")
    build(make_plan(BuildOptions(**given)))

    def verified(docs: list[Path], what: str = "", least: int = 1) -> subprocess.CompletedProcess[str]:
        arguments = [tmp_path / "out", ":".join(map(str, docs)), what, str(least)]
        return subprocess.run(
            [sys.executable, "-c", ONE_THREAD + VERIFY, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )

    for docs, verdict in ((files, "trust"), ([files[1], files[0], *files[2:]], "reject")):
        judged = verify(tmp_path / "out", docs=docs)
        assert judged.verdict == verdict
        for least in (1, 2_000, source.LEAST_BYTES):
            assert verified(docs, least=least).stdout == f"reads\n{msgspec.json.encode(judged).decode()}\n"
    killed = verified(files, "killed")
    assert killed.returncode == 1
    assert killed.stderr.startswith("tokenlab: the process that reads the input was killed (out of memory?)")
