"""What a foreign dataset charges its tokens, and what it may honestly charge them.

Two conventions are honest. *Source*: a token is charged the source bytes it stands for (the
cut map; the published surface sidecar). *Normal form*: it is charged the bytes it spells of
the normalised text (the stock trainer's table). They differ only where a normaliser works.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenlab.cuts import CutMap
from tokenlab.dataset import TokenBatch
from tokenlab.errors import DecodingError, InputError
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.segment.sentencepiece import METASPACE, SentencePieceSegmenter
from tokenlab.segment.sentencepiece_model import PieceKind
from tokenlab.segment.spelling import cover


@dataclass(frozen=True)
class ByteTable:
    """The stock trainer's rule: a token's charge is `base[id]`, plus one if it has a leading
    space and the token before it is no boundary (openai/parameter-golf train_gpt.py)."""

    base: NDArray[np.int64]
    leading_space: NDArray[np.bool_]
    boundary: NDArray[np.bool_]

    def charges(self, ids: Ragged, bos: int) -> Ragged:
        """Charges (int64) of documents that each stand behind a BOS."""
        previous = np.empty(len(ids.values), np.int64)
        previous[1:] = ids.values[:-1]
        previous[ids.offsets[:-1][ids.lengths > 0]] = bos
        known = np.minimum(ids.values.astype(np.int64), len(self.base) - 1)
        space = self.leading_space[known] & ~self.boundary[np.minimum(previous, len(self.base) - 1)]
        return Ragged(self.base[known] + space, ids.offsets)


def read_byte_table(path: Path, vocab_size: int) -> ByteTable:
    """A table written out as `base_bytes`, `has_leading_space`, `is_boundary_token`. Raises InputError."""
    try:
        with np.load(path) as arrays:
            base, space, boundary = (
                arrays[name] for name in ("base_bytes", "has_leading_space", "is_boundary_token")
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: not a byte table (base_bytes, has_leading_space, is_boundary_token): {error}"
        ) from error
    if not len(base) == len(space) == len(boundary) or len(base) < vocab_size:
        raise InputError(f"{path}: {len(base)} rows for a vocabulary of {vocab_size}")
    return ByteTable(base.astype(np.int64), space.astype(bool), boundary.astype(bool))


def stock_table(segmenter: SentencePieceSegmenter) -> ByteTable:
    """The table that the stock trainer derives from a SentencePiece model."""
    base = np.zeros(segmenter.vocab_size, np.int64)
    space = np.zeros(segmenter.vocab_size, bool)
    boundary = np.zeros(segmenter.vocab_size, bool)
    for i, piece in enumerate(segmenter.model.pieces):
        if piece.kind in (PieceKind.CONTROL, PieceKind.UNKNOWN, PieceKind.UNUSED):
            boundary[i] = True
        elif piece.kind is PieceKind.BYTE:
            base[i] = 1
        else:
            space[i] = piece.text.startswith(METASPACE)
            base[i] = len(piece.text.removeprefix(METASPACE).encode())
    return ByteTable(base, space, boundary)


def source_charges(scheme: Scheme, ids: Ragged, text: Ragged, cuts: CutMap) -> Ragged:
    """Charges (int32) by the source convention; the ids must spell `text`."""
    return cuts.charges(cover(ids, scheme.segmenter.token_bytes, text))


def normal_form_charges(scheme: Scheme, ids: Ragged, text: Ragged) -> Ragged:
    """Charges (int32) by the normal-form convention: markers 0, all else what it spells.

    Where the operators can read the normal form back, its own cut map says it; where a
    normaliser left text that they cannot read, each token's spelling does.
    """
    try:
        again, cuts = scheme.rewrite_losslessly(scheme.read_back(text))
        if again.first_difference(text) is None:
            return cuts.charges(cover(ids, scheme.segmenter.token_bytes, text))
    except DecodingError:
        pass
    if len(ids) > 1:  # one document that cannot be read must not decide for the others
        rows = [normal_form_charges(scheme, ids.rows(d, d + 1), text.rows(d, d + 1)) for d in range(len(ids))]
        return Ragged.concatenate(rows, np.int32)
    lengths = scheme.segmenter.token_bytes.lengths
    lengths[marker_ids(scheme)] = 0
    return Ragged(lengths[ids.values].astype(np.int32), ids.offsets)


def marker_ids(scheme: Scheme) -> NDArray[np.int64]:
    """Ids that spell a marker of the scheme's operators and nothing else."""
    markers = {marker.encode() for operator in scheme.operators for marker in operator.markers}
    spelled = scheme.segmenter.token_bytes.tobytes()
    return np.array([i for i, piece in enumerate(spelled) if piece in markers], np.int64)


def continues_character(scheme: Scheme) -> NDArray[np.bool_]:
    """For each id, whether it begins inside a character of UTF-8."""
    inside = np.zeros(scheme.segmenter.vocab_size, bool)
    for i, piece in enumerate(scheme.segmenter.token_bytes.tobytes()):
        inside[i] = bool(piece) and piece[0] & 0xC0 == 0x80
    return inside


def first_wrong_token(
    found: NDArray[Any], expected: NDArray[Any], inside_character: NDArray[np.bool_]
) -> tuple[int | None, bool]:
    """One document's charges compared: (first wrong token or None, whether only the place of
    bytes within characters differs).

    The published surface sidecar charges a character split over byte tokens 0, 0, n; that is
    the same sum at another place of one character.
    """
    if np.array_equal(found, expected):
        return None, False
    starts = np.flatnonzero(~inside_character)
    if not len(starts) or starts[0] != 0:
        starts = np.concatenate([[0], starts])
    wrong = np.flatnonzero(np.add.reduceat(found, starts) != np.add.reduceat(expected, starts))
    if not len(wrong):
        return None, True
    first = int(starts[wrong[0]])
    stop = int(starts[wrong[0] + 1]) if wrong[0] + 1 < len(starts) else len(found)
    return first + int(np.flatnonzero(found[first:stop] != expected[first:stop])[0]), False


def found_charges(batch: TokenBatch, table: ByteTable | None, bos: int) -> Ragged | None:
    """What the dataset charges the tokens of a batch (int64), or None when nothing says it."""
    if batch.charges is not None:
        return Ragged(batch.charges.values.astype(np.int64), batch.charges.offsets)
    return table.charges(batch.ids, bos) if table is not None else None
