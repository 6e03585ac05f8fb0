"""`build` through its Python face: what is on disk, and that nothing but the input decides about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shards
from shards import open_shard
from tests.command import write_jsonl
from tokenlab.build import BuildOptions, BuildReport, build, make_plan
from tokenlab.build.assemble import PartRange, plan_shards
from tokenlab.build.parts import read_parts
from tokenlab.corpus import open_corpus
from tokenlab.errors import InputError, TokenlabError
from tokenlab.manifest import MANIFEST_FILE, read_manifest
from tokenlab.scheme import Scheme

TEXTS = [
    "The first document, for validation.",
    "NASA's iPhone — naïve ½ \u2581 \ue001\ue004 <s></s><unk><0x41>",
    "",
    "  leading and trailing  ",
    "A training document.\r\n\tWith a tab.",
    "NASA's iPhone — naïve ½ \u2581 \ue001\ue004 <s></s><unk><0x41>",
    "McDonald " * 40,
    "日本語 한국어 👩‍👩‍👧",
    "Another\x00one",
    "last",
]
VAL_DOCS = 3
TWIN = 5
"""The training document that equals a validation document."""


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "docs.jsonl", TEXTS)


def make(output: Path, documents: Path | None, scheme: str = "bytes", **options: Any) -> BuildReport:
    inputs = None if documents is None else (str(documents),)
    options.setdefault("val_docs", None if documents is None else VAL_DOCS)
    return build(make_plan(BuildOptions(scheme=scheme, output=output, inputs=inputs, **options)))


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def documents_of(shard: Path, bos: int = 1) -> list[list[int]]:
    """Ids of the documents of one shard."""
    ids = open_shard(shard)
    starts = np.flatnonzero(ids == bos)
    assert starts[0] == 0
    return [ids[a + 1 : b].tolist() for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]


def test_what_is_on_disk(tmp_path: Path, documents: Path) -> None:
    make(tmp_path / "out", documents)
    out = tmp_path / "out"
    assert sorted(digests(out)) == [
        "README.md",
        "bytes/fineweb_val_bytes_000000.bin",
        "fineweb_train_000000.bin",
        "fineweb_val_000000.bin",
        "manifest.json",
        "scheme.toml",
    ]
    assert list(tmp_path.glob("out.*")) == []
    validation = [[byte + 4 for byte in text.encode()] for text in TEXTS[:VAL_DOCS]]
    assert documents_of(out / "fineweb_val_000000.bin") == validation
    train = [text for i, text in enumerate(TEXTS) if i >= VAL_DOCS and i != TWIN]
    assert documents_of(out / "fineweb_train_000000.bin") == [[b + 4 for b in t.encode()] for t in train]
    charges = open_shard(out / "bytes/fineweb_val_bytes_000000.bin")
    assert charges.sum() == sum(len(text.encode()) for text in TEXTS[:VAL_DOCS])
    assert charges[0] == 0


def test_manifest_keys_are_frozen(tmp_path: Path, documents: Path) -> None:
    make(tmp_path / "out", documents)
    manifest = json.loads((tmp_path / "out" / MANIFEST_FILE).read_text())
    assert list(manifest) == [
        "format",
        "format_version",
        "tokenlab_version",
        "name",
        "tokenizer_name",
        "tokenizer_kind",
        "train_glob",
        "val_glob",
        "vocab_size",
        "bos_id",
        "stats",
        "scheme",
        "source",
        "splits",
        "files",
        "vocabulary",
        "options",
        "boundaries",
    ]
    assert list(manifest["splits"]["val"]["shards"][0]) == [
        "file",
        "documents",
        "tokens",
        "bytes",
        "sha256",
        "sidecar",
        "boundaries",
    ]
    assert manifest["boundaries"] is None
    assert manifest["source"]["dropped_duplicates"] == [TWIN]
    assert manifest["source"]["documents"] == len(TEXTS)
    assert manifest["stats"]["docs_train"] == len(TEXTS) - VAL_DOCS - 1
    for split in ("val", "train"):
        record = manifest["splits"][split]
        assert record["charged_bytes"] + record["unattributed_bytes"] == record["source_bytes"]


@pytest.mark.parametrize("scheme", ["bpe", "byte-bpe", "caseops"])
def test_same_bytes_for_any_number_of_workers(tmp_path: Path, scheme: str) -> None:
    """Small parts and small shards, so that documents cross both."""
    options = {"vocab_size": 512, "part_bytes": 40_000, "shard_tokens": 30_000, "train_bytes": True}
    make(tmp_path / "one", None, scheme, workers=1, **options)
    make(tmp_path / "two", None, scheme, workers=2, **options)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    manifest = read_manifest(tmp_path / "one")
    train = manifest.splits["train"].shards
    assert len(train) > 3
    assert {shard.tokens for shard in train[:-1]} == {30_000}
    assert sum(shard.documents for shard in train) == manifest.splits["train"].documents
    assert sum(shard.bytes for shard in train) == manifest.splits["train"].charged_bytes


def test_parts_do_not_show_in_the_shards(tmp_path: Path) -> None:
    make(tmp_path / "small", None, part_bytes=10_000)
    make(tmp_path / "large", None)
    small, large = digests(tmp_path / "small"), digests(tmp_path / "large")
    assert small.pop(MANIFEST_FILE) != large.pop(MANIFEST_FILE)  # it records the size of parts
    assert small == large


@pytest.mark.parametrize("part_bytes", [1, 50, 400, 10**9])
@pytest.mark.parametrize("val_docs", [1, 3, 9])
def test_parts_cover_the_corpus_once(documents: Path, part_bytes: int, val_docs: int) -> None:
    corpus = open_corpus([str(documents)], batch_bytes=100)
    parts = [part for part, _ in read_parts(corpus, val_docs=val_docs, part_bytes=part_bytes)]
    assert [part.number for part in parts] == list(range(len(parts)))
    texts = [text for part in parts for text in part.documents(0, len(part.contents)).tobytes()]
    assert texts == [text.encode() for text in TEXTS]
    assert [part.first for part in parts] == np.cumsum([0, *(len(p.contents) for p in parts[:-1])]).tolist()
    for part in parts:
        assert (part.first < val_docs) == (part.split == "val")
        assert part.split == "train" or part.first + len(part.contents) <= val_docs
        assert len(part.contents) == 1 or len(part.contents.values) <= part_bytes
        assert part.origin(len(part.contents) - 1).endswith(
            f"(document {part.first + len(part.contents) - 1})"
        )


def test_nothing_but_twins_in_train(tmp_path: Path) -> None:
    documents = write_jsonl(tmp_path / "docs.jsonl", ["a", "b", "b", "a", "b"])
    with pytest.raises(InputError, match="all 3 training documents equal a validation document"):
        make(tmp_path / "out", documents, val_docs=2)
    assert not list(tmp_path.glob("out*"))


def test_shards_are_exact_ranges() -> None:
    planned = list(plan_shards("train", 3, np.array([5, 0, 7, 12, 1]), 8))
    assert [shard.tokens for shard in planned] == [8, 8, 8, 1]
    assert planned[0].ranges == (PartRange(3, 0, 5), PartRange(5, 0, 3))
    assert list(plan_shards("train", 0, np.zeros(0, np.int64), 8)) == []


@given(st.lists(st.integers(0, 20)), st.integers(1, 25))
def test_shards_hold_every_token_once_in_order(tokens: list[int], shard_tokens: int) -> None:
    planned = list(plan_shards("train", 2, np.array(tokens, np.int64), shard_tokens))
    copied = [(r.number, t) for shard in planned for r in shard.ranges for t in range(r.start, r.stop)]
    assert copied == [(2 + number, t) for number, count in enumerate(tokens) for t in range(count)]
    assert all(shard.tokens == shard_tokens for shard in planned[:-1])
    assert [shard.index for shard in planned] == list(range(len(planned)))


def test_a_published_model_is_reproduced(tmp_path: Path, shared: Path) -> None:
    """The ids in the shard are those of SentencePiece itself, and every byte has a place."""
    from sentencepiece import SentencePieceProcessor

    model = shared / "tokenizers/sp1024_official.model"
    texts = [*TEXTS, "x " * 1000]
    documents = write_jsonl(tmp_path / "docs.jsonl", texts)
    report = make(tmp_path / "out", documents, "bpe-v1", tokenizer=model)
    processor = SentencePieceProcessor(model_file=str(model))
    assert documents_of(tmp_path / "out/fineweb_val_000000.bin") == processor.encode(texts[:VAL_DOCS])
    assert not report.manifest.scheme.reversible
    train = report.manifest.splits["train"]
    assert train.unattributed_bytes > 0
    assert train.charged_bytes + train.unattributed_bytes == train.source_bytes


def test_the_vocabulary_never_sees_validation(tmp_path: Path) -> None:
    """Words that only validation holds, and a training twin of it, leave no trace in the vocabulary."""
    secret = "zyzzyva " * 400
    texts = [secret, "plain words here " * 200, secret, *(f"plain words {n}" for n in range(50))]
    documents = write_jsonl(tmp_path / "docs.jsonl", texts)
    report = make(tmp_path / "out", documents, "bpe", val_docs=1, vocab_size=300)
    scheme = Scheme.open(tmp_path / "out")
    pieces = [scheme.segmenter.piece(token) for token in range(scheme.segmenter.vocab_size)]
    assert any("plain" in piece for piece in pieces)
    assert not any("zy" in piece for piece in pieces)
    assert report.manifest.vocabulary["documents"] == len(texts) - 2


def test_width_of_ids_follows_the_vocabulary(tmp_path: Path) -> None:
    assert shards.format_for_vocabulary(65_536).dtype == np.uint16
    assert shards.format_for_vocabulary(65_537).dtype == np.uint32


def test_a_charge_over_the_limit_stops_the_build(tmp_path: Path, shared: Path) -> None:
    documents = write_jsonl(tmp_path / "docs.jsonl", ["a", "b", "c", "d", "x" + " " * 70_000 + "y"])
    model = shared / "tokenizers/sp1024_official.model"
    with pytest.raises(InputError, match=r"docs\.jsonl: row 5 \(document 4\).*70,001 source bytes"):
        make(tmp_path / "out", documents, "bpe-v1", tokenizer=model)
    assert not list(tmp_path.glob("out*"))


def test_outputs_that_are_not_ours_are_left_alone(tmp_path: Path, documents: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "precious").write_text("data")
    for force in (False, True):
        with pytest.raises(InputError, match="exists and is not a dataset"):
            make(home, documents, force=force)
    assert (home / "precious").read_text() == "data"
    make(tmp_path / "out", documents)
    with pytest.raises(InputError, match="pass --force to replace it"):
        make(tmp_path / "out", documents)
    make(tmp_path / "out", documents, seed=3, force=True)
    assert read_manifest(tmp_path / "out").options["seed"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs.jsonl", "home", "out"]


def test_the_sample_catches_an_encoder_that_errs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_scheme: Callable[[str], Scheme]
) -> None:
    """A fast encoder that spells the text but cuts it another way is caught by the sample."""
    bpe = small_scheme("bpe")
    model = tmp_path / "bpe.model"
    model.write_bytes(bpe.segmenter.files["sentencepiece.model"])
    byte_ids = {
        bytes([b]): i for b in range(256) for i in [bpe.segmenter.token_bytes.tobytes().index(bytes([b]))]
    }

    def bytewise(self: Any, text: Any) -> Any:
        rows = [[byte_ids[bytes([b])] for b in row] for row in text.tobytes()]
        return type(text).from_rows(rows, np.uint32)

    monkeypatch.setattr("tokenlab.segment.gigatoken_encoder.GigatokenEncoder.encode", bytewise)
    with pytest.raises(TokenlabError, match="the fast encoder differs from the reference at token"):
        make(tmp_path / "out", None, "bpe", tokenizer=model)
    long = ["long text " * 500] * 2
    only_one_is_short = write_jsonl(tmp_path / "docs.jsonl", [*long, "the cat", "other " * 1_000, *long])
    with pytest.raises(TokenlabError, match=r"row 3 .*the fast encoder differs from the reference at token"):
        make(tmp_path / "short", only_one_is_short, "bpe", tokenizer=model, val_docs=2)
