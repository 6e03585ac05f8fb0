"""A dataset of a few kilobytes and a model of a few thousand values, for the trainer's tests."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.command import tokenlab, write_jsonl

WORDS = (
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "while",
    "rain",
    "fell",
    "over",
    "12",
    "naïve",
    "owls",
    "Ümeå",
)


def texts(documents: int, seed: int) -> list[str]:
    """Texts of 2 to 60 words of a small language; no two are equal."""
    draw = random.Random(seed)
    return [f"{n}: " + " ".join(draw.choices(WORDS, k=draw.randint(2, 60))) for n in range(documents)]


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 documents in the `bytes` scheme, 8 of them validation, shards of 500 tokens; read only."""
    folder = tmp_path_factory.mktemp("tiny")
    source = write_jsonl(folder / "docs.jsonl", texts(40, 0))
    arguments = ("--scheme", "bytes", "--input", source, "--val-docs", 8, "--shard-tokens", 500)
    result = tokenlab("build", *arguments, "--output", folder / "out")
    assert result.returncode == 0, result.stderr
    return folder / "out"


def tiny_run(dataset: Path, output: Path, **budget: Any) -> dict[str, Any]:
    """The tables of a run of a second or two, as `load_config` takes them."""
    return {
        "dataset": str(dataset),
        "output": str(output),
        "seed": 3,
        "model": {"layers": 2, "dim": 16, "heads": 2, "kv_heads": 1},
        "batch": {"rows": 4, "context": 16, "micro_rows": 2},
        "budget": budget or {"steps": 12, "warmdown_steps": 6},
        "evaluation": {"context": 16, "stride": 8},
        "run": {"device": "cpu", "threads": 1},
    }
