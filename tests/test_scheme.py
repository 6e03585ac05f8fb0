"""Schemes: text to ids and charges and back, and one clear line for what does not fit."""

from __future__ import annotations

import doctest
import importlib
import re
from collections.abc import Callable
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import odd_text
from tests.conftest import COMPOSED, LOSSLESS, PUBLISHED, VOCAB_SIZE
from tokenlab.errors import DecodingError, EncodingError, InputError
from tokenlab.ragged import Ragged
from tokenlab.registry import scheme_names
from tokenlab.scheme import PROBE, Scheme
from tokenlab.scheme_spec import open_scheme_spec, parse_scheme
from tokenlab.segment.spelling import cover
from tokenlab.vocabulary import load_scheme, train_vocabulary

Named = Callable[[str], Scheme]
Texts = Callable[[str], list[str]]


def check_totals(scheme: Scheme, texts: list[str]) -> None:
    """Charges and unattributed bytes are the source, document by document."""
    source = Ragged.from_bytes([text.encode() for text in texts])
    encoded = scheme.encode_batch(source)
    assert (encoded.ids.values.dtype, encoded.charges.values.dtype) == (np.uint32, np.uint16)
    assert encoded.charges.offsets.tolist() == encoded.ids.offsets.tolist()
    charged = np.array([int(row.sum()) for row in encoded.charges], np.int64)
    assert (charged + encoded.unattributed).tolist() == source.lengths.tolist()
    assert (encoded.unattributed >= 0).all()
    if scheme.reversible and texts:  # decode([]) is one empty document
        assert not encoded.unattributed.any()
        assert scheme.decode(list(encoded.ids)) == source.tobytes()


def check_reference(scheme: Scheme, texts: list[str]) -> None:
    """The slow twin of every step, document by document."""
    ids, charges = scheme.encode(texts)
    for text, row, charged in zip(texts, ids, charges, strict=True):
        assert scheme.encode_reference(text.encode()) == (row.tolist(), charged.tolist()), text


@settings(max_examples=100)
@given(texts=odd_text.batches)
def test_lossless(lossless: Scheme, texts: list[str]) -> None:
    assert lossless.reversible
    check_totals(lossless, texts)
    check_reference(lossless, texts)


@pytest.mark.parametrize(
    ("name", "step"), [("unicode_adversarial", 1), ("multilingual_debian_handbook", 4), ("fineweb_orig", 4)]
)
def test_lossless_documents(lossless: Scheme, name: str, step: int, shared_texts: Texts) -> None:
    check_totals(lossless, shared_texts(name)[::step])


def test_reference_of_adversarial_documents(lossless: Scheme, shared_texts: Texts) -> None:
    check_reference(lossless, shared_texts("unicode_adversarial")[:: 1 if lossless.operators else 4])


@settings(max_examples=50)
@given(texts=odd_text.batches)
def test_one_document_is_a_batch_of_one(lossless: Scheme, texts: list[str]) -> None:
    all_ids, all_charges = lossless.encode(texts)
    assert len(all_ids) == len(all_charges) == len(texts)
    for i, text in enumerate(texts):
        for given_as in (text, text.encode()):
            ids, charges = lossless.encode(given_as)
            assert (ids.tolist(), charges.tolist()) == (all_ids[i].tolist(), all_charges[i].tolist())
        assert lossless.decode(all_ids[i]) == lossless.decode(all_ids[i].tolist()) == text.encode()
    if texts:
        assert lossless.decode(all_ids) == [text.encode() for text in texts]


def test_nothing(lossless: Scheme) -> None:
    ids, charges = lossless.encode("")
    assert (ids.tolist(), charges.tolist(), lossless.decode(ids)) == ([], [], b"")
    assert lossless.encode([]) == ([], [])
    assert lossless.decode([]) == b""  # one document, not none
    assert [row.tolist() for row in lossless.encode(["", ""])[0]] == [[], []]
    assert lossless.encode_reference(b"") == ([], [])


