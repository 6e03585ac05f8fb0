"""The n-gram model in plain Python, from the definition: the slow twin of `ngram`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from tokenlab.screen.ngram import DISCOUNTS

Context = tuple[int, ...]


class NgramReference:
    """`NgramModel`, with a Counter for each context and sums taken anew for every probability."""

    def __init__(
        self, *, order: int, vocab_size: int, bos: int, discounts: tuple[float, float, float] = DISCOUNTS
    ) -> None:
        self.discounts = (0.0, *discounts)
        self.order, self.vocab_size, self.bos = order, vocab_size, bos
        self.counts: dict[Context, Counter[int]] = defaultdict(Counter)

    def learn(self, documents: Sequence[Sequence[int]]) -> None:
        """Read documents."""
        for document in documents:
            history: Context = (self.bos,)
            for token in [*document, self.bos]:
                self._learn(history, token)
                history = (*history[-self.order :], token)

    def score(self, documents: Sequence[Sequence[int]]) -> list[tuple[list[float], float]]:
        """Score and learn documents: for each the nats of its tokens, and of the BOS behind it."""
        found = []
        for document in documents:
            history: Context = (self.bos,)
            nats = []
            for token in [*document, self.bos]:
                nats.append(-math.log(self.probability(history, token)))
                self._learn(history, token)
                history = (*history[-self.order :], token)
            found.append((nats[:-1], nats[-1]))
        return found

    def probability(self, history: Context, token: int) -> float:
        """Of a token behind a document's BOS and tokens so far."""
        p = 1 / self.vocab_size
        for k in range(min(self.order, len(history)) + 1):
            events = self.counts.get(_last(history, k))
            if events:
                left = sum(self._discount(count) for count in events.values())
                p = (events[token] - self._discount(events[token]) + left * p) / events.total()
        return p

    def _discount(self, count: int) -> float:
        return self.discounts[min(count, 3)]

    def _learn(self, history: Context, token: int) -> None:
        for k in range(min(self.order, len(history)), -1, -1):
            events = self.counts[_last(history, k)]
            events[token] += 1
            if events[token] > 1:
                return


def _last(history: Context, k: int) -> Context:
    return history[len(history) - k :]
