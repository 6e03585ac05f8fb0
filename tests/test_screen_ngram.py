"""The n-gram model of a screen: normalised, causal, and what its definition says."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenlab.ragged import Ragged
from tokenlab.screen.ngram import NgramModel
from tokenlab.screen.ngram_reference import NgramReference

BOS = 1


def ragged(documents: list[list[int]]) -> Ragged:
    return Ragged.from_rows(documents, np.uint32)


def repetitive(seed: int, documents: int, vocab_size: int, longest: int = 60) -> list[list[int]]:
    """Documents in which sequences recur, so that every order and every discount is used."""
    draw = random.Random(seed)
    phrases = [[draw.randrange(2, vocab_size) for _ in range(draw.randrange(1, 9))] for _ in range(12)]
    return [
        [token for _ in range(draw.randrange(longest // 5)) for token in draw.choice(phrases)]
        for _ in range(documents)
    ]


def both(
    learned: list[list[int]], scored: list[list[int]], order: int, vocab_size: int
) -> tuple[NgramModel, list[tuple[np.ndarray, float]], list[tuple[list[float], float]]]:
    model = NgramModel(order=order, vocab_size=vocab_size, bos=BOS)
    model.learn(ragged(learned))
    nats = model.score(ragged(scored))
    rows = Ragged(nats.tokens, ragged(scored).offsets)
    reference = NgramReference(order=order, vocab_size=vocab_size, bos=BOS)
    reference.learn(learned)
    return model, list(zip(rows, nats.bos.tolist(), strict=True)), reference.score(scored)


@pytest.mark.parametrize("order", [0, 1, 2, 5, 8])
def test_the_model_is_its_slow_twin(order: int) -> None:
    learned, scored = repetitive(1, 30, 40), [*repetitive(1, 9, 40), [], *repetitive(2, 9, 40)]
    _, fast, slow = both(learned, scored, order, 40)
    for (tokens, bos), (tokens_slow, bos_slow) in zip(fast, slow, strict=True):
        np.testing.assert_allclose(tokens, tokens_slow, rtol=0, atol=1e-9)
        assert bos == pytest.approx(bos_slow, abs=1e-9)


@given(
    st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=6),
    st.lists(st.lists(st.integers(0, 4), max_size=12), max_size=4),
    st.integers(0, 4),
)
def test_the_twins_on_any_documents(learned: list[list[int]], scored: list[list[int]], order: int) -> None:
    """BOS within a document too: an id is an id."""
    _, fast, slow = both(learned, scored, order, 5)
    for (tokens, bos), (tokens_slow, bos_slow) in zip(fast, slow, strict=True):
        np.testing.assert_allclose([*tokens, bos], [*tokens_slow, bos_slow], rtol=0, atol=1e-9)


def test_probabilities_sum_to_one() -> None:
    vocab_size = 700
    learned = repetitive(3, 40, vocab_size)
    model = NgramModel(order=5, vocab_size=vocab_size, bos=BOS)
    assert model.distribution([BOS]).tolist() == [1 / vocab_size] * vocab_size
    model.learn(ragged(learned))
    draw = random.Random(4)
    contexts = [[], [BOS], [5, 6, 7, 8, 9, 10]]
    for _ in range(200):
        document = [BOS, *draw.choice(learned)]
        contexts.append(document[: draw.randrange(len(document)) + 1])
    for context in contexts:
        probabilities = model.distribution(context)
        assert abs(math.fsum(probabilities) - 1) < 1e-9, context
        assert probabilities.min() > 0


def test_what_is_scored_is_the_distribution() -> None:
    learned, scored = repetitive(5, 20, 50), repetitive(6, 20, 50)
    model = NgramModel(order=3, vocab_size=50, bos=BOS)
    reference = NgramReference(order=3, vocab_size=50, bos=BOS)
    model.learn(ragged(learned))
    reference.learn(learned)
    for document in filter(None, learned):
        for at in range(len(document)):
            history = (BOS, *document[:at])
            expected = [reference.probability(history, token) for token in range(50)]
            np.testing.assert_allclose(model.distribution(history), expected, rtol=1e-9)
    for document in filter(None, scored):
        probability = model.distribution([BOS])[document[0]]
        assert model.score(ragged([document])).tokens[0] == pytest.approx(-math.log(probability), abs=1e-12)


def test_the_future_changes_nothing() -> None:
    learned, scored = repetitive(7, 20, 60), repetitive(8, 5, 60)
    ids = ragged(scored)
    before = NgramModel(order=5, vocab_size=60, bos=BOS)
    before.learn(ragged(learned))
    nats = before.score(ids).tokens
    for at in range(0, len(ids.values), 7):
        changed = ids.values.copy()
        changed[at] = (changed[at] + 1) % 60
        after = NgramModel(order=5, vocab_size=60, bos=BOS)
        after.learn(ragged(learned))
        other = after.score(Ragged(changed, ids.offsets)).tokens
        assert np.array_equal(other[:at], nats[:at])
        assert not np.array_equal(other[at:], nats[at:])


def test_a_model_adapts_and_grows() -> None:
    """A document costs less the second time; blocks and growth do not change what it costs."""
    draw = random.Random(9)
    documents = [[draw.randrange(2, 5000) for _ in range(400)] for _ in range(60)]
    model = NgramModel(order=5, vocab_size=5000, bos=BOS)
    whole = model.score(ragged(documents)).tokens
    assert model.nodes > 1 << 16
    assert model.score(ragged(documents)).tokens.sum() < 0.5 * whole.sum()
    model = NgramModel(order=5, vocab_size=5000, bos=BOS)
    singly = [model.score(ragged([document])).tokens for document in documents]
    assert np.array_equal(np.concatenate(singly), whole)


def test_what_no_model_is() -> None:
    with pytest.raises(ValueError, match="bos 4 of 4"):
        NgramModel(order=1, vocab_size=4, bos=4)
    with pytest.raises(ValueError, match="below the count"):
        NgramModel(order=1, vocab_size=4, bos=1, discounts=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="id 9 in a vocabulary of 4"):
        NgramModel(order=1, vocab_size=4, bos=1).learn(ragged([[9]]))