@pytest.mark.parametrize("name", ["bpe", "caseops"])
def test_a_byte_fallback_token_is_charged_one(name: str, small_scheme: Named) -> None:
    scheme = small_scheme(name)
    ids, charges = scheme.encode("\U0001f600\x00\U0010ffff")
    pieces = [scheme.segmenter.piece(token) for token in ids.tolist()]
    assert pieces == [f"<0x{byte:02X}>" for byte in "\U0001f600\x00\U0010ffff".encode()]
    assert charges.tolist() == [1] * 9


def test_ids_stay_below_the_vocabulary(lossless: Scheme) -> None:
    assert lossless.segmenter.vocab_size == (260 if lossless.spec.name == "bytes" else VOCAB_SIZE)
    assert lossless.segmenter.bos == 1
    assert [len(lossless.segmenter.token_bytes[special]) for special in range(4)] == [0] * 4
    assert int(lossless.encode(PROBE)[0].max()) < lossless.segmenter.vocab_size


def test_decode_refuses_ids_that_no_text_becomes(lossless: Scheme) -> None:
    good = lossless.encode("a")[0].tolist()
    for bad, what in (
        (lossless.segmenter.vocab_size, "outside the vocabulary"),
        (0, "special"),
        (3, "special"),
    ):
        with pytest.raises(DecodingError, match=f"id {bad} is .*{what}") as caught:
            lossless.decode([good, [*good, bad]])
        assert (caught.value.document, caught.value.position) == (1, 1)


@pytest.mark.parametrize(
    "ids",
    [[-1], [2**32 + 76], np.array([2**32 + 76]), np.array([76.5])],
    ids=["-1", "wide", "array", "float"],
)
def test_decode_refuses_ids_that_are_no_uint32(ids: list[int], small_scheme: Named) -> None:
    with pytest.raises(DecodingError):
        small_scheme("bytes").decode(ids)


def test_decode_refuses_bytes_that_are_no_utf8(lossless: Scheme) -> None:
    token = lossless.segmenter.token_bytes.tobytes().index(b"\xff")
    with pytest.raises(InputError):
        lossless.encode(b"\xff")
    with pytest.raises(DecodingError):
        lossless.decode([token])


@pytest.mark.parametrize("bad", [b"\xff", b"a\xed\xa0\x80", "\ud800", b"\xe2\x96"])
def test_text_that_is_not_utf8(lossless: Scheme, bad: str | bytes) -> None:
    with pytest.raises(InputError, match="document 1: not valid UTF-8"):
        lossless.encode(["good", bad])


@settings(max_examples=100)
@given(texts=odd_text.batches)
def test_normalising(normalising: Scheme, texts: list[str]) -> None:
    assert not normalising.reversible
    check_totals(normalising, texts)
    check_reference(normalising, texts)


@pytest.mark.parametrize(
    ("name", "step"), [("unicode_adversarial", 1), ("multilingual_debian_handbook", 4), ("fineweb_orig", 4)]
)
def test_normalising_documents(normalising: Scheme, name: str, step: int, shared_texts: Texts) -> None:
    check_totals(normalising, shared_texts(name)[::step])


@settings(max_examples=50)
@given(texts=odd_text.batches, moved=st.booleans())
def test_the_lossless_text_beside_the_normal_form(normalising: Scheme, texts: list[str], moved: bool) -> None:
    """The same as each of the two alone, where the normaliser comes last and where it does not."""
    source = Ragged.from_bytes([text.encode() for text in texts])
    scheme = copy(normalising)
    if moved:
        scheme.operators = scheme.operators[::-1]
    text, cuts, lossless = scheme.rewrite_with_lossless(source)
    expected, expected_cuts = scheme.rewrite(source)
    assert lossless.tobytes() == scheme.rewrite_losslessly(source)[0].tobytes()
    assert text.tobytes() == expected.tobytes()
    for d in range(len(texts)):
        assert cuts.document(d).tolist() == expected_cuts.document(d).tolist()


def test_reference_of_adversarial_documents_normalised(normalising: Scheme, shared_texts: Texts) -> None:
    check_reference(normalising, shared_texts("unicode_adversarial"))


