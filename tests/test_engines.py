"""Engines: the same bytes wherever the tasks run, and whoever is lost on the way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.command import refused, write_jsonl
from tests.test_build import digests
from tokenlab.build import BuildOptions, BuildReport, build, make_plan
from tokenlab.build.engine import Done, EngineOptions, Job, attempt, run_in_order, unwrap
from tokenlab.build.tasks import encode_part
from tokenlab.errors import InputError, TokenlabError
from tokenlab.progress import Progress

VAL_DOCS = 20

WORKERS = [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(7, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [f"document {n} of the NASA, naïve " * (1 + n % 40) for n in range(600)]
    texts[300] = texts[3]  # equals a validation document
    return write_jsonl(tmp_path_factory.mktemp("docs") / "docs.jsonl", texts)


def make(
    documents: Path, output: Path, *, workers: int = 1, progress: Progress | None = None, **engine: Any
) -> BuildReport:
    options = BuildOptions(
        scheme="bpe",
        vocab_size=320,
        inputs=(str(documents),),
        val_docs=VAL_DOCS,
        output=output,
        part_bytes=40_000,
        shard_tokens=40_000,
        train_bytes=True,
        workers=workers,
        engine=EngineOptions(**engine),
    )
    return build(make_plan(options), progress)


@pytest.fixture(scope="module")
def expected(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The dataset that one local worker makes."""
    out = tmp_path_factory.mktemp("expected") / "out"
    make(documents, out)
    return digests(out)


class DirectEngine:
    """Runs tasks when their results are asked for."""

    in_flight = 4
    mixes = True

    def __init__(self) -> None:
        self.job = Job(Path("nowhere"), "digest", 0)
        self.submitted = 0

    def submit(self, work: Callable[[Job, Any], Any], item: Any) -> Callable[[], Any]:
        self.submitted += 1
        return lambda: unwrap(attempt(work, self.job, item))

    def close(self) -> None:
        pass


def test_results_come_in_order_and_items_as_they_can_be_started() -> None:
    engine = DirectEngine()
    taken = 0

    def items() -> Iterator[int | Done]:
        nonlocal taken
        for n in range(20):
            taken += 1
            yield Done(n * n) if n % 3 == 0 else n

    results = run_in_order(engine, lambda job, n: n * n, items())
    assert next(results) == 0
    assert taken == 1
    assert next(results) == 1
    assert taken == 5
    assert list(results) == [n * n for n in range(2, 20)]
    assert engine.submitted == 13


def test_errors_come_home_as_they_were() -> None:
    def bad(job: Job, item: int) -> int:
        raise InputError("docs.jsonl: row 7")

    with pytest.raises(InputError, match=r"^docs\.jsonl: row 7$"):
        list(run_in_order(DirectEngine(), bad, [1]))


@pytest.mark.parametrize("workers", [2, 7])
def test_local(tmp_path: Path, documents: Path, expected: dict[str, str], workers: int) -> None:
    make(documents, tmp_path / "out", workers=workers)
    assert digests(tmp_path / "out") == expected


