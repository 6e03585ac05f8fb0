"""What the trainer reads: a dataset or a refusal, batches that hold every document once an epoch."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.command import tokenlab, write_jsonl
from tests.trainer_case import texts
from trainer.batches import Batches
from trainer.data import Dataset, Split, open_dataset
from trainer.errors import DataError


@pytest.fixture
def changed(tmp_path: Path, tiny_dataset: Path) -> Path:
    return Path(shutil.copytree(tiny_dataset, tmp_path / "copy"))


def edit_manifest(folder: Path, change: object) -> Dataset:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)  # type: ignore[operator]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return open_dataset(folder)


def all_tokens(split: Split) -> np.ndarray:
    return split.tokens.read(0, len(split.tokens))


def batches(split: Split, **changes: int) -> Batches:
    return Batches(split, **({"rows": 3, "context": 7, "block_documents": 1, "seed": 5} | changes))


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest\.json"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "none")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="not a tokenlab manifest"):
        open_dataset(tmp_path)


def test_another_format_is_refused(changed: Path) -> None:
    with pytest.raises(DataError, match="version 2; this trainer reads tokenlab-dataset version 1"):
        edit_manifest(changed, lambda manifest: manifest.update(format_version=2))


def test_validation_without_sidecar_is_refused(changed: Path) -> None:
    def drop(manifest: dict) -> None:  # type: ignore[type-arg]
        manifest["splits"]["val"]["shards"][1]["sidecar"] = None

    with pytest.raises(DataError, match="no byte sidecar for fineweb_val_000001"):
        edit_manifest(changed, drop).split("val").charges()


def test_a_shard_that_changed_is_refused_when_it_is_opened(changed: Path) -> None:
    split = open_dataset(changed).split("train")
    path = changed / "fineweb_train_000001.bin"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    split.tokens.read(0, 500)
    with pytest.raises(DataError, match=r"train_000001\.bin: not the file that the manifest describes"):
        split.tokens.read(499, 501)


def test_reads_cross_shards_and_stop_at_the_ends(tiny_dataset: Path) -> None:
    split = open_dataset(tiny_dataset).split("train")
    assert len(split.record.shards) > 2
    every = all_tokens(split)
    assert len(every) == split.record.tokens
    assert split.tokens.read(498, 1003).tolist() == every[498:1003].tolist()
    assert split.tokens.read(5, 5).tolist() == []
    with pytest.raises(IndexError):
        split.tokens.read(0, len(every) + 1)


def test_document_starts(tiny_dataset: Path) -> None:
    split = open_dataset(tiny_dataset).split("train")
    bos = np.flatnonzero(all_tokens(split) == all_tokens(split)[0])
    assert split.document_starts().tolist() == bos.tolist()
    starts = [split.document_start(document) for document in range(split.record.documents + 1)]
    assert starts == [*bos.tolist(), split.record.tokens]


@pytest.mark.parametrize("block", [1, 5, 100])
def test_an_epoch_holds_every_document_once_in_blocks(tiny_dataset: Path, block: int) -> None:
    split = open_dataset(tiny_dataset).split("train")
    every, starts = all_tokens(split), split.document_starts()
    source = Batches(split, rows=1, context=split.record.tokens - 1, block_documents=block, seed=5)
    inputs, targets = source.next()
    stream = np.append(inputs[0], targets[0, -1])
    assert source.epoch == 0
    documents = [part.tolist() for part in np.split(every, starts[1:])]
    cuts = np.flatnonzero(stream == every[0])
    read = [documents.index(part.tolist()) for part in np.split(stream, cuts[1:])]
    assert sorted(read) == list(range(len(documents)))
    order = np.random.default_rng([5, 0]).permutation(-(-len(documents) // block))
    assert read == [d for b in order for d in range(b * block, min(len(documents), (b + 1) * block))]
    source.next()
    assert source.epoch >= 1


def test_targets_are_the_next_tokens_across_rows_and_batches(tiny_dataset: Path) -> None:
    source = batches(open_dataset(tiny_dataset).split("train"))
    parts = [source.next() for _ in range(200)]
    inputs = np.concatenate([part[0].ravel() for part in parts])
    targets = np.concatenate([part[1].ravel() for part in parts])
    assert parts[0][0].shape == (3, 7)
    assert inputs[1:].tolist() == targets[:-1].tolist()


@pytest.mark.parametrize("count", [0, 1, 50, 200])
def test_skipping_is_reading(tiny_dataset: Path, count: int) -> None:
    split = open_dataset(tiny_dataset).split("train")
    read, skipped = batches(split), batches(split)
    for _ in range(count):
        read.next()
    skipped.skip(count)
    for _ in range(60):
        assert [part.tolist() for part in read.next()] == [part.tolist() for part in skipped.next()]
    assert (read.epoch, read.order_sha256()) == (skipped.epoch, skipped.order_sha256())


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("epochs", [0.3, 1.6])
def test_the_length_of_opening_blocks_has_a_known_mean(tiny_dataset: Path, block: int, epochs: float) -> None:
    """It is that of the documents which the order puts first, and over seeds that of all."""
    split = open_dataset(tiny_dataset).split("train")
    starts = [*split.document_starts().tolist(), split.record.tokens]
    blocks = np.diff([*starts[:-1:block], starts[-1]])
    tokens = round(epochs * split.record.tokens)
    count = round(epochs % 1 * len(blocks))
    found = []
    for seed in range(400):
        source = Batches(split, rows=1, context=1, block_documents=block, seed=seed)
        order = np.random.default_rng([seed, int(epochs)]).permutation(len(blocks))
        found.append(source.opening_block_tokens(tokens))
        assert found[-1] == pytest.approx(blocks[order[:count]].mean())
    assert source.block_tokens == pytest.approx(blocks.mean())
    error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(source.block_tokens, abs=4 * error)
    assert source.opening_block_tokens(2 * split.record.tokens) is None
    assert source.opening_block_tokens(1) is None


def test_seeds_give_orders(tiny_dataset: Path) -> None:
    split = open_dataset(tiny_dataset).split("train")
    assert batches(split).order_sha256() == batches(split).order_sha256()
    assert batches(split).order_sha256() != batches(split, seed=6).order_sha256()


def test_other_tokenizers_see_the_documents_in_the_same_order(tmp_path: Path, tiny_dataset: Path) -> None:
    source = write_jsonl(tmp_path / "docs.jsonl", texts(40, 0))
    build = ("build", "--scheme", "byte-bpe", "--vocab-size", 300, "--input", source, "--val-docs", 8)
    assert tokenlab(*build, "--output", tmp_path / "out").returncode == 0
    orders = set()
    for folder in (tiny_dataset, tmp_path / "out"):
        split = open_dataset(folder).split("train")
        lengths = np.diff([*split.document_starts(), split.record.tokens])
        inputs, targets = batches(split, rows=1, context=split.record.tokens - 1).next()
        stream = np.append(inputs[0], targets[0, -1])
        cuts = [*np.flatnonzero(stream == stream[0]), len(stream)]
        # Lengths tell documents apart well enough to compare their ranks.
        read = np.diff(cuts)
        order = np.random.default_rng([5, 0]).permutation(len(lengths))
        assert read.tolist() == lengths[order].tolist()
        orders.add(batches(split).order_sha256())
    assert len(orders) == 1
