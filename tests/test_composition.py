"""Operators in any order: any text comes back, charges are exact, and what cannot be undone is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import odd_text
from tests.conftest import COMPOSED
from tests.test_scheme import check_reference, check_totals
from tokenlab.errors import DecodingError, InputError
from tokenlab.ops.marks import ALLCAPS, ESC, GLUE, LOWER, SPACE_TITLE, TITLE
from tokenlab.ragged import Ragged
from tokenlab.registry import OPERATORS, make_operator
from tokenlab.scheme import Scheme
from tokenlab.scheme_spec import SchemeSpec, open_scheme_spec, parse_scheme

Named = Callable[[str], Scheme]
each_scheme = pytest.mark.parametrize("name", COMPOSED)

marks = st.text(st.sampled_from(odd_text.ALL_MARKS + "\u2581 "), max_size=3)
ODD_WORDS = [". The", "\nNASA", "(foo", "I", "it's", "\u2019\u2019", "12345", GLUE + " a"]
texts = st.lists(
    st.one_of(
        odd_text.pieces,
        marks,
        st.sampled_from(ODD_WORDS),
    ),
    max_size=12,
).map("".join)

ENTRIES: list[str | dict[str, Any]] = [
    "newline-space",
    "glue",
    "escape",
    "caseops",
    "apostrophe",
    "quote-swap",
    {"name": "digits", "grouping": "split"},
    *({"name": "case", "place": p, "default": d} for p in ("word", "space") for d in ("lower", "predicted")),
    {"name": "case", "place": "alias", "default": "predicted"},
    {"name": "case", "place": "suffix"},
]


def bytes_scheme(entries: list[str | dict[str, Any]]) -> Scheme:
    """Operators before one token a byte."""
    return Scheme(SchemeSpec("mine", open_scheme_spec("bytes").segmenter, tuple(entries)))


@settings(max_examples=200)
@given(
    entries=st.lists(st.sampled_from(ENTRIES), max_size=4),
    batch=st.lists(texts, max_size=3),
)
def test_any_text_through_any_operators(entries: list[str | dict[str, Any]], batch: list[str]) -> None:
    scheme = bytes_scheme(entries)
    check_totals(scheme, batch)
    check_reference(scheme, batch)


def test_every_operator_takes_part() -> None:
    assert {entry if isinstance(entry, str) else entry["name"] for entry in ENTRIES} == set(OPERATORS)


@pytest.mark.parametrize("order", [*permutations(["newline-space", "glue", "escape", "case"])], ids="-".join)
def test_every_order_reads_literal_marks_back(order: tuple[str, ...]) -> None:
    scheme = bytes_scheme(
        [{"name": "case", "place": "space", "default": "predicted"} if op == "case" else op for op in order]
    )
    check_totals(
        scheme,
        [before + mark + behind for mark in (*odd_text.ALL_MARKS, "\u2581") for before in ("", " ", "a", ESC)
         for behind in ("", " ", "The", " the", "\nI", GLUE + " x", ESC)],
    )  # fmt: skip


SCHEME = 'name = "x"\n[segmenter]\nkind = "sentencepiece"\nnormalization = "identity"\n'


@pytest.mark.parametrize("order", [*permutations(["newline-space", "glue", "case"])], ids="-".join)
def test_an_order_is_accepted_or_refused_with_the_reason(order: tuple[str, ...]) -> None:
    listed = ", ".join(f'"{name}"' for name in order)
    assert len(parse_scheme(f"operators = [{listed}]\n{SCHEME}").make_operators()) == 3
    without = listed.replace('"case"', '{ name = "case", escape_metaspace = false }')
    with pytest.raises(InputError, match="cannot tell U\\+2581 from a space"):
        parse_scheme(f"operators = [{without}]\n{SCHEME}")
    parse_scheme(f'operators = ["escape", {without}]\n{SCHEME}')


@each_scheme
@settings(max_examples=60)
@given(batch=st.lists(texts, max_size=3))
def test_any_text_through_a_scheme(name: str, small_scheme: Named, batch: list[str]) -> None:
    scheme = small_scheme(name)
    assert scheme.reversible
    check_totals(scheme, batch)
    check_reference(scheme, batch)


@each_scheme
@pytest.mark.parametrize(("set_name", "step"), [("unicode_adversarial", 1), ("fineweb_orig", 4)])
def test_documents(
    name: str, set_name: str, step: int, small_scheme: Named, shared_texts: Callable[[str], list[str]]
) -> None:
    scheme, documents = small_scheme(name), shared_texts(set_name)[::step]
    check_totals(scheme, documents)
    check_reference(scheme, documents[::20])


@each_scheme
def test_the_fast_encoder_is_used_and_agrees(name: str, small_scheme: Named, embedded: list[bytes]) -> None:
    scheme = small_scheme(name)
    assert scheme.segmenter.fast
    text, _ = scheme.rewrite(Ragged.from_bytes(embedded[:10]))
    assert scheme.segmenter.split(text).first_difference(scheme.segmenter.split_reference(text)) is None


@settings(max_examples=300)
@given(text=texts)
@each_scheme
def test_decode_gives_a_source_only_for_what_it_becomes(name: str, small_scheme: Named, text: str) -> None:
    """Ids of any text, marks anywhere: DecodingError, or a source whose rewriting is that text."""
    scheme = small_scheme(name)
    garbage = Ragged.from_bytes([text.replace("\u2581", " ").encode()])  # which no id spells
    try:
        source = scheme.decode(scheme.segmenter.split(garbage)[0])
    except DecodingError:
        return
    assert scheme.rewrite(Ragged.from_bytes([source]))[0].tobytes() == garbage.tobytes()


@pytest.mark.parametrize(
    ("name", "text", "rewritten"),
    [
        ("caseops-before", "x The NASA", f"x{TITLE} the{ALLCAPS} nasa"),
        ("caseops-alias", "x The", f"x{SPACE_TITLE}the"),
        ("spaceops", "(The\nx \u2581", f" ({GLUE} The\n x {ESC} "),
        ("wordops", "(The\nX", f" ({GLUE}{TITLE} the\n{TITLE} x"),
        (
            "wordops-auto",
            "(The NASA. \u201cIt is\nx",
            f" ({GLUE} the{ALLCAPS} nasa. \u201c{GLUE} it is\n{LOWER} x",
        ),
    ],
)
def test_examples(name: str, text: str, rewritten: str, small_scheme: Named) -> None:
    assert (
        small_scheme(name).rewrite(Ragged.from_bytes([text.encode()]))[0].tobytes()[0].decode() == rewritten
    )


@pytest.mark.parametrize(
    ("name", "text", "mark", "charge"),
    [
        ("caseops-before", "x The", TITLE, 0),
        ("caseops-alias", "x The", SPACE_TITLE, 1),
        ("wordops", "x The", TITLE, 0),
        ("wordops-auto", "is The", LOWER, 0),
    ],
)
def test_a_mark_is_charged_what_it_stands_for(
    name: str, text: str, mark: str, charge: int, small_scheme: Named
) -> None:
    scheme = small_scheme(name)
    ids, charges = scheme.encode(text)
    pieces = [scheme.segmenter.piece(token) for token in ids.tolist()]
    assert charges[pieces.index(mark)] == charge
    assert int(charges.sum()) == len(text)


def test_operators_are_made_as_a_scheme_lists_them() -> None:
    assert make_operator({"name": "case", "place": "space"}).markers == (TITLE, ALLCAPS, "\ue003", ESC)
