"""The segmenters of the example package: against plain Python, and as schemes from build to verify."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import odd_text
from tests.command import tokenlab
from tests.conftest import VOCAB_SIZE
from tests.test_plug_ins import EXAMPLE, install_groups
from tests.test_scheme import check_reference, check_totals
from tokenlab.errors import InputError
from tokenlab.ragged import Ragged
from tokenlab.scheme import PROBE, Scheme
from tokenlab.scheme_spec import open_scheme_spec, parse_scheme
from tokenlab.segment.sentencepiece import SentencePieceSegmenter
from tokenlab.vocabulary import load_scheme, train_vocabulary

NAMES = ("superword", "min-tokens")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example package's metadata is; it is on the path while this module runs."""
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install_groups(folder, project["name"], project["entry-points"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(EXAMPLE), str(EXAMPLE.parents[1])]))
        yield folder


@pytest.fixture(scope="module", params=NAMES)
def scheme(request: pytest.FixtureRequest, site: Path, embedded: list[bytes]) -> Scheme:
    """Each with a vocabulary of the embedded corpus."""
    spec = open_scheme_spec(request.param).with_vocab_size(VOCAB_SIZE)
    return Scheme(spec, train_vocabulary(spec, embedded))


def stage_ids(scheme: Scheme, texts: list[bytes]) -> tuple[SentencePieceSegmenter, Ragged]:
    stage = scheme.segmenter._opened._stage  # type: ignore[attr-defined]
    return stage, stage.split(Ragged.from_bytes(texts))


def test_any_text(scheme: Scheme) -> None:
    @settings(max_examples=60)
    @given(odd_text.batches)
    def check(texts: list[str]) -> None:
        check_totals(scheme, texts)
        check_reference(scheme, texts)

    check()
    words = st.lists(
        st.sampled_from(["the", " the", " of", " ", "\n", "a", " a", "s", "\u2581"]), max_size=40
    )

    @settings(max_examples=60)
    @given(st.lists(words.map("".join), max_size=3))
    def check_words(texts: list[str]) -> None:
        check_totals(scheme, texts)
        check_reference(scheme, texts)

    check_words()


def test_the_embedded_corpus(scheme: Scheme, embedded: list[bytes]) -> None:
    texts = [document.decode() for document in embedded]
    check_totals(scheme, texts)
    check_reference(scheme, [text[:3000] for text in texts[::6]])


@pytest.mark.parametrize("name", ["unicode_adversarial", "fineweb_orig", "web_cc0_gov"])
def test_documents(scheme: Scheme, name: str, shared_texts: Callable[[str], list[str]]) -> None:
    texts = shared_texts(name)[:400]
    check_totals(scheme, texts)
    check_reference(scheme, [text[:400] for text in texts[::10]])


def test_a_dataset(scheme: Scheme, tmp_path: Path) -> None:
    name = scheme.spec.name
    built = tokenlab("build", "--scheme", name, "--vocab-size", VOCAB_SIZE, "--output", tmp_path / "out")
    assert built.returncode == 0, built.stderr
    verdict = tokenlab("verify", tmp_path / "out", "--docs", "embedded", "--json")
    assert verdict.returncode == 0, verdict.stdout
    assert json.loads(verdict.stdout)["verdict"] == "trust"
    record = json.loads((tmp_path / "out/manifest.json").read_text())["scheme"]
    assert record["fingerprint"] == scheme.identity["fingerprint"]
    assert record["backends"]["tokenlab-example-schemes"] == "1.0"
    (stored,) = (tmp_path / "out/tokenizer").iterdir()
    given = load_scheme(name, tokenizer=stored)
    assert given.identity["fingerprint"] == record["fingerprint"]


def test_the_table(site: Path) -> None:
    names = [part for name in ("bpe", *NAMES) for part in ("--scheme", name)]
    result = tokenlab("schemes", "--table", "--vocab-size", VOCAB_SIZE, *names)
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[2:]}
    assert set(rows) == {"bpe", *NAMES}
    assert all("balanced, reversible" in row for row in rows.values())


def open_superword(embedded: list[bytes], **parameters: object) -> Scheme:
    lines = "".join(f"{key} = {value}\n" for key, value in parameters.items())
    toml = f'name = "s"\noperators = ["escape"]\n[segmenter]\nkind = "superword"\nvocab_size = 500\n{lines}'
    spec = parse_scheme(toml)
    return Scheme(spec, train_vocabulary(spec, embedded))


@pytest.mark.parametrize(("words", "share"), [(2, 0.9), (3, 0.8), (4, 0.8)])
def test_merges_are_the_reference_s(site: Path, embedded: list[bytes], words: int, share: float) -> None:
    from tokenlab_example_schemes.superword import train_merges, train_merges_reference

    texts = [document[:2000] for document in embedded[:12]] + [b" a a a a a a a a b b b", b" x", b""]
    scheme = open_superword(embedded, words=words, first_stage=share)
    stage, ids = stage_ids(scheme, texts)
    found = train_merges(stage, ids, 60, words)
    assert found.tolist() == train_merges_reference(stage, ids, 60, words)
    rows = scheme.segmenter.token_bytes.tobytes()
    merged = rows[stage.vocab_size :]
    assert len(rows) == 500
    assert all(1 <= row[1:].count(b" ") <= words - (row[:1] == b" ") for row in merged)
    assert not any(b"\n" in row for row in merged)


