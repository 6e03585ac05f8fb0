"""The boundary file: bits in any chunks come back; another file, size or number of bits is an error."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards import ShardError
from shards.boundaries import (
    BoundaryHeader,
    boundaries_name,
    open_boundaries,
    unpack,
    write_boundaries,
)

CHUNKS = st.lists(st.lists(st.integers(0, 1), max_size=20), max_size=6)


def _header(count: int, rule: str = "space", causal: bool = True) -> BoundaryHeader:
    return BoundaryHeader(count, rule, causal, "1f" * 32, "e0" * 32)


@given(CHUNKS, st.data())
def test_bits_given_in_any_chunks_come_back(tmp_path_factory, chunks, data):
    path = tmp_path_factory.mktemp("bits") / boundaries_name("val", 0)
    bits = [bit for chunk in chunks for bit in chunk]
    digest = write_boundaries(path, _header(len(bits)), [np.array(chunk, np.uint8) for chunk in chunks])
    header, packed = open_boundaries(path)
    assert header == _header(len(bits))
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert packed.tolist() == [
        sum(bit << place for place, bit in enumerate(bits[start : start + 8]))
        for start in range(0, len(bits), 8)
    ]
    start = data.draw(st.integers(0, len(bits)))
    stop = data.draw(st.integers(start, len(bits)))
    assert unpack(packed, start, stop).tolist() == bits[start:stop]


def test_header_is_the_one_that_is_documented(tmp_path):
    path = tmp_path / "x.bin"
    write_boundaries(path, _header(9, "entropy", causal=False), [np.ones(9, np.bool_)])
    raw = path.read_bytes()
    assert len(raw) == 1024 + 2
    ints = np.frombuffer(raw[:1024], "<i4")
    assert ints[:5].tolist() == [20261125, 1, 9, 4, 0]
    assert raw[20:52].hex() == "1f" * 32
    assert raw[52:84].hex() == "e0" * 32
    assert not ints[21:].any()
    assert raw[1024:] == b"\xff\x01"


@pytest.mark.parametrize("given", [2, 4])
def test_another_number_of_bits_leaves_no_file(tmp_path, given):
    path = tmp_path / "x.bin"
    with pytest.raises(ShardError, match=f"x.bin: {given} bits were given for a shard of 3"):
        write_boundaries(path, _header(3), [np.zeros(given, np.uint8)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda raw: raw[:100], "shorter than the header"),
        (lambda raw: raw + b"\0", "promises 3 bits"),
        (lambda raw: b"\0" + raw[1:], "magic"),
        (lambda raw: raw[:12] + b"\x63" + raw[13:], "rule 99"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage, complaint):
    path = tmp_path / "x.bin"
    write_boundaries(path, _header(3), [np.zeros(3, np.uint8)])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ShardError, match=rf"x\.bin: .*{complaint}"):
        open_boundaries(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ShardError, match=r"missing\.bin"):
        open_boundaries(tmp_path / "missing.bin")
