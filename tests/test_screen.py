"""`tokenlab screen` as a user runs it, and the figures behind it."""

from __future__ import annotations

import hashlib
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.command import refused, tokenlab, write_jsonl
from tokenlab.corpus import open_corpus
from tokenlab.errors import InputError
from tokenlab.progress import Progress
from tokenlab.report.screen import screen_text
from tokenlab.report.screen_page import screen_page
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import open_scheme_spec
from tokenlab.screen.documents import ScreenDocuments, split_documents
from tokenlab.screen.ngram_reference import NgramReference
from tokenlab.screen.plan import ScreenOptions, ScreenPlan
from tokenlab.screen.ranking import Screen, rank
from tokenlab.screen.run import run_screen
from tokenlab.screen.scoring import BYTE_ORDER, SchemeScore, score_scheme
from tokenlab.screen.vocabulary_rows import VocabularyRows, count_rows

VOCAB_SIZE = 600
HOLDOUT = 6


@pytest.fixture(scope="module")
def documents(embedded: list[bytes]) -> ScreenDocuments:
    """Beginnings of documents: the slow twins take their time."""
    short = [document[:2500].decode(errors="ignore").encode() for document in embedded[:20]]
    return ScreenDocuments(train=short[HOLDOUT:], holdout=short[:HOLDOUT])


@pytest.fixture(scope="module")
def scored(documents: ScreenDocuments) -> Callable[[str], tuple[Scheme, SchemeScore]]:
    found: dict[str, tuple[Scheme, SchemeScore]] = {}

    def score(name: str) -> tuple[Scheme, SchemeScore]:
        if name not in found:
            spec = open_scheme_spec(name)
            found[name] = score_scheme(
                spec.with_vocab_size(VOCAB_SIZE) if spec.is_trainable else spec, documents
            )
        return found[name]

    return score


@pytest.fixture(scope="module")
def plan(documents: ScreenDocuments) -> ScreenPlan:
    return ScreenPlan(
        method="-",
        corpus={},
        documents_sha256=documents.digest,
        holdout_docs=HOLDOUT,
        train_documents=len(documents.train),
        train_bytes=sum(map(len, documents.train)),
        documents=HOLDOUT,
        source_bytes=sum(map(len, documents.holdout)),
        vocab_size=VOCAB_SIZE,
    )


@pytest.mark.parametrize("name", ["caseops", "byte-bpe", "bytes"])
def test_a_score_is_what_its_parts_say(
    name: str, scored: Callable[[str], tuple[Scheme, SchemeScore]], documents: ScreenDocuments
) -> None:
    """Bits per byte by the slow twins of encoder and model; classes sum to them."""
    scheme, result = scored(name)
    assert result.bytes == tuple(map(len, documents.holdout))
    if name == "bytes":
        assert result.order == BYTE_ORDER
        return
    train, held_out = (
        [scheme.encode_reference(document)[0] for document in side]
        for side in (documents.train, documents.holdout)
    )
    reference = NgramReference(order=result.order, vocab_size=result.vocab_size, bos=1)
    reference.learn(train)
    expected = reference.score(held_out)
    np.testing.assert_allclose(result.nats, [math.fsum(tokens) for tokens, _ in expected], rtol=1e-9)
    np.testing.assert_allclose(result.nats_bos, [bos for _, bos in expected], rtol=1e-9)
    assert result.tokens == sum(map(len, held_out))
    score = result.score
    assert score.bpb_documents == pytest.approx(sum(result.nats) / math.log(2) / sum(result.bytes))
    assert score.bpb > score.bpb_documents
    assert math.fsum(of.bits_per_byte for of in result.classes) == pytest.approx(score.bpb_documents)
    assert sum(of.bytes for of in result.classes) == score.source_bytes
    assert sum(of.tokens for of in result.classes) == result.tokens
    marks = next(of for of in result.classes if of.name == "operator marks")
    assert (marks.tokens > 0) == (name == "caseops")
    assert marks.bytes == 0


