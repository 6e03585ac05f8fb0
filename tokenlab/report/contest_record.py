"""`tokenlab report --record`: the folder that Parameter Golf asks of a record.

    DIR/README.md            what was trained, its scores, how to get them again
        submission.json      the contest's form: means and standard deviations, each seed, bytes
        train_seedN.log      one log a seed, with the lines that `tokenlab audit` reads
        run.toml, trainer/   configuration and code, whose digest is that of the runs

`author` and `github_id` of submission.json are left null: nothing here knows them. `val_bpb` is `bpb`,
BOS targets included, as the contest's evaluator counts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import msgspec

from tokenlab.errors import InputError
from tokenlab.report.training import config_toml
from tokenlab.runs import Run, RunResult, Spread


class SeedResult(msgspec.Struct, frozen=True, kw_only=True):
    """One seed in submission.json."""

    val_loss: float
    val_bpb: float
    val_bpb_documents: float
    artifact_bytes: int
    steps: int
    step_avg_ms: float


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """submission.json: `bytes_total` and `bytes_code` are the largest of the seeds' artifacts,
    `bytes_total` code and weights as the contest counts; deviations are of the sample."""

    author: str | None
    github_id: str | None
    name: str
    blurb: str
    date: str
    val_loss: float
    val_bpb: float
    val_loss_std: float | None
    val_bpb_std: float | None
    val_bpb_documents: float
    seeds: list[int]
    seed_results: dict[str, SeedResult]
    bytes_total: int
    bytes_code: int
    hardware: str
    pytorch_version: str
    signature: str


def require_absent(folder: Path | None) -> None:
    """Raise InputError at once for a record that could not be written."""
    if folder is not None and (folder.exists() or not folder.absolute().parent.is_dir()):
        what = "is there already" if folder.exists() else f"there is no folder {folder.absolute().parent}"
        raise InputError(f"--record {folder}: {what}; name a folder that does not exist yet")


def write_record(folder: Path, runs: Sequence[Run]) -> None:
    """Write the record of runs that `read_runs` found to be one experiment, whole or not at all.

    Raises InputError when the trainer that is installed is not the one that made the runs."""
    code = _trainer_files(runs[0])
    name = folder.absolute().name
    files = {
        "README.md": _readme(name, runs).encode(),
        "submission.json": msgspec.json.format(msgspec.json.encode(submission(name, runs)), indent=2) + b"\n",
        "run.toml": config_toml(runs[0]).encode(),
        **{f"train_seed{run.result.seed}.log": log(run).encode() for run in runs},
        **{f"trainer/{path}": content for path, content in code.items()},
    }
    unfinished = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.absolute().parent))
    try:
        for path, content in files.items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_bytes(content)
        unfinished.chmod(0o755)
        os.rename(unfinished, folder)
    except OSError as error:
        raise InputError(f"--record {folder}: cannot write it: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def submission(name: str, runs: Sequence[Run]) -> Submission:
    """The content of submission.json."""
    results = [run.result for run in runs]
    loss, bpb = Spread.of([r.score.loss for r in results]), Spread.of([r.score.bpb for r in results])
    first = results[0]
    seeds = f"mean of {len(runs)} seeds" if len(runs) > 1 else "one seed"
    blurb = (
        f"{first.dataset.scheme}, {first.dataset.vocab_size:,} ids, {first.training.parameters:,} "
        f"parameters; int8 rows and {first.artifact.codec}; context {first.score.context}, "
        f"stride {first.score.stride}; {seeds}"
    )
    return Submission(
        author=None,
        github_id=None,
        name=name,
        blurb=blurb,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        val_loss=loss.mean,
        val_bpb=bpb.mean,
        val_loss_std=loss.sd,
        val_bpb_std=bpb.sd,
        val_bpb_documents=Spread.of([r.score.bpb_documents for r in results]).mean,
        seeds=[r.seed for r in results],
        seed_results={
            str(r.seed): SeedResult(
                val_loss=r.score.loss,
                val_bpb=r.score.bpb,
                val_bpb_documents=r.score.bpb_documents,
                artifact_bytes=r.contest_bytes,
                steps=r.training.steps,
                step_avg_ms=_step_milliseconds(r),
            )
            for r in results
        },
        bytes_total=max(r.contest_bytes for r in results),
        bytes_code=max(r.artifact.code_bytes for r in results),
        hardware=_hardware(first),
        pytorch_version=first.environment.torch,
        signature=first.score.signature,
    )


def log(run: Run) -> str:
    """A run as the contest's logs tell it; the last line's pair fixes the denominator."""
    result = run.result
    before, after, machine = result.score_before_quantisation, result.score, result.environment
    artifact, timing = result.artifact, result.timing
    total = result.training.steps
    lines = [
        f"tokenlab {machine.tokenlab} torch {machine.torch} on {machine.device}",
        f"scheme:{result.dataset.scheme} fingerprint:{result.dataset.fingerprint}",
        f"manifest_sha256:{result.dataset.manifest_sha256}",
        f"code_sha256:{result.code_sha256} git:{machine.git or '-'}",
        f"vocab_size:{result.dataset.vocab_size} model_params:{result.training.parameters}",
        f"eval_seq_len:{after.context} eval_stride:{after.stride} bos_scored:{not after.isolated}",
        f"val_tokens:{after.targets}",
        f"seed:{result.seed}",
    ]
    for step in run.steps:
        milliseconds = 1_000 * step.seconds
        clock = f"train_time:{milliseconds:.0f}ms step_avg:{milliseconds / step.step:.2f}ms"
        if step.loss is not None:
            lines.append(f"step:{step.step}/{total} train_loss:{step.loss:.4f} {clock}")
    roundtrip = f"final_int8_{artifact.codec}_roundtrip"
    lines += [
        f"step:{total}/{total} val_loss:{before.loss:.8f} val_bpb:{before.bpb:.8f} "
        f"train_time:{1_000 * timing.training:.0f}ms",
        f"Code size: {artifact.code_bytes} bytes",
        f"Serialized model int8+{artifact.codec}: {artifact.weights_bytes} bytes",
        f"Total submission size int8+{artifact.codec}: {result.contest_bytes} bytes",
        f"signature {after.signature}",
        f"{roundtrip}_exact val_loss:{after.loss:.8f} val_bpb:{after.bpb:.8f}",
    ]
    return "\n".join(lines) + "\n"


def _readme(name: str, runs: Sequence[Run]) -> str:
    results = [run.result for run in runs]
    first, timings = results[0], [result.timing for result in results]
    bpb = Spread.of([result.score.bpb for result in results])
    documents = Spread.of([result.score.bpb_documents for result in results])
    seeds = "one seed" if bpb.sd is None else f"± {bpb.sd:.6f} (standard deviation of {len(runs)} seeds)"
    return f"""# {name}

