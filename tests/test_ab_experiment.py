"""Experiments as a user makes them: killed, gone on with, and refused in one line."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from shards import open_shard
from tests.ab_case import ab_datasets
from tests.command import refused, tokenlab
from tests.trainer_case import tiny_run
from tokenlab.ab.controls import check_mutation, mutate_sidecar, permute_ids
from tokenlab.ab.datasets import dataset_of, manifest_sha256, read_verdict, verify_dataset
from tokenlab.ab.experiment import Experiment
from tokenlab.ab.launch import interrupt_all
from tokenlab.ab.plan import make_plan, read_plan
from tokenlab.ab.runs import Status, Task, settled, start, train_all, train_one
from tokenlab.build.engine import EngineOptions, Job, open_engine, run_in_order
from tokenlab.dataset import Dataset
from tokenlab.errors import InputError
from tokenlab.progress import Progress
from tokenlab.verification import verify
from trainer.config import load_config
from trainer.train import code_sha256, train

__all__ = ["ab_datasets"]

ARMS = ("bytes", "byte-bpe")


def wait_for(pattern: str, folder: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 100
    while not list(folder.glob(pattern)):
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline, pattern
        time.sleep(0.02)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, ab_datasets: dict[str, Path]) -> tuple[Path, str]:
    """An experiment killed with -9 after its first run and gone on with; what the second command said."""
    home = tmp_path_factory.mktemp("experiment")
    tables = tiny_run(Path("x"), Path("y"))
    settings = {name: tables[name] for name in ("model", "batch", "evaluation", "run")}
    (home / "tiny.toml").write_text(tomli_w.dumps(settings | {"budget": {"warmdown_steps": 6}}))
    arguments = ["ab", *(str(ab_datasets[arm]) for arm in ARMS), "--config", str(home / "tiny.toml")]
    arguments += ["--train-bytes", "900", "--pairs", "2", "--no-controls", "--workers", "2"]
    arguments += ["--column", "bytes", "--output", str(home / "ab")]
    command = [sys.executable, "-m", "tokenlab", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for("ab/runs/bytes/*/seed-*.json", home, process)
        process.send_signal(signal.SIGKILL)
    for lock in home.glob("ab/runs/bytes/*/*.lock"):
        _free(lock)  # the trainers have died with it
    result = tokenlab(*arguments)
    assert result.returncode == 0, result.stderr
    assert "byte-bpe" in result.stdout
    return home / "ab", result.stderr


def _free(lock: Path) -> None:
    deadline = time.monotonic() + 5
    with lock.open() as file:
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline, f"{lock}: a trainer outlives its experiment"
                time.sleep(0.02)


def test_a_killed_experiment_goes_on_to_the_same_results(killed: tuple[Path, str], tmp_path: Path) -> None:
    folder, stderr = killed
    found = re.search(r"resumed: (\d) of 4 runs were already trained", stderr)
    assert found is not None, stderr
    runs = Experiment.open(folder).runs
    assert [(run.arm, run.pair, run.seed) for run in runs] == [
        ("bytes", 0, 1),
        ("byte-bpe", 0, 1),
        ("byte-bpe", 1, 2),
        ("bytes", 1, 2),
    ]
    assert {run.state for run in runs} == {"whole"}
    assert all(run.cpu_seconds > 0 and run.bpb is not None for run in runs)
    later = folder / runs[2].folder  # was not there at the kill, or not whole
    config = load_config(later.with_name("seed-2.toml"), {"output": str(tmp_path / "alone")})
    alone = train(config, lambda line: None)
    assert alone is not None
    assert alone.score.bpb == runs[2].bpb
    weights = "artifact/weights.bin"
    assert (later / weights).read_bytes() == (tmp_path / "alone" / weights).read_bytes()


def test_an_experiment_is_reported(killed: tuple[Path, str], tmp_path: Path) -> None:
    """As text, as JSON and as a page, without torch; the documents held back only if there are any."""
    folder, _ = killed
    page = tmp_path / "ab.html"
    program = (
        "import sys\nfrom tokenlab.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "finally: assert not {'torch', 'trainer'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", program, "report", str(folder), "--html", str(page)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    verdict = answer.stdout.splitlines()[0]
    assert verdict.startswith("At the same source bytes seen, ")
    assert verdict in page.read_text()
    assert "Where the bits go" in page.read_text()
    facts = json.loads(tokenlab("report", folder, "--json").stdout)
    assert [comparison["arm"] for comparison in facts["comparisons"]] == ["byte-bpe"]
    assert len(facts["looks"]) == 1
    assert "no documents were held back" in refused("report", folder, "--confirm")
    assert "give one folder" in refused("report", folder, folder)
    assert "give the runs of one arm" in refused("report", folder, "--record", tmp_path / "record")
    runs = sorted(folder.glob("runs/bytes/bytes/seed-?"))
    assert "is no experiment" in refused("report", *runs, "--confirm")
    assert tokenlab("report", *runs).returncode == 0


def test_a_relative_dataset_is_found_from_elsewhere(
    ab_datasets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = ab_datasets["bytes"]
    monkeypatch.chdir(dataset.parent)
    arms = [{"name": name, "dataset": dataset.name} for name in ("one", "other")]
    plan = make_plan({"arms": arms, "preset": "nano"})
    arm = plan.arms[0]
    assert dataset_of(tmp_path, arm) == Path(dataset.name)
    verify_dataset(tmp_path, arm.name, dataset_of(tmp_path, arm), plan, Progress())
    monkeypatch.chdir(tmp_path)
    assert dataset_of(tmp_path, arm) == dataset


def test_arms_see_the_same_text(killed: tuple[Path, str]) -> None:
    folder, _ = killed
    experiment = Experiment.open(folder)
    assert [arm.verdict for arm in experiment.arms] == ["trust", "trust"]
    one, other = experiment.runs[:2]
    assert abs(one.steps - other.steps) <= 1, "a step is the same text, as far as whole tokens are"
    assert one.train_bytes == pytest.approx(other.train_bytes, rel=0.05)
    assert one.tokens > 1.2 * other.tokens


def test_what_an_experiment_cannot_go_on_with_is_one_line(
    killed: tuple[Path, str], tmp_path: Path, ab_datasets: dict[str, Path]
) -> None:
    folder = shutil.copytree(killed[0], tmp_path / "ab")
    plan = folder / "plan.toml"
    assert "--preset: the plan says it" in refused("ab", plan, "--preset", "nano")
    changed = plan.read_text().replace("train_bytes = 900", "train_bytes = 901")
    (tmp_path / "other.toml").write_text(changed)
    assert "another experiment: budget was" in refused("ab", tmp_path / "other.toml", "--output", folder)
    assert "--output" in refused("ab", *(ab_datasets[arm] for arm in ARMS), "--preset", "nano")
    result = folder / Experiment.open(folder).runs[0].folder / "result.json"
    original = json.loads(result.read_text())
    for key, value, expected in (
        ("schema", "tokenlab-run-0", "schema tokenlab-run-0, this version reads"),
        ("code_sha256", "0" * 64, "trained by another version of the trainer"),
    ):
        result.write_text(json.dumps(original | {key: value}))
        with pytest.raises(InputError, match=expected):
            _ = Experiment.open(folder).runs


def task(dataset: Path, folder: Path, **tables: Any) -> Task:
    full = tiny_run(dataset.resolve(), folder)
    del full["output"]
    return Task(
        folder=str(folder),
        tables=full | tables,
        code_sha256=code_sha256(),
        manifest_sha256=manifest_sha256(dataset),
    )


def test_a_run_that_diverges_is_kept_and_shown(
    killed: tuple[Path, str], tmp_path: Path, ab_datasets: dict[str, Path]
) -> None:
    dataset = ab_datasets["byte-bpe"]
    model = tiny_run(dataset, tmp_path)["model"] | {"embedding_std": 1e38}
    wild = task(dataset, tmp_path / "wild", model=model)
    heard: list[Status] = []
    train_all([wild], [{}], lambda _, outcome: heard.append(outcome))
    assert heard == [settled(wild)]
    assert heard[0].state == "diverged"
    assert "loss" in (heard[0].failure or "")
    assert heard[0].cpu_seconds > 0.5
    folder = shutil.copytree(killed[0], tmp_path / "ab")
    lost = folder / "runs" / "bytes" / "byte-bpe" / "seed-2"
    (lost / "result.json").unlink()
    shutil.copy(wild.beside(".json"), lost.with_name("seed-2.json"))
    run = Experiment.open(folder).runs[2]
    assert (run.state, run.failure, run.bpb) == ("diverged", heard[0].failure, None)
    report = tokenlab("report", folder)
    assert report.returncode == 0, report.stderr
    assert "diverged" in report.stdout


def test_an_interrupted_run_saves_and_ends(tmp_path: Path, ab_datasets: dict[str, Path]) -> None:
    long = task(ab_datasets["bytes"], tmp_path / "long", budget={"steps": 1_000_000})
    child = start(long, {})
    try:
        deadline = time.monotonic() + 60
        while not (long.path / "metrics.jsonl").exists() or not (long.path / "metrics.jsonl").stat().st_size:
            assert time.monotonic() < deadline, long.beside(".log").read_text()
            time.sleep(0.02)
    finally:
        (ended,) = interrupt_all([child])
    assert ended.code == 130
    assert (long.path / "checkpoint.bin").exists()
    assert settled(long) is None


@pytest.mark.slow
def test_a_ray_task_trains_the_same_bits(tmp_path: Path, ab_datasets: dict[str, Path]) -> None:
    pytest.importorskip("ray")
    here, there = (task(ab_datasets["bytes"], tmp_path / name) for name in ("here", "there"))
    train_all([here], [{}], lambda task, outcome: None)
    with closing(open_engine(EngineOptions("ray"), Job(tmp_path, "", 0), 1)) as engine:
        (outcome,) = run_in_order(engine, train_one, [there])
    assert outcome == settled(there)
    assert outcome.state == "whole"
    for name in ("artifact/weights.bin", "documents.json"):
        assert (here.path / name).read_bytes() == (there.path / name).read_bytes()


def test_permuted_ids_are_the_same_dataset_under_other_names(
    tmp_path: Path, ab_datasets: dict[str, Path]
) -> None:
    source, copy = ab_datasets["byte-bpe"], tmp_path / "permuted"
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    permutation = permute_ids(source, copy, seed=5)
    assert {path: path.read_bytes() for path in before} == before, "the original was touched"
    assert sorted(permutation) == list(range(280))
    spelled = Dataset(source).scheme.segmenter.token_bytes.lengths > 0
    assert np.array_equal(permutation[~spelled], np.flatnonzero(~spelled)), "specials stay"
    assert (permutation[spelled] != np.flatnonzero(spelled)).mean() > 0.9
    manifests = [Dataset(folder).manifest for folder in (source, copy)]
    assert manifests[0].scheme.fingerprint != manifests[1].scheme.fingerprint
    for split in ("val", "train"):
        for shard in manifests[0].splits[split].shards:  # type: ignore[index]
            ids = [np.array(open_shard(folder / shard.file)) for folder in (source, copy)]
            assert np.array_equal(permutation[ids[0]], ids[1])
            if shard.sidecar:
                assert (copy / shard.sidecar.file).read_bytes() == (source / shard.sidecar.file).read_bytes()
    found = verify(copy)
    assert {one.name: one.holds for one in found.verdicts}["intact"] is True
    assert found.verdict == "reject", "the ids no longer spell the documents"


def test_a_sidecar_with_a_moved_byte_is_refused(tmp_path: Path, ab_datasets: dict[str, Path]) -> None:
    source, copy = ab_datasets["byte-bpe"], tmp_path / "mutated"
    mutate_sidecar(source, copy)
    one, other = (Dataset(folder).manifest.splits["val"] for folder in (source, copy))
    assert one.charged_bytes == other.charged_bytes
    verdicts = {verdict.name: verdict.holds for verdict in verify(copy).verdicts}
    assert verdicts["intact"] is True, "all digests are right"
    assert verdicts["balanced"] is False
    arms = [{"name": arm, "dataset": str(ab_datasets[arm])} for arm in reversed(ARMS)]
    check_mutation(tmp_path, make_plan({"arms": arms, "preset": "nano"}), source, Progress())
    kept = read_verdict(tmp_path, "control-mutated")
    assert kept is not None
    assert kept.verdict == "reject"
    assert not (tmp_path / "datasets" / "control-mutated").exists()


def test_the_plan_in_the_folder_is_the_plan(killed: tuple[Path, str]) -> None:
    folder, _ = killed
    plan = read_plan(folder / "plan.toml")
    assert plan.pairs == 2
    assert plan.controls is False
    assert not os.path.exists(folder / "controls.json")
    assert plan.config["model"]["dim"] == 16
