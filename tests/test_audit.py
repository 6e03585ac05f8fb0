"""Auditing training logs: published ones, and one written here for every reference and known error."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command import write_jsonl
from tokenlab.accounting.audit import LogAudit, judge
from tokenlab.accounting.log_reader import LN2, parse_log, read_log
from tokenlab.accounting.references import Evaluation, load_references
from tokenlab.audit import audit_logs, audit_text, exit_code
from tokenlab.build import BuildOptions, build, make_plan
from tokenlab.errors import InputError
from tokenlab.manifest import read_manifest

TABLE = load_references()
VERDICTS = {"full": "consistent", "partial": "partial split", "other": "other split"}
NAMES = {
    "byte260": "val_bpb:enabled tokenizer_kind=byte vocab_size=260",
    "scylla": "tokenizer: kind=tokenmonster vocab=998",
    "gravity": "tokenizer_path: ./data/tokenizers/gravity_beta_1.0.model",
    "casefold sp10240": "  val_files: ./data/datasets/fineweb10B_sp10240_casefold/fineweb_val_*.bin",
    "casefold sp8192": "  tokenizer_path: ./data/fineweb_8192_bpe_casefold_refined_v2.model",
    "fused caseops": "  val_files: d/fineweb10B_sp8192_caseops_marker_pair_v3/fineweb_val_*.bin",
    "caseops sp10240": "  val_files: d/fineweb10B_sp10240_lossless_caps_caseops_v1/fineweb_val_*.bin",
    "caseops sp8192": "  tokenizer_path: t/fineweb_8192_bpe_lossless_caps_caseops_v1_reserved.model",
    "sp1024": "val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin",
    "sp2048": "val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path=t/fineweb_2048_bpe.model",
    "sp4096": "  tokenizer_path: ./data/tokenizers/fineweb_4096_bpe.model",
    "sp8192": "  tokenizer_path: ./data/tokenizers/fineweb_8192_bpe.model",
}
ROWS = [(v.name, e) for v in TABLE.vocabulary for e in v.evaluations]


def pair(bytes_per_token: float, decimals: int = 8, loss: float = 2.71234567) -> str:
    """The line a trainer prints for a loss, its denominator being so many bytes a token."""
    bpb = loss / (LN2 * bytes_per_token)
    return f"final_exact val_loss:{loss:.{decimals}f} val_bpb:{bpb:.{decimals}f}"


def audit(*lines: str) -> LogAudit:
    return judge(parse_log("a.log", "\n".join(lines)))


def row(name: str, index: int = 0) -> Evaluation:
    return next(v for v in TABLE.vocabulary if v.name == name).evaluations[index]


# The published logs.


def test_the_published_logs(shared: Path) -> None:
    expected = json.loads((shared / "logs/expected.json").read_text())
    audits = {Path(a.file).stem: a for a in audit_logs([shared / "logs"])}
    assert audits.keys() == expected.keys()
    for name, a in audits.items():
        want = expected[name]
        found = (a.val_loss, a.val_bpb, a.bytes_per_token, a.verdict)
        assert found == (
            want["last_val_loss"],
            want["last_val_bpb"],
            want["bytes_per_token"],
            want["verdict"],
        ), name
    assert exit_code(list(audits.values())) == 1
    lut = audits["caseops_lut_2071"]
    assert (lut.tokens, lut.implied_bytes, lut.expected_bytes) == (47_851_520, 164_594_398, 151_074_499)
    assert lut.explanation == "+8.95 %: matches operators charged 3 bytes (caseops sp8192)"
    assert lut.corrected_bpb == pytest.approx(1.09704, abs=1e-5)
    causes = {
        "scylla_1143": "U+FFFD",
        "scylla_1184": "another validation stream",
        "gdn_1698": "space counted twice",
        "leo_1871": "tokenizer does not match the shards",
    }
    for name, cause in causes.items():
        assert cause in audits[name].explanation
    assert audits["scylla_1184"].corrected_bpb is None, "another text: no factor leads back"
    assert "mixture" in audits["partial_1854"].explanation
    text = audit_text(list(audits.values()))
    assert "inconsistent +8.95 %: matches operators charged 3 bytes" in text
    assert text.endswith("14 logs: 7 consistent, 5 inconsistent, 1 other split, 1 partial split")


@pytest.mark.parametrize(
    "name", ["gdn_1698", "leo_1871", "caseops_lut_2071", "lowerlr_sp1024", "partial_1854"]
)
def test_the_published_logs_without_a_count(shared: Path, name: str) -> None:
    """The vocabulary and the ratio alone lead to the same verdict; the denominator is unknown."""
    path = shared / "logs" / f"{name}.log"
    text = re.sub(r"(?im)^(.*val(?:idation)?[_ ]tokens: ).*$", "", path.read_text())
    text = re.sub(r"tokens:\d+", "", text)
    want, found = judge(read_log(path)), judge(parse_log("x", text))
    if name == "gdn_1698":  # it names no vocabulary either
        assert found.explanation.endswith("(sp1024, by its ratio)") or "by its ratio" in found.explanation
    assert found.verdict == want.verdict
    assert (found.tokens, found.implied_bytes) == (None, None)


# One log for every row of the table.


@pytest.mark.parametrize(("name", "evaluation"), ROWS, ids=lambda v: str(getattr(v, "targets", v)))
@pytest.mark.parametrize("decimals", [4, 6, 8])
def test_every_reference(name: str, evaluation: Evaluation, decimals: int) -> None:
    ratio = evaluation.bytes_per_token
    a = audit(NAMES[name], f"val_tokens: {evaluation.targets}", pair(ratio, decimals))
    assert a.verdict == VERDICTS[evaluation.split]
    assert (a.vocabulary, a.tokens) == (name, evaluation.targets)
    assert a.implied_bytes is not None
    assert a.rounding is not None
    assert abs(a.implied_bytes - evaluation.bytes) <= a.rounding + 1
    a = audit(NAMES[name], pair(ratio, decimals))
    assert a.verdict == VERDICTS[evaluation.split]
    assert (a.vocabulary, a.tokens, a.implied_bytes) == (name, None, None)


@pytest.mark.parametrize(("name", "evaluation"), ROWS, ids=lambda v: str(getattr(v, "targets", v)))
def test_every_reference_without_a_name(name: str, evaluation: Evaluation) -> None:
    a = audit(f"val_tokens: {evaluation.targets:,}", pair(evaluation.bytes_per_token))
    assert (a.verdict, a.vocabulary) == (VERDICTS[evaluation.split], name)


@pytest.mark.parametrize("name", ["sp1024", "sp8192", "caseops sp8192"])
@pytest.mark.parametrize("length", [1024, 2048, 4096, 16_384, 32_768])
def test_a_declared_tail(name: str, length: int) -> None:
    """The last, shorter sequence is dropped; its text may be denser or thinner than the mean."""
    full = row(name)
    targets = full.targets // length * length
    gap = full.targets - targets
    for density in (0.9, 1, 1.1):
        ratio = (full.bytes - gap * full.bytes_per_token * density) / targets
        a = audit(NAMES[name], f"val_tokens: {targets}", pair(ratio))
        assert a.verdict == "consistent", (density, a.explanation)


def test_the_tail_of_an_odd_sequence_length_is_declared_by_the_log() -> None:
    full = row("sp1024")
    targets = full.targets - 50_000
    line = pair(full.bytes_per_token)
    assert audit(NAMES["sp1024"], f"val_tokens: {targets + 1}", line).verdict != "consistent"
    lines = (NAMES["sp1024"], "eval_seq_len: 60000", f"val_tokens: {targets + 1}", line)
    assert audit(*lines).verdict == "consistent"


@pytest.mark.parametrize("name", ["sp1024", "sp8192", "caseops sp8192"])
def test_document_isolated_evaluators_never_predict_bos(name: str) -> None:
    full = row(name)
    a = audit(NAMES[name], f"val_tokens: {full.targets}", pair(full.bytes / (full.targets - 50_000)))
    assert a.verdict == "consistent"
    assert "the 50,000 BOS are not among the targets" in a.explanation


@pytest.mark.parametrize("targets", [37_146_624, 55_851_008, 67_778_560, 45_795_328])
def test_a_vocabulary_that_the_table_lacks(targets: int) -> None:
    """The denominator is that of the text, whatever the tokens."""
    line = pair(TABLE.canonical_bytes / targets)
    assert audit("vocab_size: 12345", f"val_tokens: {targets}", line).verdict == "consistent"
    assert audit("vocab_size: 12345", line).verdict == "unknown"
    assert audit("vocab_size: 12345", f"val_tokens: {targets}", pair(4.5678)).verdict == "unknown"


# One log for every known error.


@pytest.mark.parametrize("signature", TABLE.signature, ids=lambda s: f"{s.name}-{s.low}")
def test_every_signature(signature: object) -> None:
    from tokenlab.accounting.references import Signature

    assert isinstance(signature, Signature)
    tried = 0
    for vocabulary in TABLE.vocabulary:
        if not signature.fits(signature.low, signature.high, vocabulary.name):
            continue
        evaluation = next((e for e in vocabulary.evaluations if e.split == "full"), None)
        targets = 144_967_680 if evaluation is None else evaluation.targets
        total = TABLE.canonical_bytes if evaluation is None else evaluation.bytes
        if signature.rebuilt:
            targets = round(targets * 0.985)
            total = TABLE.canonical_bytes
        factor = (signature.low + signature.high) / 2
        ratio = total / targets * factor
        a = audit(NAMES[vocabulary.name], f"val_tokens: {targets}", pair(ratio))
        assert a.verdict == "inconsistent", a.explanation
        assert f"matches {signature.name} (" in a.explanation
        assert a.ratio == pytest.approx(factor, rel=3e-4)
        if signature.correctable:
            assert a.corrected_bpb == pytest.approx(2.71234567 / (LN2 * total / targets), rel=3e-4)
        else:
            assert a.corrected_bpb is None
        tried += 1
        if signature.anonymous and evaluation is not None:
            a = audit(pair(ratio))
            assert a.verdict == "inconsistent"
            assert "by its ratio" in a.explanation
    assert tried


def test_an_error_of_no_known_kind() -> None:
    full = row("sp8192", 1)
    name, count = NAMES["sp8192"], f"val_tokens: {full.targets}"
    a = audit(name, count, pair(full.bytes_per_token * 1.05))
    assert (a.verdict, a.explanation) == (
        "inconsistent",
        "+5.00 % bytes a token against sp8192: matches no known error",
    )
    assert a.corrected_bpb == pytest.approx(2.71234567 / (LN2 * full.bytes_per_token))
    # Without a count it may be a part of the split, up to what a part can be.
    assert audit(name, pair(full.bytes_per_token * 1.05)).verdict == "unknown"
    assert audit(name, pair(full.bytes_per_token * 1.5)).verdict == "inconsistent"
    # Between the coverage of honest evaluators and the smallest known error nothing is said.
    assert audit(name, count, pair(full.bytes_per_token * 1.0005)).verdict == "unknown"
    # Fewer bytes a token are those of the first documents.
    assert audit(name, count, pair(full.bytes_per_token * 0.987)).verdict == "unknown"


def test_the_count_beats_the_name() -> None:
    """CaseOps shards under the paths of the plain vocabulary, as in #2071."""
    lut = audit(NAMES["sp8192"], "val_tokens: 47851520", pair(164_594_398 / 47_851_520))
    assert lut.vocabulary == "caseops sp8192"
    assert "operators charged 3 bytes" in lut.explanation
    honest = audit(NAMES["sp8192"], "val_tokens: 47851520", pair(151_074_499 / 47_851_520))
    assert honest.verdict == "consistent"
    assert honest.explanation.endswith("the log names sp8192")
    # Of another size it proves nothing without a count.
    assert audit(NAMES["sp1024"], pair(row("sp8192").bytes_per_token)).verdict == "unknown"


