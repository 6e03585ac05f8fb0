"""CaseOps: the worked examples, the kernel against its twin, and the way back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

from tests import odd_text
from tokenlab.cuts import CutMap
from tokenlab.errors import DecodingError
from tokenlab.ops.caseops import ALLCAPS, CAPNEXT, ESC, TITLE, CaseOps, apply_reference, invert_reference
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme

BOTH = [CaseOps(), CaseOps(escape_metaspace=False)]


def apply(operator: CaseOps, texts: list[str]) -> tuple[list[str], CutMap]:
    out, cuts = operator.apply(Ragged.from_bytes([text.encode() for text in texts]))
    return [row.decode() for row in out.tobytes()], cuts


def check(operator: CaseOps, texts: list[str]) -> None:
    """Kernel and twin agree to the byte and the cut, and the way back ends at the source."""
    source = Ragged.from_bytes([text.encode() for text in texts])
    out, cuts = operator.apply(source)
    assert cuts.positions is not None
    assert (out.values.dtype, cuts.positions.dtype) == (np.uint8, np.int32)
    assert len(cuts.positions) == len(out.values) + len(texts)
    for d, text in enumerate(texts):
        rewritten = bytes(out[d]), cuts.document(d).tolist()
        assert rewritten == apply_reference(text, escape_metaspace=operator.escape_metaspace), text
        assert rewritten == operator.apply_reference(text.encode())
        back = invert_reference(bytes(out[d]).decode(), escape_metaspace=operator.escape_metaspace)
        assert back == text
    assert operator.invert(out).tobytes() == source.tobytes()


EXAMPLES = [
    ("", ""),
    ("the", "the"),
    ("The", f"{TITLE}the"),
    ("A", f"{TITLE}a"),
    ("NASA", f"{ALLCAPS}nasa"),
    ("OK", f"{ALLCAPS}ok"),
    ("iPhone", f"i{CAPNEXT}phone"),
    ("McDonald", f"{TITLE}mc{CAPNEXT}donald"),
    ("endS", f"end{CAPNEXT}s"),
    ("ABc", f"{TITLE}a{CAPNEXT}bc"),
    ("aBC", f"a{CAPNEXT}b{CAPNEXT}c"),
    ("I'LL", f"{TITLE}i'{ALLCAPS}ll"),
    ("A1B", f"{TITLE}a1{TITLE}b"),
    ("GPT-2 AND x", f"{ALLCAPS}gpt-2 {ALLCAPS}and x"),
    # Only ASCII letters make a word; a letter with an accent is no capital and ends one.
    ("\u00c9COLE", f"\u00c9{ALLCAPS}cole"),
    ("CAF\u00c9", f"{ALLCAPS}caf\u00c9"),
    ("AE\u0301B", f"{ALLCAPS}ae\u0301{TITLE}b"),
    ("\uff21Z", f"\uff21{TITLE}z"),
    ("[Z@A`z{", f"[{TITLE}z@{TITLE}a`z{{"),
    # What the operator writes itself is escaped where the source spells it.
    ("\ue001", f"{ESC}{TITLE}"),
    ("\ue004\ue004", f"{ESC}{ESC}{ESC}{ESC}"),
    ("A\ue002B", f"{TITLE}a{ESC}{ALLCAPS}{TITLE}b"),
    ("\ue000A\ue005B", f"\ue000{TITLE}a\ue005{TITLE}b"),
    ("\u2580A\u2582", f"\u2580{TITLE}a\u2582"),
]


@pytest.mark.parametrize(("text", "rewritten"), EXAMPLES)
@pytest.mark.parametrize("operator", BOTH, ids=["escaping", "published"])
def test_examples(operator: CaseOps, text: str, rewritten: str) -> None:
    assert apply(operator, [text])[0] == [rewritten]
    check(operator, [text])


def test_metaspace_is_escaped_only_where_asked() -> None:
    assert apply(CaseOps(), ["A\u2581B \u2581"])[0] == [f"{TITLE}a{ESC} {TITLE}b {ESC} "]
    assert apply(CaseOps(escape_metaspace=False), ["A\u2581B"])[0] == [f"{TITLE}a\u2581{TITLE}b"]


@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        ("", [0]),
        ("The", [0, 0, 0, 0, 1, 2, 3]),
        ("NO", [0, 0, 0, 0, 1, 2]),
        ("aB", [0, 1, 1, 1, 1, 2]),
        ("\u00e9A", [0, 1, 2, 2, 2, 2, 3]),
        ("\ue001", [0, 0, 0, 0, 1, 2, 3]),
        # The space that stands for U+2581 carries its three bytes.
        ("\u2581a", [0, 0, 0, 0, 3, 4]),
    ],
)
def test_cuts(text: str, cuts: list[int]) -> None:
    assert apply(CaseOps(), [text])[1].document(0).tolist() == cuts


@pytest.mark.parametrize("operator", BOTH, ids=["escaping", "published"])
def test_no_word_crosses_a_border(operator: CaseOps) -> None:
    texts = ["N", "ASA", "a", "B", "", "AB", "c", "\ue001", "A", "\u2581", "N", "", "O"]
    together, _ = apply(operator, texts)
    assert together == [apply(operator, [text])[0][0] for text in texts]
    assert together[:4] == [f"{TITLE}n", f"{ALLCAPS}asa", "a", f"{TITLE}b"]
    check(operator, texts)


def test_empty_batch() -> None:
    check(CaseOps(), [])
    check(CaseOps(), ["", "", ""])


def test_a_part_of_a_larger_batch() -> None:
    batch = Ragged.from_bytes([b"SKIPPED", b"The", b"NASA"]).rows(1, 3)
    out, cuts = CaseOps().apply(batch)
    assert [row.decode() for row in out.tobytes()] == [f"{TITLE}the", f"{ALLCAPS}nasa"]
    assert cuts.document(1).tolist() == [0, 0, 0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("operator", BOTH, ids=["escaping", "published"])
@settings(max_examples=300)
@given(texts=odd_text.batches)
def test_any_text(operator: CaseOps, texts: list[str]) -> None:
    check(operator, texts)


@pytest.mark.parametrize("operator", BOTH, ids=["escaping", "published"])
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("unicode_adversarial", 1),
        ("multilingual_debian_handbook", 20),
        ("fineweb_orig", 8),
        ("c4_demo", 8),
        ("prose_debian_en", 20),
        ("web_cc0_gov", 50),
        ("wikipedia_demo", 16),
    ],
)
def test_documents(operator: CaseOps, name: str, step: int, shared_texts: Callable[[str], list[str]]) -> None:
    check(operator, shared_texts(name)[::step])


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("ab" + TITLE, 2, "capitalization marker"),
        (TITLE + "A", 0, "capitalization marker"),
        ("\u00e9" + CAPNEXT + "1", 2, "capitalization marker"),
        (ALLCAPS + " ", 0, "capitalization marker"),
        (ALLCAPS + TITLE + "a", 0, "capitalization marker"),
        (TITLE + "\u00e9", 0, "capitalization marker"),
        (ESC, 0, "ESC"),
        ("x" + ESC + "a", 1, "ESC"),
        (ESC + "\ue005", 0, "ESC"),
        (ESC + ESC + ESC, 6, "ESC"),
    ],
)
def test_malformed_text(text: str, position: int, reason: str) -> None:
    # A good document on either side: the borders hold, and the index is that in the batch.
    batch = Ragged.from_bytes([TITLE.encode() + b"a", text.encode(), b"b" + TITLE.encode() + b"c"])
    with pytest.raises(DecodingError, match=reason) as caught:
        CaseOps().invert(batch)
    assert (caught.value.document, caught.value.position) == (1, position)
    with pytest.raises(ValueError, match="unreadable marker"):
        invert_reference(text)


@pytest.mark.parametrize(("first", "second"), [(ESC, TITLE), (ESC, " "), (TITLE, "a"), (ALLCAPS, "ab")])
def test_nothing_is_read_over_a_border(first: str, second: str) -> None:
    CaseOps().invert(Ragged.from_bytes([(first + second + "a").encode()]))
    with pytest.raises(DecodingError) as caught:
        CaseOps().invert(Ragged.from_bytes([first.encode(), second.encode()]))
    assert (caught.value.document, caught.value.position) == (0, 0)


@pytest.mark.parametrize("operator", BOTH, ids=["escaping", "published"])
def test_a_character_cut_by_a_border_is_none(operator: CaseOps) -> None:
    """Ids of single bytes spell such rows: EE 80 | 81 is no marker, and neither reads past its row."""
    rows = [b"\xee", b"\x80\x81a", b"\xee\x80", b"\x81a", b"\xe2\x96", b"\x81\xee\x80"]
    batch = Ragged.from_bytes(rows)
    assert operator.invert(batch).tobytes() == rows
    out, cuts = operator.apply(batch)
    assert out.tobytes() == rows
    assert [cuts.document(d).tolist() for d in range(len(rows))] == [list(range(len(r) + 1)) for r in rows]


def test_an_escaped_space_belongs_to_the_metaspace_escape() -> None:
    text = Ragged.from_bytes([(ESC + " ").encode()])
    assert CaseOps().invert(text).tobytes() == ["\u2581".encode()]
    with pytest.raises(DecodingError, match="ESC"):
        CaseOps(escape_metaspace=False).invert(text)


@pytest.mark.parametrize("operator", BOTH, ids=["escaping", "published"])
@settings(max_examples=500)
@given(text=odd_text.marked_texts)
def test_invert_is_its_twin_on_any_text(operator: CaseOps, text: str) -> None:
    try:
        expected: str | None = invert_reference(text, escape_metaspace=operator.escape_metaspace)
    except ValueError:
        expected = None
    batch = Ragged.from_bytes([text.encode()])
    if expected is None:
        with pytest.raises(DecodingError):
            operator.invert(batch)
    else:
        assert operator.invert(batch).tobytes() == [expected.encode()]


@settings(max_examples=500)
@given(text=odd_text.marked_texts)
def test_decode_gives_a_source_only_for_what_it_becomes(caseops: Scheme, text: str) -> None:
    """For ids of any text with markers: DecodingError, or a source whose rewriting is that text."""
    ids = caseops.segmenter.split(Ragged.from_bytes([text.encode()]))[0]
    try:
        readable = apply_reference(invert_reference(text))[0].decode() == text
    except ValueError:
        readable = False
    if readable:
        assert caseops.decode(ids).decode() == invert_reference(text)
    else:
        with pytest.raises(DecodingError) as caught:
            caseops.decode([caseops.encode("Good")[0], ids])
        assert caught.value.document == 1


@pytest.mark.parametrize(
    "text",
    [
        "A",  # a capital that has no marker
        TITLE + "a" + CAPNEXT + "b",  # is ALLCAPS
        ALLCAPS + "a",  # is TITLE
        CAPNEXT + "ab",  # is TITLE
        "a" + TITLE + "b",  # is CAPNEXT
        ALLCAPS + "ab" + TITLE + "c",  # ALLCAPS all along
    ],
)
def test_a_second_spelling_is_refused(caseops: Scheme, text: str) -> None:
    ids = caseops.segmenter.split(Ragged.from_bytes([text.encode()]))[0]
    with pytest.raises(DecodingError, match="no encoder"):
        caseops.decode(ids)


@settings(max_examples=200)
@given(text=odd_text.texts)
def test_a_marker_is_charged_nothing_and_the_letter_after_it_its_byte(caseops: Scheme, text: str) -> None:
    ids, charges = caseops.encode(text)
    pieces = [caseops.segmenter.piece(token) for token in ids.tolist()]
    escaped = False
    for i, (piece, charge) in enumerate(zip(pieces, charges.tolist(), strict=True)):
        if escaped:
            assert charge == 3, (pieces, charges)  # a literal marker, or the space of U+2581
            escaped = False
        elif piece in odd_text.MARKERS:
            assert charge == 0, (pieces, charges)
            escaped = piece == ESC
            # A letter and whatever its token holds after it: a byte each.
            assert escaped or charges[i + 1] == len(pieces[i + 1])
        elif not piece.startswith("<0x"):
            assert charge == len(piece.replace("\u2581", " ").encode()), (pieces, charges)
    assert int(charges.sum()) == len(text.encode())


def test_charges_of_the_worked_example(caseops: Scheme) -> None:
    ids, charges = caseops.encode("The")
    assert caseops.segmenter.piece(int(ids[0])) == TITLE
    assert charges[0] == 0
    assert int(charges[1:].sum()) == 3
