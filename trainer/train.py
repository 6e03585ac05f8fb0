"""One run, from configuration to `result.json`: train, export, score the artifact elsewhere.

OUTPUT/config.json       the configuration as it was resolved
       metrics.jsonl     a line a step: loss, learning rate multiplier, bytes, seconds
       checkpoint.bin    while it is unfinished
       artifact/         see trainer/artifact.py
       documents.json    nats and bytes of each validation document
       result.json       written last; its presence means the run is whole
"""

from __future__ import annotations

import hashlib
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from shards import write_atomically
from trainer import checkpoint
from trainer.artifact import ArtifactRecord, check_codecs, export
from trainer.batches import Batches
from trainer.config import RunConfig
from trainer.data import Dataset, Split, open_dataset
from trainer.devices import open_device
from trainer.errors import RunFailure, TrainerError
from trainer.evaluate import evaluate, precision
from trainer.flops import model_flops_per_token
from trainer.model import Baseline, ModelShape, build
from trainer.muon import Optimizers, Rates
from trainer.result import (
    SCHEMA,
    DatasetRecord,
    EvaluationRecord,
    Result,
    ScoreRecord,
    TimingRecord,
    TrainingRecord,
    environment,
    score_record,
)
from trainer.schedule import Used, multiplier, spent, steps_left

Say = Callable[[str], None]

DIVERGED = 3.0
"""Nats above the loss of an untrained model (ln vocabulary): no run that recovers gets there."""
WARMUP_STEPS = 3
LINES = 10
"""Lines of progress a run, and one every ten seconds at most beyond that."""