def test_partial_and_other_splits() -> None:
    full, name = row("sp1024"), NAMES["sp1024"]
    for targets, off in ((6_201_344, -0.0134), (262_144, 0.0001), (32_768, 0.024), (1_048_576, -0.011)):
        a = audit(name, f"val_tokens: {targets}", pair(full.bytes_per_token * (1 + off)))
        assert (a.verdict, a.expected_bytes, a.corrected_bpb) == ("partial split", None, None)
    a = audit(name, "val_tokens: 70000640", pair(full.bytes_per_token * 1.01))
    assert a.verdict == "other split"
    # A small error hides in a small part, so it is not read into one.
    assert audit(name, "val_tokens: 6201344", pair(full.bytes_per_token * 0.998)).verdict == "partial split"
    # A part that is nearly the whole cannot differ much from it.
    targets = round(full.targets * 0.99)
    assert audit(name, f"val_tokens: {targets}", pair(full.bytes_per_token * 1.025)).verdict == "unknown"


def test_mixtures_are_not_accused() -> None:
    full = row("caseops sp8192", 1)
    name, count = NAMES["caseops sp8192"], f"val_tokens: {full.targets}"
    honest = [f"{step}/200 {pair(full.bytes_per_token, 4, loss)}" for step, loss in ((1, 9.0), (9, 2.4))]
    mixed = "ppm_sliding val_loss:2.37961234 val_bpb:0.94197117"
    for lines in ((name, count, mixed), (name, count, *honest, mixed), (name, count, pair(3.63), mixed)):
        a = audit(*lines)
        assert a.verdict == "unknown"
        assert a.explanation.startswith("BPB is not a function of the printed loss")
        assert a.corrected_bpb is None
    # Without the word: the ratio moved within the log.
    a = audit(name, count, *honest, mixed.replace("ppm_sliding", "final"))
    assert "went from 3.157" in a.explanation
    # A later, coarser pair of other bytes a token is the score that was claimed.
    a = audit(name, count, pair(full.bytes_per_token), "final val_loss:2.3796 val_bpb:0.9420")
    assert a.verdict == "unknown"
    # A mixture printed beside a clean final pair is named and not judged.
    a = audit(name, count, "ppm_mix bytes=27048621 mix_bpb=0.901871", pair(full.bytes_per_token))
    assert a.verdict == "consistent"
    assert a.explanation.endswith("a mixture's BPB is printed too and is not judged")
    # Nats a byte show no denominator.
    a = audit(name, count, f"ppm val_loss:{0.95 * LN2:.8f} val_bpb:0.95000000")
    assert (a.verdict, "nats a byte" in a.explanation) == ("unknown", True)


