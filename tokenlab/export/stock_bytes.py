"""The bytes that parameter-golf's stock trainer counts in a validation split, from pieces alone.

A piece counts its UTF-8 length without its first U+2581; that one counts as a byte unless the
token before is a special; a byte piece counts one. So a marker counts three bytes, each further
U+2581 of a piece three, and a space at the start of a document none.
"""

from __future__ import annotations

import numpy as np

from tokenlab.dataset import Dataset
from tokenlab.export.tokens import token_chunks
from tokenlab.segment.sentencepiece import METASPACE
from tokenlab.segment.sentencepiece_model import Piece, PieceKind, SentencePieceModel

_SPECIAL = (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.UNUSED)


def stock_byte_count(dataset: Dataset, model: SentencePieceModel) -> int:
    """Bytes of the validation split as the stock trainer counts them; it drops a tail of less than a
    sequence on top of that."""
    special = np.array([piece.kind in _SPECIAL for piece in model.pieces])
    spaced = np.array([_text(piece).startswith(METASPACE) for piece in model.pieces])
    length = np.array([len(_text(piece).encode()) for piece in model.pieces])
    length += np.array([piece.kind is PieceKind.BYTE for piece in model.pieces])
    length -= spaced * len(METASPACE.encode())
    total, before = 0, True
    for ids in token_chunks(dataset, "val"):
        after_special = np.concatenate([[before], special[ids[:-1]]])
        total += int(length[ids].sum() + (spaced[ids] & ~after_special).sum())
        before = bool(special[ids[-1]])
    return total


def _text(piece: Piece) -> str:
    """What counts by its length: nothing of a special or a byte piece."""
    return "" if piece.kind in (*_SPECIAL, PieceKind.BYTE) else piece.text
