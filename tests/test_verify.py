"""`verify`: what holds is said to hold, and each planted fault is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import tokenlab
from shards import FORMATS, HEADER_BYTES, open_shard, write_shard
from tests.command import write_jsonl
from tests.test_build import TEXTS, VAL_DOCS, digests, make
from tokenlab.accounting.verdicts import Verdict
from tokenlab.errors import InputError
from tokenlab.manifest import MANIFEST_FILE
from tokenlab.ragged import Ragged
from tokenlab.verification import Verification
from tokenlab.verification.documents import SplitCheck

ALL = [*TEXTS, *(f"Training text number {n}, of McDonald's and NASA." for n in range(40))]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("docs") / "docs.jsonl", ALL)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, documents: Path) -> Callable[[str], Path]:
    """One dataset a scheme, of several shards, built once."""
    folder = tmp_path_factory.mktemp("datasets")

    def dataset(scheme: str) -> Path:
        out = folder / scheme
        if not out.exists():
            options: dict[str, Any] = {} if scheme == "bytes" else {"vocab_size": 330}
            if scheme.endswith("-v1"):
                name = "sp1024_official" if scheme == "bpe-v1" else "sp8192_caseops_v1_reserved"
                model = Path(__file__).parents[2] / "shared/tokenizers" / f"{name}.model"
                if not model.exists():
                    pytest.skip("needs shared/")
                options = {"tokenizer": model}
            make(out, documents, scheme, shard_tokens=500, **options)
        return out

    return dataset


@pytest.fixture
def copy(tmp_path: Path, datasets: Callable[[str], Path]) -> Callable[[str], Path]:
    """A copy of a dataset to damage."""

    def copied(scheme: str) -> Path:
        return Path(shutil.copytree(datasets(scheme), tmp_path / scheme))

    return copied


def named(result: Verification, name: str) -> Verdict:
    return next(verdict for verdict in result.verdicts if verdict.name == name)


def reseal(folder: Path) -> None:
    """Make the manifest agree with the files: what a careful forger would do."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    now = digests(folder)
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            shard["sha256"] = now[shard["file"]]
            if shard["sidecar"]:
                shard["sidecar"]["sha256"] = now[shard["sidecar"]["file"]]
    manifest["files"] = {name: now[name] for name in manifest["files"]}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    values = change(np.array(open_shard(path)))
    write_shard(path, FORMATS["uint16"], len(values), [values])


@pytest.mark.parametrize("scheme", ["bytes", "bpe", "byte-bpe", "caseops"])
def test_lossless_schemes_are_trusted(datasets: Callable[[str], Path], documents: Path, scheme: str) -> None:
    for docs in (None, documents):
        result = tokenlab.verify(datasets(scheme), docs=docs)
        assert (result.verdict, result.exit_code) == ("trust", 0)
        assert result.against == ("manifest" if docs is None else "source")
        assert [verdict.name for verdict in result.verdicts] == [
            "intact",
            "balanced",
            "reversible",
            "disjoint",
            "complete",
            "canonical",
            "encoder",
        ]
        assert all(verdict.holds and verdict.count for verdict in result.verdicts)
        assert named(result, "balanced").count == len(ALL) - 1
        assert result.splits["val"].source_bytes == sum(len(text.encode()) for text in ALL[:VAL_DOCS])


@pytest.mark.parametrize("scheme", ["bpe-v1", "caseops-v1"])
def test_published_schemes_are_normalised(
    datasets: Callable[[str], Path], documents: Path, scheme: str
) -> None:
    against_manifest = tokenlab.verify(datasets(scheme))
    assert (against_manifest.verdict, against_manifest.exit_code) == ("unproven", 3)
    assert "give --docs" in named(against_manifest, "balanced").detail
    result = tokenlab.verify(datasets(scheme), docs=documents)
    assert (result.verdict, result.exit_code) == ("normalised", 0)
    assert named(result, "reversible").holds is None
    assert "normalises" in named(result, "reversible").detail
    assert all(verdict.holds for verdict in result.verdicts if verdict.name != "reversible")
    assert result.splits["train"].unattributed_bytes > 0
    assert len(result.notes) == 1


