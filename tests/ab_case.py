"""An experiment made by hand: real datasets of one source, and run folders whose nats are drawn, not
trained, so that what is true of the arms is known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.command import tokenlab, write_jsonl
from tests.trainer_case import texts
from tokenlab.ab.classes import validation_tokens
from tokenlab.ab.controls import FILE, MUTATED, PERMUTED, SAME, ControlArm, Controls
from tokenlab.ab.facts import ArmFacts, RunFacts
from tokenlab.ab.plan import Plan, make_plan
from tokenlab.dataset import Dataset
from tokenlab.manifest import MANIFEST_FILE

VAL_DOCS = 24
SCHEMES = {"bytes": (), "caseops": ("--vocab-size", 300), "byte-bpe": ("--vocab-size", 280)}
TRUE_BPB = {"bytes": 2.40, "caseops": 2.30, "byte-bpe": 2.403}
SMALL, LARGE = "control-512", "control-1024"
TRUE_CONTROLS = {SAME: 2.40, PERMUTED: 2.40, SMALL: 2.45, LARGE: 2.30}
SEED_SD, OWN_SD = 0.004, 0.0015
"""Of a score, as fractions: what the runs of a pair share, and what they do not."""


@dataclass
class Handmade:
    """What the analysis needs of an experiment."""

    folder: Path
    plan: Plan
    arms: list[ArmFacts]
    runs: list[RunFacts]
    overrides: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def ab_datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same documents in three schemes; read only."""
    folder = tmp_path_factory.mktemp("ab")
    mixed = [text.title() if n % 3 else text.upper() for n, text in enumerate(texts(60, 1))]
    source = write_jsonl(folder / "docs.jsonl", mixed)
    for scheme, options in SCHEMES.items():
        arguments = ("--scheme", scheme, *options, "--input", source, "--val-docs", VAL_DOCS)
        result = tokenlab("build", *arguments, "--output", folder / scheme)
        assert result.returncode == 0, result.stderr
    return {scheme: folder / scheme for scheme in SCHEMES}


ORDER_LENGTHS = (97.0, 104.0, 99.0, 101.0, 92.0, 103.0)
"""Of pairs: mean tokens of the documents that the seed's order puts first."""


def experiment(
    folder: Path, datasets: dict[str, Path], *, pairs: int = 6, control_pairs: int = 3, **plan: Any
) -> Handmade:
    """An experiment of the three schemes in the column `bytes`, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    keys: dict[str, Any] = {
        "budget": {"train_bytes": 100_000},
        "pairs": pairs,
        "control_pairs": control_pairs,
    }
    arms = [{"name": name, "dataset": str(path)} for name, path in datasets.items()]
    made = make_plan(keys | {"arms": arms} | plan)
    names = list(datasets)
    found = Handmade(folder, made, [arm_facts(name, datasets[name]) for name in names], [])
    truths = {name: (datasets[name], TRUE_BPB[name], pairs) for name in names}
    if made.controls:
        truths |= {name: (datasets[names[0]], bpb, control_pairs) for name, bpb in TRUE_CONTROLS.items()}
        found.arms += [arm_facts(name, datasets[names[0]], control=True) for name in TRUE_CONTROLS]
        (folder / "verdicts").mkdir(exist_ok=True)
        rejected = {"verdict": "reject", "verdicts": [], "manifest_sha256": "0" * 64}
        (folder / "verdicts" / f"{MUTATED}.json").write_text(json.dumps(rejected))
        (folder / FILE).write_bytes(msgspec.json.encode(_controls(names[0], str(datasets[names[0]]))))
    for column in made.columns:
        for name, (dataset, bpb, count) in truths.items():
            for pair in range(count):
                found.runs.append(write_run(found, name, column, pair, dataset, bpb))
    (folder / "plan.toml").write_text(made.to_toml())
    return found


def _controls(baseline: str, dataset: str) -> Controls:
    arms = [
        ControlArm(name=SAME, kind="same", against=baseline, dataset=dataset),
        ControlArm(name=PERMUTED, kind="permuted", against=baseline, dataset=dataset),
        ControlArm(name=SMALL, kind="positive", against=SMALL, dataset=dataset),
        ControlArm(name=LARGE, kind="positive", against=SMALL, dataset=dataset),
    ]
    return Controls(arms=arms, left_out=[])


def arm_facts(name: str, dataset: Path, *, control: bool = False, verdict: str = "trust") -> ArmFacts:
    manifest = Dataset(dataset).manifest
    split = manifest.splits["train"]
    return ArmFacts(
        name=name,
        dataset=str(dataset),
        scheme=manifest.scheme.name,
        fingerprint=manifest.scheme.fingerprint,
        vocab_size=manifest.vocab_size,
        manifest_sha256="0" * 64,
        bytes_per_token=split.source_bytes / split.tokens,
        verdict=verdict,
        normal_form=verdict == "normalised",
        control=control,
    )


def write_run(made: Handmade, arm: str, column: Any, pair: int, dataset: Path, bpb: float) -> RunFacts:
    """A run's folder, as the trainer leaves it, with a score near `bpb`; its facts."""
    where = Path("runs") / column / arm / f"seed-{pair}"
    path = made.folder / where
    path.mkdir(parents=True)
    shared = np.random.default_rng(pair + (1_000 if arm == SAME else 0)).standard_normal()
    draw = np.random.default_rng([pair, sum(arm.encode())])
    score = bpb * (1 + SEED_SD * shared + OWN_SD * draw.standard_normal())
    tokens = validation_tokens(Dataset(dataset))
    size = int(tokens.charges.sum())
    weights = draw.exponential(1, len(tokens.classes)) * (1 + tokens.classes)
    weights[0] = 0
    nats = (weights * (score * math.log(2) * size / weights.sum())).astype(np.float32)
    documents = np.add.reduceat(nats.astype(np.float64), tokens.starts)
    exact = math.fsum(documents) / (math.log(2) * size)
    nats[0] = np.nan
    (path / "token_nats.bin").write_bytes(nats.astype("<f4").tobytes())
    bos = np.nan_to_num(nats[tokens.starts].astype(np.float64))
    kept = {
        "nats": documents.tolist(),
        "nats_bos": bos.tolist(),
        "bytes": np.add.reduceat(tokens.charges.astype(np.int64), tokens.starts).tolist(),
    }
    (path / "documents.json").write_text(json.dumps(kept))
    facts = RunFacts(
        arm=arm,
        column=column,
        pair=pair,
        seed=pair,
        folder=str(where),
        state="whole",
        failure=None,
        bpb=exact,
        bpb_documents=exact - float(bos.sum()) / (math.log(2) * size),
        bpb_before_quantisation=exact - 0.001,
        signature=f"scheme={arm}|context=16",
        parameters=10_000,
        layers=2,
        dim=16,
        contest_bytes=50_000,
        steps=40,
        tokens=40 * 64,
        train_bytes=100_000.0,
        training_seconds=2.0,
        cpu_seconds=3.0,
        flops_per_byte=1e5,
    )
    (path / "result.json").write_text(json.dumps(_result(made, facts, dataset, size, len(nats) - 1)))
    (path / "metrics.jsonl").write_text("".join(_steps(facts, dataset)))
    return facts