@pytest.mark.parametrize(
    ("text", "charges", "unattributed"),
    [
        ("", [], 0),
        ("   ", [], 3),
        # A character that the normaliser leaves alone is charged byte by byte.
        ("\U0001f600", [1, 1, 1, 1], 0),
        ("\u20ac", [1, 1, 1], 0),
        # What is stripped from the ends belongs to no token.
        ("  \U0001f600\n ", [1, 1, 1, 1], 4),
    ],
)
def test_charges_of_a_published_vocabulary(
    text: str, charges: list[int], unattributed: int, normalising: Scheme
) -> None:
    encoded = normalising.encode_batch(Ragged.from_bytes([text.encode()]))
    assert encoded.charges.values.tolist() == charges
    assert encoded.unattributed.tolist() == [unattributed]


def test_what_is_collapsed_is_charged_to_its_token(normalising: Scheme) -> None:
    one, three = (normalising.encode(f"a{space}b") for space in (" ", " \t\u3000"))
    assert one[0].tolist() == three[0].tolist()
    assert (int(one[1].sum()), int(three[1].sum())) == (3, 7)


def test_decode_gives_the_normal_form(normalising: Scheme) -> None:
    ids, _ = normalising.encode("  The \ufb01sh\u3000 \uff21bc  \n")
    assert (
        normalising.decode(ids).decode()
        == {
            "bpe-v1": "The fish Abc",
            "caseops-v1": "The fish Abc",
        }[normalising.spec.name]
    )


def test_a_normal_form_without_a_reading(published_scheme: Callable[[str, str], Scheme]) -> None:
    """The published CaseOps on `A` and a combining accent: TITLE `á`, which is no encoder's text."""
    scheme = published_scheme("caseops-v1", PUBLISHED["caseops-v1"])
    ids, charges = scheme.encode("A\u0301")
    assert charges.sum() == 3
    with pytest.raises(DecodingError, match="not followed by a lower-case ASCII letter"):
        scheme.decode(ids)


@pytest.mark.parametrize("spaces", [65_533, 65_534, 65_535, 70_000])
def test_a_charge_that_no_sidecar_holds(normalising: Scheme, spaces: int) -> None:
    text = "x" + " " * spaces + "y"
    encode = normalising.encode
    if max(normalising.encode_reference(text.encode())[1]) <= 65_535:
        assert int(encode(text)[1].sum()) == spaces + 2
        assert spaces <= 65_535
        return
    with pytest.raises(
        EncodingError, match=r"stands for 6\d,\d{3}|7\d,\d{3} source bytes; .*never clips"
    ) as caught:
        encode(["fine", "", text, text])
    assert caught.value.document == 2
    assert spaces >= 65_534


def test_spaces_that_a_lossless_scheme_keeps_are_no_overflow(lossless: Scheme) -> None:
    text = "x" + " " * 70_000 + "y"
    ids, charges = lossless.encode(text)
    assert int(charges.sum()) == 70_002
    assert lossless.decode(ids) == text.encode()


def test_built_in_schemes() -> None:
    patched = ("space-bytes", "table2-bytes", "entropy-bytes")
    lossless = (*LOSSLESS, *COMPOSED, *patched)
    assert scheme_names() == sorted([*lossless, "bpe-v1", "caseops-v1"])
    for name in scheme_names():
        spec = open_scheme_spec(name)
        assert spec.name == name
        assert spec.summary
        assert spec.is_reversible == (name in lossless)
        assert spec.is_trainable == (name in lossless and name not in ("bytes", *patched))
        assert parse_scheme(spec.to_toml()) == spec


def test_a_spec_says_what_its_scheme_is(lossless: Scheme, normalising: Scheme) -> None:
    for scheme in (lossless, normalising):
        assert scheme.spec.is_reversible == scheme.reversible
        assert parse_scheme(scheme.spec.to_toml()) == scheme.spec