# Forms.

FORMS = [
    "step:100/200 train_loss:2.9999 val_loss:{loss} val_bpb:{bpb} train_time:5ms",
    "4000/20000 val_loss: {loss} val_bpb: {bpb}",
    "ttt:done val_loss={loss} val_bpb={bpb} elapsed=413.4s",
    "legal_ttt val loss: {loss}, val bpb: {bpb}",
    "val_loss {loss} | val_bpb {bpb}",
    '{{"step": 3, "val_loss": {loss}, "val_bpb": {bpb}, "train_loss": 2.5}}',
    '{{"val/loss": {loss}, "val/bpb": {bpb}}}',
    '  "val_loss": {loss},\n  "val_bpb": {bpb},',
    "Validation loss: {loss}\nValidation BPB: {bpb}",
    "val_loss={loss} bits_per_byte={bpb}",
    "validation loss = {loss} validation bits per byte = {bpb}",
    "eval_nll: {loss} eval_bits-per-byte: {bpb}",
    "ttt:vl={loss} bpb={bpb} t=3.5s",
    "q_val_loss:{loss} q_val_bpb:{bpb}",
    "\x1b[32mval_loss:{loss}\x1b[0m val_bpb:{bpb}",
    "final_sliding_window stride:64 val_loss:{loss} val_bpb:{bpb} eval_time:9ms",
]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_pair(form: str) -> None:
    found = parse_log("x", form.format(loss="2.06492760", bpb="1.22296644")).final
    assert found is not None
    assert (found.loss, found.bpb, found.decimals) == (2.0649276, 1.22296644, 8)


