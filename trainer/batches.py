"""Batches of training rows: blocks of consecutive documents in an order drawn by seed.

The split is cut into blocks of `block_documents` documents; each epoch is a permutation of the
blocks, and rows of `context` tokens are cut from the tokens in that order, each row's last target
being the next row's first input (as the published loader cuts its stream). Documents are the unit,
so that datasets of the same documents in other tokenizers are read in the same order.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data import Patches, Split


class Batches:
    """An endless sequence of batches over a split; the same arguments give the same sequence.

    With `share` = (start, stop) only these rows of each batch are read: one process's part. With `patches`
    a batch also says after which inputs a patch begins."""

    def __init__(
        self,
        split: Split,
        *,
        rows: int,
        context: int,
        block_documents: int,
        seed: int,
        share: tuple[int, int] | None = None,
        patches: Patches | None = None,
    ) -> None:
        self._split, self._patches = split, patches
        self._rows, self._context = rows, context
        self._share = share or (0, rows)
        self._block = block_documents
        self._seed = seed
        self._blocks = -(-split.record.documents // block_documents)
        self.epoch = 0
        self._order = self._permutation(0)
        self._index = 0
        self._at, self._end = self._extent(0)
        self._carried = self._take(1)

    def next(self) -> tuple[NDArray[Any], ...]:
        """Inputs and targets, int64[rows of the share, context] each, and with patches bool of the same
        shape."""
        start, stop = self._share
        self._skip_tokens(start * self._context)
        shape = (stop - start, self._context)
        taken = np.concatenate([self._carried, self._take(shape[0] * shape[1])], axis=1)
        self._carried = taken[:, -1:]
        self._skip_tokens((self._rows - stop) * self._context)
        tokens, *opens = taken
        inputs = tokens[:-1].reshape(shape), tokens[1:].reshape(shape)
        return (*inputs, *(row[:-1].reshape(shape) > 0 for row in opens))

    def skip(self, batches: int) -> None:
        """Go on as if `next` had been called so often; reads one token."""
        self._skip_tokens(batches * self._rows * self._context)

    def order_sha256(self) -> str:
        """Digest of the order of blocks (little-endian int64) in the epochs begun so far."""
        digest = hashlib.sha256()
        for epoch in range(self.epoch + 1):
            digest.update(self._permutation(epoch).astype("<i8").tobytes())
        return digest.hexdigest()

    def opening_block_tokens(self, tokens: int) -> float | None:
        """Mean tokens of the blocks that open the order of the epoch in which reading `tokens` ends: as
        many blocks as the mean block needs for them, so that over seeds its expectation is exactly
        `block_tokens` (how many blocks were read itself depends on how long they are). None where the
        epoch is a whole one, or not one block long."""
        epoch, rest = divmod(tokens, self._split.record.tokens)
        count = round(rest / self.block_tokens)
        if not 0 < count < self._blocks:
            return None
        first = self._permutation(epoch)[:count] * self._block
        last = np.minimum(first + self._block, self._split.record.documents)
        start = self._split.document_start
        return sum(start(b) - start(a) for a, b in zip(first.tolist(), last.tolist(), strict=True)) / count

    @property
    def block_tokens(self) -> float:
        """Mean tokens of all blocks of the split."""
        return self._split.record.tokens / self._blocks

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(self._blocks)

    def _extent(self, index: int) -> tuple[int, int]:
        first = int(self._order[index]) * self._block
        last = min(first + self._block, self._split.record.documents)
        return self._split.document_start(first), self._split.document_start(last)

    def _next_block(self) -> None:
        self._index += 1
        if self._index == self._blocks:
            self.epoch, self._index = self.epoch + 1, 0
            self._order = self._permutation(self.epoch)
        self._at, self._end = self._extent(self._index)

    def _take(self, count: int) -> NDArray[np.int64]:
        """The next tokens, and with patches whether one begins after each: int64[1 or 2, count]."""
        parts = []
        while count:
            if self._at == self._end:
                self._next_block()
            stop = min(self._at + count, self._end)
            rows = [self._split.tokens.read(self._at, stop)]
            if self._patches is not None:
                rows.append(self._patches.opens(self._at, stop).astype(np.int64))
            parts.append(np.stack(rows))
            count -= stop - self._at
            self._at = stop
        return np.concatenate(parts, axis=1)

    def _skip_tokens(self, count: int) -> None:
        if count:
            self._advance(count - 1)
            self._carried = self._take(1)

    def _advance(self, count: int) -> None:
        while count:
            if self._at == self._end:
                self._next_block()
            step = min(count, self._end - self._at)
            count -= step
            self._at += step