def test_merges_of_any_ids(site: Path, embedded: list[bytes]) -> None:
    from tokenlab_example_schemes.superword import train_merges, train_merges_reference

    stage = stage_ids(_cached(embedded), [b""])[0]
    pieces = stage.token_bytes.tobytes()
    chosen = [pieces.index(piece) for piece in (b" a", b" the", b"s", b"e", b"\n", b" ")]

    @settings(max_examples=40)
    @given(st.lists(st.lists(st.integers(0, 5), max_size=30), max_size=5), st.integers(2, 4))
    def check(rows: list[list[int]], words: int) -> None:
        ids = Ragged.from_rows([[chosen[k] for k in row] for row in rows], np.uint32)
        assert train_merges(stage, ids, 9, words).tolist() == train_merges_reference(stage, ids, 9, words)

    check()


_schemes: list[Scheme] = []


def _cached(embedded: list[bytes]) -> Scheme:
    if not _schemes:
        _schemes.append(open_superword(embedded))
    return _schemes[0]


def test_tokens_hold_words(scheme: Scheme, small_scheme: Callable[[str], Scheme]) -> None:
    text = "one of the most of the best, and it is to be the one of the many"
    ids = scheme.encode(text)[0].tolist()
    assert scheme.decode(ids) == text.encode()
    if scheme.spec.name == "superword":
        assert any(b" of the" in scheme.segmenter.token_bytes[i].tobytes() for i in ids)
        assert "of▁the" in "".join(scheme.segmenter.piece(i) for i in ids)
    else:
        assert len(ids) <= len(small_scheme("bpe").encode(text)[0])


def test_superword_vocabularies_that_are_refused(site: Path, embedded: list[bytes]) -> None:
    scheme = _cached(embedded)
    content = json.loads(scheme.segmenter.files["superword.json"])
    for change, message in (
        ({"format": "other"}, "no tokenlab-superword file: another format"),
        ({"model": "?"}, "no tokenlab-superword file"),
        ({"merges": [[1, 4000]]}, "a merge names an id that is not made before it"),
    ):
        with pytest.raises(InputError, match=f"segmenter superword of the package .*{message}"):
            Scheme(scheme.spec, json.dumps(content | change).encode())
    with pytest.raises(InputError, match=r"the text fills \d+ ids, not 800: pass a lower"):
        train_vocabulary(scheme.spec.with_vocab_size(800), [document[:3000] for document in embedded[:3]])
    with pytest.raises(InputError, match="two at least"):
        open_superword(embedded, words=1)
    with pytest.raises(InputError, match="from 0 to 1"):
        open_superword(embedded, first_stage=2.0)
    with pytest.raises(InputError, match=r"U\+2581"):
        parse_scheme('name = "s"\n[segmenter]\nkind = "superword"\n')
    with pytest.raises(InputError, match="split_digits = false"):
        parse_scheme('name = "s"\noperators = ["escape", "digits"]\n[segmenter]\nkind = "superword"\n')


def test_no_cut_has_fewer_tokens(site: Path, embedded: list[bytes]) -> None:
    """Against every cut of short texts, and the tie's rule."""
    spec = open_scheme_spec("min-tokens").with_vocab_size(VOCAB_SIZE)
    scheme = Scheme(spec, train_vocabulary(spec, embedded))
    rows = scheme.segmenter.token_bytes.tobytes()
    known = {row for row in rows if row}
    texts = [b"return the", b"statements", b" expression", b"aaaa", "ün".encode(), b"default"]

    def cuts(text: bytes) -> list[list[bytes]]:
        if not text:
            return [[]]
        ends = [n for n in range(1, len(text) + 1) if text[:n] in known]
        return [[text[:n], *rest] for n in ends for rest in cuts(text[n:])]

    for text, ids in zip(texts, scheme.segmenter.split(Ragged.from_bytes(texts)), strict=True):
        best = min(cuts(text), key=lambda cut: (len(cut), [-len(token) for token in cut]))
        assert [rows[i] for i in ids.tolist()] == best
    (letter,) = scheme.segmenter.split(Ragged.from_bytes([b"e"]))
    assert scheme.segmenter.piece(int(letter[0])) == "e"


def test_min_tokens_takes_the_vocabulary_of_bpe(site: Path, small_scheme: Callable[[str], Scheme]) -> None:
    bpe = small_scheme("bpe")
    scheme = Scheme(open_scheme_spec("min-tokens"), bpe.segmenter.files["sentencepiece.model"])
    assert scheme.segmenter.vocab_size == VOCAB_SIZE
    assert len(scheme.encode(PROBE)[0]) <= len(bpe.encode(PROBE)[0])