def diverged(facts: RunFacts) -> RunFacts:
    """The run as one that diverged."""
    from msgspec.structs import replace

    return replace(
        facts,
        state="diverged",
        failure="loss is nan at step 7",
        bpb=None,
        bpb_documents=None,
        bpb_before_quantisation=None,
        signature=None,
    )


def _steps(facts: RunFacts, dataset: Path) -> Sequence[str]:
    ratio = arm_facts("", dataset).bytes_per_token
    for step in range(1, facts.steps + 1):
        seen = facts.train_bytes * step / facts.steps
        loss = math.log(2) * ratio * ((facts.bpb or 0) + 5 / step)
        row = {"step": step, "loss": loss, "rate": 1.0, "train_bytes": seen, "seconds": step / 20}
        yield json.dumps(row) + "\n"


def _result(made: Handmade, facts: RunFacts, dataset: Path, size: int, targets: int) -> dict[str, Any]:
    manifest = json.loads((dataset / MANIFEST_FILE).read_text())
    score = {
        "bpb": facts.bpb,
        "bpb_documents": facts.bpb_documents,
        "loss": 1.0,
        "nats": 1.0,
        "nats_bos": 1.0,
        "source_bytes": size,
        "unattributed_bytes": 0,
        "targets": targets,
        "targets_bos": VAL_DOCS - 1,
        "documents": VAL_DOCS,
        "context": 16,
        "stride": 8,
        "isolated": False,
        "signature": facts.signature,
    }
    tensors = {
        "embedding.weight": 9_000,
        "blocks.0.attention.query.weight": 4_000,
        "blocks.0.mlp.up.weight": 7_000,
    }
    return {
        "schema": "tokenlab-run-1",
        "seed": facts.seed,
        "score": score,
        "score_before_quantisation": score,
        "artifact": {
            "code_bytes": 20_000,
            "weights_bytes": 30_000,
            "tokenizer_bytes": 5_000,
            "codec": "zlib",
            "codec_bytes": {"zlib": 30_000},
            "tensor_bytes": tensors | {"blocks.0.mlp.up.weight": 7_000, "blocks.0.resid_mix": 120},
        },
        "contest_bytes": 50_000,
        "strict_bytes": 55_000,
        "dataset": {
            "manifest_sha256": "0" * 64,
            "scheme": manifest["scheme"]["name"],
            "fingerprint": manifest["scheme"]["fingerprint"],
            "vocab_size": manifest["vocab_size"],
            "bytes_per_token": arm_facts("", dataset).bytes_per_token,
            "order_sha256": "1" * 64,
            "epochs": 1,
            "opening_block_tokens": ORDER_LENGTHS[facts.pair % len(ORDER_LENGTHS)],
            "block_tokens": 100.0,
        },
        "training": {
            "parameters": 10_000,
            "steps": facts.steps,
            "tokens": facts.tokens,
            "train_bytes": facts.train_bytes,
            "first_loss": 5.0,
            "last_loss": 2.0,
            "flops_per_byte": facts.flops_per_byte,
            "batch_tokens": 64,
            "processes": 1,
        },
        "code_sha256": "2" * 64,
        "config": {
            "dataset": str(dataset),
            "output": str(made.folder / facts.folder),
            "seed": facts.seed,
            "budget": {"train_bytes": 100_000},
            "artifact": {"cap_bytes": 16_000_000},
        },
        "timing": {
            "training": 2.0,
            "warmup": 0.0,
            "validation": 0.0,
            "evaluation": 1.0,
            "tokens_per_second": 1_000.0,
        },
        "environment": {
            "tokenlab": "0.1.0",
            "torch": "2.13.0",
            "numpy": "2",
            "python": "3.11",
            "system": "Linux",
            "device": "cpu some",
            "gpus": 0,
            "processor": "some",
            "cores": 2,
            "memory_bytes": 1,
            "threads": 1,
            "git": None,
        },
    }
