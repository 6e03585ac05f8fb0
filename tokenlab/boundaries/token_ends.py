"""The rule that looks ahead by a vocabulary: patches are the tokens of a byte-level BPE."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tokenlab.boundaries.rule import Rule
from tokenlab.boundaries.state import State
from tokenlab.ragged import Ragged
from tokenlab.segment.byte import FIRST_BYTE
from tokenlab.segment.byte_level import ByteLevelSegmenter

SPLIT = "cl100k"
"""How the text is cut before pairs are merged, as in scheme `byte-bpe`."""


@dataclass(frozen=True)
class TokenEnds(Rule):
    """Where a token of `tokenizer`, a `tokenizer.json`, begins. Where one ends depends on bytes behind it:
    for analysis only. Raises InputError for a tokenizer that is no byte-level BPE."""

    tokenizer: bytes
    kind = "bpe"
    causal = False

    def __post_init__(self) -> None:
        """Read the vocabulary, so that a wrong one is refused at once."""
        _ = self._segmenter

    @cached_property
    def _segmenter(self) -> ByteLevelSegmenter:
        return ByteLevelSegmenter(self.tokenizer)

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        return f"bpe:{self._segmenter.vocab_size}"

    @property
    def parameters(self) -> dict[str, int]:
        """See `Rule.parameters`."""
        return {"vocab_size": self._segmenter.vocab_size}

    @property
    def tables(self) -> bytes:
        """See `Rule.tables`."""
        return self.tokenizer

    def starts(self, ids: NDArray[np.uint16], state: State) -> NDArray[np.uint8]:
        """As `Rule.starts`, but `ids` must be whole documents of valid UTF-8; `state` is not used."""
        is_bos = ids == self.bos
        begins = np.flatnonzero(is_bos)
        lengths = np.diff(np.append(begins, len(ids))) - 1
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        text = Ragged((ids[~is_bos] - np.uint16(FIRST_BYTE)).astype(np.uint8), offsets)
        _, ends = self._segmenter.split_with_ends(text)
        starts: NDArray[np.uint8] = is_bos.astype(np.uint8)
        starts[begins[lengths > 0] + 1] = 1
        inner = ends.values < np.repeat(lengths, ends.lengths)
        starts[(np.repeat(begins, ends.lengths) + 1 + ends.values)[inner]] = 1
        return starts

    def begins(self, prefix: bytes) -> bool:
        """Raises TypeError: what stands before a byte does not tell."""
        raise TypeError(f"{self.text} looks ahead")

    def starts_reference(self, document: bytes) -> list[int]:
        """See `Rule.starts_reference`; of the whole document, by the library that trained the tokenizer."""
        bits = [1]
        for token in self._segmenter.split_reference(Ragged.from_bytes([document])).values.tolist():
            bits += [1] + [0] * (len(self._segmenter.token_bytes[token]) - 1)
        return bits
