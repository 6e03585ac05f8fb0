"""Builds that are killed, interrupted or robbed of their input go on where they stopped, and end with
the bytes of an undisturbed build."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import ONE_THREAD, write_jsonl
from tests.test_build import TEXTS, VAL_DOCS, digests, make
from tokenlab.build import BuildOptions, build, make_plan
from tokenlab.build.parts import open_part, part_path, read_parts
from tokenlab.corpus import open_corpus
from tokenlab.errors import InputError, InputUnavailable, TokenlabError
from tokenlab.manifest import MANIFEST_FILE, read_manifest
from tokenlab.progress import Progress

SEED = 20241124
KILLS = 3
"""Random moments of each stage."""

Kill = Callable[..., dict[str, Any]]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "docs.jsonl", TEXTS)


@pytest.fixture(scope="module")
def killed_build() -> Iterator[Kill]:
    """Run a build of `tests/killed_builds.py` once, killed at a file operation."""
    command = [sys.executable, "-m", "tests.killed_builds"]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    assert server.stdin
    assert server.stdout

    def once(output: Path, kill_at: int = 0, force: bool = False) -> dict[str, Any]:
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps([str(output), kill_at, force]) + "\n")
        server.stdin.flush()
        result: dict[str, Any] = json.loads(server.stdout.readline())
        assert result["killed"] == (kill_at > 0)
        assert result["killed"] or "operations" in result, "the build failed: see stderr"
        return result

    yield once
    server.stdin.close()
    server.wait()
    server.stdout.close()


@pytest.fixture(scope="module")
def whole(killed_build: Kill, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """An undisturbed build: what was done, and where it is."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return killed_build(out), out


def parts_of(output: Path) -> list[Path]:
    return sorted(output.with_name(output.name + ".partial").rglob("*.part"))


@pytest.mark.parametrize("stage", ["vocabulary", "encode", "assemble", "publish"])
def test_killed_at_random_moments(
    tmp_path: Path, killed_build: Kill, whole: tuple[dict[str, Any], Path], stage: str
) -> None:
    operations: dict[str, int] = whole[0]["operations"]
    before = sum(operations[name] for name in list(operations)[: list(operations).index(stage)])
    moments = random.Random(f"{SEED} {stage}").sample(range(1, operations[stage] + 1), KILLS)
    for moment in moments:
        out = tmp_path / str(moment)
        first = killed_build(out, before + moment)
        there = len(parts_of(out))
        partial = out.with_name(out.name + ".partial")
        shards = len(list(partial.rglob("shards/*/*.json")))
        if (out / MANIFEST_FILE).exists() and not (partial / "plan.json").exists():
            assert stage == "publish"  # killed when all was done
            shutil.rmtree(partial, ignore_errors=True)
        else:
            second = killed_build(out)
            if "encode" in second["operations"]:
                assert (second["parts"], second["shards"]) == (there, shards)
            # One worker: at most the part that it was killed in is encoded twice.
            assert first["encoded"] + second["encoded"] - whole[0]["encoded"] in (0, 1)
        assert digests(out) == digests(whole[1])
        assert not partial.exists()


def test_killed_again_and_again(
    tmp_path: Path, killed_build: Kill, whole: tuple[dict[str, Any], Path]
) -> None:
    moments = random.Random(SEED)
    out = tmp_path / "out"
    encoded = 0
    for _ in range(4):
        encoded += killed_build(out, moments.randint(15, 60))["encoded"]
    last = killed_build(out)
    assert last["parts"] > 0
    assert encoded + last["encoded"] - whole[0]["encoded"] <= 4
    assert digests(out) == digests(whole[1])


def test_killed_while_it_replaces_a_dataset(
    tmp_path: Path, killed_build: Kill, whole: tuple[dict[str, Any], Path]
) -> None:
    """At every file operation of publishing with --force, the old dataset is there until the new one is,
    and whatever runs next leaves one of them at OUTPUT."""
    home = tmp_path / "home"
    out, partial = home / "out", home / "out.partial"
    make(out, None, seed=3)
    old, new = digests(out), digests(whole[1])
    steps = list(whole[0]["operations"].items())
    killed_build(out, sum(count for name, count in steps if name != "publish") + 3, force=True)
    if not (partial / "dataset" / MANIFEST_FILE).exists():
        raise AssertionError("the moment before publishing was missed")
    states = tmp_path / "state"
    shutil.copytree(home, states)
    undisturbed = killed_build(out, force=True)
    assert digests(out) == new
    seen = set()
    moments = {*range(6, sum(undisturbed["operations"].values()) + 1, 3), *undisturbed["renames"]}
    for moment in sorted(moments):
        shutil.rmtree(home)
        shutil.copytree(states, home)
        killed_build(out, moment, force=True)
        folders = (out, partial / "replaced", partial / "dataset")
        found = [digests(folder) for folder in folders if (folder / MANIFEST_FILE).exists()]
        assert new in found
        assert old in found or found[0] == new
        seen.add(tuple((folder / MANIFEST_FILE).exists() for folder in folders))
        try:
            make(out, None, seed=4)  # another build, not forced: it must not destroy either
        except InputError:
            assert digests(out) in (old, new)
        killed_build(out, force=True)
        assert digests(out) == new
        assert not partial.exists()
    assert (False, True, True) in seen, "no kill fell between the two renames"


