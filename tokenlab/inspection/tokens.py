"""The tokens of one text: id, piece, source slice, bytes charged."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tokenlab.manifest import Split
from tokenlab.ragged import Ragged
from tokenlab.scheme import Scheme
from tokenlab.segment.spelling import cover


class TokenRow(msgspec.Struct, frozen=True):
    """A token: its place behind BOS, what it is, what it is charged (`bytes`).

    `source` is the slice `start:stop` of the source that it stands for, as text; what is no
    whole character is written `\\xe2`. `spells`: the bytes that its id spells, in hex.
    `operator`: it is markers alone and stands for no source byte.
    """

    token: int
    id: int
    piece: str
    start: int
    bytes: int
    source: str
    stop: int
    spells: str
    operator: bool


class Inspection(msgspec.Struct, frozen=True):
    """A text in a scheme. `text_is`: whether slices are of the source or of its normal form.

    The first four say which document of which dataset it is, and are None for a text that
    was typed. `vocabulary`: where the vocabulary came from.
    """

    dataset: str | None
    split: Split | None
    document: int | None
    source_document: int | None
    text_is: str
    source_bytes: int
    charged_bytes: int
    tokens: tuple[TokenRow, ...]
    scheme: str
    vocabulary: str


def token_rows(
    scheme: Scheme,
    ids: Ragged,
    text: Ragged,
    cuts: NDArray[np.int32],
    document: bytes,
    charges: NDArray[Any] | None = None,
) -> tuple[TokenRow, ...]:
    """The rows of a batch of one document.

    `text` is what its ids spell, `cuts` that text's map to `document`. `charges`: those on
    record, one a token; without them a token is charged its slice.
    """
    token_bytes = scheme.segmenter.token_bytes
    ends = cover(ids, token_bytes, text).values
    bounds = cuts[np.concatenate([[0], ends])].tolist()
    markers = {marker.encode() for operator in scheme.operators for marker in operator.markers}
    spelled = {token: token_bytes[token].tobytes() for token in np.unique(ids.values).tolist()}
    return tuple(
        TokenRow(
            token=t,
            id=token,
            piece=scheme.segmenter.piece(token),
            start=start,
            bytes=stop - start if charges is None else int(charges[t]),
            source=document[start:stop].decode(errors="backslashreplace"),
            stop=stop,
            spells=spelled[token].hex(),
            operator=start == stop and _is_marked(spelled[token], markers),
        )
        for t, (token, (start, stop)) in enumerate(zip(ids.values.tolist(), pairwise(bounds), strict=True))
    )


def _is_marked(spelled: bytes, markers: set[bytes]) -> bool:
    # Markers are three bytes each; a vocabulary may hold a run of them as one piece.
    return all(spelled[at : at + 3] in markers for at in range(0, len(spelled), 3))
