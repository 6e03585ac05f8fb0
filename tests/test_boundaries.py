"""Boundary rules: kernels against their slow twins in any chunks, prefixes, fitting, and what is refused."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shards.boundaries
from tokenlab.boundaries.entropy import (
    MAX_ORDER,
    UNITS,
    Entropy,
    EntropyTable,
    Monotonic,
    TopK,
    from_units,
    to_units,
)
from tokenlab.boundaries.fit import fit_entropy_table, fit_rule
from tokenlab.boundaries.record import read_rule
from tokenlab.boundaries.request import BYTES_PER_PATCH, RULES, parse_rule, target_bytes_per_patch
from tokenlab.boundaries.state import new_state
from tokenlab.boundaries.stream import as_ids
from tokenlab.boundaries.table2 import Table2
from tokenlab.boundaries.token_ends import TokenEnds
from tokenlab.boundaries.unfitted import Fixed, Space
from tokenlab.corpus import open_corpus
from tokenlab.errors import InputError
from tokenlab.segment.byte_level import train_byte_level

RANDOM = np.random.default_rng(9)


def _table(orders: int, bits: int, unknown: float) -> EntropyTable:
    entropies = RANDOM.integers(0, 249, (orders, 1 << bits)).astype(np.uint8)
    entropies[RANDOM.random(entropies.shape) < unknown] = 255
    return EntropyTable(entropies, 150)


CAUSAL = [
    Fixed(1),
    Fixed(3),
    Space(),
    Table2(RANDOM.integers(0, 256, 8192).astype(np.uint8)),
    Entropy(_table(3, 6, 0.5), 120),
    Entropy(_table(MAX_ORDER, 10, 0.9), 100),
    Monotonic(_table(2, 4, 0.3), 20),
    Monotonic(_table(MAX_ORDER, 3, 0.8), -10),
]
DOCUMENTS = st.lists(
    st.one_of(st.binary(max_size=20), st.text("ab ,\n1é日", max_size=30).map(str.encode)), max_size=6
)


@pytest.mark.parametrize("rule", CAUSAL, ids=lambda rule: rule.text)
@given(documents=DOCUMENTS, data=st.data())
@settings(max_examples=60)
def test_kernels_give_the_bits_of_the_slow_twin_in_any_chunks(rule, documents, data):
    ids = np.concatenate([np.zeros(0, np.uint16), *map(as_ids, documents)])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=5)))
    state = new_state()
    bounds = [0, *cuts, len(ids)]
    found = [rule.starts(ids[a:b], state) for a, b in itertools.pairwise(bounds)]
    assert np.concatenate(found).tolist() == [
        bit for document in documents for bit in rule.starts_reference(document)
    ]


@given(documents=DOCUMENTS, percent=st.integers(1, 100))
@settings(max_examples=60)
def test_topk_is_that_of_its_slow_twin(documents, percent):
    rule = TopK(CAUSAL[4].table, percent)
    ids = np.concatenate([np.zeros(0, np.uint16), *map(as_ids, documents)])
    expected = [bit for document in documents for bit in rule.starts_reference(document)]
    assert rule.starts(ids, new_state()).tolist() == expected


def _token_ends() -> TokenEnds:
    texts = [b"balloons over the fairgrounds, seen by all", "né é 你好 你好 ▁".encode()] * 4
    return TokenEnds(train_byte_level(texts, vocab_size=290, split="cl100k"))


@given(documents=st.lists(st.text(max_size=30) | st.sampled_from(["", "the balloons, né 你好"])))
@settings(max_examples=60)
def test_token_ends_are_those_of_their_slow_twin(documents):
    rule = _token_ends()
    ids = np.concatenate([np.zeros(0, np.uint16), *(as_ids(text.encode()) for text in documents)])
    expected = [bit for text in documents for bit in rule.starts_reference(text.encode())]
    assert rule.starts(ids, new_state()).tolist() == expected


@pytest.mark.parametrize("rule", [TopK(_table(2, 8, 0), 20), _token_ends()], ids=lambda rule: rule.kind)
def test_a_rule_that_looks_ahead_differs_on_prefixes(rule):
    document = b"A balloon over the fairgrounds, seen by all."
    whole = rule.starts_reference(document)
    assert any(rule.starts_reference(document[:t]) != whole[: t + 1] for t in range(len(document)))


def test_space_is_the_rule_of_spacebyte():
    bits = Space().starts_reference("Hi, a\n\nb é".encode())
    #              BOS H  i  ,  ␣  a  ↵  ↵  b  ␣  C3 A9
    assert bits == [1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "rule", [*CAUSAL, TopK(_table(2, 5, 0), 7), _token_ends()], ids=lambda rule: rule.text
)
def test_a_stored_rule_comes_back(rule):
    again = read_rule(rule.kind, rule.parameters, rule.tables)
    assert (again.text, again.sha256, again.tables) == (rule.text, rule.sha256, rule.tables)


def test_the_digest_is_that_of_the_format():
    rule = Fixed(6)
    assert rule.sha256 == hashlib.sha256(b'{"kind":"fixed","parameters":{"period":6}}').hexdigest()
    table = CAUSAL[3]
    assert table.sha256 == hashlib.sha256(b'{"kind":"table2","parameters":{}}' + table.tables).hexdigest()


@pytest.mark.parametrize(
    ("kind", "parameters", "tables"),
    [
        ("fixed", {}, b""),
        ("fixed", {"period": 0}, b""),
        ("space", {}, b"x"),
        ("space", {"period": 3}, b""),
        ("table2", {}, b"\0" * 8191),
        ("entropy", {"threshold": 1, "orders": 2, "bits": 3, "order0": 1}, b"\0" * 15),
        ("bpe", {}, b""),
    ],
)
def test_a_record_that_is_no_rule_is_refused(kind, parameters, tables):
    with pytest.raises(InputError, match=kind):
        read_rule(kind, parameters, tables)


def test_kinds_are_those_of_the_file_format():
    assert set(RULES) == set(shards.boundaries.RULES)


@given(st.integers(-248, 248))
def test_a_threshold_is_written_so_that_it_is_read_back(units):
    assert to_units(Decimal(from_units(units))) == units


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("spce", "unknown boundary rule 'spce'; there are: fixed:P"),
        ("space:3", "space has no number"),
        ("fixed", "fixed:P needs a whole number"),
        ("fixed:2.5", "needs a whole number"),
        ("fixed:0", "from 1 to"),
        ("fixed:x", "'x' is no number"),
        ("entropy:", "'' is no number"),
        ("entropy:nan", "no number"),
        ("entropy:9", "0 to 8 bits"),
        ("topk", "topk:K needs"),
        ("topk:101", "from 1 to 100"),
        ("bpe", "bpe:N needs a whole number"),
        ("bpe:259", "from 260 to 65536"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(text, complaint):
    with pytest.raises(InputError, match=complaint):
        parse_rule(text)


@pytest.mark.parametrize("text", ["space", "fixed:4", "entropy:1.5", "topk:20", "bpe:512"])
def test_a_target_is_refused_where_there_is_nothing_to_calibrate(text):
    request = parse_rule(text)
    assert target_bytes_per_patch(request, None) is None
    with pytest.raises(InputError, match="no rate to choose"):
        target_bytes_per_patch(request, 5.0)
    assert target_bytes_per_patch(parse_rule("table2"), None) == BYTES_PER_PATCH
    with pytest.raises(InputError, match="1 byte at least"):
        target_bytes_per_patch(parse_rule("table2"), 0.5)


@pytest.fixture(scope="module")
def stream():
    batch = next(iter(open_corpus(None).batches()))
    return np.concatenate([as_ids(document) for document in batch.documents.tobytes()])


def _bytes_per_patch(rule, ids):
    documents = np.count_nonzero(ids == rule.bos)
    return (len(ids) - documents) / (int(rule.starts(ids, new_state()).sum()) - documents)


@pytest.mark.parametrize("target", [3.0, 6.0])
@pytest.mark.parametrize("kind", ["table2", "entropy", "monotonic"])
def test_fitting_reaches_the_target(stream, kind, target):
    rule = fit_rule(parse_rule(kind), target, stream)
    text = stream if kind == "table2" else stream[len(stream) - len(stream) // 8 :]
    assert _bytes_per_patch(rule, text) == pytest.approx(target, rel=0.08)
    assert parse_rule(rule.text).kind == kind


def test_table2_takes_the_pairs_of_the_highest_entropy():
    # Behind `ab` stands one byte, behind `cd` one of eight.
    document = b"".join(b"ab" + bytes([120]) + b"cd" + bytes([48 + i]) for i in range(8)) * 50
    rule = fit_rule(parse_rule("table2"), 6.0, as_ids(document))
    starts = np.flatnonzero(rule.starts(as_ids(document), new_state()))
    assert set((starts[2:] - 1) % 6) == {5}
    assert _bytes_per_patch(rule, as_ids(document)) == pytest.approx(6.0, rel=0.02)


def test_entropies_are_those_of_an_interpolated_model_in_plain_python():
    documents = [b"abracadabra", b"abab", b"", b"cadabrac abra"]
    ids = np.concatenate([as_ids(document) for document in documents])
    table = fit_entropy_table(ids, orders=2, bits=14)

    def followers(context: bytes) -> Counter[int]:
        size = len(context)
        return Counter(
            document[t]
            for document in documents
            for t in range(size, len(document))
            if document[t - size : t] == context
        )

    def distribution(context: bytes) -> list[float]:
        below = distribution(context[1:]) if context else [1 / 256] * 256
        counts = followers(context)
        weight = len(counts)
        return [(counts[x] + weight * below[x]) / (sum(counts.values()) + weight) for x in range(256)]

    def entropy(context: bytes) -> float:
        return -sum(p * math.log2(p) for p in distribution(context) if p)

    assert table.entropy(b"") == round(UNITS * entropy(b""))
    checked = 0
    for context in [b"a", b"b", b"ab", b"br", b"ra", b"ca"]:
        if sum(followers(context).values()) >= 4:
            assert table.entropy(context) == pytest.approx(UNITS * entropy(context), abs=0.51)
            checked += 1
        else:
            assert table.entropy(context) == table.entropy(context[1:])
    assert checked >= 4


def test_a_text_without_two_bytes_cannot_be_fitted_on():
    with pytest.raises(InputError, match="no text to fit"):
        fit_rule(parse_rule("entropy"), 4.5, np.concatenate([as_ids(b""), as_ids(b"")]))
