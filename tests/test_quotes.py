"""Apostrophe and quote-swap: the worked examples, the kernels against their twins, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import odd_text
from tests.test_word_space import check
from tokenlab.errors import DecodingError
from tokenlab.ops import apostrophe, quote_swap
from tokenlab.ops.apostrophe import Apostrophe
from tokenlab.ops.marks import ESC, JOINING_APOSTROPHE, SWAPPED_QUOTES
from tokenlab.ops.operator import Operator
from tokenlab.ops.quote_swap import CURLY, QuoteSwap
from tokenlab.ragged import Ragged

J, F, C = JOINING_APOSTROPHE, SWAPPED_QUOTES, CURLY
TWINS: dict[str, ModuleType] = {"apostrophe": apostrophe, "quote-swap": quote_swap}
each = pytest.mark.parametrize("operator", [Apostrophe(), QuoteSwap()], ids=lambda op: op.name)

dense = st.lists(st.sampled_from([*"aB1' \n", C, J, F, ESC, "\u2018", "\ua78b", "\u00e9"]), max_size=10).map(
    "".join
)


@pytest.mark.parametrize(
    ("operator", "text", "rewritten", "cuts"),
    [
        (Apostrophe(), "a'b", f"a{J}b", [0, 1, 1, 1, 2, 3]),
        (Apostrophe(), "'a' 1'a a'1 a''b \u00e9'a x'", "'a' 1'a a'1 a''b \u00e9'a x'", None),
        (Apostrophe(), "a'b'c", f"a{J}b{J}c", None),
        (Apostrophe(), f"a{J}b{ESC}", f"a{ESC}{J}b{ESC}{ESC}", None),
        (QuoteSwap(), f"a{C}b", f"{F}a'b", [0, 0, 0, 0, 1, 4, 5]),
        (QuoteSwap(), f"'{C}", f"'{C}", None),
        (QuoteSwap(), f"'{C}{C}", f"{F}{C}''", [0, 0, 0, 0, 0, 0, 1, 4, 7]),
        (QuoteSwap(), f"{F}a", f"{ESC}{F}a", [0, 0, 0, 0, 1, 2, 3, 4]),
        (QuoteSwap(), f"{ESC}{F}", f"{ESC}{ESC}{F}", None),
        (QuoteSwap(), f"a{F}{ESC}", f"a{F}{ESC}", None),
        (QuoteSwap(), f"{F}{C}", f"{F}{F}'", None),
    ],
)
def test_examples(operator: Operator, text: str, rewritten: str, cuts: list[int] | None) -> None:
    out, found = operator.apply(Ragged.from_bytes([text.encode()]))
    assert out.tobytes()[0].decode() == rewritten
    assert cuts is None or found.document(0).tolist() == cuts
    check(operator, TWINS[operator.name], [text])


@each
@settings(max_examples=300)
@given(texts=st.lists(st.one_of(odd_text.texts, dense), max_size=4))
def test_any_text(operator: Operator, texts: list[str]) -> None:
    check(operator, TWINS[operator.name], texts)


@each
@pytest.mark.parametrize(("name", "step"), [("unicode_adversarial", 1), ("fineweb_orig", 20)])
def test_documents(
    operator: Operator, name: str, step: int, shared_texts: Callable[[str], list[str]]
) -> None:
    check(operator, TWINS[operator.name], shared_texts(name)[::step])


@each
@settings(max_examples=300)
@given(text=dense)
def test_invert_is_its_twin_on_any_text(operator: Operator, text: str) -> None:
    batch = Ragged.from_bytes([b"a", text.encode(), f"a{C}".encode()])
    try:
        expected = TWINS[operator.name].invert_reference(text).encode()
    except ValueError:
        with pytest.raises(DecodingError) as caught:
            operator.invert(batch)
        assert caught.value.document == 1
        return
    assert operator.invert(batch).tobytes()[:2] == [b"a", expected]


@pytest.mark.parametrize(
    ("operator", "text", "position", "reason"),
    [
        (Apostrophe(), f"1{J}a", 1, "not between two ASCII letters"),
        (Apostrophe(), f"a{J}", 1, "not between two ASCII letters"),
        (Apostrophe(), f"a{ESC}b", 1, "ESC"),
        (QuoteSwap(), F, 0, "no reason to be"),
        (QuoteSwap(), f"{F}{C}'", 0, "no reason to be"),
        (QuoteSwap(), f"{ESC}a", 0, "ESC"),
    ],
)
def test_malformed_text(operator: Operator, text: str, position: int, reason: str) -> None:
    batch = Ragged.from_bytes([b"b", text.encode(), f"a{J}'".encode()])  # what would make some of it good
    with pytest.raises(DecodingError, match=reason) as caught:
        operator.invert(batch)
    assert (caught.value.document, caught.value.position) == (1, position)
