"""Whole runs: reproducible to the bit, resumed after a kill, refused in one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tomli_w
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.command import refused, tokenlab
from tests.trainer_case import tiny_run
from trainer.config import BudgetConfig, load_config, presets
from trainer.data import open_dataset
from trainer.devices import memory_errors, open_device
from trainer.errors import DataError, OutOfMemory, RunFailure, TrainerError
from trainer.evaluate import evaluate
from trainer.processes import Processes
from trainer.result import Result
from trainer.schedule import Used, multiplier, spent
from trainer.scoring import score_artifact
from trainer.step import micro_batches
from trainer.train import Say, Trainer, curve, train


def silent(line: str) -> None:
    """Progress that nobody reads."""


def run(tables: dict[str, Any], **options: Any) -> Result:
    return train(load_config(None, tables), silent, **options)


def settled(result: Result | dict[str, Any]) -> dict[str, Any]:
    """What must be equal when a run is repeated."""
    record: dict[str, Any] = json.loads(msgspec.json.encode(result))
    for name in ("timing", "environment"):
        del record[name]
    for name in ("dataset", "output", "run"):
        del record["config"][name]
    return record


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> tuple[Path, Result]:
    output = tmp_path_factory.mktemp("run") / "a"
    return output, run(tiny_run(tiny_dataset, output))


def test_the_same_seed_gives_the_same_bits(
    tmp_path: Path, tiny_dataset: Path, finished: tuple[Path, Result]
) -> None:
    output, result = finished
    again = run(tiny_run(tiny_dataset, tmp_path / "b"))
    assert settled(again) == settled(result)
    for name in ("artifact/weights.bin", "documents.json"):
        assert (tmp_path / "b" / name).read_bytes() == (output / name).read_bytes()
    other = tiny_run(tiny_dataset, tmp_path / "c")
    other["seed"] = 4
    assert run(other).score.nats != result.score.nats


def test_the_result(finished: tuple[Path, Result]) -> None:
    output, result = finished
    assert msgspec.json.decode((output / "result.json").read_bytes(), type=Result) == result
    assert list(json.loads((output / "result.json").read_bytes())) == [
        "schema",
        "seed",
        "score",
        "score_before_quantisation",
        "artifact",
        "contest_bytes",
        "strict_bytes",
        "dataset",
        "training",
        "code_sha256",
        "config",
        "timing",
        "environment",
        "units",
    ], "a frozen surface: change it by decision"
    assert result.training.steps == 12
    assert result.training.tokens == 12 * result.training.batch_tokens == 12 * 64
    assert result.training.batch_bytes * 12 == pytest.approx(result.training.train_bytes)
    assert result.training.processes == 1
    assert result.timing.warmup == result.timing.validation == 0.0
    assert result.training.last_loss < result.training.first_loss
    assert result.contest_bytes == result.artifact.code_bytes + result.artifact.weights_bytes
    assert result.score.bpb == pytest.approx(result.score_before_quantisation.bpb, abs=0.01)
    assert result.score.bpb > result.score.bpb_documents
    assert "bos=scored|context=16|stride=8|" in result.score.signature
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_bytes().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[0]["loss"] == result.training.first_loss
    assert [line["rate"] for line in lines] == [1.0] * 7 + [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    documents = json.loads((output / "documents.json").read_bytes())
    assert sum(documents["bytes"]) == result.score.source_bytes
    assert sum(documents["nats"]) == pytest.approx(result.score.nats)
    assert not (output / "checkpoint.bin").exists()


def test_a_run_keeps_what_each_token_costs(
    tmp_path: Path, tiny_dataset: Path, finished: tuple[Path, Result]
) -> None:
    """If it is asked to; the score is the same."""
    tables = tiny_run(tiny_dataset, tmp_path / "b")
    tables["evaluation"]["token_nats"] = True
    result = run(tables)
    assert result.score == finished[1].score
    nats = np.fromfile(tmp_path / "b/token_nats.bin", "<f4")
    assert np.nansum(nats, dtype=np.float64) == pytest.approx(result.score.nats, rel=1e-7)
    assert np.isfinite(nats).sum() == result.score.targets
    assert not (finished[0] / "token_nats.bin").exists()
    run(tables, force=True)


def trained(tables: dict[str, Any], say: Say = silent) -> Trainer:
    """The training of a run alone, into a new folder."""
    Path(tables["output"]).mkdir()
    trainer = Trainer(load_config(None, tables), open_dataset(Path(tables["dataset"])), "")
    trainer.run(say)
    return trainer


def metrics(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_bytes().splitlines()]


def test_training_opens_no_validation_file(tmp_path: Path, tiny_dataset: Path) -> None:
    copy = Path(shutil.copytree(tiny_dataset, tmp_path / "data"))
    for path in (*copy.glob("fineweb_val_*"), *copy.glob("bytes/*")):
        path.unlink()
    assert trained(tiny_run(copy, tmp_path / "out")).progress.steps == 12
    tables = tiny_run(copy, tmp_path / "validated")
    tables["evaluation"]["validate_every"] = 5
    with pytest.raises(DataError, match="fineweb_val_000000"):
        trained(tables)
    assert len(metrics(tmp_path / "validated")) == 4


def test_validation_at_a_cadence(tmp_path: Path, tiny_dataset: Path) -> None:
    plain = trained(tiny_run(tiny_dataset, tmp_path / "plain"))
    tables = tiny_run(tiny_dataset, tmp_path / "out")
    tables["evaluation"]["validate_every"] = 4
    told: list[str] = []
    trainer = trained(tables, told.append)
    lines = metrics(tmp_path / "out")
    assert [line["step"] for line in lines if "val_bpb" in line] == [4, 8, 12]
    score = evaluate(trainer.model, trainer.dataset, context=16, stride=16).score
    assert lines[-1]["val_bpb"] == score.bpb
    assert f"validation {score.bpb:.4f} bits a byte" in told[-2]
    assert 0 < trainer.progress.validation_seconds < trainer.progress.seconds
    # Nothing but the clock knows that it was scored.
    assert trainer.progress.losses == plain.progress.losses


def test_validation_counts_in_a_budget_of_seconds(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.2)
        return evaluate(*arguments, **options)

    monkeypatch.setattr("trainer.train.evaluate", slowly)
    tables = tiny_run(tiny_dataset, tmp_path / "out", seconds=0.5)
    tables["evaluation"]["validate_every"] = 1
    trainer = trained(tables)
    assert trainer.progress.steps <= 3
    assert 0.5 <= trainer.progress.seconds < 1.5
    assert trainer.progress.validation_seconds >= 0.2 * trainer.progress.steps


def test_a_warm_up_leaves_no_trace_but_its_seconds(tmp_path: Path, tiny_dataset: Path) -> None:
    plain = trained(tiny_run(tiny_dataset, tmp_path / "plain"))
    tables = tiny_run(tiny_dataset, tmp_path / "warm")
    tables["run"]["warmup_steps"] = 4
    warm = trained(tables)
    assert warm.progress.losses == plain.progress.losses
    tensors = [[*t.model.parameters(), *t.optimizers.state().values()] for t in (plain, warm)]
    assert all(torch.equal(one, other) for one, other in zip(*tensors, strict=True))
    assert warm.batches.order_sha256() == plain.batches.order_sha256()
    assert (plain.progress.warmup_seconds, warm.progress.warmup_seconds > 0) == (0.0, True)
    assert [line["step"] for line in metrics(tmp_path / "warm")] == list(range(1, 13))


def test_bfloat16_and_the_compiler_on_a_cpu(tmp_path: Path, tiny_dataset: Path) -> None:
    def losses(rows: int, precision: str, backend: str) -> list[float]:
        tables = tiny_run(tiny_dataset, tmp_path / f"{rows}-{precision}-{backend}", steps=4)
        tables["batch"] |= {"rows": rows, "micro_rows": 2}
        tables["run"] |= {"precision": precision, "compile": backend}
        trainer = trained(tables)
        assert (trainer.progress.warmup_seconds > trainer.progress.seconds) == (backend != "off")
        return trainer.progress.losses

    exact, narrow = losses(4, "float32", "off"), losses(4, "bfloat16", "off")
    assert narrow == pytest.approx(exact, abs=0.02)
    assert narrow != exact
    assert losses(4, "bfloat16", "aot_eager") == pytest.approx(narrow, abs=1e-3)
    # Five rows are parts of one and two: two graphs.
    assert losses(5, "float32", "eager") == pytest.approx(losses(5, "float32", "off"), abs=1e-5)


def test_after_kill_the_same_command_reaches_the_same_bits(tmp_path: Path, tiny_dataset: Path) -> None:
    output = tmp_path / "killed"
    tables = tiny_run(tiny_dataset, output, steps=80, warmdown_steps=40)
    tables["run"] = {"device": "cpu", "threads": 1, "checkpoint_seconds": 1e-6}
    config = tmp_path / "run.toml"
    config.write_bytes(tomli_w.dumps(tables).encode())
    command = [sys.executable, "-m", "trainer", "--config", str(config), "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_steps(output / "metrics.jsonl", 5)
        process.send_signal(signal.SIGKILL)
    assert (output / "checkpoint.bin").exists()
    assert not (output / "result.json").exists()
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "going on after step" in answer.stderr
    undisturbed = run(tiny_run(tiny_dataset, tmp_path / "whole", steps=80, warmdown_steps=40))
    assert settled(json.loads(answer.stdout)) == settled(undisturbed)
    losses = [
        [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
        for folder in (output, tmp_path / "whole")
    ]
    assert losses[0] == losses[1]


def wait_for_steps(lines: Path, steps: int) -> None:
    deadline = time.monotonic() + 60
    while not lines.exists() or len(lines.read_bytes().splitlines()) < steps:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_ctrl_c_keeps_the_step(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_run(tiny_dataset, tmp_path / "out", steps=100_000)
    config = tmp_path / "run.toml"
    config.write_bytes(tomli_w.dumps(tables).encode())
    command = [sys.executable, "-m", "tokenlab", "train", str(tiny_dataset), "--config", str(config)]
    command += ["--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for_steps(tmp_path / "out/metrics.jsonl", 3)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.endswith("tokenlab: interrupted; the same command goes on where it stopped\n")
    assert (tmp_path / "out/checkpoint.bin").exists()


def test_another_configuration_does_not_go_on(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_run(tiny_dataset, tmp_path / "out")
    tables["artifact"] = {"cap_bytes": 1}
    with pytest.raises(RunFailure, match="over the cap of 1"):
        run(tables)
    tables["seed"] = 4
    with pytest.raises(TrainerError, match="unfinished run of another configuration"):
        run(tables)
    assert run(tiny_run(tiny_dataset, tmp_path / "out"), force=True).training.steps == 12


def test_a_finished_run_or_a_foreign_folder_is_not_overwritten(
    tiny_dataset: Path, finished: tuple[Path, Result], tmp_path: Path
) -> None:
    with pytest.raises(TrainerError, match="holds a finished run; replace it with --force"):
        run(tiny_run(tiny_dataset, finished[0]))
    (tmp_path / "thesis.tex").touch()
    for force in (False, True):
        with pytest.raises(TrainerError, match=r"holds other files \(thesis\.tex\)"):
            run(tiny_run(tiny_dataset, tmp_path), force=force)


def test_divergence_stops_with_step_and_advice(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_run(tiny_dataset, tmp_path / "out")
    tables["rates"] = {"matrix_rate": 1e30, "embedding_rate": 1e30}
    with pytest.raises(RunFailure, match=r"step \d+: the loss is .* the run diverged; lower"):
        run(tables)


def test_accumulation_is_one_large_batch(tmp_path: Path, tiny_dataset: Path) -> None:
    losses = []
    for micro in (1, 3, 4):
        tables = tiny_run(tiny_dataset, tmp_path / str(micro))
        tables["batch"]["micro_rows"] = micro
        losses.append(trained(tables).progress.losses)
    assert losses[0] == pytest.approx(losses[2], abs=1e-4)
    assert losses[1] == pytest.approx(losses[2], abs=1e-4)


@given(st.integers(1, 300), st.integers(1, 64))
def test_micro_batches_cover_the_rows(rows: int, most: int) -> None:
    parts = list(micro_batches(rows, most))
    assert [row for start, stop in parts for row in range(start, stop)] == list(range(rows))
    sizes = [stop - start for start, stop in parts]
    assert len(sizes) == -(-rows // most)
    assert max(sizes) - min(sizes) <= 1


def test_a_budget_of_bytes(tmp_path: Path, tiny_dataset: Path) -> None:
    trainer = trained(tiny_run(tiny_dataset, tmp_path / "out", train_bytes=500))
    record = open_dataset(tiny_dataset).manifest.splits["train"]
    step = 64 * record.source_bytes / record.tokens
    assert (trainer.progress.steps - 1) * step < 500 <= trainer.progress.steps * step


def test_schedule() -> None:
    def used(steps: int, seconds: float = 0.0, seen: float = 0.0) -> Used:
        return Used(steps=steps, seconds=seconds, train_bytes=seen)

    by_steps = BudgetConfig(steps=100, warmdown_steps=20)
    assert [multiplier(by_steps, used(n)) for n in (0, 80, 90, 99, 100)] == [1.0, 1.0, 0.5, 0.05, 0.0]
    assert [spent(by_steps, used(n)) for n in (0, 99, 100)] == [False, False, True]
    # As published: the last warmdown_steps times the mean step's seconds.
    by_clock = BudgetConfig(seconds=600.0, warmdown_steps=1200)
    assert multiplier(by_clock, used(0)) == 1.0
    assert multiplier(by_clock, used(1000, 300.0)) == pytest.approx(300 / (1200 * 0.3))
    assert spent(by_clock, used(3, 600.0))
    by_bytes = BudgetConfig(train_bytes=1_000, warmdown_steps=10)
    assert multiplier(by_bytes, used(10, 9.0, 500.0)) == 1.0
    assert multiplier(by_bytes, used(15, 9.0, 750.0)) == pytest.approx(0.5)
    assert multiplier(BudgetConfig(steps=5), used(4)) == 1.0
    both = BudgetConfig(steps=100, seconds=10.0)
    assert spent(both, used(1, 10.0))


def test_presets_and_overrides(tmp_path: Path) -> None:
    assert presets() == [
        "baseline",
        "bytes-16mb",
        "hnet-16mb",
        "micro",
        "nano",
        "nano-bytes",
        "nano-hnet",
        "nano-space",
    ]
    paths = {"dataset": "d", "output": "o"}
    baseline = load_config(None, {**paths, "preset": "baseline"})
    assert baseline.batch.tokens == 524_288
    assert (baseline.budget.seconds, baseline.budget.warmdown_steps) == (600.0, 1200)
    file = tmp_path / "run.toml"
    file.write_text('preset = "nano"\nseed = 7\n[budget]\nsteps = 9\n')
    config = load_config(file, {**paths, "seed": 8})
    assert (config.seed, config.budget.steps, config.budget.warmdown_steps) == (8, 9, 60)
    assert config.model.dim == 64
    config = load_config(file, {**paths, "budget": {"train_bytes": 5}})
    assert config.budget == BudgetConfig(train_bytes=5, warmdown_steps=60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nlayer = 3", r"unknown field `layer` - at `\$\.model`"),
        ("[budget]\nsteps = 0", r">= 1 - at `\$\.budget\.steps`"),
        ("[batch]\nrows = 3\nbytes = 2\n[budget]\nsteps=1", "batch.rows and batch.bytes are one length"),
        ("[run]\ndevice = 'gpu'\n[budget]\nsteps=1", r"at `\$\.run\.device`"),
        ("[evaluation]\nstride = 500\n[budget]\nsteps=1", "evaluation.stride 500 is more"),
        ('preset = "none"', "no preset 'none'; there are baseline, bytes-16mb, hnet-16mb, micro, nano"),
        ("seed = 1", "no budget: give --steps"),
        ("[model]\nlayers = 1\n[budget]\nsteps=1", "model.layers is 1; training needs 2"),
        ("seed = ", "not TOML"),
    ],
)
def test_configuration_errors_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(TrainerError, match=message):
        load_config(file, {"dataset": "d", "output": "o"})


def test_curve() -> None:
    assert curve([8.0, 4.0, 1.0]) == "8.000 █▄▁ 1.000"
    assert curve([2.0, 2.0]) == "2.000 ▁▁ 2.000"
    assert len(curve([float(n) for n in range(1000)]).split()[1]) == 40


def test_train_and_eval_on_the_command_line(tmp_path: Path, tiny_dataset: Path) -> None:
    output = tmp_path / "out"
    arguments = ("--preset", "nano", "--steps", 1, "--seed", 1, "--output", output)
    trained = tokenlab("train", tiny_dataset, *arguments, "--json")
    assert trained.returncode == 0, trained.stderr
    result = json.loads(trained.stdout)
    assert result == json.loads((output / "result.json").read_text())
    scored = tokenlab("eval", output / "artifact", "--dataset", tiny_dataset, "--stride", 64)
    assert scored.returncode == 0, scored.stderr
    assert f"bpb       {result['score']['bpb']:.6f} bits per byte" in scored.stdout
    assert result["score"]["signature"] in scored.stdout


def test_a_refused_run_leaves_the_old_one(tiny_dataset: Path, finished: tuple[Path, Result]) -> None:
    tables = tiny_run(tiny_dataset, finished[0])
    tables["model"]["heads"] = 3
    with pytest.raises(TrainerError, match=r"\[model\]: dim 16 must be an even multiple of heads 3"):
        run(tables, force=True)
    assert (finished[0] / "result.json").exists()


def test_wrong_usage_is_one_line(tmp_path: Path) -> None:
    result = tokenlab("train", tmp_path, "--preset", "nano", "--output", tmp_path / "out")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"trainer: {tmp_path}: no manifest.json")
    assert "Missing option" in refused("eval", tmp_path)


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "on the GPU"),
        (MemoryError(), "on this machine"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "on this machine"),
    ],
)
def test_out_of_memory_is_one_line(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("trainer.loss.training_loss", full)
    with pytest.raises(OutOfMemory, match=f"not enough memory {where}; lower batch.micro_rows \\(now 2\\)"):
        run(tiny_run(tiny_dataset, tmp_path / "out"))


def test_memory_that_runs_out_on_a_cpu(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_run(tiny_dataset, tmp_path / "out")
    tables["model"]["dim"] = 2**40  # beyond any address space
    config = tmp_path / "run.toml"
    config.write_text(tomli_w.dumps(tables))
    answer = subprocess.run(
        [sys.executable, "-m", "trainer", "--config", config], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("trainer: not enough memory on this machine; lower")


def test_other_errors_are_not_taken_for_memory() -> None:
    with pytest.raises(RuntimeError, match="another matter"), memory_errors("buy more"):
        raise RuntimeError("another matter")


def test_a_swapped_dataset_does_not_go_on(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_run(tiny_dataset, tmp_path / "out")
    tables["artifact"] = {"cap_bytes": 1}
    with pytest.raises(RunFailure, match="over the cap"):
        run(tables)
    copy = Path(shutil.copytree(tiny_dataset, tmp_path / "other"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["scheme"]["fingerprint"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TrainerError, match="unfinished run of another configuration, dataset or version"):
        run(tables | {"dataset": str(copy)})
    moved = Path(shutil.copytree(tiny_dataset, tmp_path / "moved"))
    with pytest.raises(RunFailure, match="over the cap"):  # the same data elsewhere goes on
        run(tables | {"dataset": str(moved)})


def test_ids_outside_the_vocabulary_are_refused(tmp_path: Path, tiny_dataset: Path) -> None:
    copy = Path(shutil.copytree(tiny_dataset, tmp_path / "data"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["vocab_size"] = 100
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"fineweb_train_00000\d\.bin: id \d+, the vocabulary has 100"):
        run(tiny_run(copy, tmp_path / "out"))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gpu", "cuda:x", "cpu:1"):
        with pytest.raises(TrainerError, match=f"no device '{name}'; there are auto, cpu, cuda and cuda:N"):
            open_device(name, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    assert open_device("cuda:1", 1) == torch.device("cuda", 1)
    assert open_device("auto", 1, Processes(5, 8, 1)) == torch.device("cuda", 1)
    assert open_device("cpu", 1) == torch.device("cpu")
    for name, processes in (("cuda:2", Processes()), ("cuda", Processes(2, 4, 2))):
        with pytest.raises(TrainerError, match="no GPU 2 here: there are 2, counted from 0"):
            open_device(name, 1, processes)
    with pytest.raises(TrainerError, match="cuda:1 is one GPU for 2 processes"):
        open_device("cuda:1", 1, Processes(0, 2, 0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_one_line(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_run(tiny_dataset, tmp_path / "out")
    tables["run"]["device"] = "cuda"
    with pytest.raises(TrainerError, match="no CUDA GPU here; use --preset nano"):
        run(tables)


def test_another_scheme_s_artifact_is_refused(
    tmp_path: Path, tiny_dataset: Path, finished: tuple[Path, Result]
) -> None:
    options: dict[str, Any] = {"context": None, "stride": None, "device": "cpu", "threads": 1}
    artifact = finished[0] / "artifact"
    record = score_artifact(artifact, tiny_dataset, isolated=True, trust_code=False, **options)
    assert "|bos=none|context=16|stride=16|" in record.score.signature
    copy = Path(shutil.copytree(tiny_dataset, tmp_path / "other"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["scheme"]["fingerprint"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TrainerError, match="was trained with scheme bytes"):
        score_artifact(artifact, copy, isolated=True, trust_code=False, **options)


def test_without_torch_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "sys.argv = ['tokenlab', 'train', 'data', '--preset', 'nano', '--output', 'out']\n"
        "from tokenlab.cli import main; main()"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [
        "tokenlab: training needs torch (2.11 to 2.13): pip install 'tokenlab-bpb[train]'"
    ]
