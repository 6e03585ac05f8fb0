"""Newline-space and glue: the worked examples, the kernels against their twins, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import odd_text
from tokenlab.errors import DecodingError
from tokenlab.ops import glue, newline_space
from tokenlab.ops.glue import Glue
from tokenlab.ops.marks import ESC, GLUE
from tokenlab.ops.newline_space import NewlineSpace
from tokenlab.ops.operator import Operator
from tokenlab.ragged import Ragged

N = GLUE
OPERATORS: list[tuple[Operator, ModuleType]] = [(NewlineSpace(), newline_space), (Glue(), glue)]
each = pytest.mark.parametrize(("operator", "twin"), OPERATORS, ids=["newline-space", "glue"])

dense = st.lists(
    st.sampled_from([*"aB1 '\n.(\u2019\u201c\u00e9\u00bd\u65e5", N, ESC, "\u2056", "\ue005", N + " "]),
    max_size=12,
).map("".join)


def check(operator: Operator, twin: ModuleType, texts: list[str]) -> None:
    """Kernels and twins agree to the byte and the cut, and the way back ends at the source."""
    source = Ragged.from_bytes([text.encode() for text in texts])
    out, cuts = operator.apply(source)
    for d, text in enumerate(texts):
        assert (bytes(out[d]), cuts.document(d).tolist()) == operator.apply_reference(text.encode()), text
        assert twin.invert_reference(bytes(out[d]).decode()) == text
    assert operator.invert(out).tobytes() == source.tobytes()


@pytest.mark.parametrize(
    ("operator", "text", "rewritten", "cuts"),
    [
        (NewlineSpace(), "", "", [0]),
        (NewlineSpace(), "a\n\nb", " a\n \n b", [0, 0, 1, 2, 2, 3, 3, 4]),
        (NewlineSpace(), "\n", " \n ", [0, 0, 1, 1]),
        (NewlineSpace(), " a\r\n", "  a\r\n ", [0, 0, 1, 2, 3, 4, 4]),
        (Glue(), "", "", [0]),
        (Glue(), "(a", f"({N} a", [0, 1, 1, 1, 1, 1, 2]),
        (Glue(), "a b1c don't d\u2019e", f"{N} a b1c don't d\u2019e", None),
        (Glue(), "na\u00efve \u65e5b", f"{N} na\u00efve \u65e5b", None),
        (Glue(), " \u201cc\u00bdd \U0001f600e", f" \u201c{N} c\u00bd{N} d \U0001f600{N} e", None),
        (Glue(), " a\n\tb.c", f" a\n\t{N} b.{N} c", None),
        (Glue(), f" {N}a{N} a", f" {ESC}{N}{N} a{ESC}{N} a", None),
        (Glue(), f" {ESC}{ESC}a\u2056", f" {ESC}{ESC}{ESC}{ESC}{N} a\u2056", None),
    ],
)
def test_examples(operator: Operator, text: str, rewritten: str, cuts: list[int] | None) -> None:
    out, found = operator.apply(Ragged.from_bytes([text.encode()]))
    assert out.tobytes()[0].decode() == rewritten
    if cuts is not None:
        assert found.document(0).tolist() == cuts
    check(*next(pair for pair in OPERATORS if pair[0].name == operator.name), [text])


@each
@settings(max_examples=300)
@given(texts=st.lists(st.one_of(odd_text.texts, dense), max_size=4))
def test_any_text(operator: Operator, twin: ModuleType, texts: list[str]) -> None:
    check(operator, twin, texts)


@each
@pytest.mark.parametrize(("name", "step"), [("unicode_adversarial", 1), ("fineweb_orig", 20)])
def test_documents(
    operator: Operator, twin: ModuleType, name: str, step: int, shared_texts: Callable[[str], list[str]]
) -> None:
    check(operator, twin, shared_texts(name)[::step])


@each
@settings(max_examples=300)
@given(text=st.one_of(dense, dense.map(lambda text: " " + text.replace("\n", "\n "))))
def test_invert_is_its_twin_on_any_text(operator: Operator, twin: ModuleType, text: str) -> None:
    batch = Ragged.from_bytes([b"", text.encode(), b" a"])
    try:
        expected = twin.invert_reference(text).encode()
    except ValueError:
        with pytest.raises(DecodingError) as caught:
            operator.invert(batch)
        assert caught.value.document == 1
        return
    assert operator.invert(batch).tobytes()[:2] == [b"", expected]


@pytest.mark.parametrize(
    ("operator", "text", "position", "reason"),
    [
        (NewlineSpace(), "a", 0, "does not begin with its added"),
        (NewlineSpace(), " ", 0, "does not begin with its added"),
        (NewlineSpace(), " a\n", 3, "does not begin with its added"),
        (NewlineSpace(), " a\nb", 3, "does not begin with its added"),
        (Glue(), N, 0, "glue mark is not followed"),
        (Glue(), f"a{N}a", 1, "glue mark is not followed"),
        (Glue(), f"{N} ", 0, "glue mark is not followed"),
        (Glue(), f"{N} 1", 0, "glue mark is not followed"),
        (Glue(), f"{ESC}a", 0, "ESC"),
        (Glue(), f"a{ESC}", 1, "ESC"),
    ],
)
def test_malformed_text(operator: Operator, text: str, position: int, reason: str) -> None:
    # What follows in the batch would make it good.
    batch = Ragged.from_bytes([b" b", text.encode(), f" a{N}".encode()])
    with pytest.raises(DecodingError, match=reason) as caught:
        operator.invert(batch)
    assert (caught.value.document, caught.value.position) == (1, position)
