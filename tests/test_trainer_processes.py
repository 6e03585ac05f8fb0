"""Several processes through torchrun, over gloo: the same training as one, stopped and refused together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from tests.test_trainer_train import metrics, silent, trained, wait_for_steps
from tests.trainer_case import tiny_run
from trainer.batches import Batches
from trainer.config import load_config
from trainer.data import open_dataset
from trainer.errors import TrainerError
from trainer.processes import Processes, launched
from trainer.train import Trainer, train
from trainer.weights import decode


def torchrun(folder: Path, tables: dict[str, Any], processes: int = 2) -> subprocess.Popen[str]:
    config = folder / "run.toml"
    config.write_text(tomli_w.dumps(tables))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(processes), "-m", "trainer", "--config", str(config), "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def losses(output: Path) -> list[float]:
    return [line["loss"] for line in metrics(output)]


def stopped_after(dataset: Path, output: Path, steps: int, micro_rows: int) -> dict[str, Any]:
    """All tensors of one process's checkpoint."""
    tables = tiny_run(dataset, output, steps=steps)
    tables["batch"]["micro_rows"] = micro_rows
    trained(tables)
    return decode((output / "checkpoint.bin").read_bytes())[1]


def test_two_processes_are_one_with_doubled_accumulation(tmp_path: Path, tiny_dataset: Path) -> None:
    output = tmp_path / "two"
    tables = tiny_run(tiny_dataset, output, steps=5)
    tables["run"]["checkpoint_seconds"] = 1e-6
    tables["evaluation"]["validate_every"] = 3
    # Weights of a finished run are only kept rounded; too large for its cap, it leaves a checkpoint.
    tables["artifact"] = {"cap_bytes": 1}
    process = torchrun(tmp_path, tables)
    _, errors = process.communicate(timeout=60)
    assert "on cpu in 2 processes" in errors
    assert "over the cap of 1" in errors
    about, two = decode((output / "checkpoint.bin").read_bytes())
    one = stopped_after(tiny_dataset, tmp_path / "one", 5, micro_rows=1)
    assert about["steps"] == 5
    assert losses(output) == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    assert [index for index, line in enumerate(metrics(output), 1) if "val_bpb" in line] == [3]
    assert two.keys() == one.keys()
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=1e-5, err_msg=name)


def test_a_signal_to_one_stops_all_and_one_alone_goes_on(tmp_path: Path, tiny_dataset: Path) -> None:
    output = tmp_path / "out"
    tables = tiny_run(tiny_dataset, output, steps=4_000, warmdown_steps=0)
    with torchrun(tmp_path, tables) as process:
        wait_for_steps(output / "metrics.jsonl", 3)
        os.kill(children(process.pid)[1], signal.SIGINT)
        process.communicate(timeout=60)
    steps = decode((output / "checkpoint.bin").read_bytes())[0]["steps"]
    assert 3 <= steps == len(losses(output)) < 4_000
    told: list[str] = []
    tables["run"]["checkpoint_seconds"] = 30.0  # how often is no part of what a run is
    trainer = Trainer(load_config(None, tables), open_dataset(tiny_dataset), identity_of(output))
    trainer.resume(told.append)
    assert told[0].startswith(f"going on after step {steps:,}")
    batch = trainer.batches.next()
    before = Batches(trainer.split, rows=4, context=16, block_documents=1, seed=3)
    before.skip(steps)
    assert np.array_equal(batch[0], before.next()[0])


def identity_of(output: Path) -> str:
    return str(decode((output / "checkpoint.bin").read_bytes())[0]["identity"])


def test_rows_that_do_not_divide_are_one_line(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_run(tiny_dataset, tmp_path / "out")
    tables["batch"]["rows"] = 5
    process = torchrun(tmp_path, tables)
    _, errors = process.communicate(timeout=60)
    lines = [line for line in errors.splitlines() if line.startswith("trainer")]
    expected = "trainer: batch.rows 5 does not divide over 2 processes; take 4 or 6, or with batch.bytes"
    assert lines[0].startswith(expected)
    assert "exitcode: 2" in errors
    assert not (tmp_path / "out").exists()


def test_the_environment_of_torchrun(monkeypatch: pytest.MonkeyPatch, tiny_dataset: Path) -> None:
    assert launched() == Processes()
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(TrainerError, match="WORLD_SIZE is set, but not all of RANK, WORLD_SIZE, LOCAL_RANK"):
        launched()
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert launched().share(512) == (0, 64)
    given = {"dataset": str(tiny_dataset), "output": "o", "preset": "baseline", "batch": {"rows": 100}}
    with pytest.raises(TrainerError, match=r"batch\.rows 100 does not divide .* take 96 or 104"):
        train(load_config(None, given), silent)


def test_shares_are_the_rows_of_one_batch(tiny_dataset: Path) -> None:
    split = open_dataset(tiny_dataset).split("train")
    options: dict[str, Any] = {"rows": 6, "context": 7, "block_documents": 1, "seed": 5}
    whole = Batches(split, **options)
    parts = [Batches(split, **options, share=Processes(rank, 3).share(6)) for rank in range(3)]
    for _ in range(150):
        expected = whole.next()
        found = [part.next() for part in parts]
        for side in (0, 1):
            assert np.array_equal(np.concatenate([part[side] for part in found]), expected[side])
    assert {part.order_sha256() for part in parts} == {whole.order_sha256()}
