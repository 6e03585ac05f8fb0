"""One run, from configuration to `result.json`: train, export, score the artifact elsewhere.

OUTPUT/config.json       the configuration as it was resolved
       metrics.jsonl     a line a step: loss, learning rate multiplier, bytes, seconds, what a
                         hierarchical model says of its patches, and BPB where it was validated
       checkpoint.bin    while it is unfinished
       artifact/         see trainer/artifact.py
       documents.json    nats and bytes of each validation document
       token_nats.bin    nats of each validation token, float32, if asked for
       result.json       written last; its presence means the run is whole
       tensorboard/, wandb/  if asked for

Under `torchrun` all processes train and the first writes; see trainer/processes.py.
"""

from __future__ import annotations

import hashlib
import math
import os
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

from shards import write_atomically
from trainer import checkpoint
from trainer.artifact import ArtifactRecord, check_codecs, export
from trainer.batches import Batches
from trainer.config import LogConfig, RunConfig
from trainer.data import Dataset, Split, open_dataset
from trainer.devices import memory_errors, open_device
from trainer.errors import RunFailure, TrainerError
from trainer.evaluate import evaluate
from trainer.flops import model_flops_per_token
from trainer.loggers import Loggers, check_loggers
from trainer.muon import Optimizers, Rates
from trainer.network import Model, build_network, rule_of, shape_of
from trainer.processes import ALONE, Processes, as_one, launched
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
from trainer.sizes import resolve
from trainer.step import Step

Say = Callable[[str], None]

TOKEN_NATS = "token_nats.bin"
LINES = 10
"""Lines of progress a run, and one every ten seconds at most beyond that."""


def train(config: RunConfig, say: Say, *, force: bool = False) -> Result | None:
    """Run `config`; resumes what was interrupted. None in all but the first of several processes.

    Raises TrainerError when it cannot start, and RunFailure when it diverges or its artifact is
    too large."""
    with as_one():
        processes = launched()
        dataset = open_dataset(Path(config.dataset))
        dataset.split("val").charges()  # refuse now what could not be scored in the end
        config = resolve(config, dataset)
        processes.share(config.batch.rows)
        check_loggers(config)
        check_codecs(config.artifact.codecs)
    with memory_errors(f"lower batch.micro_rows (now {config.batch.micro_rows}) or evaluation.context"):
        trainer = Trainer(config, dataset, _identity(config, dataset), processes)
        with as_one(RunFailure), processes.together(trainer.device):
            if processes.first:
                _prepare(Path(config.output), force)
            else:
                say = _unsaid
            trainer.resume(say)
            if processes.first:
                _write_json(Path(config.output) / "config.json", config)
            trainer.run(say)
        return _conclude(trainer, say) if processes.first else None


def _conclude(trainer: Trainer, say: Say) -> Result:
    """Score, export, score the artifact, and write the result."""
    config, dataset, output = trainer.config, trainer.dataset, trainer.output
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
    _write_json(output / "result.json", result)
    (output / "checkpoint.bin").unlink(missing_ok=True)
    return result