def test_the_json_schema_is_frozen(datasets: Callable[[str], Path]) -> None:
    plain = json.loads(msgspec.json.encode(tokenlab.verify(datasets("bytes"))))
    assert list(plain) == [
        "schema",
        "dataset",
        "scheme",
        "fingerprint",
        "against",
        "verdict",
        "verdicts",
        "splits",
        "notes",
    ]
    assert plain["schema"] == "tokenlab-verification-1"
    assert list(plain["verdicts"][0]) == ["name", "holds", "count", "unit", "detail", "failure"]


def every_byte_file(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name not in (MANIFEST_FILE, "README.md")
    )


@pytest.mark.parametrize("scheme", ["bytes", "caseops", "byte-bpe"])
def test_any_flipped_byte_is_caught(copy: Callable[[str], Path], scheme: str) -> None:
    """In every file: a header byte, the first and last byte, and some between."""
    folder = copy(scheme)
    random = np.random.default_rng(0)
    flips = 0
    for path in every_byte_file(folder):
        original = path.read_bytes()
        places = {0, 4, 8, len(original) - 1, *random.integers(len(original), size=2).tolist()}
        if path.suffix == ".bin":
            places |= {HEADER_BYTES - 1, HEADER_BYTES}
        for place in places:
            damaged = bytearray(original)
            damaged[place] ^= 1 << int(random.integers(8))
            path.write_bytes(damaged)
            result = tokenlab.verify(folder)
            assert (result.verdict, result.exit_code) == ("reject", 1), (path, place)
            assert named(result, "intact").holds is False
            assert named(result, "intact").failure.file == str(path.relative_to(folder))
            flips += 1
        path.write_bytes(original)
    assert flips > 30
    assert tokenlab.verify(folder).verdict == "trust"


def test_missing_and_added_files(copy: Callable[[str], Path]) -> None:
    folder = copy("bytes")
    shutil.copy(folder / "fineweb_train_000000.bin", folder / "fineweb_train_000099.bin")
    failure = named(tokenlab.verify(folder), "intact").failure
    assert failure is not None
    assert failure.file == "fineweb_train_000099.bin"
    (folder / "fineweb_train_000099.bin").unlink()
    (folder / "fineweb_train_000001.bin").unlink()
    result = tokenlab.verify(folder)
    assert result.exit_code == 1
    failure = named(result, "intact").failure
    assert failure is not None
    assert failure.file == "fineweb_train_000001.bin"
    assert named(result, "complete").holds is False


SIDECAR = "bytes/fineweb_val_bytes_000000.bin"


def shifted(charges: np.ndarray) -> np.ndarray:
    return np.roll(charges, 1)


def swapped(charges: np.ndarray) -> np.ndarray:
    """Two charges of one document exchanged: every sum still agrees."""
    at = next(
        i
        for i in range(1, len(charges) - 1)
        if charges[i] != charges[i + 1] and charges[i] and charges[i + 1]
    )
    charges[[at, at + 1]] = charges[[at + 1, at]]
    return charges


def markers_at_three(charges: np.ndarray) -> np.ndarray:
    charges[1:][charges[1:] == 0] = 3
    return charges


def bos_at_one(charges: np.ndarray) -> np.ndarray:
    charges[0] = 1
    return charges


