"""gigatoken, fenced: its BPE kernel on text that it must not touch.

gigatoken's own loaders normalise with a normaliser that differs from SentencePiece's on
odd Unicode, and let text such as `<s>` become a special id. So tokenlab hands it a
`tokenizer.json` without a normaliser and without control tokens, on text that is already
normalised; what is left is the merge loop, which agrees with the reference encoders on all
sets the tests hold, and which `cover` and a sample of every build check again.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np

from tokenlab.ragged import Ragged
from tokenlab.segment.sentencepiece_model import PieceKind, SentencePieceModel

BACKEND = {"gigatoken": version("gigatoken")}


class GigatokenEncoder:
    """Ids of a batch from a `tokenizer.json` that neither normalises nor names specials."""

    def __init__(self, tokenizer_json: dict[str, Any]) -> None:
        import gigatoken

        self._tokenizer = gigatoken.Tokenizer.from_json(msgspec.json.encode(tokenizer_json))

    def encode(self, text: Ragged) -> Ragged:
        """Ids (uint32) of each document of a uint8 batch, on the calling thread."""
        if len(text) == 1:
            ids = self._tokenizer.encode(text.values.tobytes())
            return Ragged(ids, np.array([0, len(ids)]))
        import awkward as ak  # 0.3 s, the first time

        rows = ak.contents.ListOffsetArray(
            ak.index.Index64(text.offsets),
            ak.contents.NumpyArray(text.values, parameters={"__array__": "byte"}),
            parameters={"__array__": "bytestring"},
        )
        found = self._tokenizer.encode_batch(ak.Array(rows), parallel=False).layout
        offsets = np.asarray(found.offsets.data).astype(np.int64)
        return Ragged(np.asarray(found.content.data)[: offsets[-1]], offsets)


def supports_sentencepiece(model: SentencePieceModel) -> bool:
    """Whether gigatoken's merge loop is SentencePiece's for this model: BPE with byte
    fallback, no unused pieces, no two merges of one score (SentencePiece then takes the
    leftmost, gigatoken the one of lower rank), user-defined pieces of one code point."""
    kinds = {piece.kind for piece in model.pieces}
    scores = [p.score for p in model.pieces if p.kind is PieceKind.NORMAL and len(p.text) > 1]
    return (
        model.model_type == "bpe"
        and model.byte_fallback
        and model.escape_whitespaces
        and not model.treat_whitespace_as_suffix
        and len(set(scores)) == len(scores)
        and PieceKind.UNUSED not in kinds
        and all(len(p.text) == 1 for p in model.pieces if p.kind is PieceKind.USER_DEFINED)
    )


def sentencepiece_json(model: SentencePieceModel) -> dict[str, Any]:
    """A SentencePiece BPE model as a `tokenizer.json` of its merge loop alone.

    Every way to cut a piece into two pieces is a merge, ranked by the score of the whole,
    as SentencePiece picks them; only pieces that text may become take part (a user-defined
    piece is taken whole and never merges).
    """
    vocabulary = {piece.text: i for i, piece in enumerate(model.pieces)}
    mergeable = {piece.text: piece for piece in model.pieces if piece.kind is PieceKind.NORMAL}
    merges = []
    for whole in sorted(mergeable.values(), key=lambda piece: -piece.score):
        for cut in range(len(whole.text) - 1, 0, -1):
            left, right = whole.text[:cut], whole.text[cut:]
            if left in mergeable and right in mergeable:
                merges.append((left, right))
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": i,
                "content": piece.text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": False,
            }
            for i, piece in enumerate(model.pieces)
            if piece.kind is PieceKind.USER_DEFINED
        ],
        # Not a normaliser of text: SentencePiece's vocabulary writes a space as U+2581.
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": model.pieces[model.unk_id].text,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }
