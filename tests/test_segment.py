"""Segmenters: the fast ids are those of the published encoders, and ids spell their text."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from tests import odd_text
from tests.conftest import VOCAB_SIZE
from tokenlab.errors import DecodingError, EncodingError, InputError
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import open_scheme_spec
from tokenlab.segment.byte import ByteSegmenter
from tokenlab.segment.byte_level import SPLIT_PATTERNS, ByteLevelSegmenter, train_byte_level
from tokenlab.segment.gigatoken_encoder import GigatokenEncoder, sentencepiece_json
from tokenlab.segment.segmenter import Segmenter
from tokenlab.segment.sentencepiece import MODEL_FILE, SentencePieceSegmenter, train_sentencepiece
from tokenlab.segment.sentencepiece_model import PieceKind, parse_model
from tokenlab.segment.spelling import cover, cover_reference, ends, spell, spell_reference
from tokenlab.segment.word_cache import WordCache, word_cuts
from tokenlab.vocabulary import train_vocabulary

# Every document of the first two; of the 20 MB of English, every ENGLISH_STEP-th of each set.
SETS = [
    "unicode_adversarial",
    "multilingual_debian_handbook",
    "c4_demo",
    "fineweb_edu_chunks",
    "fineweb_orig",
    "fineweb_pgval_sp1024",
    "prose_debian_en",
    "web_cc0_gov",
    "wikipedia_demo",
]
ENGLISH_STEP = 3

PUBLISHED_MODELS = [
    ("bpe-v1", "sp1024_official"),
    ("caseops-v1", "sp8192_caseops_v1_reserved"),
    ("bpe-v1", "sp10240_caseops_pr1797"),
]


def batch(texts: list[str]) -> Ragged:
    return Ragged.from_bytes([text.encode() for text in texts])


def assert_same_ids(segmenter: Segmenter, text: Ragged) -> Ragged:
    """The fast ids of a rewritten batch are the reference's, and spell it."""
    ids, expected = segmenter.split(text), segmenter.split_reference(text)
    assert ids.values.dtype == expected.values.dtype == np.uint32
    different = ids.first_difference(expected)
    assert different is None, (bytes(text[different or 0]), ids[different or 0], expected[different or 0])
    ends = cover(ids, segmenter.token_bytes, text)
    for found, wanted in zip(segmenter.split_with_ends(text), (ids, ends), strict=True):
        assert found.values.dtype == wanted.values.dtype
        assert found.first_difference(wanted) is None
    return ids


