"""An adaptive n-gram model of token ids: the screen's stand-in for a language model.

Orders 0 to N, each interpolated with the one below it and the lowest with the uniform distribution;
three discounts, of events seen once, twice, and more often (Chen and Goodman 1998, An empirical study
of smoothing techniques for language modeling, modified Kneser-Ney); a token counts in a lower order
only where it was new in the higher (update exclusion, which is Kneser-Ney's count of contexts). It is
causal: what a token costs depends on what was read before it. BOS opens every document as context and
is predicted behind its last token; its nats are kept apart, so that both conventions about BOS can be
told.

>>> model = NgramModel(order=2, vocab_size=4, bos=1)
>>> model.learn(Ragged.from_rows([[2, 3, 2, 3], [2, 3]], np.uint32))
>>> nats = model.score(Ragged.from_rows([[2, 3]], np.uint32))
>>> nats.tokens.shape, nats.bos.shape, round(float(model.distribution([2]).sum()), 12)
((2,), (1,), 1.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenlab.errors import InputError
from tokenlab.ragged import Ragged

BLOCK_TOKENS = 1 << 16
"""Tokens that the kernels take at a time, at least a document."""

DISCOUNTS = (0.75, 1.2, 1.5)
"""Of every order. Fixed, so that schemes are scored by one model; these give the bits of
../shared/REPRESENTATIONS.md, to which the calibration belongs (docs/representations.md)."""

MAX_NODES = 1 << 27
"""Sequences a model may hold; a node and its slots take 40 to 48 bytes. As many are reserved as a block
of documents can bring."""


@dataclass(frozen=True, slots=True)
class Nats:
    """Costs of scored documents: `tokens` float64[tokens], `bos` float64[documents] of the BOS behind
    each."""

    tokens: NDArray[np.float64]
    bos: NDArray[np.float64]


class NgramModel:
    """A model that has read nothing yet.

    `order`: tokens of the longest context. `vocab_size`: ids are below it. `bos`: the id between
    documents. `discounts`: of counts 1, 2, and 3 and more. Memory: 40 to 48 bytes for each distinct
    sequence of 1 to order + 1 tokens, twice that for a moment when the table grows; at most MAX_NODES.
    """

    def __init__(
        self,
        *,
        order: int,
        vocab_size: int,
        bos: int,
        discounts: tuple[float, float, float] = DISCOUNTS,
    ) -> None:
        from tokenlab.screen.ngram_kernels import NODE_WIDTH

        if order < 0 or not 0 <= bos < vocab_size:
            raise ValueError(f"order {order}, bos {bos} of {vocab_size} ids")
        if not all(0 < discount < r for r, discount in enumerate(discounts, 1)):
            raise ValueError(f"discounts of counts 1, 2, 3 must be above 0 and below the count: {discounts}")
        self._discounts = np.array([0.0, *discounts])
        self.order, self.vocab_size, self.bos = order, vocab_size, bos
        self._nodes = np.zeros((1 << 16, NODE_WIDTH), np.int32)
        self._slots = np.zeros(1 << 17, np.int32)
        self._size = np.ones(1, np.int64)

    @property
    def nodes(self) -> int:
        """Distinct sequences held, the empty one included."""
        return int(self._size[0])

    def learn(self, documents: Ragged) -> None:
        """Read documents (ids without BOS). Raises InputError when the model could pass MAX_NODES."""
        self._read(documents, score=False)

    def score(self, documents: Ragged) -> Nats:
        """The nats of each token, then learn it. Raises InputError as `learn`."""
        return self._read(documents, score=True)

    def distribution(self, context: Sequence[int]) -> NDArray[np.float64]:
        """Probability of every id after `context` (BOS first, where a document begins there):
        float64[vocab_size], by the code that scores."""
        from tokenlab.screen.ngram_kernels import distribution

        return distribution(
            np.asarray(context, np.int64),
            self.order,
            self.vocab_size,
            self._discounts,
            self._nodes,
            self._slots,
        )

    def _read(self, documents: Ragged, score: bool) -> Nats:
        from tokenlab.screen.ngram_kernels import read

        if len(documents.values) and int(documents.values.max()) >= self.vocab_size:
            raise ValueError(f"id {int(documents.values.max())} in a vocabulary of {self.vocab_size}")
        nats = Nats(np.zeros(len(documents.values) if score else 0), np.zeros(len(documents) if score else 0))
        for start, stop in documents.slices(BLOCK_TOKENS):
            block = documents.rows(start, stop)
            self._reserve((len(block.values) + len(block) + 1) * (self.order + 1))
            first, last = documents.offsets[start], documents.offsets[stop]
            read(
                np.ascontiguousarray(block.values, np.uint32),
                block.offsets,
                self.bos,
                self.order,
                self.vocab_size,
                self._discounts,
                score,
                self._nodes,
                self._slots,
                self._size,
                nats.tokens[first:last],
                nats.bos[start:stop],
            )
        return nats

    def _reserve(self, more: int) -> None:
        """Make room for `more` nodes, with at most half of the slots taken."""
        from tokenlab.screen.ngram_kernels import NODE_WIDTH, rehash

        need = self.nodes + more
        if need > MAX_NODES:
            raise InputError(
                f"the n-gram model could hold over {MAX_NODES:,} sequences; screen less text "
                "(--limit-docs), shorter documents, or a scheme of longer tokens"
            )
        if need <= len(self._nodes):
            return
        nodes = np.zeros((max(need, len(self._nodes) * 3 // 2), NODE_WIDTH), np.int32)
        nodes[: self.nodes] = self._nodes[: self.nodes]
        self._nodes = nodes
        if 2 * len(nodes) > len(self._slots):
            self._slots = np.zeros(1 << (2 * len(nodes) - 1).bit_length(), np.int32)
            rehash(self._nodes, self.nodes, self._slots)