@pytest.mark.parametrize(
    "line",
    [
        "val_bpb:enabled tokenizer_kind=sentencepiece",
        "step:3 train_loss:2.1000 train_bpb:1.2000",
        "ttt_progress: batch 1/9 batch_loss:2.1000 batch_bpb:1.2000 running_loss:2.1000 running_bpb:1.2000",
        "  ttt_chunk [1/1863] bpb=1.111535 time=0.5s",
        "step:3 loss:2.1000 val_bpb:1.2000",
        'log0(f"val_loss:{val_loss:.4f} val_bpb:{val_bpb:.4f}")',
        "# val_loss: 3.2800 val_bpb: 1.1000 as in the README",
        "val_loss:nan val_bpb:nan",
        "val_loss:2.1000 val_bpb:0.0000",
        "",
    ],
)
def test_what_is_no_pair(line: str) -> None:
    a = audit(line)
    assert (a.verdict, a.explanation) == ("unknown", "no loss and BPB pair")


def test_the_final_pair() -> None:
    """The last of the most decimals; six are enough, because JSON drops trailing zeros."""
    fine, json_line = (
        "val_loss:2.10000001 val_bpb:1.20000001",
        '{"val_loss": 2.0649276, "val_bpb": 1.2229664}',
    )
    coarse, six = "val_loss:2.0001 val_bpb:1.1001", "val_loss=1.930065 val_bpb=1.080087"
    for lines, want in (
        ((coarse, fine), 2.10000001),
        ((fine, coarse), 2.10000001),
        ((fine, json_line), 2.0649276),
        ((fine, six, coarse), 1.930065),
        ((coarse, coarse.replace("2.0001", "1.9001")), 1.9001),
    ):
        found = parse_log("x", "\n".join(lines)).final
        assert found is not None
        assert found.loss == want


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("val_tokens: 40540160", 40_540_160),
        ("Validation tokens: 40,540,160", 40_540_160),
        ("Validation tokens: 40,540,161", 40_540_160),  # tokens, one more than targets
        ("val_tokens:40540803", 40_540_802),
        ("val_loader:shards pattern=./data/fineweb_val_*.bin tokens:62021632", 62_021_632),
        ("train_loader:dataset:fineweb10B_sp1024 train_shards:80 val_tokens:62021632", 62_021_632),
        ('{"val_tokens": 40540160}', 40_540_160),
        ("scored_tokens=40_540_160", 40_540_160),
        ("train_batch_tokens: 786432", None),
        ("val_batch_tokens: 524288", None),
        ("train_batch_tokens:524288 train_seq_len:1024 iterations:20000", None),
        ("ppm_subset_tokens: 8000000", None),
        ("ttt_chunk_tokens: 32768", None),
        ("max_val_tokens: 1048576", None),
        ("VAL_MAX_TOKENS=1048576", None),
        ("train_tokens: 9000000000", None),
        ("final_eval_mode:sliding_window stride:64 batch_seqs:1024", None),
        ("tokens per second: 800000", None),
    ],
)
def test_a_batch_is_no_split(line: str, targets: int | None) -> None:
    assert audit(line, pair(3.726631)).tokens == targets