INTERRUPTED_AT_A_START = """
import os, signal, sys
from multiprocessing import context
from tokenlab.cli import command, main
process = getattr(context, os.environ["START"])
start, started = process.start, []
def interrupted(self):
    start(self)
    started.append(self)
    if len(started) == int(os.environ["AT"]):
        os.kill(os.getpid(), signal.SIGINT)
process.start = interrupted
signal.signal(signal.SIGINT, signal.default_int_handler)
command() if os.environ["START"] == "ForkProcess" else main()
"""


@pytest.mark.parametrize("worker", [1, 2])
@pytest.mark.parametrize(
    ("command", "documents", "start"),
    [
        ("build --scheme bytes --val-docs 2", 2500, "ForkProcess"),
        ("build --scheme bytes --val-docs 2", 2500, "ForkServerProcess"),
        ("screen bytes bpe --vocab-size 280 --holdout-docs 2", 20, "ForkServerProcess"),
    ],
)
def test_ctrl_c_while_a_worker_starts(
    tmp_path: Path, command: str, documents: int, start: str, worker: int
) -> None:
    """It ends, in one line: no worker is left for which it would wait."""
    source = write_jsonl(
        tmp_path / "docs.jsonl", [f"document {n} " + "the cat " * 4000 for n in range(documents)]
    )
    arguments = [*command.split(), "--input", str(source), "--workers", "2"]
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_A_START, *arguments, "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"AT": str(worker), "START": start},
    )
    assert result.returncode == 130, result.stderr
    assert (
        result.stderr.splitlines()[-1] == "tokenlab: interrupted; the same command goes on where it stopped"
    )
    assert "Traceback" not in result.stderr


class Killed(BaseException):
    """Stands for a kill at a chosen moment."""