@pytest.fixture(scope="session")
def sample(shared_texts: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    def documents(name: str) -> list[str]:
        return shared_texts(name) if name in SETS[:2] else shared_texts(name)[::ENGLISH_STEP]

    return documents


@pytest.mark.parametrize("name", SETS)
def test_lossless_ids(lossless: Scheme, name: str, sample: Callable[[str], list[str]]) -> None:
    assert_same_ids(lossless.segmenter, lossless.rewrite(batch(sample(name)))[0])


@pytest.mark.parametrize("name", ["bpe", "byte-bpe", "caseops"])
def test_these_take_the_fast_path(name: str, small_scheme: Callable[[str], Scheme]) -> None:
    segmenter: Any = small_scheme(name).segmenter
    assert segmenter.fast
    assert "gigatoken" in segmenter.backends


@pytest.mark.parametrize(("scheme_name", "model"), PUBLISHED_MODELS)
@pytest.mark.parametrize("name", SETS)
def test_published_ids(
    scheme_name: str,
    model: str,
    name: str,
    published_scheme: Callable[[str, str], Scheme],
    sample: Callable[[str], list[str]],
) -> None:
    """Token for token what SentencePiece gives for the text that the operators wrote; its own
    normaliser, not ours."""
    scheme = published_scheme(scheme_name, model)
    assert isinstance(scheme.segmenter, SentencePieceSegmenter)
    assert scheme.segmenter.fast
    documents = text = batch(sample(name))
    for operator in scheme.operators[:-1]:
        text, _ = operator.apply(text)
    ids = scheme.encode_batch(documents).ids
    processor = SentencePieceProcessor(model_proto=scheme.segmenter.files[MODEL_FILE])
    for row, expected, rewritten in zip(ids, processor.encode(text.tobytes()), text.tobytes(), strict=True):
        assert row.tolist() == expected, rewritten


@pytest.mark.parametrize("split", SPLIT_PATTERNS)
def test_every_split_expression(
    split: str, embedded: list[bytes], sample: Callable[[str], list[str]]
) -> None:
    segmenter = ByteLevelSegmenter(train_byte_level(embedded[::4], vocab_size=VOCAB_SIZE, split=split))
    assert segmenter.fast
    assert_same_ids(segmenter, batch([*sample("unicode_adversarial"), *sample("fineweb_orig")]))


@settings(max_examples=100)
@given(texts=odd_text.batches)
def test_lossless_ids_of_any_text(lossless: Scheme, texts: list[str]) -> None:
    assert_same_ids(lossless.segmenter, lossless.rewrite(batch(texts))[0])


ALPHABETS = [
    "ab ",
    "a ",
    "aab\n",
    "0 1a",
    "a\u00e9 ",
    "abc",
    "ab \ue004",
    "a \t",
    "ab  <s>/",
    "aA\ue001\ue002 b",
]


@pytest.mark.parametrize("seed", range(2 * len(ALPHABETS)))
def test_merges_of_a_tiny_alphabet(seed: int) -> None:
    """Random strings over a few characters, where nearly every merge competes with another."""
    rng = random.Random(seed)
    alphabet = ALPHABETS[seed % len(ALPHABETS)]

    def strings(count: int, longest: int) -> list[bytes]:
        return ["".join(rng.choices(alphabet, k=rng.randrange(longest))).encode() for _ in range(count)]

    model = train_sentencepiece(
        strings(200, 30),
        vocab_size=270 + rng.randrange(250),
        markers=tuple(marker for marker in odd_text.MARKERS if marker in alphabet),
        parameters={
            "model_type": "bpe",
            "split_digits": False,
            "character_coverage": 1.0,
            "hard_vocab_limit": False,
            "split_by_whitespace": rng.random() < 0.5,
        },
    )
    segmenter = SentencePieceSegmenter(model)
    assert segmenter.fast
    text = Ragged.from_bytes(strings(400, 60))
    ids = assert_same_ids(segmenter, text)
    assert [row.tolist() for row in ids] == SentencePieceProcessor(model_proto=model).encode(text.tobytes())
    assert len(ids.values) < len(text.values)  # merges took place


def test_a_long_run_of_one_character(lossless: Scheme) -> None:
    assert_same_ids(
        lossless.segmenter, lossless.rewrite(batch(["a" * 20_001, " " * 20_001, "", "Z" * 999]))[0]
    )


def word_cuts_reference(pieces: list[bytes]) -> set[tuple[int, int]]:
    """Pairs of bytes between which a word begins, in plain Python."""

    def kept_together(a: int, b: int) -> bool:
        return a == ord(" ") or (0x80 <= a < 0xC0 and bytes([b]).isalpha())

    inside = {pair for piece in pieces for pair in pairwise(piece)}
    starts = [byte for byte in range(256) if not 0x80 <= byte < 0xC0]
    return {(a, b) for a in range(256) for b in starts if not kept_together(a, b)} - inside


@given(pieces=st.lists(st.binary(max_size=5), max_size=20))
def test_words_are_cut_where_no_piece_is(pieces: list[bytes]) -> None:
    cuts = word_cuts(Ragged.from_bytes(pieces))
    assert {(int(i) >> 8, int(i) & 0xFF) for i in np.flatnonzero(cuts)} == word_cuts_reference(pieces)


def sentencepiece_of(scheme: Scheme) -> SentencePieceSegmenter:
    assert isinstance(scheme.segmenter, SentencePieceSegmenter)
    return scheme.segmenter


def encode_plainly(segmenter: SentencePieceSegmenter) -> Callable[[Ragged], Ragged]:
    return GigatokenEncoder(sentencepiece_json(segmenter.model)).encode


@pytest.mark.parametrize("most", [1, 2, 300, 1 << 20])
def test_a_cache_of_any_size(caseops: Scheme, most: int, embedded: list[bytes]) -> None:
    """Grown, full and emptied in mid-batch, and too small for a document; words of every length."""
    segmenter = sentencepiece_of(caseops)
    encode = encode_plainly(segmenter)
    cache = WordCache(segmenter.token_bytes, encode, most)
    long = [b"", b"x" * 16 + b" " + b"x" * 17, b"x" * 17, b"ab" * 40_000 + b" b", b"ab" * 40_000 + b" a"]
    text, _ = caseops.rewrite(Ragged.from_bytes([*embedded[:60], *long, *embedded[:30], b"", b"I"]))
    for _ in range(2):
        for found, wanted in zip(
            cache.split(text),
            (ids := encode(text), cover(ids, segmenter.token_bytes, text)),
            strict=True,
        ):
            assert found.values.dtype == wanted.values.dtype
            assert found.first_difference(wanted) is None


@settings(max_examples=50)
@given(batches=st.lists(odd_text.batches, max_size=4), most=st.integers(1, 40))
def test_a_cache_of_any_text(caseops: Scheme, batches: list[list[str]], most: int) -> None:
    segmenter = sentencepiece_of(caseops)
    encode = encode_plainly(segmenter)
    cache = WordCache(segmenter.token_bytes, encode, most)
    for texts in batches:
        text, _ = caseops.rewrite(batch(texts))
        ids, ends = cache.split(text)
        assert ids.first_difference(encode(text)) is None
        assert ends.first_difference(cover(ids, segmenter.token_bytes, text)) is None


def test_a_cache_names_the_document_whose_ids_do_not_spell_it(caseops: Scheme) -> None:
    segmenter = sentencepiece_of(caseops)
    encode = encode_plainly(segmenter)

    def lossy(text: Ragged) -> Ragged:
        return encode(Ragged.from_bytes([row.replace(b"q", b"") for row in text.tobytes()]))

    cache = WordCache(segmenter.token_bytes, lossy)
    for _ in range(2):
        with pytest.raises(EncodingError, match="do not spell") as caught:
            cache.split(batch(["one two", "three", "quite", "four"]))
        assert caught.value.document == 2
    assert cache.split(batch(["one two"]))[0].first_difference(encode(batch(["one two"]))) is None


@cache
def tiny_model(**options: Any) -> bytes:
    """A lossless model of 330 pieces over `a`, `b`, `c` and the space, but for `options`."""
    rng = random.Random(1)
    texts = ["".join(rng.choices("abc ", k=30)).encode() for _ in range(300)]
    model = io.BytesIO()
    lossless = {
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "byte_fallback": True,
        "user_defined_symbols": "\ue004",
    }
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type=options.pop("model_type", "bpe"),
        vocab_size=330,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **(lossless | options),
    )
    return model.getvalue()