class Trainer:
    """The training part of a run: model, optimizers, data, and how far they are."""

    def __init__(
        self, config: RunConfig, dataset: Dataset, identity: str, processes: Processes = ALONE
    ) -> None:
        """`config` is resolved (trainer/sizes.py); `identity` is what a checkpoint must match."""
        self.config = config
        self.output = Path(config.output)
        self.processes = processes
        self.share = processes.share(config.batch.rows)
        self.device = open_device(config.run.device, config.run.threads, processes)
        self.dataset = dataset
        self.split: Split = dataset.split("train")
        shape = shape_of(config.model, dataset.manifest.vocab_size)
        rule = rule_of(config.model, dataset)
        self.patches = dataset.patches(self.split) if rule is not None else None
        self.model: Model = build_network(shape, config.seed, rule).to(self.device)
        rates = msgspec.structs.asdict(config.rates)
        del rates["momentum_bytes"]
        self.optimizers = Optimizers(self.model, Rates(**rates), processes)
        self.batches = self._open_batches()
        self.step = Step(
            self.model,
            self.optimizers,
            machine=config.run,
            rows=config.batch.rows,
            micro_rows=config.batch.micro_rows,
            processes=processes,
        )
        self.progress = checkpoint.Progress(identity=identity)

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
        """Go on from the checkpoint in the output folder, if there is one; then all processes
        stand where the first does."""
        path = self.output / "checkpoint.bin"
        metrics = self.output / "metrics.jsonl"
        if self.processes.first:
            if path.exists():
                identity = self.progress.identity
                self.progress = checkpoint.restore(path, self.model, self.optimizers, identity)
                say(f"going on after step {self.progress.steps:,}, {self.progress.seconds:.0f} s of training")
            lines = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
            _write(metrics, b"".join(lines[: self.progress.steps]))
        counters = torch.tensor(
            [self.progress.steps, self.progress.seconds], dtype=torch.float64, device=self.device
        )
        state = [*(p.detach() for p in self.model.parameters()), *self.optimizers.state().values(), counters]
        self.processes.broadcast(state, [0] * len(state))
        self.progress.steps, self.progress.seconds = int(counters[0]), float(counters[1])
        self.batches.skip(self.progress.steps)

    def run(self, say: Say) -> None:
        """Train until the budget is spent. After Ctrl-C the step is finished and kept."""
        budget, progress = self.config.budget, self.progress
        say(self._opening())
        lines = self.output / "metrics.jsonl" if self.processes.first else Path(os.devnull)
        with (
            open(lines, "ab", buffering=0) as metrics,
            Loggers(self.config, progress, enabled=self.processes.first) as loggers,
            _Interrupts() as interrupts,
        ):
            progress.warmup_seconds += self.step.warm_up(self._open_batches())
            before = progress.seconds
            started = said = saved = time.monotonic()
            while not spent(budget, self.used(progress.seconds)):
                rate = multiplier(budget, self.used(progress.seconds))
                means = self.step(self.batches.next(), progress.steps, rate)
                progress.steps += 1
                progress.losses.append(means.pop("loss"))
                progress.patches = self._patches(means)
                bpb = self._validate()
                elapsed, stop = self.processes.maximum(
                    [time.monotonic() - started, interrupts.seen], self.device
                )
                progress.seconds = before + elapsed
                values = self._values(rate, bpb)
                metrics.write(msgspec.json.encode(values) + b"\n")
                loggers.log(progress.steps, values)
                now = time.monotonic()
                if bpb is not None or self._worth_a_line(now - said):
                    said = now
                    say(self._line(bpb))
                if stop or now - saved > self.config.run.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
                if stop:
                    self.processes.wait(self.device)  # `torchrun` ends all when it sees one end
                    raise KeyboardInterrupt
            self.step.finish()
            progress.seconds = before + time.monotonic() - started
        self.save()
        say(f"loss {curve(progress.losses)}")

    def save(self) -> None:
        """Write the checkpoint."""
        if self.processes.first:
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
                opening_block_tokens=self.batches.opening_block_tokens(tokens),
                block_tokens=self.batches.block_tokens,
            ),
            training=TrainingRecord(
                parameters=self.parameters,
                steps=steps,
                tokens=tokens,
                train_bytes=self.used(0).train_bytes,
                first_loss=self.progress.losses[0],
                last_loss=self.progress.losses[-1],
                flops_per_byte=per_token / self.split.bytes_per_token,
                batch_tokens=self.config.batch.tokens,
                batch_bytes=self.config.batch.tokens * self.split.bytes_per_token,
                processes=self.processes.count,
                patches=self.progress.patches,
            ),
            code_sha256=code_sha256(),
            config=self.config,
            timing=TimingRecord(
                training=self.progress.seconds,
                warmup=self.progress.warmup_seconds,
                validation=self.progress.validation_seconds,
                evaluation=evaluation,
                tokens_per_second=tokens / self.progress.seconds,
            ),
            environment=environment(self.device),
        )

    def _open_batches(self) -> Batches:
        batch = self.config.batch
        return Batches(
            self.split,
            rows=batch.rows,
            context=batch.context,
            block_documents=batch.block_documents,
            seed=self.config.seed,
            share=self.share,
            patches=self.patches,
        )

    def _validate(self) -> float | None:
        """Bits per byte of the validation split where the cadence asks for it; the first process
        scores, the others wait for it when they next agree on the time."""
        window, steps = self.config.evaluation, self.progress.steps
        if not window.validate_every or steps % window.validate_every or not self.processes.first:
            return None
        started = time.monotonic()
        context = window.context
        score = evaluate(self.model, self.dataset, context=context, stride=context, device=self.device).score
        self.progress.validation_seconds += time.monotonic() - started
        return score.bpb

    def _values(self, rate: float, bpb: float | None) -> dict[str, float]:
        used = self.used(self.progress.seconds)
        values = {
            "step": used.steps,
            "loss": self.progress.losses[-1],
            "rate": rate,
            "train_bytes": round(used.train_bytes),
            "seconds": round(used.seconds, 4),
            **self.progress.patches,
        }
        return values if bpb is None else values | {"val_bpb": bpb}

    def _patches(self, means: dict[str, float]) -> dict[str, float]:
        """What a step's means over rows say of its patches, as metrics.jsonl has it."""
        rates = [value for name, value in means.items() if name.startswith("patches_per_byte")]
        if not rates:
            return {}
        told = {"bytes_per_patch": 1 / rates[-1]}
        if len(rates) > 1:
            told["bytes_per_outer_patch"] = 1 / rates[0]
        if "ratio_loss" in means:
            told["ratio_loss"] = means["ratio_loss"]
        return told | {"patches_dropped": round(means["dropped"] * self.config.batch.rows)}

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
            + (f" in {self.processes.count} processes" if self.processes.count > 1 else "")
        )

    def _line(self, val_bpb: float | None) -> str:
        used = self.used(self.progress.seconds)
        loss = self.progress.losses[-1]
        speed = used.steps * self.config.batch.tokens / used.seconds
        bpb = loss / math.log(2) / self.split.bytes_per_token
        patch = self.progress.patches.get("bytes_per_patch")
        left = max(0.0, steps_left(self.config.budget, used)) * used.seconds / used.steps
        return (
            f"step {used.steps:,}: loss {loss:.4f} (about {bpb:.3f} bits a byte of train), "
            f"{speed:,.0f} tokens/s, about {left:.0f} s left"
            + (f"; {patch:.2f} bytes a patch" if patch is not None else "")
            + (f"; validation {val_bpb:.4f} bits a byte" if val_bpb is not None else "")
        )


