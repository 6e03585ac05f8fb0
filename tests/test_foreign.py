"""`verify` on datasets that tokenlab did not build: honest ones pass, each planted fault is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards import open_shard
from tests.command import write_jsonl
from tests.foreign_case import SIDECAR, TEXTS, TRAIN, VAL, VAL_DOCS, Case, documents_of
from tests.test_build import make
from tokenlab.errors import InputError
from tokenlab.scheme import Scheme
from tokenlab.segment.sentencepiece import SentencePieceSegmenter
from tokenlab.verification.foreign import ForeignOptions, verify_foreign
from tokenlab.verification.foreign.charges import stock_table
from tokenlab.verification.foreign.lost import lost_bytes


@pytest.mark.parametrize("scheme", ["bpe", "byte-bpe", "caseops"])
def test_honest_lossless_datasets_are_trusted(originals: Callable[[str], Case], scheme: str) -> None:
    result = originals(scheme).verify()
    assert (result.verdict, result.exit_code, result.causes) == ("trust", 0, ())
    assert result.lossless_documents == result.documents == VAL_DOCS
    assert result.source_bytes == result.charged_bytes == sum(len(t.encode()) for t in TEXTS[:VAL_DOCS])
    assert result.correction_factor == 1.0
    assert [invariant.number for invariant in result.invariants] == list(range(1, 18))
    assert any("stock glob" in warning for warning in result.warnings)


def test_what_is_missing_is_listed(originals: Callable[[str], Case]) -> None:
    case = originals("caseops")
    result = case.verify(docs=None, val_docs=None)
    assert (result.verdict, result.exit_code) == ("unproven", 3)
    assert "the documents" in result.missing[0]
    result = case.verify(tokenizer=None, transform="identity")
    assert result.verdict == "unproven"
    assert "the tokenizer" in result.missing[0]
    skipped = {v.name: v.detail for v in result.invariants if v.holds is None}
    assert skipped["recount"] == "no tokenizer given"
    assert skipped["log"] == "no log given"


def test_without_charges_nothing_is_proven(copied: Callable[[str], Case]) -> None:
    case = copied("byte-bpe")
    (case.folder / SIDECAR).unlink()
    result = case.verify()
    assert result.verdict == "unproven"
    assert any("no sidecar" in missing for missing in result.missing)


Fault = Callable[[Case], Case | None]


def sidecar(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Fault:
    """A fault of the charges, given the ids beside them."""

    def fault(case: Case) -> None:
        ids = np.array(open_shard(case.folder / VAL))
        case.rewrite(SIDECAR, lambda charges: change(charges, ids).astype(np.uint16))

    return fault


def shards(change: Callable[[list[np.ndarray], list[np.ndarray]], tuple[list, list]]) -> Fault:
    """A fault of the validation documents, ids and charges moved together."""

    def fault(case: Case) -> None:
        ids, charges = (np.array(open_shard(case.folder / name)) for name in (VAL, SIDECAR))
        bounds = np.flatnonzero(ids == 1)[1:]
        new = change(np.split(ids, bounds), np.split(charges, bounds))
        for name, parts in zip((VAL, SIDECAR), new, strict=True):
            case.rewrite(name, lambda _, parts=parts: np.concatenate(parts))

    return fault


def permuted(charges: np.ndarray, ids: np.ndarray) -> np.ndarray:
    inside = np.arange(1, int(np.flatnonzero(ids == 1)[1]))
    charges[inside] = charges[inside][::-1]
    return charges


def at(charges: np.ndarray, where: np.ndarray, value: object) -> np.ndarray:
    charges[where] = value
    return charges


def other_tokenizer(case: Case) -> Case:
    """The model of another training run under the same name."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text[::-1] for text in TEXTS]),
        model_writer=model,
        vocab_size=360,
        model_type="bpe",
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        byte_fallback=True,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        user_defined_symbols=["\ue004"],
        minloglevel=2,
    )
    path = case.folder / "other.model"
    path.write_bytes(model.getvalue())
    return Case(case.folder, replace(case.options, tokenizer=path))


