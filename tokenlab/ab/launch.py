"""The trainer as a process: `python -m trainer`, on one core, which never outlives who started it."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tokenlab.errors import InputError, TokenlabError

ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
}
SUPERVISED = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(130)
os.execv(sys.executable, [sys.executable, "-P", "-m", "trainer", *sys.argv[2:]])
"""
"""Asks the kernel for SIGKILL when its parent dies (prctl PR_SET_PDEATHSIG, kept by exec), then is the
trainer. A killed experiment leaves nothing behind that still writes."""
INTERRUPT_SECONDS = 60.0
"""What an interrupted trainer may take for its step and its checkpoint."""
LOCK_SECONDS = 5.0
"""What a trainer whose parent was killed may take to be gone."""


class ModelSizes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The trainer's [model], as far as sizes go. Those with a default are of a hierarchical model, whose
    main network has the others; see trainer/hierarchical.py."""

    layers: int
    dim: int
    heads: int
    kv_heads: int
    mlp_multiple: int
    boundary_source: str = "none"
    stages: int = 1
    encoder_layers: int = 2
    decoder_layers: int = 2
    byte_dim: int = 256
    byte_heads: int = 4
    byte_kv_heads: int = 2
    middle_dim: int = 256
    ngram_orders: tuple[int, ...] = ()
    ngram_slots: int = 8192

    @property
    def outer_dims(self) -> list[int]:
        """Widths of the blocks around the main network, outermost first."""
        return [] if self.boundary_source == "none" else [self.byte_dim, self.middle_dim][: self.stages]


class DescribedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A resolved configuration: tables by name."""

    model: ModelSizes
    batch: dict[str, Any]
    rates: dict[str, Any]
    budget: dict[str, Any]
    evaluation: dict[str, Any]
    artifact: dict[str, Any]
    run: dict[str, Any]


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What `python -m trainer describe` says of a configuration; see trainer/describe.py."""

    config: DescribedConfig
    vocab_size: int
    parameters: int
    train_bytes_per_token: float
    val_bytes_per_token: float
    batch_bytes: float
    flops_per_byte: float
    code_bytes: int


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """All configurations described, and the trainer that would train them."""

    code_sha256: str
    code_bytes: int
    torch: str
    gpus: int
    runs: list[Described]


class Ended(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a trainer's process ended: exit code (below 0: the signal), the last line it said, CPU seconds
    of it and its own children (resource usage), wall seconds."""

    code: int
    said: str
    cpu_seconds: float
    wall_seconds: float


def require_trainer() -> None:
    """Raises InputError where torch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise InputError("training needs torch (2.11 to 2.13): pip install 'tokenlab-bpb[ab]'")


def describe(files: Sequence[Path]) -> Description:
    """What the configurations in these files come to. Raises InputError with the trainer's own line for
    one that it refuses."""
    require_trainer()
    command = [sys.executable, "-P", "-m", "trainer", "describe", *map(str, files)]
    answer = subprocess.run(command, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    if answer.returncode:
        raise InputError(last_line(answer.stderr) or f"the trainer ended with exit code {answer.returncode}")
    return msgspec.json.decode(answer.stdout, type=Description)


def slots(described: Description, workers: int | None) -> list[dict[str, str]]:
    """Where runs may be trained at a time, as what to set in their environment: one a GPU where these
    runs are for GPUs, else one a core; `workers` at most, if given."""
    devices = {run.config.run["device"] for run in described.runs}
    if described.gpus and any(device == "auto" or device.startswith("cuda") for device in devices):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(index) for index in range(described.gpus)]
        return [{"CUDA_VISIBLE_DEVICES": name} for name in names[:workers]]
    return [{}] * (workers or len(os.sched_getaffinity(0)))


class Child:
    """A trainer that runs. `lock` is a file that it holds locked (flock) while it lives, so that nobody
    else starts the same run, whatever became of who started it."""

    def __init__(self, config: Path, log: Path, lock: Path, environment: Mapping[str, str]) -> None:
        """`environment` is set beside this process's. Raises TokenlabError when another process holds
        the lock."""
        self.log = log
        self.started = time.monotonic()
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock(held, lock)
            with log.open("wb") as said:
                # A session of its own: Ctrl-C reaches it from here only, and once.
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-c", SUPERVISED, str(os.getpid()), "--config", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    env={**os.environ, **ONE_THREAD, **environment},
                    pass_fds=(held,),
                    start_new_session=True,
                )
        finally:
            os.close(held)

    @staticmethod
    def _lock(held: int, lock: Path) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                return fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise TokenlabError(
                        f"{lock.with_suffix('')}: another process trains this run; wait for it or end it"
                    ) from error
            time.sleep(0.05)

    def poll(self) -> Ended | None:
        """How it ended, if it has."""
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        return self._ended(status, usage) if pid else None

    def wait(self) -> Ended:
        """How it ended, waiting for it."""
        _, status, usage = os.wait4(self.process.pid, 0)
        return self._ended(status, usage)

    def _ended(self, status: int, usage: resource.struct_rusage) -> Ended:
        # Not Popen.wait, which throws the resource usage away.
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(
            code=self.process.returncode,
            said=last_line(self.log.read_text(errors="replace")),
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            wall_seconds=time.monotonic() - self.started,
        )

    def interrupt(self) -> None:
        """Ask it to save and end."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)


def interrupt_all(children: Sequence[Child]) -> list[Ended]:
    """Let all save and end; those that take too long are killed."""
    for child in children:
        child.interrupt()
    deadline = time.monotonic() + INTERRUPT_SECONDS
    ended: list[Ended] = []
    for child in children:
        while (how := child.poll()) is None:
            if time.monotonic() > deadline:
                child.kill()
            time.sleep(0.02)
        ended.append(how)
    return ended


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
