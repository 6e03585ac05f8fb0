"""`tokenizer.json` and tiktoken's ranks: other libraries must give the scheme's own ids."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings

from tests.command import write_jsonl
from tests.odd_text import marked_texts, texts
from tests.test_export import ALL, MODELS, SCHEMES, SHARED, dataset, make
from tokenlab.errors import InputError
from tokenlab.export import export_dataset, pre_step_template
from tokenlab.export.charsmap import read_rules
from tokenlab.export.hf_json import refuse_segmenter
from tokenlab.export.hf_tokenizer import refuse
from tokenlab.export.tiktoken_ranks import require_ranks, split_expression
from tokenlab.ops.caseops import apply_reference, invert_reference
from tokenlab.ops.escape import apply_reference as escape_reference
from tokenlab.ops.escape import invert_reference as unescape_reference
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import parse_scheme
from tokenlab.segment.sentencepiece import SentencePieceSegmenter, train_sentencepiece
from tokenlab.segment.sentencepiece_model import parse_model
from tokenlab.vocabulary import load_scheme, train_vocabulary

__all__ = ["dataset"]

SETS = {
    "unicode_adversarial": 10_000,
    "fineweb_orig": 60,
    "fineweb_pgval_sp1024": 60,
    "fineweb_edu_chunks": 30,
    "c4_demo": 40,
    "wikipedia_demo": 4,
    "multilingual_debian_handbook": 60,
    "prose_debian_en": 60,
    "web_cc0_gov": 60,
}
"""Documents taken of each set of shared/data: the adversarial one whole."""

SCHEME = """
name = "mine"
operators = {operators}
[segmenter]
kind = "sentencepiece"
vocab_size = 400
normalization = "identity"
"""

ODD = (
    "aA bE\u0301\u0300\u0302\u0307\u0323\ufb01\u212b\u1100\u1161\u11a8\uac00\x01\x02\x03\x7f\x8f\r\n\t  "
    "\u2581\u3000\ue001\ue004\u200d\U0001f468\U0001f3fd\u0600\u0e33\u0915\u094d\U00011935\U00011930"
    "\U00016d67\U00016d63\u0344\u1e9b\u0308\u00a8\uff9e\u30ab\U0001f202\ufeff\ufffd\u0085\u2028\uff5e"
)
"""What composes, combines, joins graphemes, is deleted or becomes a space."""


def random_texts(count: int) -> list[str]:
    source = random.Random(0)
    return ["".join(source.choices(ODD, k=source.randrange(1, 24))) for _ in range(count)]


@pytest.fixture(scope="module")
def sample(request: pytest.FixtureRequest) -> list[str]:
    """Texts of every set of shared/data, where it is, and random ones."""
    chosen = random_texts(3000)
    if SHARED.is_dir():
        read = request.getfixturevalue("shared_texts")
        chosen += [text for name, count in SETS.items() for text in read(name)[:count]]
    return chosen


@pytest.fixture(scope="module")
def tokenizers(
    tmp_path_factory: pytest.TempPathFactory, dataset: Callable[..., Path]
) -> Callable[[str], tuple[Scheme, Path]]:
    """(scheme, folder of its tokenizer.json), exported once."""
    root = tmp_path_factory.mktemp("tokenizers")

    def made(scheme: str) -> tuple[Scheme, Path]:
        folder = dataset(scheme)
        if not (root / scheme).exists():
            export_dataset(folder, "hf-tokenizer", root / scheme)
        return load_scheme(folder), root / scheme

    return made


def pre_step(folder: Path, documents: list[str], *flags: str) -> list[str]:
    """The documents through the folder's own pre_step.py, where nothing but Python is installed."""
    if not (folder / "pre_step.py").exists():
        return documents
    command = [sys.executable, "-I", "-S", "pre_step.py", "--jsonl", *flags]
    lines = "\n".join(json.dumps(document) for document in documents)
    result = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, cwd=folder)
    return [json.loads(line) for line in result.stdout.splitlines()]


def scheme_ids(scheme: Scheme, documents: list[str]) -> list[list[int]]:
    batch = Ragged.from_bytes([document.encode() for document in documents])
    return [row.tolist() for row in scheme.encode_batch(batch).ids]