BPE = (
    'name = "mine"\noperators = ["escape"]\n[segmenter]\nkind = "sentencepiece"\nnormalization = "identity"\n'
)
BAD_SCHEMES = {
    "no toml": ("name = ", "scheme.toml: "),
    "no name": (BPE.replace("name", "summary", 1), "missing required field `name`"),
    "unknown field": ("title = 1\n" + BPE, "unknown field `title`"),
    "unknown segmenter field": (BPE + "vocab = 7\n", r"unknown field `vocab`.*segmenter"),
    "type of a field": (BPE + 'vocab_size = "7"\n', r"Expected `int.*segmenter\.vocab_size"),
    "kind": (
        BPE.replace('"sentencepiece"', '"wordpiece"'),
        "unknown segmenter 'wordpiece'; known: byte, byte-level, sentencepiece; a package adds one",
    ),
    "normalization": (BPE.replace('"identity"', '"nfc"'), r"'nfc'.*segmenter\.normalization"),
    "operator": (
        BPE.replace('"escape"', '"rot13"'),
        "unknown operator 'rot13'; known: apostrophe, case, caseops, digits, escape",
    ),
    "operator without name": (
        BPE.replace('"escape"', "{}"),
        "unknown operator None; known: apostrophe, case, caseops, digits, escape",
    ),
    "operator parameter": (
        BPE.replace('"escape"', '{ name = "caseops", escape = true }'),
        "operator 'caseops' has no parameter 'escape'; it has: escape_metaspace",
    ),
    "operator without parameters": (
        BPE.replace('"escape"', '{ name = "escape", level = 1 }'),
        "operator 'escape' has no parameter 'level'; it has: none",
    ),
    "type of a parameter": (
        BPE.replace('"escape"', '{ name = "caseops", escape_metaspace = "yes" }'),
        "escape_metaspace = 'yes' has the wrong type",
    ),
    "no escape": (
        BPE.replace('["escape"]', "[]"),
        r"U\+2581.*must be 'escape', or 'case' or 'caseops' with escape_metaspace",
    ),
    "caseops without escape": (
        BPE.replace('"escape"', '{ name = "caseops", escape_metaspace = false }'),
        "must be 'escape', or 'case' or 'caseops' with escape_metaspace",
    ),
    "operators without escape": (
        BPE.replace('["escape"]', '["newline-space", "glue"]'),
        r"U\+2581.*must be 'escape', or 'case' or 'caseops' with escape_metaspace",
    ),
    "boundaries of tokens": (
        'boundaries = "space"\n' + BPE,
        "boundaries are for schemes of one token a byte",
    ),
    "a target without boundaries": ("bytes_per_patch = 4.0\n" + BPE, "bytes_per_patch without boundaries"),
    "unknown place": (
        BPE.replace('"escape"', '{ name = "case", place = "left" }'),
        "operator 'case': place = 'left'; known: word, space, suffix, alias",
    ),
}


@pytest.mark.parametrize("name", BAD_SCHEMES)
def test_a_scheme_that_is_refused(name: str, tmp_path: Path) -> None:
    toml, message = BAD_SCHEMES[name]
    path = tmp_path / "scheme.toml"
    path.write_text(BPE)
    assert open_scheme_spec(str(path)).name == "mine"
    path.write_text(toml)
    with pytest.raises(InputError, match=message) as caught:
        open_scheme_spec(str(path))
    assert "\n" not in str(caught.value)


def test_schemes_that_are_not_there(tmp_path: Path) -> None:
    built_in = ", ".join(scheme_names())
    with pytest.raises(InputError, match=f"unknown scheme 'bqe'; built-in: {built_in}; or .*toml"):
        load_scheme("bqe")
    with pytest.raises(InputError, match=r"no\.toml: cannot read the scheme"):
        load_scheme(str(tmp_path / "no.toml"))
    with pytest.raises(InputError, match=r"scheme\.toml.*holds no scheme"):
        load_scheme(tmp_path)


def test_a_scheme_of_ones_own(tmp_path: Path, embedded: list[bytes]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        BPE.replace('"escape"', '{ name = "caseops" }') + "vocab_size = 700\nsplit_digits = false\n"
    )
    spec = open_scheme_spec(str(path))
    scheme = Scheme(spec, train_vocabulary(spec, embedded[:20]))
    assert (scheme.segmenter.vocab_size, scheme.spec.vocab_size, scheme.reversible) == (700, 700, True)
    check_totals(scheme, [PROBE])