def with_fields(model: bytes, message: int, fields: bytes) -> bytes:
    """The model with more fields behind it; protobuf merges them into the first message."""
    return model + bytes([message << 3 | 2, len(fields)]) + fields


def with_tied_scores(model: bytes) -> bytes:
    """The model with each four merges of one score."""
    patched = bytearray(model)
    for piece in parse_model(model).pieces:
        if piece.kind is PieceKind.NORMAL and len(piece.text) > 1:
            text = piece.text.encode()
            head = bytes([1 << 3 | 2, len(text)]) + text + bytes([2 << 3 | 5])
            at = patched.index(head + struct.pack("<f", piece.score)) + len(head)
            patched[at : at + 4] = struct.pack("<f", piece.score // 4)
    return bytes(patched)


SLOW_MODELS: dict[str, Callable[[], bytes]] = {
    # SentencePiece takes the leftmost of equal merges; gigatoken knows only an order of merges.
    "tied scores": lambda: with_tied_scores(tiny_model()),
    "unigram": lambda: tiny_model(model_type="unigram"),
    "no byte fallback": lambda: tiny_model(byte_fallback=False),
    "spaces not escaped": lambda: with_fields(tiny_model(), 3, bytes([5 << 3, 0])),
    "a symbol of two characters": lambda: tiny_model(user_defined_symbols="ab"),
}


@pytest.mark.parametrize("name", SLOW_MODELS)
def test_models_that_take_the_slow_path(name: str) -> None:
    segmenter = SentencePieceSegmenter(SLOW_MODELS[name]())
    assert not segmenter.fast
    assert segmenter.backends.keys() == {"sentencepiece"}
    rng = random.Random(2)
    text = batch(["".join(rng.choices("abc", k=30)) for _ in range(50)])
    assert_same_ids(segmenter, text)
    processor = SentencePieceProcessor(model_proto=segmenter.files[MODEL_FILE])
    assert [row.tolist() for row in segmenter.split(text)] == processor.encode(text.tobytes())


def test_the_model_that_those_are_changed_from_is_fast() -> None:
    assert SentencePieceSegmenter(tiny_model()).fast


LITERALS = [
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<0x41>",
    "<|endoftext|>",
    "<pad></s>",
    "<s></s><unk><pad>",
    " <s> a </s> ",
    "x<unk>y<0x00><0xFF>",
    "\u2581<s>\u2581",
]


def assert_no_specials(scheme: Scheme) -> None:
    specials = {i for i, spelled in enumerate(scheme.segmenter.token_bytes) if len(spelled) == 0}
    for text in [*LITERALS, "".join(LITERALS)]:
        ids, charges = scheme.encode(text)
        assert specials.isdisjoint(ids.tolist())
        if scheme.reversible:
            assert scheme.decode(ids) == text.encode()
        assert scheme.encode_reference(text.encode()) == (ids.tolist(), charges.tolist())
        # `<0x41>` is six characters, never the byte that it names.
        assert all(
            scheme.segmenter.piece(token) != "<0x41>" for token in ids.tolist() if scheme.spec.name != "bytes"
        )


def test_literals_are_text(lossless: Scheme) -> None:
    assert_no_specials(lossless)
    names = {"<s>", "</s>", "<unk>", "<pad>"}
    specials = [i for i in range(lossless.segmenter.vocab_size) if lossless.segmenter.piece(i) in names]
    assert specials == [0, 1, 2, 3]
    assert [len(lossless.segmenter.token_bytes[i]) for i in specials] == [0, 0, 0, 0]


def test_literals_are_text_to_published_models(normalising: Scheme) -> None:
    assert_no_specials(normalising)


@pytest.mark.parametrize("name", ["bpe", "byte-bpe", "caseops"])
def test_literals_are_text_to_a_vocabulary_full_of_them(name: str) -> None:
    rng = random.Random(3)
    texts = ["".join(rng.choices([*LITERALS, "<s>", "<unk>", "a", " "], k=40)).encode() for _ in range(200)]
    # SentencePiece learns nothing from a special's name, so the halves of names stand alone too.
    texts += [part * 300 for part in (b"<s>", b"<unk>", b" <s>", b"</s> ", b"<0x41>")]
    texts += [part * 300 for part in (b"<s ", b" s> ", b" <un ", b"nk> ", b" <0x ", b" x41> ", b" </ ")]
    spec = open_scheme_spec(name).with_vocab_size(310)
    text = Ragged.from_bytes(texts)
    for operator in spec.make_operators():
        text, _ = operator.apply(text)
    if name == "byte-bpe":
        model = train_byte_level(text.tobytes(), vocab_size=310, split="cl100k")
    else:
        markers = tuple(marker for operator in spec.make_operators() for marker in operator.markers)
        # Unless merges may join `<` and `s`, no piece is near a special.
        parameters = {
            "model_type": "bpe",
            "split_digits": False,
            "split_by_unicode_script": False,
            "hard_vocab_limit": False,
        }
        model = train_sentencepiece(text.tobytes(), vocab_size=330, markers=markers, parameters=parameters)
    scheme = Scheme(spec, model)
    assert_no_specials(scheme)
    encoded = scheme.encode_batch(Ragged.from_bytes(texts))
    pieces = {scheme.segmenter.piece(i) for i in np.unique(encoded.ids.values).tolist()}
    near = {f"{space}{part}" for part in ("<s", "<unk", "<0x") for space in ("", "\u2581", "\u0120")}
    assert near & pieces, pieces  # merges that come close to a special
    assert scheme.decode(list(encoded.ids)) == texts


TOY = [b"", b"a", b"b", b"ab", b"abc", b"c", b""]
TOY_BYTES = Ragged.from_bytes(TOY)
ids_lists = st.lists(st.lists(st.integers(0, 8), max_size=6), max_size=5)


@given(st.lists(st.lists(st.integers(1, 5), max_size=8), max_size=5))
def test_ids_spell_and_cover(rows: list[list[int]]) -> None:
    ids = Ragged.from_rows(rows, np.uint32)
    text = spell(ids, TOY_BYTES)
    assert text.values.dtype == np.uint8
    assert text.tobytes() == [spell_reference(row, TOY) for row in rows]
    ends = cover(ids, TOY_BYTES, text)
    assert ends.values.dtype == np.int32
    assert [row.tolist() for row in ends] == [
        cover_reference(row, TOY, written) for row, written in zip(rows, text.tobytes(), strict=True)
    ]


@settings(max_examples=300)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.data())
def test_pieces_about_as_wide_as_a_step(row: list[int], data: st.DataObject) -> None:
    pieces = [b"", b"a", b"\0", b"a\0", b"abcabca", b"abcabcab", b"abcabca\0", b"abcabcabc"]
    pieces += [b"abcabcabb", b"\xf0\x9f\x98\x80" * 5]
    ids, token_bytes = Ragged.from_rows([row], np.uint32), Ragged.from_bytes(pieces)
    right = spell_reference(row, pieces)
    assert spell(ids, token_bytes).tobytes() == [right]
    at = data.draw(st.integers(0, len(right) - 1))
    wrong = data.draw(st.sampled_from([right, right[:at], right[:at] + b"c" + right[at + 1 :], right + b"a"]))
    try:
        expected = cover_reference(row, pieces, wrong)
    except ValueError:
        with pytest.raises(EncodingError, match="do not spell it"):
            cover(ids, token_bytes, Ragged.from_bytes([wrong]))
    else:
        assert cover(ids, token_bytes, Ragged.from_bytes([wrong])).values.tolist() == expected
        assert ends(ids, token_bytes).values.tolist() == expected


