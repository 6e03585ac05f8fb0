"""Case in all its variants: worked examples, the kernel against its twin, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import odd_text
from tokenlab.errors import DecodingError, InputError
from tokenlab.ops.case import DEFAULTS, PLACES, Case, apply_reference, invert_reference
from tokenlab.ops.caseops import CaseOps
from tokenlab.ops.marks import (
    ALLCAPS,
    CAPNEXT,
    ESC,
    GLUE,
    LOWER,
    SPACE_ALLCAPS,
    SPACE_LOWER,
    SPACE_TITLE,
    TITLE,
)
from tokenlab.ragged import Ragged

VARIANTS = [
    *(Case(place=place, default=default) for place, default in product(PLACES, DEFAULTS)),
    Case(place="space", default="predicted", escape_metaspace=False),
]
every_variant = pytest.mark.parametrize(
    "case", VARIANTS, ids=[f"{c.place}-{c.default}-{c.escape_metaspace}" for c in VARIANTS]
)


def rewritten(case: Case, text: str) -> str:
    return case.apply(Ragged.from_bytes([text.encode()]))[0].tobytes()[0].decode()


def check(case: Case, texts: list[str]) -> None:
    """Kernels and twins agree to the byte and the cut, and the way back ends at the source."""
    source = Ragged.from_bytes([text.encode() for text in texts])
    out, cuts = case.apply(source)
    for d, text in enumerate(texts):
        assert (bytes(out[d]), cuts.document(d).tolist()) == apply_reference(text, case), text
        assert invert_reference(bytes(out[d]).decode(), case) == text
    assert case.invert(out).tobytes() == source.tobytes()


T, A, C, L = TITLE, ALLCAPS, CAPNEXT, LOWER
EXAMPLES = {
    ("word", "lower"): ("x The NASA iPhone McDonald I", f"x {T}the {A}nasa i{C}phone {T}mc{C}donald {T}i"),
    ("space", "lower"): (
        "The x The  NASA iPhone McDonald(A",
        f"{T}the x{T} the {A} nasa i{C}phone{T} mc{C}donald({T}a",
    ),
    ("suffix", "lower"): ("The NASA iPhone McDonald", f"the{T} nasa{A} i{C}phone mc{C}donald{T}"),
    ("alias", "lower"): (
        "The NASA The\nMcDonald",
        f"{T}the{SPACE_ALLCAPS}nasa{SPACE_TITLE}the\n{T}mc{C}donald",
    ),
    ("space", "predicted"): (
        "The cat. It sat? \u201cI did, i.e. The: NASA\n 1 Dog iPad.\niPad e.g. it",
        f"the cat. it sat? \u201ci did,{L} i.e. the:{A} nasa\n 1 dog i{C}pad.\n{L}i{C}pad e.g.{L} it",
    ),
    ("word", "predicted"): ("xBi aI Ib i", f"{L}x{C}bi a{C}i {T}ib {L}i"),
    ("alias", "predicted"): ("A. the. The", f"a.{SPACE_LOWER}the. the"),
}


@pytest.mark.parametrize(("variant", "example"), EXAMPLES.items())
def test_examples(variant: tuple[str, str], example: tuple[str, str]) -> None:
    case = Case(place=variant[0], default=variant[1])
    assert rewritten(case, example[0]) == example[1]
    check(case, [example[0]])


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("the", True),
        ("\u201c1. the", True),
        ("\u00e9 the", False),
        ("x\nthe", True),
        ("x the", False),
        ("x. the", True),
        ("x.the", False),
        ("x.\u201d) \u201c(the", True),
        ("x. \u201d the", False),
        ("x.          the", True),  # ten spaces and the full stop are in reach
        ("x.            the", False),
        ("x. (" + GLUE + " the", True),
        ("x." + GLUE + " the", False),  # the space is the glue mark's
        ("x.\u00a0the", False),
        ("x i", True),
        ("x i.", True),
        ("x in", False),
    ],
)
def test_where_a_capital_is_expected(text: str, starts: bool) -> None:
    out = rewritten(Case(place="word", default="predicted"), text)
    last = text.split()[-1].lstrip("\u201c\u201d(x.\u00a0\u00e9" + GLUE)
    assert (LOWER + last in out) == starts
    check(Case(place="word", default="predicted"), [text])


# What the rules of every place and default look at, close together.
dense = st.lists(
    st.one_of(
        st.sampled_from("aAiI .\n\u201c\u201d)("),
        st.sampled_from([*odd_text.ALL_MARKS, "\u2581", "\u00e9", ". ", GLUE + " ", "The", "NASA"]),
    ),
    max_size=16,
).map("".join)


@every_variant
@settings(max_examples=150)
@given(texts=st.lists(st.one_of(odd_text.texts, dense), max_size=4))
def test_any_text(case: Case, texts: list[str]) -> None:
    check(case, texts)


@settings(max_examples=300)
@given(texts=odd_text.batches)
def test_case_at_words_is_caseops(texts: list[str]) -> None:
    source = Ragged.from_bytes([text.encode() for text in texts])
    for escape_metaspace in (True, False):
        out, cuts = Case(escape_metaspace=escape_metaspace).apply(source)
        expected, expected_cuts = CaseOps(escape_metaspace=escape_metaspace).apply(source)
        assert out.tobytes() == expected.tobytes()
        assert cuts.positions.tolist() == expected_cuts.positions.tolist()


def test_case_at_words_is_caseops_on_documents(shared_texts: Callable[[str], list[str]]) -> None:
    source = Ragged.from_bytes([text.encode() for text in shared_texts("fineweb_orig")])
    out, cuts = Case().apply(source)
    expected, expected_cuts = CaseOps().apply(source)
    assert out.values.tobytes() == expected.values.tobytes()
    assert cuts.positions.tobytes() == expected_cuts.positions.tobytes()


@every_variant
@pytest.mark.parametrize(("name", "step"), [("unicode_adversarial", 3), ("fineweb_orig", 40)])
def test_documents(case: Case, name: str, step: int, shared_texts: Callable[[str], list[str]]) -> None:
    check(case, [text[:4000] for text in shared_texts(name)[::step]])


@every_variant
@settings(max_examples=300)
@given(text=dense)
def test_invert_is_its_twin_on_any_text(case: Case, text: str) -> None:
    batch = Ragged.from_bytes([b"1", text.encode()])
    try:
        expected = invert_reference(text, case).encode()
    except ValueError:
        with pytest.raises(DecodingError) as caught:
            case.invert(batch)
        assert caught.value.document == 1
        return
    assert case.invert(batch).tobytes() == [b"1", expected]


@pytest.mark.parametrize(
    ("place", "text", "position", "reason"),
    [
        ("space", "a" + TITLE, 1, "not where the word"),
        ("space", TITLE + "  a", 0, "not where the word"),
        ("space", CAPNEXT + "a", 0, "not where the word"),
        ("space", "a" + CAPNEXT + " b", 1, "not where the word"),
        ("space", ALLCAPS + "a", 0, "two letters"),
        ("space", ALLCAPS + "ab" + CAPNEXT + "c", 0, "two letters"),
        ("space", "abC", 2, "a capital letter"),
        ("space", ESC + "a", 0, "ESC"),
        ("word", TITLE + " a", 0, "not where the word"),
        ("suffix", "a " + TITLE, 2, "not where the word"),
        ("suffix", "a" + ALLCAPS, 0, "two letters"),
        ("alias", SPACE_TITLE + " a", 0, "not where the word"),
        ("alias", SPACE_TITLE, 0, "not where the word"),
    ],
)
def test_malformed_text(place: str, text: str, position: int, reason: str) -> None:
    # What follows in the batch would make it good.
    batch = Ragged.from_bytes([b"a", text.encode(), b"bc"])
    with pytest.raises(DecodingError, match=reason) as caught:
        Case(place=place).invert(batch)
    assert (caught.value.document, caught.value.position) == (1, position)


@every_variant
def test_a_character_cut_by_a_border_is_none(case: Case) -> None:
    rows = [b"\xee", b"\x80\x81a", b"\xee\x80", b"\x81a", b"\xe2\x96", b"\x81\xee\x80", b"\xf0"]
    if case.default == "predicted":
        rows = [row.replace(b"a", b"1") for row in rows]
    batch = Ragged.from_bytes(rows)
    assert case.invert(batch).tobytes() == rows
    assert case.apply(batch)[0].tobytes() == rows


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(InputError, match="place = 'left'; known: word, space, suffix, alias"):
        Case(place="left")
    with pytest.raises(InputError, match="default = 'upper'; known: lower, predicted"):
        Case(default="upper")


def test_an_alias_is_charged_its_space() -> None:
    _, cuts = Case(place="alias").apply(Ragged.from_bytes([b"a The"]))
    assert cuts.document(0).tolist() == [0, 1, 1, 1, 2, 3, 4, 5]
    _, cuts = Case(place="space").apply(Ragged.from_bytes([b"a The"]))
    assert cuts.document(0).tolist() == [0, 1, 1, 1, 1, 2, 3, 4, 5]
    _, cuts = Case(place="suffix").apply(Ragged.from_bytes([b"The a"]))
    assert cuts.document(0).tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 5]
