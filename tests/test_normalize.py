"""The normaliser kernel against SentencePiece itself, text and cuts, to the byte."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenlab.errors import InputError
from tokenlab.ops.normalize import SentencePieceNormalizer, normalize_reference
from tokenlab.ragged import Ragged
from tokenlab.segment.sentencepiece_model import PieceKind, parse_model

SHARED = Path(__file__).parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/")

MODELS = ["sp1024_official", "sp8192_caseops_v1_reserved", "sp10240_caseops_pr1797"]
# Every document of these is compared with every model.
WHOLE_SETS = ["unicode_adversarial", "multilingual_debian_handbook"]
# The twin manages 2 MB/s, so of these 20 MB each model takes another sixth.
ENGLISH_SETS = [
    "c4_demo",
    "fineweb_edu_chunks",
    "fineweb_orig",
    "fineweb_pgval_sp1024",
    "prose_debian_en",
    "web_cc0_gov",
    "wikipedia_demo",
]
ENGLISH_SHARE = 6

SYMBOLS = ["\ue001", "\ue002", "\ue001\ue002", "ab", "x y", "foo\u2581", "qu ", "e\u0301z", "\u0301\u0301"]

# (rules, dummy prefix, remove extra whitespace, dummy as suffix, user-defined symbols)
SETTINGS = {
    "published": ("nmt_nfkc", False, True, False, []),
    "caseops": ("nmt_nfkc", False, True, False, ["\ue001", "\ue002", "\ue003", "\ue004"]),
    "spaces_kept": ("nmt_nfkc", False, False, False, SYMBOLS),
    "symbols": ("nmt_nfkc", False, True, False, SYMBOLS),
    "identity": ("identity", False, True, False, SYMBOLS),
    "lossless": ("identity", False, False, False, []),
    "prefix": ("identity", True, True, False, SYMBOLS),
    "prefix_spaces_kept": ("nmt_nfkc", True, False, False, []),
    "suffix": ("nmt_nfkc", True, True, True, SYMBOLS),
    "folding": ("nfkc_cf", False, True, False, SYMBOLS),
}

CHARACTERS = [
    *" \t\n\r\u00a0\u3000\u2003\u200b\u200d\ufeff\u2028\u2581",
    *"\x00\x01\x1f\x7f\x85\ufffd\ufffe",
    *"aeqxyzABf \u00e9\u00c5\u212b\u00df\u0301\u0301\u0308\u0327\u00b4\u1e9b\u0323",
    *"\ufb01\u2460\u00bd\u2026\ufdfa\uff21\uff5e\uff76\uff9e\u32ff\U0001d400\u6f22\U0001f600\u20ac",
    *"\u1100\u1161\u11a8\uac00\uac01\ue001\ue002\ue003\ue004\ue005",
]
STRINGS = [*SYMBOLS, "foo", "qu", "x", " \u0301", "  ", "\u2581\u2581", "the cat", "\u00e9\u00e9"]

texts = st.lists(
    st.one_of(
        st.sampled_from(CHARACTERS),
        st.sampled_from(STRINGS),
        st.characters(codec="utf-8"),
    ),
    max_size=24,
).map("".join)


def train(**options: Any) -> bytes:
    """A tiny BPE model with byte fallback."""
    words = [f"{stem}{ending}" for stem in ("the", "cat", "sit", "walk") for ending in ("s", "ing", "ed", "")]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(words[k:] + words[:k]) for k in range(len(words))]),
        model_writer=model,
        model_type="bpe",
        vocab_size=320,
        hard_vocab_limit=False,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


@cache
def tiny_model(setting: str) -> bytes:
    rules, dummy_prefix, remove_extra, suffix, symbols = SETTINGS[setting]
    return train(
        normalization_rule_name=rules,
        add_dummy_prefix=dummy_prefix,
        remove_extra_whitespaces=remove_extra,
        treat_whitespace_as_suffix=suffix,
        user_defined_symbols=symbols,
    )


@pytest.fixture(scope="session", params=SETTINGS)
def model(request: pytest.FixtureRequest) -> bytes:
    return tiny_model(request.param)


@cache
def published(name: str) -> bytes:
    return (SHARED / "tokenizers" / f"{name}.model").read_bytes()


@cache
def documents(name: str) -> list[bytes]:
    raw = zstandard.ZstdDecompressor().decompress((SHARED / "data" / f"{name}.jsonl.zst").read_bytes())
    return [json.loads(line)["text"].encode() for line in raw.split(b"\n") if line]


def check(model: bytes, rows: list[bytes]) -> list[bytes]:
    """Compare with the twin and check what every cut map must satisfy; returns the output."""
    processor = processor_of(model)
    text, cuts = normalizer_of(model).apply(Ragged.from_bytes(rows))
    assert text.values.dtype == np.uint8
    assert cuts.positions is not None
    assert cuts.positions.dtype == np.int32
    assert len(cuts.positions) == len(text.values) + len(rows)
    normal = text.tobytes()
    for d, row in enumerate(rows):
        positions = cuts.document(d).tolist()
        assert (normal[d], positions) == normalize_reference(processor, row), row
        assert positions == sorted(positions)
        assert 0 <= positions[0] <= positions[-1] <= len(row)
    return normal


@cache
def processor_of(model: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


@cache
def normalizer_of(model: bytes) -> SentencePieceNormalizer:
    return SentencePieceNormalizer(model)


def one(model: bytes, text: str) -> tuple[str, list[int]]:
    out, cuts = normalizer_of(model).apply(Ragged.from_bytes([text.encode()]))
    return bytes(out[0]).decode(), cuts.document(0).tolist()


@given(st.lists(texts, max_size=6))
@settings(max_examples=150, deadline=None)
def test_kernel_is_sentencepiece(model: bytes, batch: list[str]) -> None:
    check(model, [text.encode() for text in batch])


@needs_shared
@pytest.mark.parametrize("name", MODELS)
@given(st.lists(texts, max_size=6))
@settings(max_examples=150, deadline=None)
def test_published_model_is_sentencepiece(name: str, batch: list[str]) -> None:
    check(published(name), [text.encode() for text in batch])


@needs_shared
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("set_name", WHOLE_SETS)
def test_every_document(name: str, set_name: str) -> None:
    check(published(name), documents(set_name))


@needs_shared
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("set_name", ENGLISH_SETS)
def test_english_documents(name: str, set_name: str) -> None:
    check(published(name), documents(set_name)[MODELS.index(name) :: ENGLISH_SHARE])


@needs_shared
@pytest.mark.parametrize("name", MODELS)
def test_same_ids_from_the_normal_form(name: str) -> None:
    model, processor = published(name), processor_of(published(name))
    rows = documents("fineweb_orig")[:25] + documents("multilingual_debian_handbook")[:25]
    for row, normal in zip(rows, check(model, rows), strict=True):
        assert processor.encode(row.decode()) == processor.encode(normal.decode())


def test_same_ids_from_the_normal_form_tiny(model: bytes) -> None:
    processor = processor_of(model)
    # Without U+2581: identity does not collapse it the first time, and the second it is a space.
    text = "the  cat\tsits  \ufb01 \uff21e\u0301\u20ac\n"
    normal = check(model, [text.encode()])[0].decode()
    assert processor.normalize(text).replace("\u2581", " ") == normal
    parsed = parse_model(model)
    if parsed.remove_extra_whitespaces or not parsed.add_dummy_prefix:  # else a second dummy space
        assert processor.encode(text) == processor.encode(normal)


@pytest.mark.parametrize(
    ("setting", "text", "normal", "cuts"),
    [
        ("published", "", "", [0]),
        ("published", " \t\u3000", "", [5]),
        ("published", "  a", "a", [2, 3]),
        ("published", "a \n", "a", [0, 1]),
        ("published", "a  b", "a b", [0, 1, 3, 4]),
        ("published", "a\u2581 \u2581b", "a b", [0, 1, 8, 9]),
        ("published", "\u20acb", "\u20acb", [0, 1, 2, 3, 4]),
        ("published", "\ufb01x", "fix", [0, 0, 3, 4]),
        ("published", "e\u0301", "\u00e9", [0, 0, 3]),
        ("published", "a\x01b", "ab", [0, 2, 3]),
        ("published", "\u00a0\u00b4", "\u0301", [2, 2, 4]),
        ("published", "\x00", "\x00", [0, 1]),
        ("lossless", " a\u2581\u2581 ", " a   ", [0, 1, 2, 5, 8, 9]),
        ("identity", "a\u2581\u2581b\u2581", "a  b", [0, 1, 4, 7, 8]),
        ("prefix", "  a", " a", [2, 2, 3]),
        ("prefix", " \u2581", "", [1]),
        ("suffix", "a ", "a ", [0, 1, 1]),
        ("symbols", "\ue001\ue002\ue001", "\ue001\ue002\ue001", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("symbols", "e\u0301e\u0301z", "\u00e9e\u0301z", [0, 0, 3, 4, 5, 6, 7]),
        # A symbol that ends in a space is one run to the byte; cut off at the end, it is charged 0.
        ("symbols", "qu a", "qu a", [0, 0, 0, 3, 4]),
        ("symbols", "qu ", "qu", [0, 0, 0]),
    ],
)
def test_worked_examples(setting: str, text: str, normal: str, cuts: list[int]) -> None:
    assert one(tiny_model(setting), text) == (normal, cuts)
    check(tiny_model(setting), [text.encode()])


def test_empty_batch_and_empty_documents(model: bytes) -> None:
    text, cuts = normalizer_of(model).apply(Ragged.from_bytes([]))
    assert len(text) == 0
    assert cuts.positions is not None
    assert len(cuts.positions) == 0
    assert check(model, [b"", b"", b" a ", b""])[3] == b""


def test_rows_of_a_larger_batch_are_relative_to_their_document() -> None:
    rows = [b"one  two", " \u20ac ".encode(), b"", b"x"]
    batch = Ragged.from_bytes([b"skipped", *rows]).rows(1, 5)
    text, cuts = normalizer_of(tiny_model("published")).apply(batch)
    assert text.tobytes() == check(tiny_model("published"), rows)
    assert cuts.unattributed(batch.lengths).tolist() == [0, 2, 0, 0]


def test_output_that_outgrows_its_source() -> None:
    # U+FDFA is 3 bytes and becomes 33, the largest growth of NFKC.
    rows = [b"x" * 1000, "\ufdfa".encode() * 20_000, b"", "a\ufdfa".encode() * 50, b"end"]
    assert len(check(tiny_model("published"), rows)[1]) == 33 * 20_000


def test_rules_whose_output_resembles_their_source(tmp_path: Path) -> None:
    # `a` becomes `a `, `bc` becomes `b`, `d` becomes U+2581, `e` is deleted, `f` becomes `fgg`.
    rules = tmp_path / "rules.tsv"
    rules.write_text("61\t61 20\n62 63\t62\n64\t2581\n65\t\n66\t66 67 67\n20ac 65\t20ac\n")
    model = train(normalization_rule_tsv=str(rules), add_dummy_prefix=False)
    rng = np.random.default_rng(7)
    alphabet = np.array(list("aabcdefgg \n\u20ac\u2581"))
    check(model, ["".join(rng.choice(alphabet, rng.integers(0, 12))).encode() for _ in range(3000)])


def test_invert_is_the_normal_form_itself() -> None:
    normalizer = normalizer_of(tiny_model("published"))
    text = Ragged.from_bytes([b"a b"])
    assert normalizer.invert(text) is text
    assert (normalizer.name, normalizer.markers) == ("sentencepiece-normalize", ())
    assert not normalizer.reversible


def test_unescaped_spaces_are_refused() -> None:
    # A message that follows another is merged into it: NormalizerSpec { escape_whitespaces: false }.
    with pytest.raises(InputError, match="escape_whitespaces"):
        SentencePieceNormalizer(tiny_model("published") + bytes([3 << 3 | 2, 2, 5 << 3, 0]))


def test_broken_rules_are_refused() -> None:
    for charsmap in (b"\x01", b"\x04\x00\x00\x00", b"\xff\xff\xff\x7fxxxxxxxx", b"\x03\x00\x00\x00xxxxxxxx"):
        spec = bytes([2 << 3 | 2, len(charsmap)]) + charsmap
        with pytest.raises(InputError, match="normalization rules"):
            SentencePieceNormalizer(tiny_model("published") + bytes([3 << 3 | 2, len(spec)]) + spec)


def test_a_trie_of_noise_stays_in_bounds() -> None:
    rng = np.random.default_rng(11)
    rows = [bytes(rng.integers(0, 128, 200, dtype=np.uint8)) for _ in range(20)]
    for _ in range(20):
        units = rng.integers(0, 2**32, 64, dtype=np.uint32) & rng.choice([0xFFFFFFFF, 0x0003FFFF, 0x1FF])
        charsmap = (256).to_bytes(4, "little") + units.astype("<u4").tobytes() + b"\0abc\0 \0"
        spec = bytes([2 << 3 | 2]) + varint(len(charsmap)) + charsmap
        proto = tiny_model("published") + bytes([3 << 3 | 2]) + varint(len(spec)) + spec
        text, cuts = SentencePieceNormalizer(proto).apply(Ragged.from_bytes(rows))
        assert len(text) == len(rows)
        assert cuts.positions is not None


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def test_model_is_read_as_sentencepiece_reads_it(model: bytes) -> None:
    processor, parsed = processor_of(model), parse_model(model)
    assert len(parsed.pieces) == processor.vocab_size()
    for i, piece in enumerate(parsed.pieces):
        assert (piece.text, piece.score) == (processor.id_to_piece(i), processor.get_score(i))
        assert (piece.kind is PieceKind.BYTE) == processor.is_byte(i)
        assert (piece.kind is PieceKind.CONTROL) == processor.is_control(i)
        assert (piece.kind is PieceKind.UNKNOWN) == processor.is_unknown(i)
    ids = (processor.unk_id(), processor.bos_id(), processor.eos_id(), processor.pad_id())
    assert (parsed.unk_id, parsed.bos_id, parsed.eos_id, parsed.pad_id) == ids
    assert (parsed.model_type, parsed.byte_fallback) == ("bpe", True)


@pytest.mark.parametrize("setting", SETTINGS)
def test_model_settings_are_read(setting: str) -> None:
    rules, dummy_prefix, remove_extra, suffix, symbols = SETTINGS[setting]
    parsed = parse_model(tiny_model(setting))
    assert parsed.normalizer_name == rules
    assert (parsed.add_dummy_prefix, parsed.remove_extra_whitespaces) == (dummy_prefix, remove_extra)
    assert (parsed.treat_whitespace_as_suffix, parsed.escape_whitespaces) == (suffix, True)
    assert [p.text for p in parsed.pieces if p.kind is PieceKind.USER_DEFINED] == symbols
    assert bool(parsed.charsmap) == (rules != "identity")


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_garbage_is_no_model(data: bytes) -> None:
    with pytest.raises(InputError, match="not a SentencePiece model"):
        parse_model(data)


def test_a_truncated_model_is_no_model() -> None:
    whole = tiny_model("lossless")
    for stop in [*range(0, len(whole) - 40, 7), *range(len(whole) - 40, len(whole))]:
        with pytest.raises(InputError, match=r"^not a SentencePiece model .*\Z"):
            parse_model(whole[:stop])