@settings(max_examples=300)
@given(ids_lists, st.data())
def test_cover_refuses_what_its_twin_refuses(rows: list[list[int]], data: st.DataObject) -> None:
    right = [b"".join(TOY[i] for i in row if i < len(TOY)) for row in rows]
    texts = [
        data.draw(st.one_of(st.just(text), st.text("abc", max_size=5).map(str.encode))) for text in right
    ]
    ids, text = Ragged.from_rows(rows, np.uint32), Ragged.from_bytes(texts)
    wrong = None
    for d, row in enumerate(rows):
        try:
            cover_reference(row, TOY, texts[d])
        except (ValueError, IndexError):  # an id outside the vocabulary
            wrong = d
            break
    if wrong is None:
        assert cover(ids, TOY_BYTES, text).values.size == ids.values.size
    else:
        with pytest.raises(EncodingError, match="do not spell it") as caught:
            cover(ids, TOY_BYTES, text)
        assert caught.value.document == wrong


@pytest.mark.parametrize(
    ("ids", "text", "at"),
    [
        ([1, 2], b"ac", 1),  # another byte
        ([1, 2], b"a", 1),  # a token too many, past the end
        ([4], b"ab", 0),  # a token that is longer than what is left
        ([1], b"ab", 1),  # text left over
        ([], b"a", 0),
        ([1, 0], b"a", 1),  # a special spells nothing
        ([1, 7], b"ab", 1),  # outside the vocabulary
        ([1, 2**32 - 1], b"ab", 1),
    ],
)
def test_ids_that_do_not_spell_their_text(ids: list[int], text: bytes, at: int) -> None:
    # The document behind begins with what is missing here.
    with pytest.raises(EncodingError, match=f"from byte {at} of the rewritten text") as caught:
        cover(Ragged.from_rows([[1], ids, [2]], np.uint32), TOY_BYTES, Ragged.from_bytes([b"a", text, b"b"]))
    assert caught.value.document == 1


