"""TensorBoard and W&B get what metrics.jsonl gets; a missing package is one line before training."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.test_trainer_train import silent
from tests.trainer_case import tiny_run
from trainer.config import load_config
from trainer.data import open_dataset
from trainer.errors import TrainerError
from trainer.train import Trainer, train


class Recorded(list[tuple[str, Any]]):
    """What a fake package was told, in order."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Both packages, replaced by ones that keep what they are told."""
    calls = Recorded()

    class Writer:
        def __init__(self, **options: Any) -> None:
            calls.append(("tensorboard", options))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            calls.append(("scalar", (step, name, value)))

        def close(self) -> None:
            calls.append(("close", None))

    class Run:
        def log(self, values: Mapping[str, float], step: int) -> None:
            calls.append(("log", (step, values)))

        def finish(self) -> None:
            calls.append(("finish", None))

    def init(**options: Any) -> Run:
        calls.append(("init", options))
        return Run()

    fakes: dict[str, dict[str, Any]] = {
        "tensorboard": {},
        "torch.utils.tensorboard": {"SummaryWriter": Writer},
        "wandb": {"init": init, "Error": RuntimeError},
    }
    for name, content in fakes.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return calls


def logged_run(dataset: Path, output: Path, steps: int) -> Trainer:
    tables = tiny_run(dataset, output, steps=steps)
    tables["log"] = {"tensorboard": True, "wandb": True}
    tables["evaluation"]["validate_every"] = 2
    output.mkdir(exist_ok=True)
    trainer = Trainer(load_config(None, tables), open_dataset(dataset), "identity")
    trainer.resume(silent)
    trainer.run(silent)
    return trainer


def test_both_get_the_lines_of_metrics(tmp_path: Path, tiny_dataset: Path, recorded: Recorded) -> None:
    logged_run(tiny_dataset, tmp_path / "out", 4)
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [value for name, value in recorded if name == "log"] == [(line["step"], line) for line in lines]
    scalars = [value for name, value in recorded if name == "scalar"]
    assert scalars == [(line["step"], name, value) for line in lines for name, value in line.items()]
    assert {"loss", "rate", "train_bytes", "seconds", "val_bpb"} <= {name for _, name, _ in scalars}
    assert [name for name, _ in recorded[-2:]] == ["close", "finish"]
    options = dict(recorded)
    assert options["tensorboard"] == {"log_dir": str(tmp_path / "out/tensorboard"), "purge_step": 1}
    assert (options["init"]["name"], options["init"]["resume"]) == ("out", "allow")
    assert options["init"]["config"]["budget"]["steps"] == 4


def test_a_resumed_run_is_the_same_run(tmp_path: Path, tiny_dataset: Path, recorded: Recorded) -> None:
    logged_run(tiny_dataset, tmp_path / "out", 4)
    first = dict(recorded)["init"]["id"]
    recorded.clear()
    logged_run(tiny_dataset, tmp_path / "out", 6)
    assert dict(recorded)["init"]["id"] == first
    assert dict(recorded)["tensorboard"]["purge_step"] == 5
    assert [value[0] for name, value in recorded if name == "log"] == [5, 6]


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_told_before_training(
    tmp_path: Path, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    tables = tiny_run(tiny_dataset, tmp_path / "out")
    tables["log"] = {package: True}
    message = rf"--{package} needs the package {package} .* pip install 'tokenlab-bpb\[loggers\]'"
    with pytest.raises(TrainerError, match=message):
        train(load_config(None, tables), silent)
    assert not (tmp_path / "out").exists()


def test_real_event_files(tmp_path: Path, tiny_dataset: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tables = tiny_run(tiny_dataset, tmp_path / "out", steps=3)
    tables["log"] = {"tensorboard": True}
    (tmp_path / "out").mkdir()
    trainer = Trainer(load_config(None, tables), open_dataset(tiny_dataset), "")
    trainer.run(silent)
    events = EventAccumulator(str(tmp_path / "out/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(trainer.progress.losses)