def test_which_count_holds() -> None:
    own = "final val_loss:2.10000000 val_bpb:1.20000000 scored_tokens=777"
    log = ["val_tokens: 100", "tokens_scored=12", "val_tokens: 200", "val_loss:2.00000000 val_bpb:1.10000000"]
    for lines, want in ((log, 200), ([*log, own], 777), (log[1::2], 12), ([log[3], log[0]], 100)):
        reading = parse_log("x", "\n".join(lines))
        assert reading.targets_at(reading.final) == want


def test_garbage(tmp_path: Path) -> None:
    """Bytes of no encoding, a UTF-16 log of PowerShell, a line of megabytes."""
    good = f"val_tokens: 62021632\n{pair(row('sp1024', 1).bytes_per_token)}\n"
    path = tmp_path / "a.log"
    junk = bytes(range(256)) * 40 + b"\nval_loss:\xff\xfe val_bpb:\x00\n" + b"bpb" + b"a:" * 3_000_000 + b"\n"
    for content in (junk + good.encode(), good.encode("utf-16"), good.replace("\n", "\r\n").encode()):
        path.write_bytes(content)
        assert audit_logs([path])[0].verdict == "consistent"
    for content in (b"", b"\x00" * 1000, junk):
        path.write_bytes(content)
        assert audit_logs([path])[0].verdict == "unknown"


