"""`export`: each layout is read back by rules that are not ours, and nothing is written by halves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards import open_shard
from tests.command import write_jsonl
from tests.stock_loaders import megatron_documents, stock_tokens
from tests.test_build import TEXTS, TWIN, VAL_DOCS, digests, make
from tokenlab.dataset import Dataset
from tokenlab.errors import InputError
from tokenlab.export import LAYOUTS, export_dataset
from tokenlab.export.record import EXPORT_FILE
from tokenlab.manifest import MANIFEST_FILE, SPLITS, Split, read_manifest

ALL = [*TEXTS, *(f"Training text number {n}, of McDonald's and NASA." for n in range(40))]
SCHEMES = ("bytes", "bpe", "byte-bpe", "caseops")
SHARED = Path(__file__).parents[2] / "shared"
MODELS = {"bpe-v1": "sp1024_official", "caseops-v1": "sp8192_caseops_v1_reserved"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A dataset of a scheme, of several shards, built once."""
    root = tmp_path_factory.mktemp("datasets")
    documents = write_jsonl(root / "docs.jsonl", ALL)

    def made(scheme: str, **options: Any) -> Path:
        out = root / "-".join([scheme, *map(str, options.values())])
        if not out.exists():
            given: dict[str, Any] = {} if scheme == "bytes" else {"vocab_size": 330}
            if scheme in MODELS:
                given = {"tokenizer": SHARED / "tokenizers" / f"{MODELS[scheme]}.model"}
                if not given["tokenizer"].exists():
                    pytest.skip("needs shared/")
            make(out, documents, scheme, **{"shard_tokens": 500, **given, **options})
        return out

    return made


@pytest.fixture
def exported(tmp_path: Path, dataset: Callable[..., Path]) -> Callable[..., tuple[Path, Path]]:
    """(dataset, its export) of a scheme and a layout."""

    def export(scheme: str, layout: str, **options: Any) -> tuple[Path, Path]:
        folder = dataset(scheme, **options)
        export_dataset(folder, layout, tmp_path / layout)
        return folder, tmp_path / layout

    return export


def ids_of(folder: Path, split: Split) -> np.ndarray:
    """The ids of a split, from the shards that the manifest lists."""
    return np.concatenate([open_shard(folder / s.file) for s in read_manifest(folder).splits[split].shards])


def charges_of(folder: Path, split: Split) -> np.ndarray:
    shards = read_manifest(folder).splits[split].shards
    return np.concatenate([open_shard(folder / s.sidecar.file) for s in shards if s.sidecar])