def test_a_vocabulary_file_that_does_not_fit(
    tmp_path: Path, small_scheme: Named, published_scheme: Callable[[str, str], Scheme]
) -> None:
    (model,) = small_scheme("bpe").segmenter.files.values()
    (tokenizer,) = small_scheme("byte-bpe").segmenter.files.values()
    (published,) = published_scheme("bpe-v1", "sp1024_official").segmenter.files.values()
    for name, vocabulary, message in (
        ("bpe", tokenizer, "not a SentencePiece model"),
        ("byte-bpe", model, "not a tokenizer.json"),
        ("bpe", published, "not lossless"),
        ("caseops-v1", published, r"markers U\+E001"),
        ("bytes", model, "no vocabulary file; leave --tokenizer out"),
    ):
        path = tmp_path / "vocabulary"
        path.write_bytes(vocabulary)
        with pytest.raises(InputError, match=message):
            load_scheme(name, tokenizer=path)
    with pytest.raises(InputError, match="cannot read the tokenizer: No such file"):
        load_scheme("bpe", tokenizer=tmp_path / "no.model")


def test_a_vocabulary_that_is_not_given() -> None:
    with pytest.raises(InputError, match="bpe-v1 needs a vocabulary: give --tokenizer FILE"):
        load_scheme("bpe-v1")
    with pytest.raises(InputError, match="bpe needs a vocabulary: train one with `tokenlab build`"):
        Scheme(open_scheme_spec("bpe"))


def test_bos_that_the_vocabulary_does_not_have(small_scheme: Named) -> None:
    spec = parse_scheme(BPE + "[specials]\nbos = 7\n")
    (model,) = small_scheme("bpe").segmenter.files.values()
    with pytest.raises(InputError, match="says bos = 7, its vocabulary says 1"):
        Scheme(spec, model)


@pytest.mark.parametrize("name", ["bpe", "byte-bpe", "caseops"])
def test_a_vocabulary_too_large_for_its_text(name: str, embedded: list[bytes]) -> None:
    spec = open_scheme_spec(name).with_vocab_size(50_000)
    with pytest.raises(InputError, match="the text fills") as caught:
        train_vocabulary(spec, embedded[:5])
    most = int(re.findall(r"(?:--vocab-size|or ask for) (\d+)", str(caught.value))[0])
    scheme = Scheme(spec, train_vocabulary(spec.with_vocab_size(most), embedded[:5]))
    assert scheme.segmenter.vocab_size == most  # the remedy works


@pytest.mark.parametrize("name", ["bpe", "byte-bpe", "caseops"])
def test_a_vocabulary_too_small_for_bytes(name: str, embedded: list[bytes]) -> None:
    with pytest.raises(InputError, match=r"100 is too small|at least 260 ids, asked for 100"):
        train_vocabulary(open_scheme_spec(name).with_vocab_size(100), embedded[:5])


@pytest.mark.parametrize("name", ["bpe", "byte-bpe", "caseops"])
@pytest.mark.parametrize("documents", [[], [b""], [b"", b""]])
def test_no_text_to_train_on(name: str, documents: list[bytes]) -> None:
    with pytest.raises(InputError, match=r"no text to train|fills at most 260 pieces"):
        train_vocabulary(open_scheme_spec(name), documents)


def test_schemes_that_are_not_trained() -> None:
    with pytest.raises(InputError, match="bpe-v1 takes a published vocabulary"):
        train_vocabulary(open_scheme_spec("bpe-v1"), [b"a"])
    for name in ("bytes", "bpe-v1"):
        with pytest.raises(InputError, match="fixed vocabulary; leave --vocab-size out"):
            open_scheme_spec(name).with_vocab_size(1024)
    with pytest.raises(InputError, match="--vocab-size is 0; it must be positive"):
        open_scheme_spec("bpe").with_vocab_size(0)


def test_load_scheme_trains_the_same_vocabulary_each_time() -> None:
    ids, charges = load_scheme("caseops").encode("The NASA paper")
    again, _ = load_scheme("caseops").encode("The NASA paper")
    assert ids.tolist() == again.tolist()
    assert int(charges.sum()) == 14