def test_ranking_is_paired(scored: Callable[[str], tuple[Scheme, SchemeScore]], plan: ScreenPlan) -> None:
    """The interval of the ratio is that of documents drawn as plainly as can be."""
    draw = np.random.default_rng(5)
    sizes = draw.integers(100, 5000, 300)
    of_bpe = sizes * draw.uniform(1.0, 2.0, 300)
    of_other = of_bpe * draw.normal(0.99, 0.02, 300)
    scores = [
        msgspec.structs.replace(
            scored("bpe")[1],
            scheme=name,
            nats=tuple(nats.tolist()),
            nats_bos=(0.0,) * 300,
            bytes=tuple(sizes.tolist()),
        )
        for name, nats in (("bpe", of_bpe), ("other", of_other))
    ]
    screen = rank(plan, scores)
    assert [entry.scheme for entry in screen.ranking] == ["other", "bpe"]
    other, first = screen.ranking
    assert first.percent is None
    assert other.percent is not None
    assert other.percent.value == pytest.approx(100 * (of_other.sum() / of_bpe.sum() - 1))
    rows = draw.integers(0, 300, (20_000, 300))
    drawn = 100 * (of_other[rows].sum(1) / of_bpe[rows].sum(1) - 1)
    found = [other.percent.low, other.percent.high]
    np.testing.assert_allclose(found, np.quantile(drawn, [0.025, 0.975]), atol=0.02)
    drawn = of_bpe[rows].sum(1) / sizes[rows].sum(1) / math.log(2)
    found = [first.bpb_documents.low, first.bpb_documents.high]
    np.testing.assert_allclose(found, np.quantile(drawn, [0.025, 0.975]), rtol=0.003)


def test_text_and_page(scored: Callable[[str], tuple[Scheme, SchemeScore]], plan: ScreenPlan) -> None:
    screen = rank(plan, [scored(name)[1] for name in ("bpe", "caseops", "bytes")])
    text, page = screen_text(screen), screen_page(screen, "tokenlab screen …")
    for expected in ("operator marks", "the clock", "the context", "long tokens", "-0.39 %", "0.3 to 0.5"):
        assert expected in text
        assert expected in page
    for entry in screen.ranking:
        assert f"{entry.bpb_documents.value:.4f}" in text
        assert f"{entry.bpb_documents.value:.4f}" in page
    assert "no target" in text


def test_rows_that_say_the_same() -> None:
    rows = ["a", "A", " a", " A", "é", "É", " ", "", "a"]
    assert count_rows([row.encode() for row in rows]) == VocabularyRows(rows=7, case=3, space=2, either=4)
    assert count_rows([b"\xe2", b"\xe2\x96"]) == VocabularyRows(rows=2, case=0, space=0, either=0)


def test_what_is_held_out(tmp_path: Path) -> None:
    texts = [f"document {n}" for n in range(200)]
    path = write_jsonl(tmp_path / "docs.jsonl", [*texts, texts[0], ""])
    by_digest = split_documents(open_corpus([str(path)]), None)
    held_out = [text.encode() for text in texts if hashlib.sha256(text.encode()).digest()[0] < 16]
    assert [text for text in by_digest.holdout if text != texts[0].encode()] == held_out
    assert not set(by_digest.holdout) & set(by_digest.train)
    first = split_documents(open_corpus([str(path)]), 3)
    assert first.holdout == [text.encode() for text in texts[:3]]
    assert texts[0].encode() not in first.train
    assert by_digest.digest != first.digest


@pytest.mark.parametrize("holdout_docs", [None, 3])
def test_too_much_text_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holdout_docs: int | None
) -> None:
    path = write_jsonl(tmp_path / "docs.jsonl", [f"document {n}" for n in range(200)])
    with path.open("a") as file:
        file.write("this row is bad\n")
    corpus = open_corpus([str(path)], batch_bytes=100)
    for most, said in ((100_000, "row 201: invalid JSON"), (1_000, "more than the 1,000 bytes of text")):
        monkeypatch.setattr("tokenlab.screen.documents.SAMPLE_BYTES", most)
        with pytest.raises(InputError, match=said):
            split_documents(corpus, holdout_docs)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, embedded: list[bytes]) -> Path:
    texts = [document.decode() for document in embedded[:20]]
    return write_jsonl(tmp_path_factory.mktemp("screen") / "docs.jsonl", texts)


def common(corpus: Path, out: Path) -> list[Any]:
    return ["--input", corpus, "--holdout-docs", 4, "--vocab-size", VOCAB_SIZE, "--output", out]


