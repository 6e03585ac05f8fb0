"""Generation: step by step what the evaluator scores in parallel, and text of it on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.command import refused, tokenlab, write_jsonl
from tests.patch_case import with_boundaries
from tests.test_trainer_hierarchical import SOURCES
from tests.test_trainer_hierarchical import shaken as shaken_hierarchy
from tests.test_trainer_model import shaken
from tests.trainer_case import texts
from trainer.artifact import export
from trainer.data import Dataset, open_dataset
from trainer.evaluate import evaluate
from trainer.model import ModelShape
from trainer.sample import Sampler, sample

FLAT = ModelShape(vocab_size=260, layers=2, dim=16, heads=2, kv_heads=1)
MODELS: dict[str, Callable[[], Any]] = {
    "flat": lambda: shaken(FLAT),
    "router": lambda: shaken_hierarchy(*SOURCES[0][:1], **SOURCES[0][1]),
    "two stages": lambda: shaken_hierarchy(SOURCES[1][0], **SOURCES[1][1]),
    "sidecar": lambda: shaken_hierarchy(SOURCES[2][0], **SOURCES[2][1]),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> Dataset:
    return open_dataset(with_boundaries(tiny_dataset, tmp_path_factory.mktemp("sample") / "out", "space"))


@pytest.mark.parametrize("kind", MODELS)
def test_step_by_step_as_in_parallel(kind: str, dataset: Dataset) -> None:
    """Of every token of a document, the distribution after what stands before it."""
    torch.set_num_threads(1)
    model = MODELS[kind]()
    split = dataset.split("val")
    scored = evaluate(model, dataset, context=1_000, stride=1_000, isolated=True, keep_tokens=True)
    assert scored.token_nats is not None
    ids = split.tokens.read(0, split.document_start(1)).tolist()
    sampler = Sampler(model, 1_000, torch.device("cpu"))
    for at in range(1, min(len(ids), 80)):
        distribution = sampler.log_probabilities(ids[:at])
        assert np.exp(distribution).sum() == pytest.approx(1.0, abs=1e-9)
        assert -distribution[ids[at]] == pytest.approx(float(scored.token_nats[at]), abs=1e-4)


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_drawn(kind: str) -> None:
    """The seed decides; a window that moves, patches told beforehand, 0 the likeliest, BOS the end."""
    sampler = Sampler(MODELS[kind](), 12, torch.device("cpu"))
    ids = [1, *(4 + byte for byte in b"The cat")]
    first, again, other = (
        list(sample(sampler, ids, tokens=20, temperature=0.8, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert [token.id for token in first[:7]] == ids[1:]
    assert [token.given for token in first] == [True] * 7 + [False] * (len(first) - 7)
    assert {type(token.patch) for token in first} == {type(None) if kind == "flat" else bool}
    if kind != "flat":
        assert first[0].patch is True
    sequence = list(ids)
    for token in list(sample(sampler, ids, tokens=3, temperature=0.0, seed=1))[7:]:
        assert token.id == sampler.log_probabilities(sequence).argmax()
        sequence.append(token.id)

    class Ending(Sampler):
        def after(self, ids: list[int]) -> Any:
            return np.where(np.arange(260) == (70 if len(ids) < 10 else 1), 0.0, -np.inf), None

    ended = Ending(MODELS[kind](), 12, torch.device("cpu"))
    assert [t.id for t in sample(ended, ids, tokens=50, temperature=1.0, seed=0)][7:] == [70, 70]


def test_on_the_command_line(tmp_path: Path, dataset: Dataset) -> None:
    model = MODELS["sidecar"]()
    export(tmp_path / "run/artifact", model, dataset, context=32)
    options = ("--prompt", "Ümeå ", "--bytes", 30, "--seed", 4)
    answer = tokenlab("sample", tmp_path / "run", *options, "--json")
    assert answer.returncode == 0, answer.stderr
    facts = json.loads(answer.stdout)
    assert len(facts["bytes"]) <= 30
    assert bytes(facts["bytes"]).decode("utf-8", "backslashreplace") == facts["text"]
    assert "\\x" in facts["text"]  # an untrained model's bytes are seldom UTF-8
    marked = tokenlab("sample", tmp_path / "run", "--prompt", "the cat sat", "--bytes", 0, "--patches")
    assert marked.stdout == "|the |cat |sat\n"
    export(tmp_path / "flat", MODELS["flat"](), dataset, context=32)
    assert "a flat model has no patches" in refused("sample", tmp_path / "flat", "--prompt", "a", "--patches")
    assert "no artifact there" in refused("sample", tmp_path)


def test_tokens_of_a_scheme_with_operators_are_read_back(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "docs.jsonl", texts(40, 0))
    build = ("build", "--scheme", "caseops", "--vocab-size", 300, "--input", source, "--val-docs", 8)
    assert tokenlab(*build, "--output", tmp_path / "data").returncode == 0
    data = open_dataset(tmp_path / "data")
    model = shaken(replace(FLAT, vocab_size=data.manifest.vocab_size))
    export(tmp_path / "run/artifact", model, data, context=32)
    options = ("--prompt", "The Cat", "--bytes", 25, "--seed", 1)
    answer = tokenlab("sample", tmp_path / "run", *options, "--json")
    assert answer.returncode == 0, answer.stderr
    facts = json.loads(answer.stdout)
    drawn = [token for token in facts["tokens"] if not token["given"]]
    assert len(drawn) <= 25
    assert len(facts["bytes"]) < 25 + 20