# Rounding.


@given(
    loss=st.decimals(min_value="0.1", max_value="12", places=10),
    bytes_per_token=st.floats(0.5, 8),
    places=st.tuples(st.integers(2, 9), st.integers(2, 9)),
)
def test_the_interval_holds_the_truth(loss: Decimal, bytes_per_token: float, places: tuple[int, int]) -> None:
    """Whatever was rounded to these decimals lies within; the bounds themselves are attained."""
    true_loss = float(loss)
    true_bpb = true_loss / (LN2 * bytes_per_token)
    printed = f"val_loss:{true_loss:.{places[0]}f} val_bpb:{true_bpb:.{places[1]}f}"
    found = parse_log("x", printed).final
    if found is None:
        assert f"{true_bpb:.{places[1]}f}".strip("0.") == ""
        return
    low, high = found.interval
    assert low <= bytes_per_token <= high or math.isclose(low, bytes_per_token, rel_tol=1e-12)
    halves = [Fraction(1, 2 * 10**n) for n in places]
    ln2 = Fraction(LN2)
    exact_loss, exact_bpb = Fraction(str(found.loss)), Fraction(str(found.bpb))
    lowest = (exact_loss - halves[0]) / (ln2 * (exact_bpb + halves[1]))
    assert low <= lowest
    assert math.isclose(low, max(lowest, 0), rel_tol=1e-12, abs_tol=1e-300)
    if exact_bpb > halves[1]:
        highest = (exact_loss + halves[0]) / (ln2 * (exact_bpb - halves[1]))
        assert high >= highest
        assert math.isclose(high, highest, rel_tol=1e-12)


@given(evaluation=st.sampled_from([e for _, e in ROWS]), loss=st.floats(0.9, 4), decimals=st.integers(6, 8))
def test_the_denominator_comes_back(evaluation: Evaluation, loss: float, decimals: int) -> None:
    a = audit(f"val_tokens: {evaluation.targets}", pair(evaluation.bytes_per_token, decimals, loss))
    assert a.implied_bytes is not None
    assert a.rounding is not None
    assert abs(a.implied_bytes - evaluation.bytes) <= a.rounding + 1


def test_too_few_decimals_tell_nothing() -> None:
    a = audit(NAMES["sp1024"], "val_loss: 2.1 val_bpb: 1.2")
    assert (a.verdict, a.explanation) == ("unknown", "loss and BPB are printed to too few decimals")
    # Two splits whose bytes a token differ by 0.3 % cannot be told apart to a hundredth.
    a = audit(NAMES["sp1024"], pair(2.439, 2))
    assert a.verdict == "unknown"


# Paths, exit codes, datasets.


