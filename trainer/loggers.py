"""TensorBoard and Weights & Biases beside metrics.jsonl, each only if asked for.

Both get the values of a step's line in metrics.jsonl, under the same names. W&B honours its own
environment: WANDB_MODE=offline needs no network, WANDB_PROJECT names the project.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trainer.checkpoint import Progress
from trainer.config import RunConfig
from trainer.errors import TrainerError

INSTALL = "pip install 'tokenlab-bpb[loggers]'"

Log = Callable[[int, Mapping[str, float]], None]


class Loggers:
    """What was asked for, open while it is entered."""

    def __init__(self, config: RunConfig, progress: Progress, *, enabled: bool) -> None:
        """Steps that `progress` does not have were lost with a kill, and are logged anew. Raises
        TrainerError when a package is missing."""
        self._logs: list[Log] = []
        self._closers: list[Callable[[], object]] = []
        if enabled and config.log.tensorboard:
            self._open_tensorboard(Path(config.output) / "tensorboard", progress.steps)
        if enabled and config.log.wandb:
            self._open_wandb(config, progress.identity)

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, *_: object) -> None:
        for close in self._closers:
            close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand on what step `step` (from 1) measured."""
        for log in self._logs:
            log(step, values)

    def _open_tensorboard(self, folder: Path, steps: int) -> None:
        _need("tensorboard", "--tensorboard")
        module = _need("torch.utils.tensorboard", "--tensorboard")
        writer = module.SummaryWriter(log_dir=str(folder), purge_step=steps + 1)

        def log(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        self._logs.append(log)
        self._closers.append(writer.close)

    def _open_wandb(self, config: RunConfig, identity: str) -> None:
        wandb = _need("wandb", "--wandb")
        output = Path(config.output).resolve()
        try:
            run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "tokenlab"),
                name=output.name,
                id=hashlib.sha256(f"{identity} {output}".encode()).hexdigest()[:16],
                resume="allow",
                dir=str(output),
                config=msgspec.to_builtins(config),
            )
        except wandb.Error as error:
            raise TrainerError(f"W&B: {error}; WANDB_MODE=offline needs no network") from error
        self._logs.append(lambda step, values: run.log(dict(values), step=step))
        self._closers.append(run.finish)


def check_loggers(config: RunConfig) -> None:
    """Raises TrainerError when a package that `config` asks for is missing."""
    if config.log.tensorboard:
        _need("tensorboard", "--tensorboard")
    if config.log.wandb:
        _need("wandb", "--wandb")


def _need(module: str, option: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[-1]
        raise TrainerError(f"{option} needs the package {package} ({error}): {INSTALL}") from error