@pytest.mark.parametrize("fault", [shifted, swapped, markers_at_three, bos_at_one])
def test_a_resealed_sidecar_is_recomputed(
    copy: Callable[[str], Path], fault: Callable[[np.ndarray], np.ndarray]
) -> None:
    """The digests agree, the charges do not: the first wrong token is named."""
    folder = copy("caseops")
    before = np.array(open_shard(folder / SIDECAR))
    rewrite(folder / SIDECAR, fault)
    after = np.array(open_shard(folder / SIDECAR))
    reseal(folder)
    result = tokenlab.verify(folder)
    assert named(result, "intact").holds is True
    balanced = named(result, "balanced")
    assert balanced.holds is False
    failure = balanced.failure
    assert failure is not None
    ids = np.array(open_shard(folder / "fineweb_val_000000.bin"))
    first = int(np.flatnonzero(before != after)[0])
    bos = np.flatnonzero(ids[: first + 1] == 1)
    assert (failure.split, failure.document) == ("val", len(bos) - 1)
    assert (failure.expected, failure.found) == (int(before[first]), int(after[first]))
    if ids[first] == 1:
        assert "BOS is charged" in failure.message
    else:
        assert failure.token == first - bos[-1] - 1
        assert failure.piece
        assert failure.source is not None


def test_another_document_in_the_shard(copy: Callable[[str], Path], documents: Path) -> None:
    folder = copy("bytes")

    def change(ids: np.ndarray) -> np.ndarray:
        ids[5] += 1
        return ids

    rewrite(folder / "fineweb_train_000000.bin", change)
    reseal(folder)
    result = tokenlab.verify(folder)
    assert result.exit_code == 1
    assert named(result, "complete").failure.message == "digest of the split's documents"
    result = tokenlab.verify(folder, docs=documents)
    failure = named(result, "reversible").failure
    assert failure is not None
    assert (failure.split, failure.document) == ("train", 0)
    assert failure.expected != failure.found


def test_ids_that_no_text_has(copy: Callable[[str], Path]) -> None:
    for bad, what in ((9999, "outside the vocabulary"), (3, "a special")):
        folder = copy("bytes")

        def change(ids: np.ndarray, bad: int = bad) -> np.ndarray:
            ids[7] = bad
            return ids

        rewrite(folder / "fineweb_val_000000.bin", change)
        reseal(folder)
        failure = named(tokenlab.verify(folder), "reversible").failure
        assert failure is not None
        assert what in failure.message
        assert (failure.split, failure.document, failure.token) == ("val", 0, 6)
        shutil.rmtree(folder)


def test_another_way_to_cut_the_text(copy: Callable[[str], Path]) -> None:
    """Ids that spell the same text but are not what the encoder makes of it."""
    folder = copy("bpe")
    scheme = tokenlab.load_scheme(folder)
    spelled = scheme.segmenter.token_bytes.tobytes()

    ids = np.array(open_shard(folder / "fineweb_val_000000.bin"))
    at = next(i for i in range(len(ids)) if len(spelled[ids[i]]) == 2)
    halves = [spelled.index(bytes([byte])) for byte in spelled[ids[at]]]

    def put(values: np.ndarray, pair: list[int]) -> np.ndarray:
        return np.concatenate([values[:at], np.array(pair, values.dtype), values[at + 1 :]])

    rewrite(folder / "fineweb_val_000000.bin", lambda values: put(values, halves))
    rewrite(folder / SIDECAR, lambda values: put(values, [1, 1]))
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["splits"]["val"]["tokens"] += 1
    manifest["splits"]["val"]["shards"][0]["tokens"] += 1
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    reseal(folder)
    result = tokenlab.verify(folder)
    assert [v.name for v in result.verdicts if not v.holds] == ["canonical"]
    assert "cuts the text another way" in str(named(result, "canonical").failure)


def test_a_validation_document_in_train(tmp_path: Path, documents: Path) -> None:
    """A dataset whose manifest moves the split: what it calls train holds validation."""
    folder = tmp_path / "out"
    make(folder, documents)
    ids = np.array(open_shard(folder / "fineweb_val_000000.bin"))
    train = folder / "fineweb_train_000000.bin"
    rewrite(train, lambda values: np.concatenate([values, ids]))
    reseal(folder)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["splits"]["train"]["shards"][0]["tokens"] += len(ids)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    failure = named(tokenlab.verify(folder), "disjoint").failure
    assert failure is not None
    assert (failure.split, failure.document) == ("train", len(ALL) - VAL_DOCS - 1)


