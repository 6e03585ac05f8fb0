"""`inspect --boundaries`: patches of a text, of a document and of a split; statistics; the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.command import tokenlab, write_jsonl
from tokenlab.boundaries.unfitted import Space
from tokenlab.build import BuildOptions, build, make_plan
from tokenlab.errors import InputError
from tokenlab.inspection import PatchOptions, inspect_patches
from tokenlab.report.patches import patches_text
from tokenlab.report.patches_page import patches_page

TEXTS = ["one two, three", "", "Eine Straße\nfür é\n", "a" * 70 + " b", "last  one <b>"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patches")
    documents = write_jsonl(folder / "docs.jsonl", TEXTS)
    options = BuildOptions(
        scheme="space-bytes", inputs=(str(documents),), val_docs=3, shard_tokens=7, output=folder / "out"
    )
    build(make_plan(options))
    return folder / "out"


def test_patches_of_a_text() -> None:
    result = inspect_patches(PatchOptions(text="one two, thé", scheme="space-bytes"))
    assert result.patches is not None
    assert [(row.text, row.starts_word) for row in result.patches] == [
        ("one ", True),
        ("two,", True),
        (" th\\xc3", False),
        ("\\xa9", False),
    ]
    assert [row.start for row in result.patches] == [0, 4, 8, 12]
    assert result.statistics.lengths == {1: 1, 4: 3}
    assert result.statistics.bytes_per_patch == 13 / 4
    assert (result.statistics.word_share, result.statistics.chance) == (2 / 4, 3 / 13)


@pytest.mark.parametrize("number", range(5))
def test_patches_of_a_document_are_those_on_record(dataset: Path, number: int) -> None:
    result = inspect_patches(PatchOptions(dataset=dataset, doc=number))
    text = TEXTS[number].encode()
    assert result.patches is not None
    assert b"".join(bytes.fromhex(row.spells) for row in result.patches) == text
    assert [row.start for row in result.patches] == np.flatnonzero(
        Space().starts_reference(text)[1:]
    ).tolist()
    assert (result.split, result.source_document) == ("val" if number < 3 else "train", number)


def test_statistics_of_a_split(dataset: Path) -> None:
    result = inspect_patches(PatchOptions(dataset=dataset, split="train"))
    assert result.patches is None
    statistics = result.statistics
    assert statistics.bytes == sum(length * count for length, count in statistics.lengths.items())
    assert (statistics.documents, statistics.bytes) == (2, 72 + 13)
    assert "65 on        1" in patches_text(result)


def test_another_rule_on_a_dataset(dataset: Path) -> None:
    result = inspect_patches(PatchOptions(dataset=dataset, doc=0, rule="fixed:4"))
    assert result.patches is not None
    assert [row.text for row in result.patches] == ["one ", "two,", " thr", "ee"]


def test_the_page_and_json(dataset: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = tokenlab("inspect", dataset, "--boundaries", "--doc", 4, "--html", page, "--json")
    assert result.returncode == 0, result.stderr
    assert [row["text"] for row in json.loads(result.stdout)["patches"]] == ["last ", " one ", "<b>"]
    assert "&lt;b&gt;" in page.read_text()
    assert "<b>b" not in page.read_text()
    assert 'data-b="5"' in patches_page(inspect_patches(PatchOptions(dataset=dataset, doc=4)), "x")


def test_a_terminal_without_colours_gets_bars(dataset: Path) -> None:
    result = tokenlab("inspect", dataset, "--boundaries", "--doc", 0, "--view", "flow")
    assert "one·|two,|·three|" in result.stdout
    assert "bytes a patch" in result.stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "shows one text"),
        ({"text": "x"}, "needs a rule"),
        ({"text": "x", "scheme": "bytes"}, "has no boundaries"),
        ({"text": "x", "scheme": "table2-bytes"}, "fitted on training documents"),
        ({"text": "x", "rule": "space", "doc": 3}, "of which dataset"),
    ],
)
def test_what_does_not_go_together(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        inspect_patches(PatchOptions(**options))  # type: ignore[arg-type]
