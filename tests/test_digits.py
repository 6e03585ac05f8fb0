"""Digits: borders against their twin, tokens that cross none, and what cannot be kept together."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_scheme import check_reference, check_totals
from tokenlab.errors import EncodingError, InputError
from tokenlab.ops.digits import GROUPINGS, Digits, borders_reference
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import parse_scheme
from tokenlab.segment.grouped import GroupedSegmenter
from tokenlab.vocabulary import train_vocabulary

texts = st.lists(st.sampled_from([*"0123a.,\u00e9\u0661", "12345678", " 2024", ""]), max_size=12).map("".join)
each = pytest.mark.parametrize("grouping", GROUPINGS)


@pytest.mark.parametrize(
    ("grouping", "text", "borders"),
    [
        ("split", "12a345", [1, 4, 5]),
        ("right-to-left-3", "1234567", [1, 4]),
        ("right-to-left-3", "\u00e9 123456.1234", [6, 11]),
        ("right-to-left-3", "123", []),
        ("joined", "1234567", []),
    ],
)
def test_examples(grouping: str, text: str, borders: list[int]) -> None:
    assert Digits(grouping=grouping).borders(Ragged.from_bytes([text.encode()])).tolist() == borders


@each
@given(batch=st.lists(texts, max_size=4))
def test_borders_are_their_twin(grouping: str, batch: list[str]) -> None:
    text = Ragged.from_bytes([document.encode() for document in batch])
    expected = [
        int(start) + border
        for start, document in zip(text.offsets, batch, strict=False)
        for border in borders_reference(document, grouping)
    ]
    assert Digits(grouping=grouping).borders(text).tolist() == expected


SCHEMES = {
    "sentencepiece": 'operators = ["glue", {digits}, "escape"]\n[segmenter]\nkind = "sentencepiece"\n'
    'normalization = "identity"\nvocab_size = 330\nsplit_digits = false\n',
    "byte-level": 'operators = [{digits}]\n[segmenter]\nkind = "byte-level"\n'
    'vocab_size = 340\nsplit = "gpt2"\n',
}


WORDS = "the quick brown fox jumps over the lazy dog while seven wizards quietly vex a jumbled kingpin " * 2


@cache
def trained(kind: str, grouping: str) -> Scheme:
    toml = SCHEMES[kind].replace("{digits}", f'{{ name = "digits", grouping = "{grouping}" }}')
    spec = parse_scheme('name = "x"\n' + toml)
    documents = [f"In 20{i:02} they sold 1234, 1234, 1234 and {i}; {WORDS}".encode() for i in range(99)]
    return Scheme(spec, train_vocabulary(spec, documents))


@each
@pytest.mark.parametrize("kind", SCHEMES)
@settings(max_examples=60)
@given(batch=st.lists(texts, max_size=4))
def test_no_token_crosses_a_border(kind: str, grouping: str, batch: list[str]) -> None:
    scheme = trained(kind, grouping)
    check_totals(scheme, batch)
    check_reference(scheme, batch)
    rewritten, _ = scheme.rewrite(Ragged.from_bytes([document.encode() for document in batch]))
    _, ends = scheme.segmenter.split_with_ends(rewritten)
    for d, document in enumerate(rewritten.tobytes()):
        assert set(borders_reference(document.decode(), grouping)) <= set(ends[d].tolist())


def test_numbers_become_the_tokens_that_the_grouping_allows() -> None:
    def pieces(grouping: str) -> list[str]:
        scheme = trained("byte-level", grouping)
        return [scheme.segmenter.piece(token) for token in scheme.encode(" 1234,")[0].tolist()]

    assert pieces("split") == ["\u01201", "2", "3", "4", ","]
    assert pieces("right-to-left-3") == ["\u01201", "234", ","]
    assert pieces("joined") == ["\u01201234", ","]


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ('operators = ["digits", "escape"]\n[segmenter]\nkind = "sentencepiece"\n', "split_digits = false"),
        ('operators = ["digits"]\n[segmenter]\nkind = "byte-level"\nsplit = "qwen2"\n', "'gpt2' or 'cl100k'"),
        (
            'operators = [{ name = "digits", grouping = "joined" }]\n[segmenter]\nkind = "byte-level"\n',
            "split = 'gpt2'",
        ),
        ('operators = ["digits"]\n[segmenter]\nkind = "byte"\n', "a byte is a token"),
        ('operators = [{ name = "digits", grouping = "odd" }]\n[segmenter]\nkind = "byte"\n', "known: split"),
    ],
)
def test_a_segmenter_that_splits_what_is_kept_is_refused(toml: str, reason: str) -> None:
    toml = toml.replace('"sentencepiece"\n', '"sentencepiece"\nnormalization = "identity"\n')
    with pytest.raises(InputError, match=reason):
        parse_scheme('name = "x"\n' + toml)


def test_an_error_names_the_document_and_not_the_part() -> None:
    class Refusing:
        def __init__(self, inner: object) -> None:
            self.__dict__.update(vars(inner))
            self.piece = None

        def split_with_ends(self, text: Ragged) -> None:
            raise EncodingError(4, "no")

    inner = Refusing(trained("byte-level", "split").segmenter)
    segmenter = GroupedSegmenter(inner, Digits(grouping="split").borders)  # type: ignore[arg-type]
    with pytest.raises(EncodingError) as caught:
        segmenter.split_with_ends(Ragged.from_bytes([b"12", b"", b"345", b"6"]))  # parts 0-1, 2, 3-5, 6
    assert caught.value.document == 2