@settings(max_examples=200)
@given(ids_lists)
def test_spell_refuses_bad_ids(rows: list[list[int]]) -> None:
    bad = [(d, t) for d, row in enumerate(rows) for t, i in enumerate(row) if i >= len(TOY) or not TOY[i]]
    ids = Ragged.from_rows(rows, np.uint32)
    if not bad:
        assert spell(ids, TOY_BYTES).tobytes() == [spell_reference(row, TOY) for row in rows]
        return
    d, t = bad[0]
    what = "is outside the vocabulary" if rows[d][t] >= len(TOY) else "is a special and spells no text"
    with pytest.raises(DecodingError, match=f"id {rows[d][t]} {what}") as caught:
        spell(ids, TOY_BYTES)
    assert (caught.value.document, caught.value.position) == (d, t)


def test_token_bytes_are_what_sentencepiece_decodes(caseops: Scheme) -> None:
    assert isinstance(caseops.segmenter, SentencePieceSegmenter)
    processor = SentencePieceProcessor(model_proto=caseops.segmenter.files[MODEL_FILE])
    spelled = caseops.segmenter.token_bytes.tobytes()
    assert len(spelled) == processor.vocab_size() == caseops.segmenter.vocab_size == VOCAB_SIZE
    for i, expected in enumerate(spelled):
        if processor.is_byte(i):
            assert expected == bytes([int(processor.id_to_piece(i)[3:5], 16)])
        elif processor.is_control(i) or processor.is_unknown(i):
            assert expected == b""
        else:
            assert expected == processor.id_to_piece(i).replace("\u2581", " ").encode()
        assert caseops.segmenter.piece(i) == processor.id_to_piece(i)


def test_byte_segmenter() -> None:
    segmenter = ByteSegmenter()
    assert (segmenter.vocab_size, segmenter.bos, segmenter.files) == (260, 1, {})
    text = Ragged.from_bytes([bytes(range(256)), b""])
    assert assert_same_ids(segmenter, text)[0].tolist() == list(range(4, 260))
    assert [segmenter.piece(i) for i in (0, 1, 2, 3, 4, 259)] == [
        "<pad>", "<s>", "</s>", "<unk>", "<0x00>", "<0xFF>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"normalization_rule_name": "nmt_nfkc"}, r"nmt_nfkc.*normalization_rule_name=identity"),
        ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces=false"),
        ({"add_dummy_prefix": True}, "add_dummy_prefix=false"),
        ({"byte_fallback": False}, "byte_fallback=true"),
        ({"escape_whitespaces": False}, "escape_whitespaces=true"),
    ],
)
def test_a_model_that_is_not_lossless_is_refused(options: dict[str, Any], flag: str) -> None:
    spec = open_scheme_spec("bpe")
    assert Scheme(spec, tiny_model()).reversible
    if options.pop("escape_whitespaces", True):
        model = tiny_model(**options)
    else:  # the trainer has no such option
        model = with_fields(tiny_model(), 3, bytes([5 << 3, 0]))
    with pytest.raises(InputError, match=rf"not lossless: .*{flag}.*-v1 scheme"):
        Scheme(spec, model)


@pytest.mark.parametrize("name", ["bpe", "caseops"])
def test_a_model_without_the_markers_is_refused(name: str) -> None:
    model = tiny_model(user_defined_symbols="\ue001")
    missing = {"bpe": r"markers U\+E004;", "caseops": r"markers U\+E002, U\+E003, U\+E004;"}[name]
    with pytest.raises(InputError, match=missing):
        Scheme(open_scheme_spec(name), model)


def test_a_model_without_bos_is_refused() -> None:
    with pytest.raises(InputError, match="no BOS piece"):
        SentencePieceSegmenter(tiny_model(bos_id=-1))


def test_a_character_without_spelling_is_an_error_of_its_document() -> None:
    segmenter = SentencePieceSegmenter(tiny_model(byte_fallback=False))
    with pytest.raises(EncodingError, match="no byte fallback") as caught:
        segmenter.split(batch(["abc", "", "ab\u20ac"]))
    assert caught.value.document == 2


@cache
def tokenizer_json() -> str:
    return train_byte_level([b"the cat sat on the mat " * 50], vocab_size=270, split="gpt2").decode()


Change = Callable[[dict[str, Any]], object]
BAD_TOKENIZERS: dict[str, tuple[Change, str]] = {
    "no model": (lambda c: c.pop("model"), "not a tokenizer.json"),
    "no vocabulary": (lambda c: c["model"].pop("vocab"), "not a tokenizer.json"),
    "vocabulary as a list": (lambda c: c["model"].update(vocab=[]), "not a tokenizer.json"),
    "negative id": (lambda c: c["added_tokens"][0].update(id=-1), "not a tokenizer.json"),
    "id that is no number": (lambda c: c["model"]["vocab"].update(a="7"), "not a tokenizer.json"),
    "normalizer that is none": (lambda c: c.update(normalizer="NFC"), "not a tokenizer.json"),
    "special without content": (lambda c: c["added_tokens"].append({"id": 5}), "not a tokenizer.json"),
    "unigram": (lambda c: c["model"].update(type="Unigram"), "holds a Unigram model"),
    "not byte-level": (lambda c: c.update(pre_tokenizer=None), "needs byte-level BPE"),
    "normaliser": (lambda c: c.update(normalizer={"type": "NFC"}), r"normalises text \(NFC\)"),
    "no bos": (lambda c: c.update(added_tokens=[]), "none of <s>"),
    "space before": (
        lambda c: c["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
        "add_prefix_space",
    ),
    "dropout": (lambda c: c["model"].update(dropout=0.5), "sets dropout"),
    "prefix": (lambda c: c["model"].update(continuing_subword_prefix="##"), "sets continuing_subword_prefix"),
    "suffix": (lambda c: c["model"].update(end_of_word_suffix="</w>"), "sets end_of_word_suffix"),
    "piece of no bytes": (lambda c: c["model"]["vocab"].update({"\u4e00": 300}), "not byte-level: '\u4e00'"),
    "broken expression": (
        lambda c: c["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "[a-"}),
        "refused by tokenizers",
    ),
}


@pytest.mark.parametrize("name", BAD_TOKENIZERS)
def test_a_tokenizer_json_that_is_refused(name: str) -> None:
    change, message = BAD_TOKENIZERS[name]
    content = json.loads(tokenizer_json())
    assert ByteLevelSegmenter(json.dumps(content).encode()).fast
    change(content)
    with pytest.raises(InputError, match=message):
        ByteLevelSegmenter(json.dumps(content).encode())


def test_merges_that_tokenizers_refuses() -> None:
    content = json.loads(tokenizer_json())
    content["model"]["merges"] = [["zz", "q"]]
    segmenter = ByteLevelSegmenter(json.dumps(content).encode())
    with pytest.raises(InputError, match=r"refused by tokenizers: .*zz"):
        segmenter.split_reference(batch(["zzq"]))


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b"7", b'{"model": 3}'])
def test_bytes_that_are_no_tokenizer_json(data: bytes) -> None:
    with pytest.raises(InputError, match=r"not a tokenizer\.json"):
        ByteLevelSegmenter(data)


@pytest.mark.parametrize("behavior", ["Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
def test_other_splits_are_left_to_tokenizers(behavior: str) -> None:
    content = json.loads(tokenizer_json())
    content["pre_tokenizer"]["pretokenizers"][0].update(behavior=behavior)
    segmenter = ByteLevelSegmenter(json.dumps(content).encode())
    assert not segmenter.fast
    assert segmenter.backends.keys() == {"tokenizers"}
    text = batch(["the cat sat"])
    if behavior == "Removed":
        with pytest.raises(EncodingError):
            cover(segmenter.split(text), segmenter.token_bytes, text)
    else:
        assert_same_ids(segmenter, text)


def test_an_expression_that_gigatoken_does_not_know() -> None:
    content = json.loads(tokenizer_json())
    content["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "[a-c]+|[^a-c]"})
    segmenter = ByteLevelSegmenter(json.dumps(content).encode())
    assert not segmenter.fast
    assert_same_ids(segmenter, batch(["the cat sat", "", "\u00e9 <s>"]))


@pytest.mark.parametrize("name", ["bpe", "byte-bpe", "caseops"])
def test_training_is_deterministic(name: str, embedded: list[bytes]) -> None:
    spec = open_scheme_spec(name).with_vocab_size(600)
    assert train_vocabulary(spec, embedded[:20]) == train_vocabulary(spec, embedded[:20])


def test_training_of_an_unknown_split() -> None:
    with pytest.raises(InputError, match="unknown split 'x'; known: gpt2, cl100k, qwen2"):
        train_byte_level([b"a"], vocab_size=310, split="x")


def test_ends_are_what_cover_finds(caseops: Scheme) -> None:
    """For ids that spell their text the sum of their lengths is where each of them ends."""
    documents = Ragged.from_bytes([b"The NASA paper", b"", b"iPhone \xe2\x96\x81 ends", b"x" * 300])
    text, _ = caseops.rewrite(documents)
    ids = caseops.segmenter.split(text)
    found = ends(ids, caseops.segmenter.token_bytes)
    assert found.values.tolist() == cover(ids, caseops.segmenter.token_bytes, text).values.tolist()
    assert found.offsets.tolist() == ids.offsets.tolist()
