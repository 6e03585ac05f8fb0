"""Ragged arrays and cut maps: the shapes, and each kernel against its twin."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenlab.cuts import MAX_CHARGE, CutMap, as_charges, charges_reference, compose_reference
from tokenlab.ragged import Ragged, offsets_of

rows_of_bytes = st.lists(st.binary(max_size=9), max_size=9)


def offsets(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@given(rows_of_bytes)
def test_rows_come_back(rows: list[bytes]) -> None:
    batch = Ragged.from_bytes(rows)
    assert (batch.values.dtype, batch.offsets.dtype) == (np.uint8, np.int64)
    assert len(batch) == len(rows)
    assert batch.tobytes() == [bytes(row) for row in batch] == rows
    assert [bytes(batch[i]) for i in range(len(rows))] == rows
    assert batch.lengths.tolist() == [len(row) for row in rows]


@given(st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=5), max_size=5))
def test_rows_of_numbers_come_back(rows: list[list[int]]) -> None:
    batch = Ragged.from_rows(rows, np.uint32)
    assert batch.values.dtype == np.uint32
    assert [row.tolist() for row in batch] == rows


@given(rows_of_bytes, st.data())
def test_rows_and_take_select(rows: list[bytes], data: st.DataObject) -> None:
    batch = Ragged.from_bytes(rows)
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    part = batch.rows(start, stop)
    assert part.tobytes() == rows[start:stop]
    assert part.offsets[0] == 0
    keep = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    kept = batch.take(np.array(keep, bool))
    assert kept.tobytes() == [row for row, k in zip(rows, keep, strict=True) if k]
    assert kept.values.dtype == np.uint8


@given(st.lists(rows_of_bytes, max_size=4))
def test_concatenate_is_the_rows_one_after_another(groups: list[list[bytes]]) -> None:
    whole = Ragged.concatenate([Ragged.from_bytes(rows) for rows in groups], np.uint8)
    assert whole.tobytes() == [row for rows in groups for row in rows]
    assert whole.values.dtype == np.uint8


@given(rows_of_bytes, rows_of_bytes)
def test_first_difference(one: list[bytes], other: list[bytes]) -> None:
    shorter = min(len(one), len(other))
    one, other = one[:shorter], other[:shorter]
    expected = next((i for i in range(shorter) if one[i] != other[i]), None)
    assert Ragged.from_bytes(one).first_difference(Ragged.from_bytes(other)) == expected
    assert Ragged.from_bytes(one).first_difference(Ragged.from_bytes(one)) is None


def test_a_border_that_moves_is_a_difference() -> None:
    assert Ragged.from_bytes([b"", b"ab", b"c"]).first_difference(Ragged.from_bytes([b"", b"a", b"bc"])) == 1


def test_rows_are_views() -> None:
    batch = Ragged(np.arange(6, dtype=np.uint16), offsets(0, 2, 2, 6))
    assert np.shares_memory(batch[2], batch.values)
    assert np.shares_memory(batch.rows(1, 3).values, batch.values)


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_that_is_not_there(row: int) -> None:
    with pytest.raises(IndexError):
        Ragged.from_bytes([b"a", b"b"])[row]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([0, 3], np.int32), "int64"),
        (np.zeros(0, np.int64), "at least one entry"),
        (np.zeros((2, 2), np.int64), "one-dimensional"),
        (offsets(1, 3), r"offsets run 1\.\.3, values 0\.\.3"),
        (offsets(0, 2), r"offsets run 0\.\.2, values 0\.\.3"),
        (offsets(0, 4), r"offsets run 0\.\.4, values 0\.\.3"),
    ],
)
def test_offsets_that_do_not_fit(bad: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ragged(np.zeros(3, np.uint8), bad)


def test_offsets_of_nothing() -> None:
    assert offsets_of([]).tolist() == [0]
    assert len(Ragged.from_bytes([])) == 0
    assert len(Ragged.from_rows([], np.uint16)) == 0


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_utf8_is_what_python_takes_for_it() -> None:
    """Every pair of bytes, and longer characters with every second byte and what decides of the others."""
    edges = (0x7F, 0x80, 0xBF, 0xC0)
    rows = [bytes(pair) for pair in product(range(256), repeat=2)]
    rows += [bytes(three) for three in product(range(0xE0, 0xF0), range(256), edges)]
    rows += [bytes(four) for four in product(range(0xF0, 0xF8), range(256), edges, edges)]
    valid = [row for row in rows if is_utf8(row)]
    assert Ragged.from_bytes(valid).first_invalid_utf8() is None
    for row in rows:
        if not is_utf8(row):
            assert Ragged.from_bytes([row]).first_invalid_utf8() == 0


@given(st.lists(st.tuples(st.text(max_size=30), st.binary(max_size=2)), max_size=6))
def test_the_first_row_of_bad_utf8_is_found(pieces: list[tuple[str, bytes]]) -> None:
    rows = [text.encode() + tail for text, tail in pieces]
    bad = [row for row, data in enumerate(rows) if not is_utf8(data)]
    assert Ragged.from_bytes(rows).first_invalid_utf8() == (bad[0] if bad else None)


def monotone(length: int, most: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, most), min_size=length, max_size=length).map(sorted)


Chain = tuple[int, list[int], list[int], list[int]]


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """(source length, first map, second map, token ends) of one document."""
    source, middle, output = (draw(st.integers(0, 12)) for _ in range(3))
    first, second = draw(monotone(middle + 1, source)), draw(monotone(output + 1, middle))
    inner = draw(st.lists(st.integers(1, output), max_size=output).map(sorted)) if output else []
    return source, first, second, [*inner, output] if output else []


PIECES = Ragged.from_bytes([b"-" * length for length in range(13)])
"""A piece of each length, which is its id."""


def lengths_of(ends: Ragged) -> Ragged:
    """The tokens of these ends, as ids of PIECES."""
    return Ragged.from_rows([np.diff(row, prepend=0) for row in ends], np.uint32)


def cut_map(maps: list[list[int]]) -> CutMap:
    positions = np.array([cut for cuts in maps for cut in cuts], np.int32)
    return CutMap(offsets_of([len(cuts) - 1 for cuts in maps]), positions)


@given(st.lists(chains(), max_size=6))
def test_kernels_are_their_twins(documents: list[Chain]) -> None:
    first, second = cut_map([d[1] for d in documents]), cut_map([d[2] for d in documents])
    composed = second.after(first)
    ends = Ragged.from_rows([d[3] for d in documents], np.int32)
    charges = composed.charges(ends)
    unattributed = composed.unattributed(np.array([d[0] for d in documents], np.int64))
    assert charges.values.dtype == np.int32
    stored = composed.charges_of(lengths_of(ends), PIECES)
    assert stored is not None
    assert stored.values.dtype == np.uint16
    assert stored.values.tolist() == charges.values.tolist()
    for i, (source, one, two, stops) in enumerate(documents):
        expected = compose_reference(one, two)
        assert composed.document(i).tolist() == expected
        assert charges[i].tolist() == charges_reference(expected, stops)
        assert unattributed[i] == source - (expected[-1] - expected[0])
        assert charges[i].sum() + unattributed[i] == source


@given(st.lists(chains(), max_size=6))
def test_the_identity_changes_no_map(documents: list[Chain]) -> None:
    cuts = cut_map([d[1] for d in documents])
    text = Ragged(np.zeros(cuts.offsets[-1], np.uint8), cuts.offsets)
    identity = CutMap.identity(text)
    assert cuts.after(identity) is cuts
    assert identity.after(cuts) is cuts
    ends = Ragged.from_rows([range(1, n + 1) for n in text.lengths], np.int32)
    explicit = cut_map([list(range(n + 1)) for n in text.lengths])
    assert identity.charges(ends).values.tolist() == [1] * len(ends.values)
    assert explicit.charges(ends).values.tolist() == [1] * len(ends.values)
    for cuts in (identity, explicit):
        stored = cuts.charges_of(lengths_of(ends), PIECES)
        assert stored is not None
        assert stored.values.tolist() == [1] * len(ends.values)
    assert identity.unattributed(text.lengths).tolist() == [0] * len(text)
    for d in range(len(text)):
        assert identity.document(d).tolist() == explicit.document(d).tolist()


def test_worked_example_of_the_docstring() -> None:
    cuts = cut_map([[0, 0, 0, 0, 1, 2, 3]])
    assert cuts.charges(Ragged.from_rows([[3, 6]], np.int32)).values.tolist() == [0, 3]


def test_stripped_ends_are_unattributed() -> None:
    # `  a ` normalised to `a`; a blank document to nothing, with one cut.
    cuts = cut_map([[2, 3], [4], [0]])
    assert cuts.unattributed(np.array([4, 4, 0])).tolist() == [3, 4, 0]
    assert cuts.charges(Ragged.from_rows([[1], [], []], np.int32)).values.tolist() == [1]


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("ends", [[], [1], [1, 2], [1, 4], [4]])
def test_tokens_that_do_not_cover_their_document(identity: bool, ends: list[int]) -> None:
    maps = [[0, 1], [0, 1, 2, 3], [0, 1, 2]]
    cuts = cut_map(maps)
    if identity:
        cuts = CutMap(cuts.offsets)
    with pytest.raises(ValueError, match="document 1 of the batch"):
        cuts.charges(Ragged.from_rows([[1], ends, []], np.int32))
    with pytest.raises(ValueError, match="document 1 of the batch"):
        cuts.charges_of(lengths_of(Ragged.from_rows([[1], ends, [2]], np.int32)), PIECES)


def test_a_charge_that_16_bits_do_not_hold() -> None:
    for charge, fits in ((MAX_CHARGE, True), (MAX_CHARGE + 1, False)):
        charges = cut_map([[0, 1, charge + 1], [0, 1]]).charges_of(
            Ragged.from_rows([[1, 1], [1]], np.uint32), PIECES
        )
        assert (charges is not None) is fits
        assert charges is None or charges.values.tolist() == [1, charge, 1]


def test_charges_as_they_are_stored() -> None:
    stored = as_charges(np.array([0, MAX_CHARGE], np.int32))
    assert (stored.dtype, stored.tolist()) == (np.uint16, [0, 65535])
    with pytest.raises(OverflowError) as caught:
        as_charges(np.array([1, MAX_CHARGE + 1, 1 << 20], np.int32))
    assert caught.value.args == (1,)