def train(config: RunConfig, say: Say, *, force: bool = False) -> Result:
    """Run `config`; resumes what was interrupted. Raises TrainerError when it cannot start, and
    RunFailure when it diverges or its artifact is too large."""
    output = Path(config.output)
    dataset = open_dataset(Path(config.dataset))
    dataset.split("val").charges()  # refuse now what could not be scored in the end
    check_codecs(config.artifact.codecs)
    identity = _identity(config, dataset)
    trainer = Trainer(config, dataset, identity)
    _prepare(output, force)
    trainer.resume(say)
    _write(output / "config.json", msgspec.json.format(msgspec.json.encode(config), indent=1) + b"\n")
    trainer.run(say)
    say("scoring the weights before quantisation")
    window = config.evaluation
    started = time.monotonic()
    how: dict[str, Any] = {
        "context": window.context,
        "stride": window.stride,
        "isolated": window.isolated,
        "device": trainer.device,
    }
    before = evaluate(trainer.model, dataset, **how)
    artifact = export(
        output / "artifact",
        trainer.model,
        dataset,
        context=config.batch.context,
        codecs=config.artifact.codecs,
        scale_floor=config.artifact.scale_floor,
        cap=config.artifact.cap_bytes,
    )
    say("scoring the artifact in a fresh process")
    after = _score_elsewhere(config)
    unquantised = score_record(before, dataset, **how)
    result = trainer.result(artifact, after, unquantised, time.monotonic() - started)
    documents = {
        "nats": after.document_nats,
        "nats_bos": after.document_nats_bos,
        "bytes": after.document_bytes,
    }
    _write(output / "documents.json", msgspec.json.encode(documents))
    _write(output / "result.json", msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    (output / "checkpoint.bin").unlink(missing_ok=True)
    return result


class Trainer:
    """The training part of a run: model, optimizers, data, and how far they are."""

    def __init__(self, config: RunConfig, dataset: Dataset, identity: str) -> None:
        self.config = config
        self.output = Path(config.output)
        self.device = open_device(config.run.device, config.run.threads)
        self.dataset = dataset
        self.split: Split = dataset.split("train")
        sizes = msgspec.structs.asdict(config.model)
        try:
            shape = ModelShape(vocab_size=dataset.manifest.vocab_size, **sizes)
        except ValueError as error:
            raise TrainerError(f"[model]: {error}") from error
        self.model: Baseline = build(shape, config.seed).to(self.device)
        self.optimizers = Optimizers(self.model, Rates(**msgspec.structs.asdict(config.rates)))
        self.batches = Batches(
            self.split,
            rows=config.batch.rows,
            context=config.batch.context,
            block_documents=config.batch.block_documents,
            seed=config.seed,
        )
        self.progress = checkpoint.Progress(identity=identity)
        self.warmup_seconds = 0.0
        self._forward: Callable[[Tensor, Tensor], Tensor] = self.model

    @property
    def parameters(self) -> int:
        """Trainable values."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def used(self, seconds: float) -> Used:
        """What the run has used, given its training seconds."""
        steps = self.progress.steps
        seen = steps * self.config.batch.tokens * self.split.bytes_per_token
        return Used(steps=steps, seconds=seconds, train_bytes=seen)

    def resume(self, say: Say) -> None:
        """Go on from the checkpoint in the output folder, if there is one."""
        path = self.output / "checkpoint.bin"
        metrics = self.output / "metrics.jsonl"
        if path.exists():
            self.progress = checkpoint.restore(path, self.model, self.optimizers, self.progress.identity)
            self.batches.skip(self.progress.steps)
            say(f"going on after step {self.progress.steps:,}, {self.progress.seconds:.0f} s of training")
        lines = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
        _write(metrics, b"".join(lines[: self.progress.steps]))

    def run(self, say: Say) -> None:
        """Train until the budget is spent. After Ctrl-C the step is finished and kept."""
        budget = self.config.budget
        self._warm_up()
        before = self.progress.seconds
        started = said = saved = time.monotonic()
        say(self._opening())
        with open(self.output / "metrics.jsonl", "ab", buffering=0) as metrics, _Interrupts() as interrupts:
            while not spent(budget, self.used(self.progress.seconds)):
                rate = multiplier(budget, self.used(self.progress.seconds))
                loss = self._step(rate)
                now = time.monotonic()
                self._note(loss, before + now - started)
                metrics.write(self._metrics(rate))
                if self._worth_a_line(now - said):
                    said = now
                    say(self._line())
                if interrupts.seen or now - saved > self.config.run.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
                if interrupts.seen:
                    raise KeyboardInterrupt
        self.progress.seconds = before + time.monotonic() - started
        self.save()
        say(f"loss {curve(self.progress.losses)}")

    def save(self) -> None:
        """Write the checkpoint."""
        checkpoint.save(self.output / "checkpoint.bin", self.model, self.optimizers, self.progress)

    def result(
        self, artifact: ArtifactRecord, after: EvaluationRecord, before: ScoreRecord, evaluation: float
    ) -> Result:
        """The record of the finished run."""
        steps, tokens = self.progress.steps, self.progress.steps * self.config.batch.tokens
        manifest = self.dataset.manifest
        per_token = model_flops_per_token(self.model, self.config.batch.context)
        return Result(
            schema=SCHEMA,
            seed=self.config.seed,
            score=after.score,
            score_before_quantisation=before,
            artifact=artifact,
            contest_bytes=artifact.contest_bytes,
            strict_bytes=artifact.strict_bytes,
            dataset=DatasetRecord(
                manifest_sha256=self.dataset.digest,
                scheme=manifest.scheme.name,
                fingerprint=manifest.scheme.fingerprint,
                vocab_size=manifest.vocab_size,
                bytes_per_token=self.split.bytes_per_token,
                order_sha256=self.batches.order_sha256(),
                epochs=self.batches.epoch + 1,
            ),
            training=TrainingRecord(
                parameters=self.parameters,
                steps=steps,
                tokens=tokens,
                train_bytes=self.used(0).train_bytes,
                first_loss=self.progress.losses[0],
                last_loss=self.progress.losses[-1],
                flops_per_byte=per_token / self.split.bytes_per_token,
            ),
            code_sha256=code_sha256(),
            config=self.config,
            timing=TimingRecord(
                training=self.progress.seconds,
                warmup=self.warmup_seconds,
                evaluation=evaluation,
                tokens_per_second=tokens / self.progress.seconds,
            ),
            environment=environment(self.device),
        )

    def _warm_up(self) -> None:
        """On a GPU, compile; gradients of made-up batches are thrown away, so that nothing but
        the clock would know."""
        if self.device.type != "cuda":
            return
        started = time.monotonic()
        self._forward = torch.compile(self.model, dynamic=False)
        shape = (self.config.batch.micro_rows, self.config.batch.context)
        ids = torch.zeros(shape, dtype=torch.int64, device=self.device)
        for _ in range(WARMUP_STEPS):
            with precision(self.device):
                loss = self._forward(ids, ids)
            torch.autograd.backward(loss)
        self.model.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        self.warmup_seconds = time.monotonic() - started

    def _step(self, rate: float) -> float:
        """One update; the mean loss of its batch. Raises RunFailure when it diverged."""
        inputs, targets = self.batches.next()
        micro = self.config.batch.micro_rows
        parts = self.config.batch.rows // micro
        self.model.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for at in range(0, len(inputs), micro):
            ids = torch.from_numpy(inputs[at : at + micro]).to(self.device, non_blocking=True)
            wanted = torch.from_numpy(targets[at : at + micro]).to(self.device, non_blocking=True)
            with precision(self.device):
                loss = self._forward(ids, wanted) / parts
            torch.autograd.backward(loss)
            total += loss.detach()
        value = float(total)
        limit = math.log(self.model.shape.vocab_size) + DIVERGED
        if not value <= limit:
            raise RunFailure(
                f"step {self.progress.steps + 1}: the loss is {value:.4g}, the run diverged; lower "
                "rates.matrix_rate and rates.embedding_rate, or take more tokens a step"
            )
        self.optimizers.step(self.progress.steps, rate)
        return value

    def _note(self, loss: float, seconds: float) -> None:
        self.progress.steps += 1
        self.progress.seconds = seconds
        self.progress.losses.append(loss)

    def _metrics(self, rate: float) -> bytes:
        used = self.used(self.progress.seconds)
        line = {
            "step": used.steps,
            "loss": self.progress.losses[-1],
            "rate": rate,
            "train_bytes": round(used.train_bytes),
            "seconds": round(used.seconds, 4),
        }
        return msgspec.json.encode(line) + b"\n"

    def _worth_a_line(self, silent: float) -> bool:
        steps = self.config.budget.steps
        due = steps is not None and silent > 1 and self.progress.steps % max(1, steps // LINES) == 0
        return due or silent > 10

    def _opening(self) -> str:
        batch, split = self.config.batch, self.split
        return (
            f"training {self.parameters:,} parameters on {split.record.documents:,} documents, "
            f"{split.record.source_bytes:,} source bytes, {batch.tokens:,} tokens "
            f"({batch.tokens * split.bytes_per_token:,.0f} bytes) a step, on {self.device.type}"
        )

    def _line(self) -> str:
        used = self.used(self.progress.seconds)
        loss = self.progress.losses[-1]
        speed = used.steps * self.config.batch.tokens / used.seconds
        bpb = loss / math.log(2) / self.split.bytes_per_token
        left = max(0.0, steps_left(self.config.budget, used)) * used.seconds / used.steps
        return (
            f"step {used.steps:,}: loss {loss:.4f} (about {bpb:.3f} bits a byte of train), "
            f"{speed:,.0f} tokens/s, about {left:.0f} s left"
        )


class _Interrupts:
    """Takes Ctrl-C for a note while it is entered; a second one interrupts at once."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> _Interrupts:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True


def curve(losses: list[float], width: int = 40) -> str:
    """Losses as a line of blocks, from the first to the last value."""
    blocks = "▁▂▃▄▅▆▇█"
    size = max(1, -(-len(losses) // width))
    means = [sum(part) / len(part) for part in (losses[i : i + size] for i in range(0, len(losses), size))]
    low, high = min(means), max(means)
    marks = (blocks[round(7 * (mean - low) / (high - low))] if high > low else blocks[0] for mean in means)
    return f"{losses[0]:.3f} {''.join(marks)} {losses[-1]:.3f}"


def code_sha256() -> str:
    """Digest of this package's code: the sha256 of its files' names and digests, sorted."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _identity(config: RunConfig, dataset: Dataset) -> str:
    """What a checkpoint belongs to; where dataset and output lie does not matter."""
    plain = msgspec.structs.replace(config, dataset="", output="")
    parts = [msgspec.json.encode(plain).decode(), dataset.digest, code_sha256(), torch.__version__]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _prepare(output: Path, force: bool) -> None:
    """The output folder, with nothing in it but an unfinished run. Raises TrainerError otherwise."""
    ours = {"config.json", "metrics.jsonl", "checkpoint.bin", "artifact", "documents.json", "result.json"}
    if output.exists() and not output.is_dir():
        raise TrainerError(f"{output}: is a file, --output must be a folder")
    there = {entry.name for entry in output.iterdir()} if output.exists() else set()
    foreign = sorted(name for name in there - ours if not name.endswith(".partial"))
    if foreign:
        raise TrainerError(f"{output}: holds other files ({foreign[0]}); choose another --output")
    if "result.json" in there and not force:
        raise TrainerError(f"{output}: holds a finished run; replace it with --force")
    output.mkdir(parents=True, exist_ok=True)
    if force:
        for name in there & ours:
            path = output / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _score_elsewhere(config: RunConfig) -> EvaluationRecord:
    """`python -m trainer eval` on the artifact: nothing of this process can leak into the score."""
    window = config.evaluation
    command = [sys.executable, "-P", "-m", "trainer", "eval", str(Path(config.output) / "artifact"), "--json"]
    command += ["--dataset", config.dataset, "--context", str(window.context), "--stride", str(window.stride)]
    command += ["--device", config.run.device, "--threads", str(config.run.threads)]
    command += ["--isolated"] if window.isolated else []
    answer = subprocess.run(command, stdout=subprocess.PIPE)
    if answer.returncode:
        raise RunFailure(f"scoring the artifact ended with exit code {answer.returncode}")
    return msgspec.json.decode(answer.stdout, type=EvaluationRecord)


def _write(path: Path, content: bytes) -> None:
    with write_atomically(path) as file:
        file.write(content)
