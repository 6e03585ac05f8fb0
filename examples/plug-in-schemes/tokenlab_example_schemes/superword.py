"""Superwords: tokens of several words, merged from the tokens of a BPE vocabulary that keeps words apart.

Training: stage 1 is SentencePiece BPE of `first_stage` (0.8) of the vocabulary, as of the scheme `bpe`.
Stage 2 merges, on its ids, the commonest pair of neighbours whose right side begins with a space, until the
vocabulary is full: of no token that holds a newline, is a byte or a marker, and of `words` tokens of stage
1 at most. Of pairs as common the one with the lower left id, then the lower right id.

Encoding: stage 1, then the merges in order, each from left to right. As a merge of a token comes behind the
one that makes it, this is: as long as there is one, the earliest merge, leftmost.

Definition: shared/REPRESENTATIONS.md section 2; compare SuperBPE (Liu et al. 2025, arXiv 2503.13423).

The vocabulary file is JSON: `model`, the SentencePiece model in base64, and `merges`, pairs of ids; merge k
makes the id that is k places behind stage 1.
"""

from __future__ import annotations

import base64
import binascii
import json
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tokenlab.ragged import Ragged
from tokenlab.segment.sentencepiece import SentencePieceSegmenter
from tokenlab.segment.sentencepiece_model import PieceKind
from tokenlab_example_schemes.bpe_stage import BpeStage, open_stage

FORMAT = "tokenlab-superword"


class Superword:
    """The entry point `superword`. Raises ValueError for parameters out of range."""

    vocabulary_file = "superword.json"
    needs_escaped_metaspace = True

    def __init__(
        self,
        *,
        first_stage: float = 0.8,
        words: int = 4,
        split_digits: bool = True,
        character_coverage: float = 0.999,
    ) -> None:
        if not 0 < first_stage <= 1:
            raise ValueError(f"first_stage = {first_stage}; it is a share of the vocabulary, from 0 to 1")
        if words < 2:
            raise ValueError(f"words = {words}; a superword has two at least")
        self.first_stage, self.words = first_stage, words
        self.split_digits = split_digits
        self._stage = BpeStage(split_digits=split_digits, character_coverage=character_coverage)

    def train(self, text: Ragged, *, vocab_size: int, markers: tuple[str, ...]) -> bytes:
        """Both stages. Raises ValueError for a text of too few pairs, InputError as SentencePiece does."""
        size = round(self.first_stage * vocab_size)
        data = self._stage.train(text, vocab_size=size, markers=markers)
        stage = SentencePieceSegmenter(data)
        merges = train_merges(stage, stage.split(text), vocab_size - size, self.words)
        if len(merges) < vocab_size - size:
            raise ValueError(
                f"the text fills {size + len(merges)} ids, not {vocab_size}: pass a lower --vocab-size, "
                "or more text"
            )
        content = {"format": FORMAT, "model": base64.b64encode(data).decode(), "merges": merges.tolist()}
        return json.dumps(content).encode()

    def open(self, vocabulary: bytes, *, markers: tuple[str, ...]) -> SuperwordVocabulary:
        """What `train` wrote. Raises ValueError for another file, InputError for a model that loses text."""
        try:
            content = json.loads(vocabulary)
            if content["format"] != FORMAT:
                raise ValueError("another format")
            data = base64.b64decode(content["model"], validate=True)
            merges = np.array(content["merges"], np.int64).reshape(-1, 2)
        except (ValueError, KeyError, TypeError, OverflowError, binascii.Error) as error:
            raise ValueError(f"the vocabulary is no {FORMAT} file: {error}") from error
        stage = open_stage(data, markers)
        made = stage.vocab_size + np.arange(len(merges))[:, None]
        if ((merges < 0) | (merges >= made)).any():
            raise ValueError("the vocabulary is damaged: a merge names an id that is not made before it")
        return SuperwordVocabulary(stage, merges)