def test_a_missing_library_is_named(tmp_path: Path, documents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, library in (("ray", "ray"), ("slurm", "submitit")):
        with pytest.raises(InputError, match=rf"needs the package {library}; .*tokenlab-bpb\[{name}\]"):
            make(documents, tmp_path / "out", name=name)
    assert not list(tmp_path.iterdir())


def test_flags(tmp_path: Path) -> None:
    common = ("build", "--scheme", "bytes", "--output", tmp_path / "out")
    assert "local workers have none" in refused(*common, "--engine-address", "auto")
    assert "is for --engine slurm" in refused(*common, "--engine-option", "slurm_partition=cpu")
    pytest.importorskip("submitit")
    assert "write NAME=VALUE" in refused(*common, "--engine", "slurm", "--engine-option", "cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", WORKERS)
def test_slurm(tmp_path: Path, documents: Path, expected: dict[str, str], workers: int) -> None:
    """Submitit's local executor: the same jobs, as processes of this machine."""
    pytest.importorskip("submitit")
    make(documents, tmp_path / "out", workers=workers, name="slurm", address="local")
    assert digests(tmp_path / "out") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def die(job: Job, item: Any) -> None:
    """A task whose process is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_lost_slurm_job_is_named_and_its_build_goes_on(
    tmp_path: Path, documents: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(TokenlabError, match="takes `local`, or none"):
        make(documents, tmp_path / "out", name="slurm", address="somewhere")
    with monkeypatch.context() as patch:
        patch.setattr("tokenlab.build.run.encode_part", die)
        with pytest.raises(TokenlabError, match=r"Slurm job \d+ failed: .*run the same command again"):
            make(documents, tmp_path / "out", workers=2, name="slurm", address="local")
    make(documents, tmp_path / "out")
    assert digests(tmp_path / "out") == expected


@pytest.fixture
def quiet_ray() -> Iterator[Any]:
    """Ray, which must not be running before or after."""
    ray = pytest.importorskip("ray")
    assert not ray.is_initialized()
    yield ray
    ray.shutdown()


@pytest.mark.parametrize("workers", WORKERS)
def test_ray(tmp_path: Path, documents: Path, expected: dict[str, str], quiet_ray: Any, workers: int) -> None:
    make(documents, tmp_path / "out", workers=workers, name="ray")
    assert digests(tmp_path / "out") == expected
    assert not quiet_ray.is_initialized()


def encode_when_a_node_is_lost(job: Job, part: Any) -> Any:
    """`encode_part` that leaves word of where it ran; from part 2 on it waits for the word `lost`."""
    import ray

    log = job.folder.parent / "log"
    node = ray.get_runtime_context().get_node_id()
    (log / f"{part.number}.{node}.{os.getpid()}.began").touch()
    while part.number >= 2 and not (log / "lost").exists():
        time.sleep(0.01)
    record = encode_part(job, part)
    (log / f"{part.number}.{node}.{os.getpid()}.ended").touch()
    return record


def in_flight(log: Path) -> list[list[str]]:
    """Number, node and process of the tasks that began and did not end."""
    ended = {path.stem for path in log.glob("*.ended")}
    return [path.stem.split(".") for path in log.glob("*.began") if path.stem not in ended]


class KillAt(Progress):
    """Calls `kill` once, when 40,000 bytes are encoded, by parts 0 and 1."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self.kill: Callable[[], None] | None = kill

    def advance(self, done: int, detail: str = "") -> None:
        if self.kill is not None and done > 40_000:
            kill, self.kill = self.kill, None
            kill()


@pytest.mark.slow
def test_ray_cluster_that_loses_a_node(
    tmp_path: Path, documents: Path, expected: dict[str, str], quiet_ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster of three nodes on loopback, the driver's without CPUs; one is killed in mid-build."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    store = 100 << 20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": store},
    )
    nodes = [cluster.add_node(num_cpus=2, object_store_memory=store) for _ in range(2)]
    try:
        cluster.wait_for_nodes()
        monkeypatch.setattr("tokenlab.build.run.encode_part", encode_when_a_node_is_lost)
        log = tmp_path / "log"
        log.mkdir()
        lost: list[list[str]] = []

        def kill() -> None:
            """The machine of a task that runs now: its raylet, that it starts no more workers, and them."""
            while not (running := in_flight(log)):
                time.sleep(0.01)
            victim = next(node for node in nodes if node.node_id == running[0][1])
            cluster.remove_node(victim, allow_graceful=False)
            for path in log.glob(f"*.{victim.node_id}.*.began"):
                with suppress(ProcessLookupError):
                    os.kill(int(path.stem.split(".")[2]), signal.SIGKILL)
            lost.extend(task for task in in_flight(log) if task[1] == victim.node_id)
            (log / "lost").touch()

        progress = KillAt(kill)
        make(documents, tmp_path / "out", workers=4, progress=progress, name="ray", address=cluster.address)
    finally:
        quiet_ray.shutdown()
        cluster.shutdown()
    assert digests(tmp_path / "out") == expected
    assert lost, "no task was in flight on the node that died"
    assert not {f"{'.'.join(task)}.ended" for task in lost} & {path.name for path in log.iterdir()}
    for number, node, _ in lost:  # each ran again on the node that was left
        assert [path for path in log.glob(f"{number}.*.ended") if path.name.split(".")[1] != node]