class _Interrupts:
    """Takes Ctrl-C for a note while it is entered; another one a second later interrupts at once.
    (`torchrun` hands on the one that the terminal has sent to everybody: two at a time.)"""

    def __init__(self) -> None:
        self.seen = False
        self._first = 0.0

    def __enter__(self) -> _Interrupts:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        now = time.monotonic()
        if self.seen and now - self._first > 1:
            raise KeyboardInterrupt
        self._first = self._first or now
        self.seen = True


def _unsaid(line: str) -> None:
    """Progress is told by the first process only."""


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
    """What a checkpoint belongs to; where dataset and output lie, how often it is saved and where
    else metrics go do not matter."""
    run = msgspec.structs.replace(config.run, checkpoint_seconds=1.0)
    plain = msgspec.structs.replace(config, dataset="", output="", run=run, log=LogConfig())
    parts = [msgspec.json.encode(plain).decode(), dataset.digest, code_sha256(), torch.__version__]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _prepare(output: Path, force: bool) -> None:
    """The output folder, with nothing in it but an unfinished run. Raises TrainerError otherwise."""
    ours = {"config.json", "metrics.jsonl", "checkpoint.bin", "artifact", "documents.json", "result.json"}
    ours |= {"tensorboard", "wandb", TOKEN_NATS}
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
    command += ["--token-nats", str(Path(config.output) / TOKEN_NATS)] if window.token_nats else []
    answer = subprocess.run(command, stdout=subprocess.PIPE)
    if answer.returncode:
        raise RunFailure(f"scoring the artifact ended with exit code {answer.returncode}")
    return msgspec.json.decode(answer.stdout, type=EvaluationRecord)


def _write(path: Path, content: bytes) -> None:
    with write_atomically(path) as file:
        file.write(content)


def _write_json(path: Path, record: msgspec.Struct) -> None:
    _write(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
