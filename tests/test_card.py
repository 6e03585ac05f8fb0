"""The dataset card: what it says is the manifest's, and what it tells people to run works."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.test_export import MODELS, SCHEMES, dataset
from tokenlab.card import LISTED_FILES, dataset_card
from tokenlab.errors import InputError
from tokenlab.manifest import SPLITS, read_manifest

__all__ = ["dataset"]


def front_matter(card: str) -> dict[str, str]:
    lines = card.split("---\n")[1].splitlines()
    return dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize("scheme", [*SCHEMES, *MODELS])
def test_the_snippet_reads_the_dataset(dataset: Callable[..., Path], scheme: str) -> None:
    folder = dataset(scheme)
    manifest = read_manifest(folder)
    (snippet,) = re.findall(r"```python\n(.*?)```", dataset_card(manifest), re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, check=True, cwd=folder
    )
    val = manifest.splits["val"]
    assert ran.stdout == f"{val.documents} documents, {val.tokens} tokens, {val.charged_bytes} bytes\n"


@pytest.mark.parametrize("scheme", [*SCHEMES, *MODELS])
def test_it_says_what_the_manifest_says(dataset: Callable[..., Path], scheme: str) -> None:
    manifest = read_manifest(dataset(scheme))
    card = dataset_card(manifest)
    assert card == dataset_card(manifest)
    assert card.endswith("\n")
    for split in SPLITS:
        record = manifest.splits[split]
        assert record.documents_sha256 in card
        assert f"| {split} | {record.documents:,} | {record.tokens:,} | {record.source_bytes:,} |" in card
        for shard in record.shards:
            assert f"| `{shard.file}` | `{shard.sha256}` |" in card
    assert manifest.scheme.fingerprint in card
    assert ("a normal form" in card) != manifest.scheme.reversible
    assert ("--docs SOURCE\n```" in card) != manifest.scheme.reversible


def test_the_front_matter(dataset: Callable[..., Path]) -> None:
    manifest = read_manifest(dataset("bytes"))
    fields = front_matter(dataset_card(manifest, license="odc-by"))
    assert list(fields) == ["license", "pretty_name", "task_categories", "size_categories", "tags", "viewer"]
    assert fields["license"] == "odc-by"
    assert fields["size_categories"] == '["n<1K"]'
    assert "license" not in front_matter(dataset_card(manifest))
    assert "| license | none was given |" in dataset_card(manifest)
    recorded = msgspec.structs.replace(manifest, options=manifest.options | {"license": "cc0-1.0"})
    assert front_matter(dataset_card(recorded))["license"] == "cc0-1.0"
    stats = msgspec.structs.replace(manifest.stats, docs_total=8_231_945)
    many = msgspec.structs.replace(manifest, stats=stats)
    assert front_matter(dataset_card(many))["size_categories"] == '["1M<n<10M"]'


@pytest.mark.parametrize("license", ["", "ODC-BY", "odc by", "odc-by\ntags: x"])
def test_a_license_is_a_name(dataset: Callable[..., Path], license: str) -> None:
    with pytest.raises(InputError, match="--license"):
        dataset_card(read_manifest(dataset("bytes")), license=license)


def test_many_shards_and_files(dataset: Callable[..., Path]) -> None:
    """A card is for people: it lists some and says how many more there are."""
    manifest = read_manifest(dataset("bytes"))
    train = manifest.splits["train"]
    splits: dict[Any, Any] = manifest.splits | {
        "train": msgspec.structs.replace(train, shards=train.shards * 400)
    }
    files = [{"path": f"a|b_{n}.jsonl", "size": n} for n in range(100)]
    source = msgspec.structs.replace(manifest.source, corpus=manifest.source.corpus | {"files": files})
    card = dataset_card(msgspec.structs.replace(manifest, splits=splits, source=source))
    assert f"| file | and {100 - LISTED_FILES} more |" in card
    assert "a\\|b_0.jsonl" in card
    assert card.count("fineweb_train_") <= LISTED_FILES
    assert " more | in `manifest.json` |" in card