def fresh(scheme: Scheme) -> Scheme:
    """The same scheme, constructed anew."""
    return Scheme(scheme.spec, next(iter(scheme.segmenter.files.values()), None))


def test_a_fingerprint_is_stable(lossless: Scheme, normalising: Scheme) -> None:
    for scheme in (lossless, normalising):
        assert fresh(scheme).identity == scheme.identity
        assert len(scheme.identity["fingerprint"]) == 64


def test_a_fingerprint_covers_what_decides_about_ids(
    caseops: Scheme, embedded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (model,) = caseops.segmenter.files.values()
    toml = caseops.spec.to_toml()
    changed = {
        "toml": Scheme(parse_scheme(toml.replace("split_digits = true", "split_digits = false")), model),
        "vocabulary": Scheme(caseops.spec, train_vocabulary(caseops.spec, embedded[:40])),
        "backend": fresh(caseops),
        "encoder": fresh(caseops),
    }
    changed["backend"].segmenter.backends = {"sentencepiece": "0.0.0"}
    # An encoder that changes its mind: the same text, spelled in single bytes.
    byte_ids = [caseops.segmenter.token_bytes.tobytes().index(bytes([byte])) for byte in range(256)]
    changed["encoder"].segmenter.split_with_ends = lambda text: (  # type: ignore[method-assign]
        ids := Ragged(np.array(byte_ids, np.uint32)[text.values], text.offsets),
        cover(ids, caseops.segmenter.token_bytes, text),
    )
    parts = {
        "toml": "scheme_sha256",
        "vocabulary": "vocabulary_sha256",
        "backend": "backends",
        "encoder": "probe_ids_sha256",
    }
    for what, scheme in changed.items():
        assert scheme.identity["fingerprint"] != caseops.identity["fingerprint"], what
        assert scheme.identity[parts[what]] != caseops.identity[parts[what]]
    assert changed["encoder"].identity["vocabulary_sha256"] == caseops.identity["vocabulary_sha256"]
    assert len({scheme.identity["fingerprint"] for scheme in changed.values()}) == len(changed)


@pytest.mark.parametrize("name", LOSSLESS)
def test_fingerprints_tell_schemes_apart(name: str, small_scheme: Named) -> None:
    others = {small_scheme(other).identity["fingerprint"] for other in LOSSLESS if other != name}
    assert small_scheme(name).identity["fingerprint"] not in others


@pytest.mark.parametrize(
    "part",
    [
        *("The", "NASA", "iPhone", "McDonald", "I'LL", "\u00c9COLE"),
        *("1,234.5", "\n\n  ", "\t", "\r\n", "\u00a0", "\ufb01", "\u2122", "\u00bd", "e\u0301"),
        *("\u65e5\u672c\u8a9e", "\ud55c\uad6d\uc5b4", "\u0627", "\U0001f469\u200d", "\u201c"),
        *("\u2581", "\ue001", "\ue004", "<s>", "<unk>", "<0x41>", "<|endoftext|>"),
    ],
)
def test_the_probe_holds_what_encoders_disagree_on(part: str) -> None:
    assert part in PROBE


def test_the_probe_in_every_scheme(lossless: Scheme, normalising: Scheme) -> None:
    check_totals(lossless, [PROBE])
    check_totals(normalising, [PROBE])
    check_reference(lossless, [PROBE])


@pytest.mark.parametrize(
    "module",
    [
        "tokenlab",
        "tokenlab.ragged",
        "tokenlab.scheme",
        "tokenlab.vocabulary",
        "tokenlab.corpus",
        "shards.format",
    ],
)
def test_docstring_examples(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_worked_example_of_the_documentation() -> None:
    """`I'm NASA` as docs/accounting.md has it."""
    scheme = load_scheme("caseops")
    text, cuts = scheme.rewrite(Ragged.from_bytes([b"I'm NASA"]))
    assert text.tobytes()[0].decode() == "\ue001i'm \ue002nasa"
    assert cuts.document(0).tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 8]
    ids, charges = scheme.encode("I'm NASA")
    assert [scheme.segmenter.piece(int(i)) for i in ids][:3] == ["\ue001", "i", "'"]
    assert charges[0] == 0
    assert charges.sum() == 8