def lower_cased(case: Case) -> Case:
    documents = write_jsonl(case.folder / "upper.jsonl", [text.upper() for text in TEXTS])
    lower = write_jsonl(case.folder / "lower.jsonl", [text.upper().lower() for text in TEXTS])
    built = case.folder / "built"
    make(built, lower, "bpe", val_docs=VAL_DOCS, vocab_size=330)
    for name in (VAL, TRAIN):
        shutil.copy(built / name, case.folder)
    shutil.copy(built / "bytes" / SIDECAR, case.folder)
    options = replace(case.options, docs=(str(documents),), tokenizer=built / "tokenizer/sentencepiece.model")
    shutil.move(built / "tokenizer", case.folder / "tokenizer")
    return Case(case.folder, replace(options, tokenizer=case.folder / "tokenizer/sentencepiece.model"))


def with_first_val_document(case: Case) -> None:
    stolen = documents_of(np.array(open_shard(case.folder / VAL)))[0]
    train(lambda parts: [*parts[:3], stolen, *parts[4:]])(case)


def patched_header(case: Case, place: int, value: int) -> None:
    path = case.folder / VAL
    content = bytearray(path.read_bytes())
    content[4 * place : 4 * place + 4] = int(value).to_bytes(4, "little", signed=True)
    path.write_bytes(content)


def swap(parts: list[np.ndarray], a: int, b: int) -> list[np.ndarray]:
    parts[a], parts[b] = parts[b], parts[a]
    return parts


