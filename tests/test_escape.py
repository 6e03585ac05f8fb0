"""Escape: the worked examples, the kernel against its twin, and the way back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings

from tests import odd_text
from tokenlab.errors import DecodingError
from tokenlab.ops.caseops import ESC
from tokenlab.ops.escape import Escape, apply_reference, invert_reference
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme


def check(texts: list[str]) -> None:
    """Kernel and twin agree to the byte and the cut, and the way back ends at the source."""
    source = Ragged.from_bytes([text.encode() for text in texts])
    out, cuts = Escape().apply(source)
    for d, text in enumerate(texts):
        rewritten = bytes(out[d]), cuts.document(d).tolist()
        assert rewritten == apply_reference(text), text
        assert rewritten == Escape().apply_reference(text.encode())
        assert invert_reference(bytes(out[d]).decode()) == text
    assert Escape().invert(out).tobytes() == source.tobytes()


@pytest.mark.parametrize(
    ("text", "rewritten", "cuts"),
    [
        ("", "", [0]),
        ("a b", "a b", [0, 1, 2, 3]),
        ("\u2581", f"{ESC} ", [0, 0, 0, 0, 3]),
        ("\ue004", f"{ESC}{ESC}", [0, 0, 0, 0, 1, 2, 3]),
        ("\u00e9\u2581a", f"\u00e9{ESC} a", [0, 1, 2, 2, 2, 2, 5, 6]),
        ("\ue001\ue003\ue005\u2580\u2582", "\ue001\ue003\ue005\u2580\u2582", list(range(16))),
    ],
)
def test_examples(text: str, rewritten: str, cuts: list[int]) -> None:
    out, found = Escape().apply(Ragged.from_bytes([text.encode()]))
    assert (out.tobytes(), found.document(0).tolist()) == ([rewritten.encode()], cuts)
    check([text])


def test_text_without_escapes_is_not_copied() -> None:
    text = Ragged.from_bytes([b"The cat", "\ue003\u2580".encode()])
    out, cuts = Escape().apply(text)
    assert out is text
    assert cuts.positions is None
    assert Escape().invert(text) is text


def test_documents_of_a_batch_are_apart() -> None:
    check([])
    check(["", "\u2581", "", " ", "\ue004", "\ue004", "x\u2581", ""])


def test_a_character_cut_by_a_border_is_none() -> None:
    """A batch is valid UTF-8, but the count runs over its flat bytes: E2 96 | 81 is no U+2581."""
    batch = Ragged.from_bytes([b"a\xe2\x96", b"\x81", "\u2581".encode()])
    out, _ = Escape().apply(batch)
    assert out.tobytes() == [b"a\xe2\x96", b"\x81", f"{ESC} ".encode()]


@settings(max_examples=300)
@given(odd_text.batches)
def test_any_text(texts: list[str]) -> None:
    check(texts)


@pytest.mark.parametrize("name", ["unicode_adversarial", "multilingual_debian_handbook", "fineweb_orig"])
def test_documents(name: str, shared_texts: Callable[[str], list[str]]) -> None:
    step = 1 if name == "unicode_adversarial" else 5
    check(shared_texts(name)[::step])


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (ESC, 0),
        ("a" + ESC, 1),
        (ESC + "a", 0),
        (ESC + ESC + ESC, 6),
        (ESC + "\ue001", 0),
        (ESC + "\u2581", 0),
    ],
)
def test_malformed_text(text: str, position: int) -> None:
    # The document behind begins with what would make it good, and the index is the batch's.
    batch = Ragged.from_bytes([(ESC + " ").encode(), text.encode(), f" {ESC}{ESC}".encode()])
    with pytest.raises(DecodingError, match="ESC is not followed by a space or ESC") as caught:
        Escape().invert(batch)
    assert (caught.value.document, caught.value.position) == (1, position)
    with pytest.raises(ValueError, match="ESC"):
        invert_reference(text)


@pytest.mark.parametrize("second", [" ", ESC, ESC + ESC])
def test_nothing_is_read_over_a_border(second: str) -> None:
    with pytest.raises(DecodingError) as caught:
        Escape().invert(Ragged.from_bytes([ESC.encode(), second.encode()]))
    assert (caught.value.document, caught.value.position) == (0, 0)


@settings(max_examples=300)
@given(odd_text.marked_texts)
def test_invert_is_its_twin_on_any_text(text: str) -> None:
    try:
        expected: str | None = invert_reference(text)
    except ValueError:
        expected = None
    batch = Ragged.from_bytes([text.encode()])
    if expected is None:
        with pytest.raises(DecodingError):
            Escape().invert(batch)
    else:
        assert Escape().invert(batch).tobytes() == [expected.encode()]


def test_charges(small_scheme: Callable[[str], Scheme]) -> None:
    scheme = small_scheme("bpe")
    for literal in ("\u2581", "\ue004"):
        ids, charges = scheme.encode(literal)
        assert scheme.segmenter.piece(int(ids[0])) == ESC
        assert charges.tolist() == [0, 3]
        assert scheme.decode(ids).decode() == literal
