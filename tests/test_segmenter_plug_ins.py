"""Segmenters and operators of installed packages: one of a few lines, and what can be wrong with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests import odd_text
from tests.command import tokenlab, write_jsonl
from tests.test_scheme import check_reference, check_totals
from tokenlab.errors import EncodingError, InputError, TokenlabError
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import parse_scheme
from tokenlab.vocabulary import load_scheme, train_vocabulary

MODULE = '''
"""The commonest words of a text, and bytes; and an operator that swaps the case of ASCII letters."""

import json
from collections import Counter

import numpy as np

from tokenlab.cuts import CutMap
from tokenlab.ragged import Ragged


class Words:
    vocabulary_file = "words.json"

    def __init__(self, *, longest: int = 8, share: float = 1.0, fault: str = ""):
        if longest < 2:
            raise ValueError(f"longest = {longest}; a word has two letters at least")
        self.longest, self.fault = longest, fault

    def train(self, text, *, vocab_size, markers):
        if vocab_size < 257:
            raise ValueError(f"{vocab_size} ids do not hold the bytes")
        words = Counter(word for row in text.tobytes() for word in row.split(b" "))
        common = [word for word, _ in words.most_common() if 2 <= len(word) <= self.longest]
        return json.dumps([word.decode() for word in sorted(common[: vocab_size - 257])]).encode()

    def open(self, vocabulary, *, markers):
        try:
            return Opened([word.encode() for word in json.loads(vocabulary)], self.fault)
        except (ValueError, AttributeError) as error:
            raise ValueError(f"no list of words: {error}") from error


class Opened:
    backends = {"json": "1"}
    bos = 0

    def __init__(self, words, fault):
        rows = [b"", *(bytes([byte]) for byte in range(256)), *words]
        self.token_bytes, self.vocab_size, self.fault = Ragged.from_bytes(rows), len(rows), fault
        self.ids = {row: i for i, row in enumerate(rows)}
        if fault == "bos":
            self.bos = 1
        if fault == "rows":
            self.vocab_size += 1
        if fault == "no rows":
            self.token_bytes = None

    def split(self, text):
        rows = [self._document(row) for row in text.tobytes()]
        if self.fault == "drops" and rows:
            rows[0] = rows[0][1:]
        if self.fault == "other":
            rows = [[1 + byte for byte in row] for row in text.tobytes()]
        if self.fault == "id":
            rows = [[self.vocab_size] for _ in rows]
        return Ragged.from_rows(rows, np.int64 if self.fault == "int64" else np.uint32)

    def _document(self, data):
        ids = []
        for n, word in enumerate(data.split(b" ")):
            ids += [1 + 32] * (n > 0)
            ids += [self.ids[word]] if word in self.ids and word else [1 + byte for byte in word]
        return ids

    def split_reference(self, text):
        return Ragged.from_rows([self._document(row) for row in text.tobytes()], np.uint32)

    def piece(self, token):
        return repr(self.token_bytes[token].tobytes())


class Swapped:
    name, reversible, markers = "swapped", True, ()

    def __init__(self, *, never: bool = False):
        pass

    def apply(self, text):
        return self.invert(text), CutMap.identity(text)

    def invert(self, text):
        return Ragged.from_bytes([row.swapcase() for row in text.tobytes()])

    def apply_reference(self, text):
        return text.swapcase(), list(range(len(text) + 1))


class Empty:
    pass


NUMBER = 7
'''
SCHEME = 'name = "w"\noperators = []\n[segmenter]\nkind = "words"\nvocab_size = 300\n'
TEXTS = ["the cat and the dog", "the  owl ▁ é\n", "", " dog and cat", odd_text.HOSTILE]


def install(folder: Path, version: str = "1.5") -> Path:
    """The package of MODULE, as an installer leaves it."""
    info = folder / f"word_tokens-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: word-tokens\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(
        "[tokenlab.segmenters]\nwords = word_tokens:Words\nempty = word_tokens:Empty\n"
        "gone = word_tokens:Gone\nnumber = word_tokens:NUMBER\nbyte = word_tokens:Empty\n"
        "[tokenlab.operators]\nswapped = word_tokens:Swapped\nhalf = word_tokens:Empty\n"
    )
    (folder / "word_tokens.py").write_text(MODULE)
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the package is, on the path of this process and of those it starts."""
    folder = install(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "word_tokens", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[1]}")
    return folder


