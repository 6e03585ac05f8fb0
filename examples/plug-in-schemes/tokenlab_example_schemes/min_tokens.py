"""Min-tokens: of a SentencePiece vocabulary, the fewest tokens that spell a text, instead of the merges.

Dynamic programming from the end: `fewest[i]` = 1 + the least `fewest[j]` of the tokens that spell the text
from i to j. Of several cuts with as few tokens, the one whose first token is longest, then whose second is
longest, and so on; so a cut is determined. Where two ids spell the same bytes (`A` and `<0x41>`), the piece
stands before the byte.

The vocabulary is BPE as of the scheme `bpe`, trained here or given (`--tokenizer FILE.model`, lossless).
Compare: Uzan et al. 2024, "Greed is All You Need" (arXiv 2403.01289), least tokenization.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tokenlab.ragged import Ragged
from tokenlab.segment.sentencepiece import SentencePieceSegmenter
from tokenlab.segment.sentencepiece_model import PieceKind
from tokenlab.segment.word_cache import WordCache
from tokenlab_example_schemes.bpe_stage import BpeStage, open_stage


class MinTokens:
    """The entry point `min-tokens`; `split_digits` and `character_coverage` are SentencePiece's."""

    vocabulary_file = "sentencepiece.model"
    needs_escaped_metaspace = True  # in training

    def __init__(self, *, split_digits: bool = True, character_coverage: float = 0.999) -> None:
        self.split_digits = split_digits
        self._stage = BpeStage(split_digits=split_digits, character_coverage=character_coverage)

    def train(self, text: Ragged, *, vocab_size: int, markers: tuple[str, ...]) -> bytes:
        """A SentencePiece BPE model."""
        return self._stage.train(text, vocab_size=vocab_size, markers=markers)

    def open(self, vocabulary: bytes, *, markers: tuple[str, ...]) -> MinTokensVocabulary:
        """A SentencePiece model that is lossless and holds the markers. Raises InputError."""
        return MinTokensVocabulary(open_stage(vocabulary, markers))


class MinTokensVocabulary:
    """An opened vocabulary; see `tokenlab.segment.plug_in.OpenedVocabulary`."""

    def __init__(self, model: SentencePieceSegmenter) -> None:
        self.vocab_size, self.token_bytes, self.bos = model.vocab_size, model.token_bytes, model.bos
        self.piece = model.piece
        kinds = [piece.kind for piece in model.model.pieces]
        rows = self.token_bytes.tobytes()
        # Bytes first, so that a piece of the same spelling replaces one.
        order = sorted(range(len(rows)), key=lambda i: kinds[i] is not PieceKind.BYTE)
        self._ids = {rows[i]: i for i in order if rows[i]}
        self._longest = max(map(len, self._ids))

    @cached_property
    def _trie(self) -> Trie:
        return Trie(self._ids)

    @cached_property
    def _words(self) -> WordCache:
        # A word begins where no token holds both neighbours, so no cut crosses it: words are independent.
        return WordCache(self.token_bytes, self._encode)

    def split(self, text: Ragged) -> Ragged:
        """Ids (uint32) of a uint8 batch."""
        return self._words.split(text)[0]

    def _encode(self, text: Ragged) -> Ragged:
        from tokenlab_example_schemes.min_tokens_kernels import encode

        ids, offsets = encode(text.values, text.offsets, self._trie.children, self._trie.ids)
        return Ragged(ids, offsets)

    def split_reference(self, text: Ragged) -> Ragged:
        """The same, in plain Python."""
        return Ragged.from_rows([self._document(row) for row in text.tobytes()], np.uint32)

    def _document(self, text: bytes) -> list[int]:
        fewest = [0] * (len(text) + 1)
        take = [0] * len(text)
        for i in range(len(text) - 1, -1, -1):
            stops = [j for j in range(i + 1, min(i + self._longest, len(text)) + 1) if text[i:j] in self._ids]
            take[i] = min(stops, key=lambda j: (fewest[j], -j))
            fewest[i] = 1 + fewest[take[i]]
        ids = []
        at = 0
        while at < len(text):
            ids.append(self._ids[text[at : take[at]]])
            at = take[at]
        return ids


class Trie:
    """Tokens by their bytes. `children` int32[nodes, 256]: node behind each byte, 0 for none; node 0 is the
    root. `ids` int64[nodes]: the token that ends there, -1 for none."""

    def __init__(self, ids: dict[bytes, int]) -> None:
        children: list[NDArray[np.int32]] = [np.zeros(256, np.int32)]
        ends = [-1]
        for token, i in ids.items():
            node = 0
            for byte in token:
                if not children[node][byte]:
                    children[node][byte] = len(children)
                    children.append(np.zeros(256, np.int32))
                    ends.append(-1)
                node = int(children[node][byte])
            ends[node] = i
        self.children = np.stack(children)
        self.ids = np.array(ends, np.int64)
