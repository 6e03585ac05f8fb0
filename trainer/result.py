"""`result.json`: one training run, typed. Sizes are bytes, times seconds, losses nats a target;
`units` says so in the file itself.

Everything but `timing`, `environment` and `config`'s paths is the same, bit by bit, when a run on
one CPU thread with a budget of steps or bytes is repeated.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import msgspec
import numpy
import torch

from tokenlab import __version__
from tokenlab.accounting.bpb import Score
from trainer.artifact import ArtifactRecord
from trainer.config import RunConfig
from trainer.data import Dataset
from trainer.evaluate import Evaluation

SCHEMA = "tokenlab-run-1"
EVALUATION_SCHEMA = "tokenlab-evaluation-1"
UNITS = {
    "bpb": "bits a source byte, BOS targets included",
    "bpb_documents": "bits a source byte, BOS targets left out",
    "loss": "nats a target",
    "nats": "nats",
    "bytes": "bytes; source bytes are UTF-8 of the documents",
    "seconds": "wall seconds",
    "context, stride": "tokens",
    "flops_per_byte": "floating-point operations of training a source byte, forward and backward",
}


class ScoreRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A score with what it was counted over. `signature` names everything that must be equal for
    two scores to compare."""

    bpb: float
    bpb_documents: float
    loss: float
    nats: float
    nats_bos: float
    source_bytes: int
    unattributed_bytes: int
    targets: int
    targets_bos: int
    documents: int
    context: int
    stride: int
    isolated: bool
    signature: str


class DatasetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained on. `opening_block_tokens` and `block_tokens` as trainer/batches.py has them:
    what an order of documents happens to bring, and what orders bring on average."""

    manifest_sha256: str
    scheme: str
    fingerprint: str
    vocab_size: int
    bytes_per_token: float
    order_sha256: str
    epochs: int
    opening_block_tokens: float | None
    block_tokens: float


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What training used. `train_bytes` are source bytes, at the manifest's mean bytes a token,
    `batch_bytes` those of a step; `flops_per_byte` is the count of trainer/flops.py over them.
    `processes` are those that finished it, `patches` what the last line of metrics.jsonl says of a
    hierarchical model's patches."""

    parameters: int
    steps: int
    tokens: int
    train_bytes: float
    first_loss: float
    last_loss: float
    flops_per_byte: float
    batch_tokens: int
    batch_bytes: float
    processes: int
    patches: dict[str, float] = {}


class TimingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Wall seconds. `training` includes data, checkpoints and `validation` (scoring in between);
    `warmup` (compiling) is apart."""

    training: float
    warmup: float
    validation: float
    evaluation: float
    tokens_per_second: float


class EnvironmentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where it ran. `memory_bytes` is the machine's; `git` the trainer's commit, `+` with changes."""

    tokenlab: str
    torch: str
    numpy: str
    python: str
    system: str
    device: str
    gpus: int
    processor: str
    cores: int
    memory_bytes: int
    threads: int
    git: str | None


class EvaluationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What `eval` gives: the score of an artifact, and each document's nats and bytes."""

    schema: str
    score: ScoreRecord
    weights_sha256: str
    contest_bytes: int
    strict_bytes: int
    seconds: float
    environment: EnvironmentRecord
    document_nats: list[float]
    document_nats_bos: list[float]
    document_bytes: list[int]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One training run. `score` is the artifact's, from a fresh process; the other is of the
    weights before quantisation."""

    schema: str
    seed: int
    score: ScoreRecord
    score_before_quantisation: ScoreRecord
    artifact: ArtifactRecord
    contest_bytes: int
    strict_bytes: int
    dataset: DatasetRecord
    training: TrainingRecord
    code_sha256: str
    config: RunConfig
    timing: TimingRecord
    environment: EnvironmentRecord
    units: dict[str, str] = msgspec.field(default_factory=lambda: dict(UNITS))


def score_record(
    evaluation: Evaluation,
    dataset: Dataset,
    *,
    context: int,
    stride: int,
    isolated: bool,
    device: torch.device,
) -> ScoreRecord:
    """An evaluation's totals under their signature."""
    score: Score = evaluation.score
    split = dataset.manifest.splits["val"]
    signature = "|".join(
        [
            f"scheme={dataset.manifest.scheme.name}:{dataset.manifest.scheme.fingerprint[:12]}",
            f"val={split.documents_sha256[:12]}",
            "bos=none" if isolated else "bos=scored",
            f"context={context}",
            f"stride={stride}",
            f"precision={'bfloat16' if device.type == 'cuda' else 'float32'}",
            f"tokenlab={__version__}",
            f"torch={torch.__version__}",
        ]
    )
    return ScoreRecord(
        bpb=score.bpb,
        bpb_documents=score.bpb_documents,
        loss=score.loss,
        nats=score.nats,
        nats_bos=score.nats_bos,
        source_bytes=score.source_bytes,
        unattributed_bytes=split.unattributed_bytes,
        targets=score.targets,
        targets_bos=score.targets_bos,
        documents=len(evaluation.nats),
        context=context,
        stride=stride,
        isolated=isolated,
        signature=signature,
    )


def environment(device: torch.device) -> EnvironmentRecord:
    """This process's."""
    processor = _processor()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor
    return EnvironmentRecord(
        tokenlab=__version__,
        torch=str(torch.__version__),
        numpy=numpy.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        device=f"{device.type} {name}",
        gpus=torch.cuda.device_count(),
        processor=processor,
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        threads=torch.get_num_threads(),
        git=_git_state(),
    )


def _processor() -> str:
    """The CPU's name, of Linux where it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _git_state() -> str | None:
    """Commit of the trainer's own checkout, `+` for one with changes; None for an installed one."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return None
    command = ["git", "-C", os.fspath(here), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except OSError:
        return None
    return answer.stdout.strip() or None