@pytest.fixture
def killed_when_assembling(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`make`, stopped when all parts are encoded, before the last shard of train."""

    def stop(*_: Any, **__: Any) -> None:
        raise Killed

    def made(*arguments: Any, **options: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("tokenlab.build.run._Build._finish_shards", stop)
            with pytest.raises(Killed):
                make(*arguments, **options)

    return made


def test_a_damaged_part_is_done_again(tmp_path: Path, killed_when_assembling: Callable[..., None]) -> None:
    out, options = tmp_path / "out", {"part_bytes": 60_000}
    make(tmp_path / "whole", None, **options)
    killed_when_assembling(out, None, **options)
    parts = parts_of(out)
    assert [int(path.stem) for path in parts] == list(range(len(parts)))
    content = bytearray(parts[3].read_bytes())
    content[1000] ^= 1
    parts[3].write_bytes(content)
    parts[5].write_bytes(parts[5].read_bytes()[:-1])
    parts[6].write_bytes(b"")
    report = make(out, None, **options)
    assert digests(out) == digests(tmp_path / "whole")
    assert report.reused_parts == len(parts) - 3


@pytest.mark.parametrize("damage", ["part", "shard"])
def test_parts_that_lost_their_tokens(
    tmp_path: Path, killed_when_assembling: Callable[..., None], damage: str
) -> None:
    """Parts are cut off before tokens that are in shards, and are done again if what has them is damaged."""
    out, options = tmp_path / "out", {"part_bytes": 60_000, "shard_tokens": 200_000}
    make(tmp_path / "whole", None, "bytes", **options)
    killed_when_assembling(out, None, "bytes", **options)
    parts = parts_of(out)
    cut = [path for path in parts if path.stat().st_size < 40_000]  # ids and charges: 3 bytes a token
    assert cut == parts[: len(cut)]
    assert 4 < len(cut) < len(parts)
    shard = tmp_path / "out.partial/dataset/fineweb_train_000000.bin"
    victim = cut[2] if damage == "part" else shard
    content = bytearray(victim.read_bytes())
    content[100] ^= 1
    victim.write_bytes(content)
    report = make(out, None, "bytes", **options)
    assert digests(out) == digests(tmp_path / "whole")
    assert report.reused_parts == len(parts) - len(cut) + 1  # the part of validation, whose shard is whole


def test_a_damaged_shard_is_written_again(
    tmp_path: Path, killed_build: Kill, whole: tuple[dict[str, Any], Path]
) -> None:
    out = tmp_path / "out"
    operations = whole[0]["operations"]
    killed_build(out, sum(operations.values()) - operations["publish"] - 2)
    shards = sorted((tmp_path / "out.partial/dataset").glob("*.bin"))
    content = bytearray(shards[0].read_bytes())
    content[-1] ^= 1
    shards[0].write_bytes(content)
    shards[1].unlink()
    assert killed_build(out)["shards"] == len(shards) - 2
    assert digests(out) == digests(whole[1])


def test_a_shard_of_other_parts_is_written_again(
    tmp_path: Path, killed_when_assembling: Callable[..., None]
) -> None:
    """A part that comes out another way, with another version of an encoder perhaps, takes the shards
    that were made of its predecessor with it."""
    out, options = tmp_path / "out", {"part_bytes": 60_000, "shard_tokens": 100_000}
    make(tmp_path / "whole", None, "bytes", **options)
    killed_when_assembling(out, None, "bytes", **options)
    records = sorted((tmp_path / "out.partial").rglob("shards/*/*.json"))
    assert len(records) > 3, "shards are written while later parts are encoded"
    for path in records[1:]:  # as if made of other parts: another digest of them, and other content
        finished = json.loads(path.read_text())
        shard = tmp_path / "out.partial/dataset" / finished["record"]["file"]
        shard.write_bytes(b"")
        finished["record"]["sha256"] = hashlib.sha256(b"").hexdigest()
        path.write_text(json.dumps(finished | {"parts_sha256": "0" * 64}))
    assert make(out, None, "bytes", **options).reused_shards == 1
    assert digests(out) == digests(tmp_path / "whole")


def test_another_plan_is_refused_and_named(
    tmp_path: Path, killed_when_assembling: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    killed_when_assembling(out, None)
    kept = parts_of(out)
    with pytest.raises(InputError, match="seed was 0, is now 7"):
        make(out, None, "bytes", seed=7)
    with monkeypatch.context() as patch:
        patch.setattr("tokenlab.__version__", "9.9")
        with pytest.raises(InputError, match=r'tokenlab was ".*", is now "9.9"'):
            make(out, None, "bytes")
    assert parts_of(out) == kept  # it is kept
    make(out, None, "bytes", seed=7, force=True)
    assert read_manifest(out).options["seed"] == 7


def test_changed_input_is_refused(
    tmp_path: Path, documents: Path, killed_when_assembling: Callable[..., None]
) -> None:
    killed_when_assembling(tmp_path / "out", documents)
    write_jsonl(documents, [*TEXTS, "one more"])
    with pytest.raises(InputError, match=r"holds an unfinished build that differs: .*docs\.jsonl"):
        make(tmp_path / "out", documents)


def test_an_input_changed_in_secret_is_noticed(
    tmp_path: Path, documents: Path, killed_when_assembling: Callable[..., None]
) -> None:
    """Same size, same time, another document: the parts know its digest."""
    out = tmp_path / "out"
    killed_when_assembling(out, documents)
    kept, before = parts_of(out), documents.stat()
    documents.write_text(documents.read_text().replace("A training document", "A draining document"))
    os.utime(documents, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert documents.stat().st_size == before.st_size
    with pytest.raises(InputError, match=r"docs\.jsonl: row 5 \(document 4\): another document than"):
        make(out, documents)
    assert parts_of(out) == kept
    make(out, documents, force=True)
    make(tmp_path / "fresh", documents)
    assert digests(out) == digests(tmp_path / "fresh")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_vanished_input_loses_nothing(tmp_path: Path, workers: int) -> None:
    files = [write_jsonl(tmp_path / f"{n}.jsonl", [f"{n} {i} " * 200 for i in range(40)]) for n in range(3)]

    def plan(name: str) -> Any:
        options = {"val_docs": 5, "part_bytes": 8_000, "workers": workers}
        return make_plan(
            BuildOptions(scheme="bytes", output=tmp_path / name, inputs=tuple(map(str, files)), **options)
        )

    planned = plan("out")
    files[2].rename(tmp_path / "away")
    with pytest.raises(InputError, match=r"2\.jsonl.*No such file") as caught:
        build(planned)
    assert caught.value.exit_code == 2
    finished = len(parts_of(tmp_path / "out"))
    assert finished > 2
    (tmp_path / "away").rename(files[2])
    assert build(plan("out")).reused_parts == finished
    build(plan("whole"))
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


@pytest.mark.parametrize(("error", "kept"), [(InputUnavailable, True), (InputError, False)])
def test_a_lost_server_keeps_the_work_and_a_bad_document_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[InputError], kept: bool
) -> None:
    def four_parts(*arguments: Any, **options: Any) -> Any:
        yield from itertools.islice(read_parts(*arguments, **options), 4)
        raise error("https://example.org/a.jsonl: cannot be read after byte 7")

    with monkeypatch.context() as patch:
        patch.setattr("tokenlab.build.run.read_parts", four_parts)
        with pytest.raises(error, match="after byte 7"):
            make(tmp_path / "out", None, part_bytes=60_000)
    assert (tmp_path / "out.partial").exists() == kept
    assert make(tmp_path / "out", None, part_bytes=60_000).reused_parts == (4 if kept else 0)


def test_full_disk_keeps_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 14:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr("shards.atomic.os.fsync", full)
    with pytest.raises(
        TokenlabError, match="No space left on device; free some space and run the same"
    ) as caught:
        make(tmp_path / "out", None, part_bytes=60_000)
    assert caught.value.exit_code == 2
    monkeypatch.undo()
    assert not (tmp_path / "out").exists()
    assert make(tmp_path / "out", None, part_bytes=60_000).reused_parts >= 1


def test_kill_9_and_the_lock(tmp_path: Path) -> None:
    """A second build into the same output is refused while the first runs; the lock of a dead one is not."""
    program = (
        "import sys, time; from pathlib import Path; from tokenlab.build.assembly import GrowingAssembly\n"
        "from tokenlab.build import *\n"
        "def wait(*a, **k):\n    print('assembling', flush=True); time.sleep(60)\n"
        "GrowingAssembly.finish = wait\n"
        "options = BuildOptions(scheme='bytes', output=Path(sys.argv[1]), part_bytes=60000)\n"
        "build(make_plan(options))"
    )
    out = tmp_path / "out"
    first = subprocess.Popen([sys.executable, "-c", program, str(out)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "assembling\n"
    for force in (False, True):
        with pytest.raises(InputError, match="another build is writing it"):
            make(out, None, "bytes", part_bytes=60_000, force=force)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    assert (tmp_path / "out.partial/lock").exists()
    assert not out.exists()
    report = make(out, None, "bytes", part_bytes=60_000)
    assert report.reused_parts == len(list(read_parts(open_corpus(None), val_docs=8, part_bytes=60_000)))


TWO_WORKERS = (
    ONE_THREAD
    + """
import os, sys, threading, time, multiprocessing
from pathlib import Path
from tokenlab.build import *
import tokenlab.build.run as run

add = run.PartTotals.add
def slowly(self, record):
    workers = multiprocessing.active_children()
    print(*{type(p).__name__ for p in workers}, *[p.pid for p in workers], flush=True)
    time.sleep(float(sys.argv[2]))
    add(self, record)
run.PartTotals.add = slowly
if __name__ == '__main__':
    if sys.argv[3] == 'ForkServerProcess':
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    build(make_plan(BuildOptions(scheme='bytes', output=Path(sys.argv[1]), part_bytes=40000, workers=2)))
"""
)
"""A process of one thread forks its workers; one of several has them forked for it."""

STARTS = ["ForkProcess", "ForkServerProcess"]


@pytest.mark.parametrize("start", STARTS)
def test_two_workers_killed_with_their_parent(tmp_path: Path, start: str) -> None:
    """Workers die with their parent, and its lock with them; each loses the part it was at, and no other."""
    script = tmp_path / "build.py"
    script.write_text(TWO_WORKERS)
    out = tmp_path / "out"
    moments = random.Random(SEED)
    first = subprocess.Popen([sys.executable, script, out, "0.1", start], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    for _ in range(moments.randint(1, 6)):
        started, *workers = first.stdout.readline().split()
    assert started == start
    assert len(workers) == 2
    there = len(parts_of(out))
    first.kill()
    first.wait()
    first.stdout.close()
    report = make(out, None, part_bytes=40_000, workers=2)
    assert not any(_alive(int(pid)) for pid in workers)
    assert report.reused_parts >= there > 0
    make(tmp_path / "whole", None, part_bytes=40_000)
    assert digests(out) == digests(tmp_path / "whole")


@pytest.mark.parametrize("start", STARTS)
def test_a_killed_worker_is_named(tmp_path: Path, start: str) -> None:
    script = tmp_path / "build.py"
    script.write_text(TWO_WORKERS)
    command = [sys.executable, script, tmp_path / "out", "0.1", start]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert first.stdout is not None
    os.kill(int(first.stdout.readline().split()[1]), signal.SIGKILL)
    _, stderr = first.communicate(timeout=60)
    assert "a worker was killed (out of memory?); run the same command again" in stderr
    assert make(tmp_path / "out", None, part_bytes=40_000).reused_parts > 0


def test_tasks_that_wait_are_dropped(tmp_path: Path) -> None:
    """Of those too that the pool has sent to its workers, so that Ctrl-C does not wait for two parts each."""
    program = (
        ONE_THREAD + "import sys, time\nfrom pathlib import Path\n"
        "from tokenlab.build.pool import WorkerPool\n"
        "def task(n):\n    (Path(sys.argv[1]) / str(n)).touch()\n    time.sleep(1)\n"
        "pool = WorkerPool(2)\ntasks = [pool.submit(task, n) for n in range(6)]\n"
        "while len(list(Path(sys.argv[1]).iterdir())) < 2:\n    time.sleep(0.01)\n"
        "pool.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, timeout=60)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0", "1"]


def wait_for_the_end_of(processes: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_alive(pid) for pid in processes)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_part_is_what_was_encoded(tmp_path: Path, killed_when_assembling: Callable[..., None]) -> None:
    """The file of a part, read back."""
    out = tmp_path / "out"
    documents = write_jsonl(tmp_path / "docs.jsonl", TEXTS)
    killed_when_assembling(out, documents)
    folder = parts_of(out)[0].parents[1]
    part = open_part(folder, 1)
    assert part_path(folder, 1).exists()
    assert part.record.split == "train"
    assert part.record.dropped == (5,)
    assert part.record.documents_read == len(part.digests) == len(TEXTS) - VAL_DOCS
    assert len(part.ids) == len(part.charges) == part.record.tokens
    assert part.charges.sum() == part.record.source_bytes


def long_documents(folder: Path) -> Path:
    """24 MB: more than is read at a time."""
    texts = [f"{n} " + "the cat sat on the mat " * 100 for n in range(10_000)]
    return write_jsonl(folder / "long.jsonl", texts)


def test_the_forecast_of_a_resumed_build_counts_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*arguments: Any, **options: Any) -> Any:
        yield from itertools.islice(read_parts(*arguments, **options), 4)
        raise InputUnavailable("https://example.org/a.jsonl: cannot be read after byte 7")

    out, options = tmp_path / "out", {"scheme": "bytes", "part_bytes": 4_000_000}
    documents = long_documents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("tokenlab.build.run.read_parts", half)
        with pytest.raises(InputUnavailable):
            make(out, documents, **options)
    usage = shutil.disk_usage(tmp_path)

    def nearly_full(_: Path) -> Any:
        return usage._replace(free=40_000_000)  # the whole build takes 115, what is left of it 40

    monkeypatch.setattr("tokenlab.build.forecast.shutil.disk_usage", nearly_full)
    with pytest.raises(TokenlabError, match="free some and run the same command again"):
        make(tmp_path / "other", documents, **options)
    assert make(out, documents, **options).reused_parts == 4


class Heard(Progress):
    """What a build said."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.expected: list[int | None] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def expect(self, total: int | None) -> None:
        self.expected.append(total)


def test_the_forecast_is_of_the_whole(tmp_path: Path) -> None:
    """Made once, from the first parts: near what comes out."""
    heard = Heard()
    options = BuildOptions(
        scheme="bytes",
        output=tmp_path / "out",
        inputs=(str(long_documents(tmp_path)),),
        val_docs=5,
        part_bytes=4_000_000,
        workers=1,
    )
    manifest = build(make_plan(options), heard).manifest
    (total,) = heard.expected
    assert total == pytest.approx(manifest.source.bytes, rel=0.2)
    (line,) = [note for note in heard.notes if note.startswith("forecast: ")]
    numbers = re.search(r", ([0-9.]+) MB of output, ([0-9.]+) MB of disk", line)
    assert numbers
    ids = 2 * total / 1e6
    assert float(numbers[1]) == pytest.approx(ids, rel=0.01)
    assert float(numbers[2]) == pytest.approx(2.5 * ids, rel=0.01)  # ids twice, charges of a byte