@pytest.mark.parametrize("name", [*SCHEMES, *MODELS])
def test_hf_ids_are_the_schemes(
    tokenizers: Callable[[str], tuple[Scheme, Path]], sample: list[str], name: str
) -> None:
    from tokenizers import Tokenizer

    scheme, folder = tokenizers(name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rewritten = pre_step(folder, sample)
    encoded = tokenizer.encode_batch(rewritten)  # with special tokens: there are none to add
    expected = scheme_ids(scheme, sample)
    for text, encoding, ids in zip(sample, encoded, expected, strict=True):
        assert encoding.ids == ids, text
    assert tokenizer.get_vocab_size() == scheme.segmenter.vocab_size
    if scheme.reversible:
        decoded = pre_step(folder, [tokenizer.decode(e.ids) for e in encoded], "--restore")
        assert decoded == sample


@pytest.mark.parametrize("name", [*SCHEMES, *MODELS])
def test_a_pre_step_where_there_are_operators(
    tokenizers: Callable[[str], tuple[Scheme, Path]], name: str
) -> None:
    scheme, folder = tokenizers(name)
    has_operators = bool(scheme.spec.operators)
    assert (folder / "pre_step.py").exists() == has_operators
    assert ("pre_step" in (folder / "README.md").read_text()) == has_operators
    snippet = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    subprocess.run([sys.executable, "-c", snippet], check=True, cwd=folder)


def test_the_published_normal_form_has_a_dummy_prefix(
    tmp_path: Path, dataset: Callable[..., Path], sample: list[str], shared: Path
) -> None:
    """A model with one, that removes whitespace but normalises nothing else."""
    from tokenizers import Tokenizer

    model = shared / "tokenizers/sp10240_caseops_pr1797.model"
    folder = dataset("caseops-v1", tokenizer=model)
    export_dataset(folder, "hf-tokenizer", tmp_path / "out")
    tokenizer = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    encoded = tokenizer.encode_batch(pre_step(tmp_path / "out", sample))
    assert [e.ids for e in encoded] == scheme_ids(load_scheme(folder), sample)


@settings(max_examples=300)
@given(texts)
def test_the_template_is_the_operators(text: str) -> None:
    for metaspace in (True, False):
        rewritten = pre_step_template._caseops(text, metaspace)
        assert rewritten.encode() == apply_reference(text, escape_metaspace=metaspace)[0]
        assert pre_step_template._undo_caseops(rewritten, metaspace) == text
    escaped = pre_step_template._escape(text)
    assert escaped.encode() == escape_reference(text)[0]
    assert pre_step_template._undo_escape(escaped) == text


@settings(max_examples=300)
@given(marked_texts)
def test_the_template_refuses_what_the_operators_refuse(text: str) -> None:
    def outcome(read: Callable[..., str], *arguments: Any, **options: Any) -> str | None:
        try:
            return read(*arguments, **options)
        except ValueError:
            return None

    for metaspace in (True, False):
        expected = outcome(invert_reference, text, escape_metaspace=metaspace)
        assert outcome(pre_step_template._undo_caseops, text, metaspace) == expected
    assert outcome(pre_step_template._undo_escape, text) == outcome(unescape_reference, text)


REFUSED = {
    '["newline-space", "escape"]': "operator 'newline-space' has no pre-step in plain Python",
    '["glue", "escape"]': "operator 'glue' has no pre-step",
    '[{ name = "case", place = "space" }]': "operator 'case' has no pre-step",
    '[{ name = "case", default = "predicted" }]': "operator 'case' has no pre-step",
    '["apostrophe", "escape"]': "operator 'apostrophe' has no pre-step",
    '["quote-swap", "newline-space", "escape"]': "operators 'quote-swap', 'newline-space' have no pre-step",
    '["escape", { name = "digits", grouping = "split" }]': "operator 'digits' names borders that no token",
}


@pytest.mark.parametrize("operators", REFUSED)
def test_operators_that_no_tokenizer_json_expresses(embedded: list[bytes], operators: str) -> None:
    spec = parse_scheme(SCHEME.format(operators=operators))
    scheme = Scheme(spec, train_vocabulary(spec, embedded[:20]))
    assert re.search(REFUSED[operators], refuse(SimpleNamespace(scheme=scheme)))  # type: ignore[arg-type]


def test_a_refusal_leaves_nothing(tmp_path: Path, dataset: Callable[..., Path]) -> None:
    with pytest.raises(
        InputError, match="cannot be exported as hf-tokenizer: operators 'newline-space', 'glue'"
    ):
        export_dataset(dataset("wordops"), "hf-tokenizer", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_case_with_its_defaults_is_caseops(tmp_path: Path, sample: list[str]) -> None:
    from tokenizers import Tokenizer

    (tmp_path / "mine.toml").write_text(SCHEME.format(operators='["case"]'))
    documents = write_jsonl(tmp_path / "docs.jsonl", ALL)
    folder = tmp_path / "dataset"
    make(folder, documents, str(tmp_path / "mine.toml"), vocab_size=330)
    export_dataset(folder, "hf-tokenizer", tmp_path / "out")
    encoded = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json")).encode_batch(
        pre_step(tmp_path / "out", sample[:300])
    )
    assert [e.ids for e in encoded] == scheme_ids(load_scheme(folder), sample[:300])


def test_specials_in_text_stay_text(tokenizers: Callable[[str], tuple[Scheme, Path]]) -> None:
    from tokenizers import Tokenizer

    for name in SCHEMES:
        _, folder = tokenizers(name)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids = tokenizer.encode("<s></s><unk><pad><0x41>").ids
        assert not set(ids) & {0, 1, 2, 3}
        assert tokenizer.token_to_id("<s>") == 1


def test_rules_of_a_charsmap(shared: Path) -> None:
    model = parse_model((shared / "tokenizers/sp1024_official.model").read_bytes())
    rules = read_rules(model.charsmap)
    assert len(rules) == 225_262
    assert rules["\ufb01"] == "fi"
    assert rules["e\u0301"] == "\u00e9"
    assert rules["\x01"] == ""
    assert rules["\n"] == " "
    assert "a" not in rules


def test_models_that_merges_cannot_express(shared: Path) -> None:
    model = (shared / "tokenizers/sp1024_ciprian.model").read_bytes()
    assert "no byte fallback" in refuse_segmenter(SentencePieceSegmenter(model))
    words = [b"some words to train on, and some more"] * 4
    parameters = {"model_type": "unigram", "character_coverage": 1.0}
    unigram = train_sentencepiece(words, vocab_size=276, markers=(), parameters=parameters)
    assert "is unigram" in refuse_segmenter(SentencePieceSegmenter(unigram))


def test_tiktoken_ids_are_the_schemes(
    tmp_path: Path, dataset: Callable[..., Path], sample: list[str]
) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    load = pytest.importorskip("tiktoken.load")
    folder = dataset("byte-bpe")
    export_dataset(folder, "tiktoken", tmp_path / "out")
    scheme = load_scheme(folder)
    fields = json.loads((tmp_path / "out/encoding.json").read_text())
    encoding = tiktoken.Encoding(
        name=fields["name"],
        pat_str=fields["pat_str"],
        special_tokens=fields["special_tokens"],
        explicit_n_vocab=fields["n_vocab"],
        mergeable_ranks=load.load_tiktoken_bpe(str(tmp_path / "out/tokenizer.tiktoken")),
    )
    for text, ids in zip(sample, scheme_ids(scheme, sample), strict=True):
        assert encoding.encode_ordinary(text) == ids, text
        assert encoding.decode_bytes(ids) == text.encode()
    assert encoding.encode_single_token("<s>") == scheme.segmenter.bos
    snippet = (tmp_path / "out/README.md").read_text().split("```python\n")[1].split("```")[0]
    subprocess.run([sys.executable, "-c", snippet], check=True, cwd=tmp_path / "out")


def test_merges_that_are_no_ranks() -> None:
    single = {bytes([byte]): byte for byte in range(256)}
    ranks = single | {b"ab": 256, b"bc": 257, b"abc": 258}
    require_ranks(ranks, [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c")])
    with pytest.raises(InputError, match="no merge of the"):
        require_ranks(ranks, [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")])
    with pytest.raises(InputError, match="makes id 256 after id 257"):
        require_ranks(ranks, [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")])
    with pytest.raises(InputError, match="no token for the byte 0x00"):
        require_ranks({b"a": 0}, [])
    # "xab" is whole only when "x" and "ab" meet, and by rank "xa" comes first.
    with pytest.raises(InputError, match="no merge of the"):
        require_ranks(
            single | {b"xa": 256, b"ab": 257, b"xab": 258}, [(b"x", b"a"), (b"a", b"b"), (b"x", b"ab")]
        )


def test_pre_tokenizers_that_are_no_one_expression() -> None:
    level = {"type": "ByteLevel", "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": "x"}, "behavior": "Isolated", "invert": False}

    def steps(*parts: dict[str, Any]) -> dict[str, Any]:
        return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(parts)}}

    assert split_expression(steps(split, level)) == "x"
    assert "'(?:[sdmt]|ll" in split_expression({"pre_tokenizer": {"type": "ByteLevel"}})
    for bad in (
        steps(split, split, level),
        steps(split | {"behavior": "Removed"}, level),
        steps(split | {"pattern": {"String": "x"}}, level),
        steps(split, {"type": "ByteLevel", "use_regex": True}),
    ):
        with pytest.raises(InputError, match="one pat_str"):
            split_expression(bad)