def made(toml: str) -> Scheme:
    spec = parse_scheme(toml)
    return Scheme(spec, train_vocabulary(spec, [text.encode() for text in TEXTS * 3]))


def test_a_segmenter(installed: Path) -> None:
    scheme = made(SCHEME + "longest = 3\nshare = 1\n")
    check_totals(scheme, TEXTS)
    check_reference(scheme, TEXTS)
    assert scheme.segmenter.backends == {"json": "1"}
    assert scheme.identity["backends"] == {"json": "1", "word-tokens": "1.5"}
    assert "words.json" in scheme.identity["vocabulary_sha256"]
    again = parse_scheme(scheme.spec.to_toml())
    assert again == scheme.spec
    assert 'package = "word-tokens"' in scheme.spec.to_toml()
    assert scheme.spec.to_toml().index("[segmenter]") < scheme.spec.to_toml().index("longest = 3")


@settings(max_examples=30)
@given(odd_text.batches)
def test_any_text(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(install(tmp_path_factory.mktemp("site"))))
        check_totals(made(SCHEME), texts)


def test_an_operator(installed: Path) -> None:
    scheme = made(SCHEME.replace("[]", '["newline-space", { name = "swapped", never = false }]'))
    texts = ["The CAT", "", "x\nY"]
    assert scheme.rewrite(Ragged.from_bytes([b"The CAT"]))[0].tobytes() == [b" tHE cat"]
    check_totals(scheme, texts)
    check_reference(scheme, texts)
    assert scheme.identity["backends"]["word-tokens"] == "1.5"
    assert scheme.spec.operators[1] == {"name": "swapped", "never": False, "package": "word-tokens"}
    for operator, message in (
        ('"half"', "operator half of the package word-tokens: Empty has no name, reversible, markers, apply"),
        ('{ name = "swapped", ever = true }', "word-tokens has no parameter 'ever'; it has: never"),
        ('{ name = "swapped", package = "other" }', "package other, which is not installed: pip install"),
        ('"forwards"', "unknown operator 'forwards'; known: apos.*; installed: half, swapped; a package"),
    ):
        with pytest.raises(InputError, match=message):
            parse_scheme(SCHEME.replace("[]", f"[{operator}]"))


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "longer = 3\n",
            "segmenter words of the package word-tokens has no parameter 'longer'; it has: longest",
        ),
        ("longest = true\n", "longest = True has the wrong type"),
        ("longest = 1\n", "package word-tokens: longest = 1; a word has two letters at least"),
        ('package = "torch"\n', r"of the package torch, and torch .*, which is installed, has none"),
        (
            'package = "no-such"\n',
            "tokenlab.segmenters of the package no-such, which is not installed: pip in",
        ),
        ("vocab_size = 1.5\n", r"Expected `int.*segmenter\.vocab_size"),
    ],
)
def test_parameters_that_are_refused(installed: Path, toml: str, message: str) -> None:
    start = SCHEME.replace("vocab_size = 300\n", "") if "vocab_size" in toml else SCHEME
    with pytest.raises(InputError, match=f"w.toml: .*{message}"):
        parse_scheme(start + toml, "w.toml")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "segmenter empty of the package word-tokens: Empty has no vocabulary_file, train, open"),
        ("gone", "word_tokens:Gone cannot be loaded"),
        ("number", "word_tokens:NUMBER is no class but int"),
        (
            "none",
            "unknown segmenter 'none'; known: byte, .*; installed: byte, empty, gone, number, words; a pack",
        ),
        ("word_tokens:Words", "unknown segmenter 'word_tokens:Words'"),
    ],
)
def test_classes_that_are_refused(installed: Path, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_scheme(SCHEME.replace('"words"', f'"{kind}"'))


def test_a_built_in_kind_stays(installed: Path) -> None:
    assert parse_scheme('name = "b"\n[segmenter]\nkind = "byte"\n').needs_vocabulary is False


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("bos", InputError, r"bos is 1, which spells b'\\x00'; no text may become it"),
        ("rows", InputError, "token_bytes has 281 rows, and vocab_size is 282"),
        ("no rows", InputError, "token_bytes must be a Ragged of uint8"),
        ("int64", TokenlabError, "split must return a Ragged of uint32 with a row a document"),
        ("id", TokenlabError, "split returned id 281, and there are 281"),
        ("drops", EncodingError, "its ids do not spell it"),
    ],
)
def test_what_a_plug_in_returns_is_checked(
    installed: Path, fault: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        made(SCHEME + f'fault = "{fault}"\n').encode(["the cat", ""])


def test_a_vocabulary_that_is_refused(installed: Path) -> None:
    spec = parse_scheme(SCHEME)
    with pytest.raises(InputError, match="segmenter words of the package word-tokens: no list of words"):
        Scheme(spec, b"no json")
    with pytest.raises(InputError, match="word-tokens: 7 ids do not hold the bytes"):
        train_vocabulary(spec.with_vocab_size(7), [b"text"])
    unsized = parse_scheme(SCHEME.replace("vocab_size = 300\n", ""))
    with pytest.raises(InputError, match="names no vocab_size: pass --vocab-size, or --tokenizer FILE"):
        train_vocabulary(unsized, [b"text"])


def test_a_dataset(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built with two workers, verified, inspected; given a vocabulary; opened without the package."""
    source = write_jsonl(tmp_path / "docs.jsonl", [f"{n} {text}" for n in range(30) for text in TEXTS])
    scheme = tmp_path / "w.toml"
    scheme.write_text(SCHEME)
    build = ("build", "--scheme", scheme, "--input", source, "--val-docs", 20)
    assert tokenlab(*build, "--output", tmp_path / "out", "--workers", 2).returncode == 0
    verdict = tokenlab("verify", tmp_path / "out", "--docs", source)
    assert (verdict.returncode, "TRUST" in verdict.stdout) == (0, True), verdict
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["tokenizer_kind"] == "words"
    assert manifest["scheme"]["backends"] == {"json": "1", "word-tokens": "1.5"}
    words = tmp_path / "out/tokenizer/words.json"
    assert tokenlab(*build, "--output", tmp_path / "given", "--tokenizer", words).returncode == 0
    assert (
        json.loads((tmp_path / "given/manifest.json").read_text())["scheme"]["fingerprint"]
        == manifest["scheme"]["fingerprint"]
    )
    assert "b'cat'" in tokenlab("inspect", "--text", "the cat", "--scheme", tmp_path / "out").stdout
    assert (
        load_scheme(tmp_path / "out").decode(load_scheme(tmp_path / "out").encode("the cat")[0]) == b"the cat"
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    missing = tokenlab("verify", tmp_path / "out")
    assert missing.returncode == 2
    assert (
        "segmenter 'words' is an entry point of the group tokenlab.segmenters of the package"
        in missing.stderr
    )
    assert "word-tokens, which is not installed: pip install word-tokens" in missing.stderr


def test_a_build_stops_at_a_plug_in_whose_encoders_differ(installed: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "docs.jsonl", [f"{n} {text}" for n in range(9) for text in TEXTS])
    (tmp_path / "w.toml").write_text(SCHEME + 'fault = "other"\n')
    arguments = ("--scheme", tmp_path / "w.toml", "--input", source, "--val-docs", 20)
    failed = tokenlab("build", *arguments, "--output", tmp_path / "out")
    assert failed.returncode == 2
    assert "the fast encoder differs from the reference" in failed.stderr