def documents_of(folder: Path, split: Split) -> list[list[int]]:
    ids = ids_of(folder, split)
    starts = np.flatnonzero(ids == 1).tolist()
    return [ids[a:b].tolist() for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_record_of_every_file(exported: Callable[..., tuple[Path, Path]], layout: str) -> None:
    folder, out = exported("byte-bpe", layout)
    record = json.loads((out / EXPORT_FILE).read_text())
    assert list(record) == [
        "format",
        "format_version",
        "tokenlab_version",
        "layout",
        "source",
        "files",
        "notes",
    ]
    found = digests(out)
    found.pop(EXPORT_FILE)
    assert {name: file["sha256"] for name, file in record["files"].items()} == found
    assert {name: file["bytes"] for name, file in record["files"].items()} == {
        name: (out / name).stat().st_size for name in found
    }
    assert record["source"]["fingerprint"] == read_manifest(folder).scheme.fingerprint
    assert [path.name for path in out.parent.iterdir()] == [layout]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bytes_twice(exported: Callable[..., tuple[Path, Path]], layout: str) -> None:
    folder, out = exported("byte-bpe", layout)
    before = digests(out)
    export_dataset(folder, layout, out, force=True)
    assert digests(out) == before


@pytest.mark.parametrize("scheme", SCHEMES)
def test_parameter_golf(exported: Callable[..., tuple[Path, Path]], scheme: str) -> None:
    """By the stock trainer's rules, and by those of its MLX twin, which reads the manifest."""
    folder, out = exported(scheme, "parameter-golf", train_bytes=True)
    content = json.loads((out / MANIFEST_FILE).read_text())
    entry, tokenizer = content["datasets"][0], content["tokenizers"][0]
    assert entry["path"] == f"datasets/{entry['name']}"
    data_path = out / entry["path"]
    assert data_path.parents[1] == out
    for split in SPLITS:
        assert np.array_equal(stock_tokens(data_path / f"fineweb_{split}_*.bin"), ids_of(folder, split))
        assert np.array_equal(stock_tokens(out / entry[f"{split}_glob"]), ids_of(folder, split))
    assert entry["stats"]["files_train"] == len(list(data_path.glob("fineweb_train_*.bin")))
    assert entry["tokenizer_name"] == tokenizer["name"]
    size = read_manifest(folder).vocab_size
    expected = {
        "bytes": ("fineweb10B_byte260", "fineweb_pure_byte_260.json"),
        "byte-bpe": (f"fineweb10B_bbpe{size}", f"fineweb_{size}_byte_bpe.json"),
    }.get(scheme, (f"fineweb10B_sp{size}", f"fineweb_{size}_bpe.model"))
    path = out / tokenizer.get("model_path", tokenizer.get("path"))
    assert (entry["name"], path.name) == expected
    assert path.parent == out / "tokenizers"
    if path.suffix == ".model":
        assert path.read_bytes() == (folder / "tokenizer/sentencepiece.model").read_bytes()


@pytest.mark.parametrize("scheme", ["caseops", "wordops"])
def test_caseops_trainers_find_the_sidecars(exported: Callable[..., tuple[Path, Path]], scheme: str) -> None:
    """In the folder of their own that they look in without being told, beside the same tokens; so do other
    schemes with marks, whose pieces do not tell the bytes either."""
    folder, out = exported(scheme, "parameter-golf", train_bytes=True)
    size = read_manifest(folder).vocab_size
    root = out / f"datasets/fineweb10B_sp{size}_caseops/datasets"
    data_path = root / f"datasets/fineweb10B_sp{size}_lossless_caps_caseops_v1_reserved"
    assert (root / f"tokenizers/fineweb_{size}_bpe_lossless_caps_caseops_v1_reserved.model").exists()
    for split in SPLITS:
        tokens = stock_tokens(data_path / f"fineweb_{split}_*.bin", skip="_bytes_")
        assert np.array_equal(tokens, ids_of(folder, split))
    charges = stock_tokens(data_path / "fineweb_val_bytes_*.bin")
    assert np.array_equal(charges, charges_of(folder, "val"))
    assert len(list(data_path.glob("fineweb_train_*.bin"))) == len(
        read_manifest(folder).splits["train"].shards
    )
    assert not list(out.glob("datasets/*/fineweb_*_bytes_*"))


@pytest.mark.parametrize("scheme", ["bpe", "caseops", *MODELS])
def test_the_stock_byte_count_is_told(
    exported: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Counted once more as the stock trainer does it: by SentencePiece's own pieces, target by target."""
    from sentencepiece import SentencePieceProcessor

    monkeypatch.setattr("tokenlab.export.tokens.BATCH_TOKENS", 7)
    folder, out = exported(scheme, "parameter-golf")
    model = SentencePieceProcessor(model_file=str(folder / "tokenizer/sentencepiece.model"))
    ids = ids_of(folder, "val").tolist()
    counted = 0
    for before, token in pairwise(ids):
        if model.is_control(token):
            continue
        piece = model.id_to_piece(token)
        if model.is_byte(token):
            counted += 1
        elif piece.startswith("\u2581"):
            counted += len(piece[1:].encode()) + (not model.is_control(before))
        else:
            counted += len(piece.encode())
    charged = read_manifest(folder).splits["val"].charged_bytes
    notes = json.loads((out / EXPORT_FILE).read_text())["notes"]
    told = f"counts {counted:,} bytes in validation, its tokens are charged {charged:,} ("
    assert any((told in note) if counted != charged else ("counts the bytes" in note) for note in notes)
    assert (scheme == "caseops") <= (counted > charged)


@pytest.mark.parametrize("layout", ["parameter-golf", "modded-nanogpt", "llm.c"])
def test_shards_are_hard_links(exported: Callable[..., tuple[Path, Path]], layout: str) -> None:
    folder, out = exported("bpe", layout)
    shards = sorted(out.rglob("fineweb_train_*.bin"))
    assert len(shards) == len(read_manifest(folder).splits["train"].shards)
    assert all(a.samefile(b) for a, b in zip(shards, sorted(folder.glob("fineweb_train_*.bin")), strict=True))


def test_copies_where_no_link_can_be(
    tmp_path: Path, dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    report = export_dataset(dataset("bpe"), "parameter-golf", tmp_path / "out")
    assert not any(file.linked for file in report.files)
    assert "files were copied" in report.notes[-1]
    found = digests(tmp_path / "out")
    assert all(found[file.name] == file.sha256 for file in report.files)


@pytest.mark.parametrize(("layout", "place"), [("modded-nanogpt", "data"), ("llm.c", "dev/data")])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_nanogpts(exported: Callable[..., tuple[Path, Path]], scheme: str, layout: str, place: str) -> None:
    folder, out = exported(scheme, layout, train_bytes=True)
    for split, first in (("val", 0), ("train", 1)):
        pattern = out / place / f"fineweb10B/fineweb_{split}_*.bin"
        assert np.array_equal(stock_tokens(pattern), ids_of(folder, split))
        assert (out / place / f"fineweb10B/fineweb_{split}_{first:06d}.bin").exists()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_megatron(exported: Callable[..., tuple[Path, Path]], scheme: str) -> None:
    folder, out = exported(scheme, "megatron")
    for split in SPLITS:
        assert megatron_documents(out / f"{split}_text_document") == documents_of(folder, split)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_numpy(exported: Callable[..., tuple[Path, Path]], scheme: str) -> None:
    folder, out = exported(scheme, "numpy")
    for split in SPLITS:
        arrays = [np.load(path, mmap_mode="r") for path in sorted((out / split).glob("ids_*.npy"))]
        assert len(arrays) == len(read_manifest(folder).splits[split].shards)
        ids = np.concatenate(arrays)
        assert (ids.dtype, ids.tolist()) == (np.uint16, ids_of(folder, split).tolist())
        offsets = np.load(out / split / "offsets.npy", mmap_mode="r")
        assert offsets.dtype == np.int64
        pieces = [ids[a:b].tolist() for a, b in pairwise(offsets)]
        assert pieces == documents_of(folder, split)
    charges = np.concatenate([np.load(path) for path in sorted((out / "val").glob("charges_*.npy"))])
    assert np.array_equal(charges, charges_of(folder, "val"))
    assert not list((out / "train").glob("charges_*"))


def rows_of(out: Path, split: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for path in sorted((out / "data").glob(f"{split}-*.parquet")):
        file = pq.ParquetFile(path)
        assert file.schema_arrow.names == ["doc_id", "input_ids", "byte_counts", "n_bytes"]
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        rows += file.read().to_pylist()
    return rows


@pytest.mark.parametrize("train_bytes", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_parquet(
    exported: Callable[..., tuple[Path, Path]],
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    train_bytes: bool,
) -> None:
    """Charges from the sidecar and counted anew are the same; files and row groups are many."""
    monkeypatch.setattr("tokenlab.dataset.BATCH_TOKENS", 300)
    monkeypatch.setattr("tokenlab.export.parquet.FILE_TOKENS", 300)
    folder, out = exported(scheme, "parquet", train_bytes=train_bytes)
    full = exported(scheme, "numpy", train_bytes=True)[0]
    assert len(list((out / "data").glob("train-*.parquet"))) > 1
    for split in SPLITS:
        rows = rows_of(out, split)
        assert [row["input_ids"] for row in rows] == documents_of(folder, split)
        charges = [charge for row in rows for charge in row["byte_counts"]]
        assert charges == charges_of(full, split).tolist()
        texts = [ALL[row["doc_id"]] for row in rows]
        assert [row["n_bytes"] for row in rows] == [len(text.encode()) for text in texts]
        assert all(sum(row["byte_counts"]) == row["n_bytes"] for row in rows)
    numbers = [row["doc_id"] for row in rows_of(out, "val") + rows_of(out, "train")]
    assert numbers == [number for number in range(len(ALL)) if number != TWIN]


@pytest.mark.parametrize("scheme", MODELS)
def test_parquet_says_what_it_does_not_know(exported: Callable[..., tuple[Path, Path]], scheme: str) -> None:
    _, out = exported(scheme, "parquet")
    assert {(row["byte_counts"], row["n_bytes"]) for row in rows_of(out, "train")} == {(None, None)}
    assert all(sum(row["byte_counts"]) == row["n_bytes"] for row in rows_of(out, "val"))
    notes = json.loads((out / EXPORT_FILE).read_text())["notes"]
    assert any(note.startswith("train: byte_counts and n_bytes are null") for note in notes)


def test_parquet_by_datasets(exported: Callable[..., tuple[Path, Path]]) -> None:
    datasets = pytest.importorskip("datasets")
    folder, out = exported("caseops", "parquet")
    files = {split: str(out / f"data/{split}-*.parquet") for split in SPLITS}
    loaded = datasets.load_dataset("parquet", data_files=files, streaming=True)
    for split in SPLITS:
        assert [row["input_ids"] for row in loaded[split]] == documents_of(folder, split)


@pytest.mark.parametrize(
    ("scheme", "layout", "why"),
    [
        ("bpe", "tiktoken", "byte-level BPE"),
        ("bytes", "tiktoken", "byte-level BPE"),
        ("caseops", "tiktoken", "byte-level BPE"),
    ],
)
def test_what_a_layout_cannot_hold(
    tmp_path: Path, dataset: Callable[..., Path], scheme: str, layout: str, why: str
) -> None:
    with pytest.raises(InputError, match=f"cannot be exported as {layout}: .*{why}") as caught:
        export_dataset(dataset(scheme), layout, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def wide_dataset(folder: Path, source: Path) -> Path:
    """A byte dataset that says its vocabulary is large: uint32 shards, the same ids."""
    from shards import FORMATS, write_shard

    shutil.copytree(source, folder)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["vocab_size"] = 70_000
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            ids = np.array(open_shard(folder / shard["file"]), "<u4")
            shard["sha256"] = write_shard(folder / shard["file"], FORMATS["uint32"], len(ids), [ids])
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    return folder


def test_large_vocabularies(tmp_path: Path, dataset: Callable[..., Path]) -> None:
    """uint32 where the project has a row for it, refused where it has none."""
    folder = wide_dataset(tmp_path / "wide", dataset("bytes"))
    for layout in ("parameter-golf", "modded-nanogpt"):
        with pytest.raises(InputError, match="uint16"):
            export_dataset(folder, layout, tmp_path / layout)
    out = tmp_path / "out"
    report = export_dataset(folder, "llm.c", out)
    wide: dict[str, Any] = {"magic": 20240801, "version": 7, "dtype": "<u4"}
    for split in SPLITS:
        tokens = stock_tokens(out / f"dev/data/fineweb10B/fineweb_{split}_*.bin", **wide)
        assert np.array_equal(tokens, ids_of(folder, split))
    assert any("uint32" in note for note in report.notes)
    export_dataset(folder, "megatron", tmp_path / "megatron")
    assert megatron_documents(tmp_path / "megatron/val_text_document") == documents_of(folder, "val")


def test_an_output_is_not_overwritten(tmp_path: Path, dataset: Callable[..., Path]) -> None:
    folder, out = dataset("bytes"), tmp_path / "out"
    export_dataset(folder, "numpy", out)
    with pytest.raises(InputError, match="pass --force to replace it"):
        export_dataset(folder, "megatron", out)
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds mine\.txt, which no export wrote"):
        export_dataset(folder, "megatron", out, force=True)
    (out / "mine.txt").unlink()
    export_dataset(folder, "megatron", out, force=True)
    assert sorted(path.name for path in out.iterdir())[0] == EXPORT_FILE
    assert not (out / "val").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    for existing in (other, dataset("bpe")):
        with pytest.raises(InputError, match="is no export"):
            export_dataset(folder, "numpy", existing, force=True)
    for inside in (folder, folder / "view", folder.parent):
        with pytest.raises(InputError):
            export_dataset(folder, "numpy", inside, force=True)
    assert (other / "thesis.txt").read_text() == "mine"


def test_nothing_is_left_of_a_failure(
    tmp_path: Path, dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("tokenlab.export.numpy_arrays._CHUNK", "no number")
    with pytest.raises(TypeError):
        export_dataset(dataset("bytes"), "numpy", out)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "plan.json").write_text("{}")  # a build's
    with pytest.raises(InputError, match="is no unfinished export"):
        export_dataset(dataset("bytes"), "numpy", out)
    (partial / "export.lock").touch()  # a killed export's
    export_dataset(dataset("bytes"), "numpy", out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (out / "plan.json").exists()


def test_a_changed_file_is_not_exported(tmp_path: Path, dataset: Callable[..., Path]) -> None:
    folder = Path(shutil.copytree(dataset("caseops"), tmp_path / "copy"))
    for name in ("fineweb_train_000001.bin", "bytes/fineweb_val_bytes_000000.bin", "scheme.toml"):
        original = (folder / name).read_bytes()
        (folder / name).write_bytes(original + b"\n")
        with pytest.raises(InputError, match="is not what was built"):
            export_dataset(folder, "parameter-golf", tmp_path / "out")
        (folder / name).write_bytes(original)
    (folder / "bytes/fineweb_val_bytes_000000.bin").unlink()
    with pytest.raises(InputError, match="fineweb_val_bytes_000000"):
        export_dataset(folder, "numpy", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_unknown_layouts_and_folders(tmp_path: Path, dataset: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="unknown layout 'tfrecord'; known: parameter-golf, modded"):
        export_dataset(dataset("bytes"), "tfrecord", tmp_path / "out")
    with pytest.raises(InputError, match="no such folder"):
        export_dataset(tmp_path / "nowhere", "numpy", tmp_path / "out")


def test_the_vocab_file_is_sentencepieces_own(shared: Path) -> None:
    from tokenlab.export.parameter_golf import vocab_text
    from tokenlab.segment.sentencepiece_model import parse_model

    model = parse_model((shared / "tokenizers/sp1024_official.model").read_bytes())
    assert vocab_text(model) == (shared / "tokenizers/sp1024_official.vocab").read_text()


def test_torch_is_not_needed() -> None:
    code = (
        "import sys, tokenlab.export, tokenlab.card; print(*(m in sys.modules for m in ('torch', 'pyarrow')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


def test_datasets_can_still_be_read(dataset: Callable[..., Path]) -> None:
    """No export touched the dataset that its hard links share."""
    for scheme in SCHEMES:
        folder = dataset(scheme)
        assert read_manifest(folder).splits["val"].documents == VAL_DOCS
        assert sum(len(batch.ids) for batch in Dataset(folder).batches("train")) == len(ALL) - VAL_DOCS - 1