**{bpb.mean:.6f} bits per byte**, {seeds}, BOS targets included as the contest counts;
{documents.mean:.6f} without them.

| seed | val_bpb | without BOS targets | val_loss | contest bytes | steps | ms a step |
|---|---|---|---|---|---|---|
{_lines(map(_readme_row, results))}

Every score's signature: `{first.score.signature}`.
The denominator is {first.score.source_bytes:,} source bytes, from the byte sidecar of the dataset whose
manifest.json has sha256 `{first.dataset.manifest_sha256}` (scheme {first.dataset.scheme}).

The model has {first.training.parameters:,} parameters. Training took {max(t.training for t in timings):.1f} s
at most, evaluation {max(t.evaluation for t in timings):.1f} s, on {_hardware(first)}.

To get it again in this folder, with the code in `trainer/`, the settings in `run.toml` and that dataset at
DATASET (`pip install torch tokenlab-bpb=={first.environment.tokenlab}`):

```sh
{_lines(map(_command, results))}
```

To hold the logs against the dataset:

```sh
tokenlab audit . --dataset DATASET
```
"""


def _readme_row(result: RunResult) -> str:
    score, training = result.score, result.training
    return (
        f"| {result.seed} | {score.bpb:.8f} | {score.bpb_documents:.8f} | {score.loss:.8f} "
        f"| {result.contest_bytes:,} | {training.steps:,} | {_step_milliseconds(result):.2f} |"
    )


def _command(result: RunResult) -> str:
    count = result.training.processes
    launch = "python" if count == 1 else f"torchrun --nproc-per-node {count}"
    seed = result.seed
    return f"{launch} -m trainer --config run.toml --dataset DATASET --seed {seed} --output run{seed}"


def _hardware(result: RunResult) -> str:
    count, device = result.training.processes, result.environment.device
    return device if count == 1 else f"{count} x {device}"


def _step_milliseconds(result: RunResult) -> float:
    return 1_000 * result.timing.training / result.training.steps


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _trainer_files(run: Run) -> dict[str, bytes]:
    """The trainer's files by path in its package. Raises InputError unless they made the run."""
    spec = find_spec("trainer")
    if spec is None or spec.origin is None:
        raise InputError("the trainer is not installed here, so its code cannot be put into a record")
    root = Path(spec.origin).parent
    paths = sorted([*root.glob("*.py"), *root.glob("presets/*.toml")])
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
    digest = hashlib.sha256()
    for name, content in files.items():
        if name.endswith(".py"):
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    if digest.hexdigest() != run.result.code_sha256:
        raise InputError(
            f"{run.folder} was trained by other code (sha256 {run.result.code_sha256[:12]}, here "
            f"{digest.hexdigest()[:12]}); write its record from git {run.result.environment.git or 'of then'}"
        )
    return files