class SuperwordVocabulary:
    """An opened vocabulary; see `tokenlab.segment.plug_in.OpenedVocabulary`."""

    def __init__(self, stage: SentencePieceSegmenter, merges: NDArray[np.int64]) -> None:
        self._stage, self._merges = stage, merges
        rows = stage.token_bytes.tobytes()
        for left, right in merges.tolist():
            rows.append(rows[left] + rows[right])
        self.vocab_size, self.token_bytes = len(rows), Ragged.from_bytes(rows)
        self.bos, self.backends = stage.bos, stage.backends

    @cached_property
    def _table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        from tokenlab_example_schemes.superword_kernels import merge_table

        return merge_table(self._merges)  # type: ignore[no-any-return]

    def split(self, text: Ragged) -> Ragged:
        """Ids (uint32) of a uint8 batch."""
        from tokenlab_example_schemes.superword_kernels import merge

        ids = self._stage.split(text)
        return Ragged(*merge(ids.values, ids.offsets, *self._table, self._stage.vocab_size))

    def split_reference(self, text: Ragged) -> Ragged:
        """The same from SentencePiece itself and plain Python."""
        merges = {(left, right): rank for rank, (left, right) in enumerate(self._merges.tolist())}
        rows = [row.tolist() for row in self._stage.split_reference(text)]
        return Ragged.from_rows([self._merged(row, merges) for row in rows], np.uint32)

    def _merged(self, ids: list[int], merges: dict[tuple[int, int], int]) -> list[int]:
        while ranks := [merges[pair] for pair in pairwise(ids) if pair in merges]:
            rank = min(ranks)
            pair = tuple(self._merges[rank].tolist())
            out: list[int] = []
            at = 0
            while at < len(ids):
                found = tuple(ids[at : at + 2]) == pair
                out.append(self._stage.vocab_size + rank if found else ids[at])
                at += 2 if found else 1
            ids = out
        return ids

    def piece(self, token: int) -> str:
        """The pieces of stage 1, side by side."""
        if token < self._stage.vocab_size:
            return self._stage.piece(token)
        left, right = self._merges[token - self._stage.vocab_size].tolist()
        return self.piece(left) + self.piece(right)


def mergeable(stage: SentencePieceSegmenter) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a superword may hold a piece, and whether it begins with a space: bool[vocab_size] each."""
    rows = stage.token_bytes.tobytes()
    plain = [
        piece.kind is PieceKind.NORMAL and b"\n" not in row
        for piece, row in zip(stage.model.pieces, rows, strict=True)
    ]
    return np.array(plain), np.array([row.startswith(b" ") for row in rows])


def train_merges(stage: SentencePieceSegmenter, ids: Ragged, count: int, words: int) -> NDArray[np.int64]:
    """The first `count` merges of ids (uint32), int64[merges, 2]; fewer where no pair stands twice."""
    from tokenlab_example_schemes.superword_kernels import train

    plain, spaced = mergeable(stage)
    merges: NDArray[np.int64] = train(ids.values, ids.offsets, plain, spaced, count, words)
    return merges


def train_merges_reference(
    stage: SentencePieceSegmenter, ids: Ragged, count: int, words: int
) -> list[list[int]]:
    """The same in plain Python: every pair counted anew for every merge."""
    plain, spaced = (of.tolist() for of in mergeable(stage))
    size = [1] * len(plain)
    rows = [row.tolist() for row in ids]
    merges: list[list[int]] = []
    while len(merges) < count:
        counts: dict[tuple[int, int], int] = {}
        for row in rows:
            for left, right in pairwise(row):
                if plain[left] and plain[right] and spaced[right] and size[left] + size[right] <= words:
                    counts[left, right] = counts.get((left, right), 0) + 1
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        made = len(plain)
        for of, value in ((plain, True), (spaced, spaced[best[0]]), (size, size[best[0]] + size[best[1]])):
            of.append(value)
        for row in rows:
            at = 0
            while at < len(row) - 1:
                if (row[at], row[at + 1]) == best:
                    row[at : at + 2] = [made]
                at += 1
        merges.append(list(best))
    return merges