@pytest.mark.parametrize(
    ("change", "verdict", "message"),
    [
        (lambda texts: texts[:-1], "complete", "the source has no such document"),
        (lambda texts: [*texts, "extra"], "complete", "documents of the source that the shards lack"),
        (lambda texts: [*texts[:-2], texts[-1], texts[-2]], "reversible", "do not decode to the document"),
        (lambda texts: [texts[0].lower(), *texts[1:]], "reversible", "do not decode to the document"),
    ],
)
def test_other_documents(
    tmp_path: Path,
    datasets: Callable[[str], Path],
    change: Callable[[list[str]], list[str]],
    verdict: str,
    message: str,
) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", change(ALL))
    result = tokenlab.verify(datasets("caseops"), docs=other)
    assert result.exit_code == 1
    failure = named(result, verdict).failure
    assert failure is not None
    assert message in failure.message


def test_an_encoder_that_changed_its_mind(copy: Callable[[str], Path]) -> None:
    folder = copy("caseops")
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["scheme"]["probe_ids_sha256"] = "0" * 64
    manifest["scheme"]["backends"]["gigatoken"] = "0.9.0"
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    result = tokenlab.verify(folder)
    assert named(result, "encoder").holds is False
    assert result.exit_code == 1
    assert "gigatoken 0.9.0" in result.notes[0]


def test_not_a_dataset(tmp_path: Path, copy: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="no such folder"):
        tokenlab.verify(tmp_path / "nowhere")
    folder = copy("bytes")
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(InputError, match=r"no manifest\.json, so it is not a \(whole\) dataset"):
        tokenlab.verify(folder)
    (folder / MANIFEST_FILE).write_text("{}")
    with pytest.raises(InputError, match="not a tokenlab manifest"):
        tokenlab.verify(folder)


def test_documents_longer_than_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: Path
) -> None:
    """Batches smaller than a document: every document is still checked whole."""
    monkeypatch.setattr("tokenlab.dataset.BATCH_TOKENS", 7)
    folder = tmp_path / "out"
    make(folder, documents, shard_tokens=50, train_bytes=True)
    result = tokenlab.verify(folder, docs=documents)
    assert result.verdict == "trust"
    assert named(result, "reversible").count == len(ALL) - 1


def test_the_sample_of_train_is_not_encoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: Path
) -> None:
    """However long its documents are, and with the same result."""
    monkeypatch.setattr("tokenlab.dataset.BATCH_TOKENS", 7)
    make(tmp_path / "out", documents)
    whole = tokenlab.verify(tmp_path / "out", docs=documents)
    sizes: list[int] = []
    compare = SplitCheck._compare_with_encoder

    def compared(self: SplitCheck, numbers: Any, found: Any, text: Ragged) -> None:
        if self.split == "train":
            sizes.append(len(text.values))
        compare(self, numbers, found, text)

    monkeypatch.setattr(SplitCheck, "_compare_with_encoder", compared)
    monkeypatch.setattr("tokenlab.verification.documents.SAMPLE_BYTES_A_CALL", 100)
    assert tokenlab.verify(tmp_path / "out", docs=documents) == whole
    assert len(sizes) > 5
    assert max(sizes) < 100 + max(map(len, ALL[VAL_DOCS:]))


def test_a_normalising_scheme_without_its_source_is_unproven(
    tmp_path: Path, datasets: Callable[[str], Path]
) -> None:
    """Train and validation texts that differ only in what the normaliser drops: open without
    the source, disjoint with it."""
    datasets("bpe-v1")  # skips where there is no model
    model = Path(__file__).parents[2] / "shared/tokenizers/sp1024_official.model"
    documents = write_jsonl(tmp_path / "docs.jsonl", ["one  text", "one text", "other"])
    make(tmp_path / "out", documents, "bpe-v1", val_docs=1, tokenizer=model)
    result = tokenlab.verify(tmp_path / "out")
    assert named(result, "disjoint").holds is None
    assert "training document 0" in named(result, "disjoint").detail
    result = tokenlab.verify(tmp_path / "out", docs=documents)
    assert (result.verdict, named(result, "disjoint").holds) == ("normalised", True)