def val(change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """A fault of the validation ids."""
    return lambda case: case.rewrite(VAL, change)


def train(change: Callable[[list[np.ndarray]], list[np.ndarray]]) -> Fault:
    """A fault of the training documents."""
    return lambda case: case.rewrite(TRAIN, lambda ids: np.concatenate(change(documents_of(ids))))


def header(place: int, value: int) -> Fault:
    """A fault of the validation shard's header."""
    return lambda case: patched_header(case, place, value)


def both(change: Callable[[list[np.ndarray]], list[np.ndarray]]) -> Fault:
    """The same change to the documents' ids and to their charges."""
    return shards(lambda ids, charges: (change(ids), change(charges)))


OPERATORS_AT_THREE = sidecar(lambda c, ids: at(c, (ids >= 4) & (ids <= 6), 3))
BYTES_AT_THREE = sidecar(lambda c, ids: at(c, (ids >= 5) & (ids < 261), 3))
ONE_BOS = both(lambda parts: [parts[0], *(part[1:] for part in parts[1:])])

FAULTS: dict[str, tuple[str, Fault, str]] = {
    "shifted late": ("bpe", sidecar(lambda c, _: np.roll(c, 1)), "shifted by one token"),
    "shifted early": ("bpe", sidecar(lambda c, _: np.roll(c, -1)), "shifted by one token"),
    "scaled": ("bpe", sidecar(lambda c, _: c * 2), "scaled by 2"),
    "permuted": ("bpe", sidecar(permuted), "permuted within documents"),
    "charged BOS": ("bpe", sidecar(lambda c, ids: at(c, ids == 1, 1)), "BOS is charged"),
    "operators at three": ("caseops", OPERATORS_AT_THREE, "operators are charged three"),
    "U+FFFD": ("bpe", BYTES_AT_THREE, "the length of U+FFFD"),
    "truncated sidecar": ("bpe", sidecar(lambda c, _: c[:-1]), "the sidecar is shorter than its shard"),
    "longer sidecar": ("bpe", sidecar(lambda c, _: np.append(c, 0)), "the sidecar is longer than its shard"),
    "one charge off": ("bpe", sidecar(lambda c, _: at(c, np.array([3]), c[3] + 1)), "1 of"),
    "missing document": ("bpe", both(lambda p: p[:2] + p[3:]), "a document is missing"),
    "missing last document": ("bpe", both(lambda p: p[:-1]), "5 BOS for 6 validation documents"),
    "repeated document": ("bpe", both(lambda p: p[:3] + p[2:-1]), "a document is repeated"),
    "one document too many": ("bpe", both(lambda p: [*p, p[0]]), "more documents than the source"),
    "reordered documents": ("bpe", both(lambda p: swap(p, 1, 4)), "in another order"),
    "swapped tokenizer": ("bpe", other_tokenizer, "another tokenizer"),
    "lower-cased text": ("bpe", lower_cased, "lower-cased before tokenization"),
    "id out of range": (
        "bpe",
        val(lambda i: at(i, np.array([4]), 5000)),
        "id 5000 is outside the vocabulary",
    ),
    "unknown piece": ("bpe", val(lambda i: at(i, np.array([4]), 3)), "id 3 is a special"),
    "no BOS": ("bpe", both(lambda p: [part[1:] for part in p]), "no BOS opens the documents"),
    "one BOS": ("bpe", ONE_BOS, "no BOS stands between documents"),
    "count too large": ("bpe", header(2, 10**6), "header promises 1,000,000 values"),
    "count too small": ("bpe", header(2, 10), "header promises 10 values"),
    "wrong magic": ("bpe", header(0, 7), "magic 7"),
    "validation in train": ("bpe", with_first_val_document, "validation documents are in train"),
    "train lacks a document": ("bpe", train(lambda p: p[:-1]), "train lacks 1 documents"),
    "train out of order": ("bpe", train(lambda p: swap(p, 2, 5)), "in another order"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_rejected_with_its_cause(copied: Callable[[str], Case], name: str) -> None:
    scheme, fault, cause = FAULTS[name]
    case = copied(scheme)
    case = fault(case) or case
    result = case.verify()
    assert (result.verdict, result.exit_code) == ("reject", 1)
    assert cause in " | ".join(result.causes)
    failed = [v for v in result.invariants if v.holds is False and v.level == "error"]
    assert failed
    if "header" not in cause and "magic" not in cause and "sidecar is" not in cause:
        assert any(v.failure and (v.failure.document is not None or v.failure.split) for v in failed)


@pytest.fixture(scope="module")
def table_case(originals: Callable[[str], Case], tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The lossless vocabulary without a sidecar: charged by the stock trainer's own table."""
    original = originals("bpe")
    folder = tmp_path_factory.mktemp("table")
    for name in (VAL, TRAIN):
        shutil.copy(original.folder / name, folder)
    return Case(folder, original.options)


def test_the_stock_table_is_honest_for_a_lossless_vocabulary(table_case: Case) -> None:
    result = table_case.verify()
    assert (result.accounting, result.verdict) == ("stock table", "trust")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda base, space, _: (base + space, space), "the leading space is counted twice"),
        (lambda base, space, _: (base + 2 * space, space), "counted as the three bytes of U+2581"),
        (lambda base, space, byte: (np.where(byte, 3, base), space), "the length of U+FFFD"),
        (lambda base, space, _: (base, space & False), "the leading space is not counted"),
    ],
)
def test_written_tables(
    tmp_path: Path, table_case: Case, change: Callable[..., tuple[np.ndarray, np.ndarray]], cause: str
) -> None:
    assert table_case.options.tokenizer is not None
    segmenter = SentencePieceSegmenter(table_case.options.tokenizer.read_bytes())
    table = stock_table(segmenter)
    byte = np.array([segmenter.piece(i).startswith("<0x") for i in range(segmenter.vocab_size)])
    for honest in (True, False):
        base, space = (
            (table.base, table.leading_space) if honest else change(table.base, table.leading_space, byte)
        )
        path = tmp_path / "table.npz"
        np.savez(
            path, base_bytes=base.astype(np.int16), has_leading_space=space, is_boundary_token=table.boundary
        )
        result = table_case.verify(byte_table=path)
        assert result.accounting == "byte table"
        if honest:
            assert result.verdict == "trust"
        else:
            assert result.verdict == "reject"
            assert cause in result.causes[0]
            assert result.correction_factor != 1.0


def test_a_table_given_is_judged_before_a_sidecar(tmp_path: Path, originals: Callable[[str], Case]) -> None:
    case = originals("bpe")
    assert case.options.tokenizer is not None
    table = stock_table(SentencePieceSegmenter(case.options.tokenizer.read_bytes()))
    path = tmp_path / "table.npz"
    space, boundary = table.leading_space, table.boundary
    np.savez(path, base_bytes=table.base + space, has_leading_space=space, is_boundary_token=boundary)
    result = case.verify(byte_table=path)
    assert (result.accounting, result.verdict) == ("byte table", "reject")
    assert "the leading space is counted twice" in result.causes[0]


def test_bytes_of_a_character_in_one_place_are_a_warning(copied: Callable[[str], Case]) -> None:
    """0, 0, n instead of 1, 1, 1: honest, but odd."""
    case = copied("bpe")
    ids = np.array(open_shard(case.folder / VAL))
    assert case.options.tokenizer is not None
    spelled = SentencePieceSegmenter(case.options.tokenizer.read_bytes()).token_bytes.tobytes()

    def gather(charges: np.ndarray) -> np.ndarray:
        moved = 0
        for t in range(len(ids) - 1):
            following = spelled[ids[t + 1]]
            if following and following[0] & 0xC0 == 0x80:
                charges[t + 1] += charges[t]
                charges[t] = 0
                moved += 1
        assert moved > 10
        return charges

    case.rewrite(SIDECAR, gather)
    result = case.verify()
    assert result.verdict == "trust"
    assert any("(0, 0, n): the sum is right" in warning for warning in result.warnings)


def test_only_validation_documents_at_hand(tmp_path: Path, originals: Callable[[str], Case]) -> None:
    """The score can be trusted without train's documents; train is still searched for validation's."""
    documents = write_jsonl(tmp_path / "val.jsonl", TEXTS[:VAL_DOCS])
    result = originals("bpe").verify(docs=(str(documents),))
    assert result.verdict == "trust"


def write_log(path: Path, loss: float, bpb: float, *lines: str) -> Path:
    path.write_text("\n".join([*lines, f"final val_loss:{loss:.8f} val_bpb:{bpb:.8f}"]) + "\n")
    return path


def test_a_log_is_held_against_the_charges(tmp_path: Path, originals: Callable[[str], Case]) -> None:
    """The bytes that a log implies: right, right with a tail left over, or not those charged."""
    case = originals("caseops")
    charges = np.array(open_shard(case.folder / SIDECAR)).astype(np.int64)
    total, targets, loss = int(charges.sum()), len(charges) - 1, 2.5
    honest = loss * targets / (np.log(2) * total)
    result = case.verify(log=write_log(tmp_path / "good.log", loss, honest))
    assert result.verdict == "trust"
    assert result.corrected_bpb == pytest.approx(honest, abs=1e-9)
    tail = targets - 10
    bpb = loss * tail / (np.log(2) * int(charges[:-10].sum()))
    stated = f"val_tokens: {tail}"
    result = case.verify(log=write_log(tmp_path / "tail.log", loss, bpb, stated))
    assert result.verdict == "trust"
    assert result.corrected_bpb == pytest.approx(bpb, abs=1e-9)
    result = case.verify(log=write_log(tmp_path / "low.log", loss, honest / 1.0895))
    assert result.verdict == "reject"
    assert "imply other bytes than are charged" in result.causes[0]
    assert result.corrected_bpb == pytest.approx(honest, abs=1e-9)
    result = case.verify(log=write_log(tmp_path / "more.log", loss, honest, "val_tokens: 99999"))
    assert "scores 99,999 targets" in result.causes[0]
    off = write_log(tmp_path / "off.log", loss, honest, "val_bpb:byte_sidecar:disabled")
    assert any("sidecar was not in use" in warning for warning in case.verify(log=off).warnings)
    (tmp_path / "empty.log").write_text("nothing\n")
    empty = case.verify(log=tmp_path / "empty.log")
    assert "no loss and BPB pair" in next(i.detail for i in empty.invariants if i.name == "log")
    assert case.verify(loss=loss).corrected_bpb == pytest.approx(honest, abs=1e-9)
    with pytest.raises(InputError, match="cannot read the log"):
        case.verify(log=tmp_path / "nowhere.log")


def test_lost_bytes_are_classified() -> None:
    """`a\\n  b½\\u200bc`: the newline and one space are lost, ½ has another form, U+200B is gone."""
    source = "a\n  b½\u200bc".encode()
    normal = "a b1\u20442c".encode()
    at = {"a": 0, " ": 1, "b": 4, "1": 5, "c": 10}
    cuts = np.array([at["a"], at[" "], at["b"], *[at["1"]] * 5, at["c"], 11], np.int32)
    assert lost_bytes(source, normal, cuts) == {
        "newline": 1,
        "other whitespace": 2,
        "compatibility form": 2,
        "deleted": 3,
    }
    assert lost_bytes(b"same", b"same", np.arange(5, dtype=np.int32)) == {}


def test_evidence_that_does_not_fit(tmp_path: Path, originals: Callable[[str], Case]) -> None:
    case = originals("bpe")
    with pytest.raises(InputError, match=r"neither manifest\.json nor fineweb_val"):
        verify_foreign(tmp_path, case.options)
    with pytest.raises(InputError, match="needs --val-docs N"):
        case.verify(val_docs=None)
    with pytest.raises(InputError, match="does not hold the scheme's markers"):
        case.verify(transform="caseops")
    (tmp_path / "bad.npz").write_bytes(b"x")
    with pytest.raises(InputError, match="not a byte table"):
        case.verify(byte_table=tmp_path / "bad.npz")


def zoo_cases() -> list[str]:
    expected = Path(__file__).parents[2] / "shared/zoo/expected.json"
    return list(json.loads(expected.read_text())) if expected.exists() else []


@pytest.mark.parametrize("name", zoo_cases())
def test_the_zoo(shared: Path, name: str) -> None:
    """Real and easily made bookkeeping errors, and honest datasets, from published tokenizers."""
    folder = shared / "zoo" / name
    case = json.loads((folder / "case.json").read_text())
    tokenizer = folder / case["tokenizer"]
    result = verify_foreign(
        folder,
        ForeignOptions(
            tokenizer=tokenizer if tokenizer.exists() else shared / "tokenizers" / tokenizer.name,
            transform=case["transform"],
            docs=(str(folder / case["docs"]),),
            val_docs=case["val_docs"],
            byte_table=folder / case["byte_table"] if "byte_table" in case else None,
        ),
    )
    assert result.verdict == json.loads((shared / "zoo/expected.json").read_text())[name]["verdict"]
    assert bool(result.causes) == (result.verdict == "reject")


def test_a_published_scheme_without_a_manifest(tmp_path: Path, shared: Path) -> None:
    """tokenlab's own caseops-v1, its manifest taken away: normalised, and the losses by class."""
    documents = write_jsonl(tmp_path / "docs.jsonl", TEXTS)
    model = shared / "tokenizers/sp8192_caseops_v1_reserved.model"
    make(tmp_path / "out", documents, "caseops-v1", val_docs=VAL_DOCS, tokenizer=model)
    (tmp_path / "out/manifest.json").unlink()
    options = ForeignOptions(
        tokenizer=model, transform="caseops-v1", docs=(str(documents),), val_docs=VAL_DOCS
    )
    result = verify_foreign(tmp_path / "out", options)
    assert result.verdict == "normalised"
    assert result.lost_bytes["newline"] > 0
    assert result.unattributed_bytes == VAL_DOCS  # the newline at each document's end
    assert Scheme.open(tmp_path / "out").reversible is False
