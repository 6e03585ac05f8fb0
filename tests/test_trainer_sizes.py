"""Lengths in source bytes: what they resolve to, and that runs over two tokenizers see the same text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command import tokenlab, write_jsonl
from tests.trainer_case import texts, tiny_run
from trainer.config import EITHER, RunConfig, load_config
from trainer.data import open_dataset
from trainer.errors import RunFailure, TrainerError
from trainer.sizes import resolve, rows_for_bytes, steps_for_bytes, tokens_for_bytes
from trainer.train import train


def resolved(dataset: Path, **tables: dict[str, Any]) -> RunConfig:
    given = {"dataset": str(dataset), "output": "o", "budget": {"steps": 9}} | tables
    return resolve(load_config(None, given), open_dataset(dataset))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents of `tiny_dataset` at more bytes a token."""
    folder = tmp_path_factory.mktemp("other")
    source = write_jsonl(folder / "docs.jsonl", texts(40, 0))
    build = ("build", "--scheme", "byte-bpe", "--vocab-size", 300, "--input", source, "--val-docs", 8)
    assert tokenlab(*build, "--output", folder / "out").returncode == 0
    return folder / "out"


@given(st.integers(1, 10**9), st.floats(0.1, 20))
def test_the_nearest_number_of_tokens(count: int, bytes_per_token: float) -> None:
    tokens = tokens_for_bytes(count, bytes_per_token)
    assert tokens >= 1
    assert tokens == 1 or abs(tokens * bytes_per_token - count) <= bytes_per_token / 2 * (1 + 1e-9)


def test_rows_and_steps() -> None:
    assert [rows_for_bytes(count, 10.0, 4) for count in (1, 50, 70, 1000)] == [4, 4, 8, 100]
    assert [steps_for_bytes(count, 100.0) for count in (1, 149, 151)] == [1, 1, 2]
    with pytest.raises(ValueError, match="must be positive"):
        tokens_for_bytes(0, 2.0)


def test_every_length_in_bytes(tiny_dataset: Path, other: Path) -> None:
    tables: dict[str, Any] = {
        "batch": {"bytes": 1000, "context_bytes": 50, "row_multiple": 2},
        "rates": {"momentum_bytes": 20_000},
        "budget": {"train_bytes": 50_000, "warmdown_bytes": 10_000},
        "evaluation": {"context_bytes": 60, "stride_bytes": 30, "validate_every_bytes": 5_000},
    }
    for folder in (tiny_dataset, other):
        config = resolved(folder, **tables)
        dataset = open_dataset(folder)
        train, val = dataset.split("train").bytes_per_token, dataset.split("val").bytes_per_token
        step = config.batch.tokens * train
        assert abs(config.batch.context * train - 50) <= train / 2
        assert abs(step - 1000) <= config.batch.context * train  # half of two rows
        assert config.batch.rows % 2 == 0
        assert abs(config.rates.momentum_steps * step - 20_000) <= step / 2
        assert abs(config.budget.warmdown_steps * step - 10_000) <= step / 2
        assert abs(config.evaluation.context * val - 60) <= val / 2
        assert abs(config.evaluation.stride * val - 30) <= val / 2
        assert abs(config.evaluation.validate_every * step - 5_000) <= step / 2
        assert (config.batch.bytes, config.batch.context_bytes) == (1000, 50)
        assert resolve(config, dataset) == config
    one, two = resolved(tiny_dataset, **tables), resolved(other, **tables)
    assert one.batch.context > two.batch.context


def test_tokens_stay_as_they_are(tiny_dataset: Path) -> None:
    config = load_config(None, tiny_run(tiny_dataset, Path("o")))
    assert resolve(config, open_dataset(tiny_dataset)) == config


@pytest.mark.parametrize(("table", "plain", "in_bytes"), EITHER)
def test_both_forms_are_an_error_that_names_both(table: str, plain: str, in_bytes: str) -> None:
    given = {"dataset": "d", "output": "o", table: {plain: 8, in_bytes: 80}}
    with pytest.raises(TrainerError, match=rf"{table}\.{plain} and {table}\.{in_bytes} are one length"):
        load_config(None, given)


def test_a_later_source_s_form_replaces_the_other(tmp_path: Path, tiny_dataset: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('preset = "nano"\n[batch]\nbytes = 4000\n[evaluation]\nvalidate_every = 5\n')
    given = {"dataset": str(tiny_dataset), "output": "o", "evaluation": {"validate_every_bytes": 8000}}
    dataset = open_dataset(tiny_dataset)
    mean = dataset.split("train").bytes_per_token
    config = resolve(load_config(file, given), dataset)
    assert config.batch.rows == round(4000 / (128 * mean))
    assert config.evaluation.validate_every == round(8000 / (config.batch.tokens * mean))
    assert config.evaluation.stride == 64


def test_windows_with_gaps_are_refused_after_resolving(tiny_dataset: Path) -> None:
    with pytest.raises(TrainerError, match=r"evaluation\.stride \d+ is more than evaluation\.context 16"):
        resolved(tiny_dataset, evaluation={"context": 16, "stride_bytes": 100})


def test_the_resolved_configuration_is_recorded(tmp_path: Path, tiny_dataset: Path) -> None:
    tables = tiny_run(tiny_dataset, tmp_path / "out", steps=1)
    tables["batch"] = {"bytes": 60, "context_bytes": 16, "micro_rows": 3}
    tables["artifact"] = {"cap_bytes": 1}  # stops it before it is scored
    with pytest.raises(RunFailure, match="over the cap"):
        train(load_config(None, tables), lambda line: None)
    batch = json.loads((tmp_path / "out/config.json").read_text())["batch"]
    assert {name: batch[name] for name in ("rows", "bytes", "context", "context_bytes")} == {
        "rows": 4,
        "bytes": 60,
        "context": 16,
        "context_bytes": 16,
    }
