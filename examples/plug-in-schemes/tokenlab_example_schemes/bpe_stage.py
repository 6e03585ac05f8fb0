"""The SentencePiece BPE vocabulary, as of the scheme `bpe`, that both segmenters here begin with."""

from __future__ import annotations

from dataclasses import dataclass

from tokenlab.ragged import Ragged
from tokenlab.segment.sentencepiece import SentencePieceSegmenter, train_sentencepiece


@dataclass(frozen=True, kw_only=True)
class BpeStage:
    """SentencePiece's `split_digits` and `character_coverage`."""

    split_digits: bool
    character_coverage: float

    def train(self, text: Ragged, *, vocab_size: int, markers: tuple[str, ...]) -> bytes:
        """The model of a uint8 batch of documents. Raises InputError as SentencePiece does."""
        parameters = {
            "model_type": "bpe",
            "split_digits": self.split_digits,
            "character_coverage": self.character_coverage,
        }
        return train_sentencepiece(
            text.tobytes(), vocab_size=vocab_size, markers=markers, parameters=parameters
        )


def open_stage(model: bytes, markers: tuple[str, ...]) -> SentencePieceSegmenter:
    """A model that is lossless and holds the markers. Raises InputError for another."""
    stage = SentencePieceSegmenter(model)
    stage.require_lossless(markers)
    return stage