def test_a_screen_goes_on(tmp_path: Path, corpus: Path) -> None:
    """Killed after the first scheme; what is done is kept, and the result is that of one go."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.json.0.partial").touch()  # of a run that was killed before
    command = [sys.executable, "-m", "tokenlab", "screen", "bpe", "caseops", "--workers", "1"]
    process = subprocess.Popen([*command, *map(str, common(corpus, out))], stderr=subprocess.PIPE)
    kept = out / "schemes" / "bpe" / "score.json"
    deadline = time.monotonic() + 60
    while not kept.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = kept.read_bytes()
    result = tokenlab("screen", "bpe", "caseops", "byte-bpe", *common(corpus, out), "--workers", 2, "--json")
    assert result.returncode == 0, result.stderr
    assert "0 of 3 schemes done" not in result.stderr
    assert kept.read_bytes() == before
    screen = json.loads(result.stdout)
    assert screen == json.loads((out / "screen.json").read_text())
    whole = screened(corpus, tmp_path / "whole", "bpe", "caseops", "byte-bpe")
    for mine, theirs in zip(screen["ranking"], msgspec.to_builtins(whole)["ranking"], strict=True):
        for entry in (mine, theirs):
            del entry["score"]["seconds"]
        assert mine == msgspec.json.decode(msgspec.json.encode(theirs))
    # The stored scheme is one that `load_scheme` opens.
    assert Scheme.open(out / "schemes" / "caseops").encode("The")[1].sum() == 3


def screened(corpus: Path, out: Path, *schemes: str, **changes: Any) -> Screen:
    """A screen in this process."""
    options = ScreenOptions(
        schemes=schemes,
        output=out,
        inputs=(str(corpus),),
        text_field="text",
        limit_docs=None,
        holdout_docs=4,
        vocab_size=VOCAB_SIZE,
        workers=1,
    )
    return run_screen(replace(options, **changes), Progress())


def test_what_is_done_again(tmp_path: Path, corpus: Path) -> None:
    """A scheme that changed, and nothing else; another question needs another folder."""
    out, scheme = tmp_path / "out", tmp_path / "mine.toml"
    toml = open_scheme_spec("byte-bpe").to_toml().replace('name = "byte-bpe"', 'name = "mine"')
    scheme.write_text(toml)
    first = screened(corpus, out, "bytes", str(scheme))
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(corpus.read_bytes())
    stored = {path: path.read_bytes() for path in out.rglob("score.json")}
    screened(copy, out, str(scheme), "bytes")
    assert stored == {path: path.read_bytes() for path in out.rglob("score.json")}
    scheme.write_text(toml.replace("cl100k", "gpt2"))
    second = screened(corpus, out, "bytes", str(scheme))
    scores = [{entry.scheme: entry.bpb for entry in screen.ranking} for screen in (first, second)]
    assert scores[0]["bytes"] == scores[1]["bytes"]
    assert scores[0]["mine"] != scores[1]["mine"]
    for changes, what in (({"vocab_size": 700}, "size of 600"), ({"holdout_docs": 5}, "another hold-out")):
        with pytest.raises(InputError, match=what):
            screened(corpus, out, "bytes", **changes)


def test_bad_input(tmp_path: Path, corpus: Path) -> None:
    out = tmp_path / "out"
    assert "scheme bpe: a vocabulary of 30 is too small" in refused(
        "screen", "bpe", *common(corpus, out), "--vocab-size", 30
    )
    missing = tmp_path / "missing.jsonl"
    assert str(missing) in refused("screen", "bpe", "--input", missing, "--output", tmp_path / "two")
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("mine")
    for schemes, changes, message in (
        (("nope",), {}, "unknown scheme 'nope'"),
        (("bpe-v1",), {}, "published vocabulary"),
        (("bpe", "bpe"), {}, "given twice"),
        (("bpe",), {"holdout_docs": 99}, "--holdout-docs is 99"),
        (("bpe",), {"workers": 0}, "--workers is 0"),
        (("bpe",), {"output": full}, "holds no screen"),
    ):
        with pytest.raises(InputError, match=message):
            screened(corpus, out, *schemes, **changes)
    assert (full / "file").read_text() == "mine"


@pytest.mark.slow
def test_caseops_beats_bpe_on_real_text(shared_texts: Callable[[str], list[str]]) -> None:
    """The sign and the size of ../shared/REPRESENTATIONS.md section 3, at 8,192 rows, on H1 and H2."""
    from benchmarks.screen_protocol import SETS, TABLE_8192, by_text, page

    learned, h1 = [], []
    for text in (text for name in SETS for text in shared_texts(name)):
        (h1 if hashlib.sha256(text.encode()).digest()[0] < 16 else learned).append(text)
    known = {page(text) for text in learned}
    h2 = [text for text in shared_texts("fineweb_pgval_sp1024")[:330] if page(text) not in known]
    sides = ScreenDocuments([text.encode() for text in learned], [text.encode() for text in h1 + h2])
    bits = {}
    for name in ("bpe", "caseops"):
        score = score_scheme(open_scheme_spec(name).with_vocab_size(8192), sides)[1]
        bits[name] = by_text({"nats": list(score.nats), "bytes": list(score.bytes)}, [len(h1), len(h2)])
    for own, of_bpe, expected in zip(bits["caseops"], bits["bpe"], TABLE_8192["caseops"], strict=False):
        assert 100 * (own / of_bpe - 1) == pytest.approx(expected, abs=0.1)