def test_folders_are_walked(tmp_path: Path) -> None:
    good = pair(row("sp8192").bytes_per_token)
    for name in ("b.log", "deep/er/a.TXT", "log.1", "c.jsonl", "requirements.txt", "model.bin", "logo.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{NAMES['sp8192']}\n{good}\n")
    found = [str(Path(a.file).relative_to(tmp_path)) for a in audit_logs([tmp_path])]
    assert found == ["b.log", "c.jsonl", "deep/er/a.TXT", "log.1"]
    assert [a.file for a in audit_logs([tmp_path / "model.bin"])] == [str(tmp_path / "model.bin")]
    with pytest.raises(InputError, match="no such log or folder"):
        audit_logs([tmp_path / "missing.log"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no logs in this folder"):
        audit_logs([tmp_path / "empty"])


def test_exit_codes() -> None:
    good, bad, open_ = (
        audit(NAMES["sp8192"], pair(3.726631)),
        audit(NAMES["sp8192"], pair(3.726631 * 1.5)),
        audit("nothing"),
    )
    assert [good.verdict, bad.verdict, open_.verdict] == ["consistent", "inconsistent", "unknown"]
    for audits, code in (
        ([good, good], 0),
        ([good, bad], 1),
        ([bad, open_], 1),
        ([good, open_], 1),
        ([open_, open_], 3),
    ):
        assert exit_code(audits) == code


def test_a_thousand_logs(tmp_path: Path) -> None:
    line = pair(row("sp8192").bytes_per_token)
    steps = "\n".join(f"{n}/100 train_loss: 3.1234 tok/s: 8000000" for n in range(100))
    for n in range(1000):
        (tmp_path / f"{n:04}.log").write_text(f"{NAMES['sp8192']}\n{steps}\nval_tokens: 40540802\n{line}\n")
    audits = audit_logs([tmp_path])
    assert len(audits) == 1000
    assert exit_code(audits) == 0


def test_terminal_controls_of_a_log_are_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J.log"
    path.write_text(f"{NAMES['sp8192']}\nppm\x07\x00_mix mix_bpb=0.9\nppm val_loss:2.5 val_bpb:0.900\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", audit_text(audit_logs([path])))


def test_against_a_dataset(tmp_path: Path) -> None:
    """The dataset's own charges, to the target: a tail costs what its tokens were charged."""
    texts = [f"document {n} " + "é The NASA words " * (n % 7 + 3) for n in range(60)]
    source = write_jsonl(tmp_path / "docs.jsonl", texts)
    out = tmp_path / "out"
    options = BuildOptions(scheme="bytes", output=out, inputs=(str(source),), val_docs=50, workers=1)
    build(make_plan(options))
    split = read_manifest(out).splits["val"]
    targets, log = split.tokens - 1, tmp_path / "a.log"

    def against(count: int, total: float, *more: str) -> LogAudit:
        log.write_text("\n".join([*more, f"val_tokens: {count}", pair(total / count)]))
        return audit_logs([log], dataset=out)[0]

    a = against(targets, split.charged_bytes)
    assert (a.verdict, a.expected_bytes) == ("consistent", split.charged_bytes)
    assert a.implied_bytes == split.charged_bytes
    assert against(targets, split.charged_bytes * 1.01).verdict == "inconsistent"
    assert against(targets, split.charged_bytes * 1.17704).verdict == "inconsistent"
    whole = targets // 1024 * 1024
    charged = sum(len(text.encode()) for text in texts[:50]) - (targets - whole)
    bos_in_tail = 0
    left = targets - whole
    for text in reversed(texts[:50]):
        left -= len(text.encode()) + 1
        if left < 0:
            break
        bos_in_tail += 1
    a = against(whole, charged + bos_in_tail, "eval_seq_len: 1024")
    assert (a.verdict, a.expected_bytes) == ("consistent", charged + bos_in_tail)
    assert against(whole // 2, (charged + bos_in_tail) / 2).verdict == "partial split"
    log.write_text(pair(split.charged_bytes / targets))
    assert audit_logs([log], dataset=out)[0].verdict == "consistent"
    with pytest.raises(InputError, match=r"manifest\.json"):
        audit_logs([log], dataset=tmp_path)


def test_the_table_agrees_with_itself() -> None:
    """Tails of one vocabulary cost its bytes a token; every row says where it comes from."""
    for vocabulary in TABLE.vocabulary:
        assert NAMES[vocabulary.name]
        assert all(e.source and e.targets > 0 for e in vocabulary.evaluations)
        full = [e for e in vocabulary.evaluations if e.split == "full" and e.bos]
        for one in full:
            assert one.bytes_per_token == pytest.approx(full[0].bytes_per_token, rel=5e-5)
    for signature in TABLE.signature:
        assert signature.low < signature.high
        assert signature.source
