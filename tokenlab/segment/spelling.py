"""Ids against text: what ids spell, and where in a text each of them ends.

`cover` is the fence around every encoder: it accepts ids only when their bytes, put
together, are the text, so a fast encoder that drops, invents or normalises a byte is caught
in the batch where it happens.
"""

from __future__ import annotations

from tokenlab.errors import DecodingError, EncodingError
from tokenlab.ragged import Ragged


def cover(ids: Ragged, token_bytes: Ragged, text: Ragged) -> Ragged:
    """For each token the bytes of its document covered so far, int32, in the rows of `ids`.

    Raises EncodingError when the ids of a document do not spell it.
    """
    from tokenlab.segment.spelling_kernels import cover as kernel

    ends, document, at = kernel(
        ids.values, ids.offsets, token_bytes.values, token_bytes.offsets, text.values, text.offsets
    )
    if document >= 0:
        raise EncodingError(document, f"its ids do not spell it from byte {at} of the rewritten text on")
    return Ragged(ends, ids.offsets)


def ends(ids: Ragged, token_bytes: Ragged) -> Ragged:
    """What `cover` returns, for ids that are known to spell their text: the sums of their lengths."""
    from tokenlab.segment.spelling_kernels import ends as kernel

    return Ragged(kernel(ids.values, ids.offsets, token_bytes.offsets), ids.offsets)


def spell(ids: Ragged, token_bytes: Ragged) -> Ragged:
    """The text (uint8) that each document's ids spell.

    Raises DecodingError for an id outside the vocabulary or one that spells nothing.
    """
    from tokenlab.segment.spelling_kernels import spell as kernel

    values, offsets, document, token = kernel(
        ids.values, ids.offsets, token_bytes.values, token_bytes.offsets
    )
    if document >= 0:
        bad = int(ids[document][token])
        what = "is outside the vocabulary" if bad >= len(token_bytes) else "is a special and spells no text"
        raise DecodingError(document, token, f"id {bad} {what}")
    return Ragged(values, offsets)


def spell_reference(ids: list[int], token_bytes: list[bytes]) -> bytes:
    """One document, in plain Python: the twin of `spell`."""
    return b"".join(token_bytes[i] for i in ids)


def cover_reference(ids: list[int], token_bytes: list[bytes], text: bytes) -> list[int]:
    """One document, in plain Python: the twin of `cover`. Raises ValueError."""
    ends: list[int] = []
    at = 0
    for token in ids:
        piece = token_bytes[token]
        if not piece or not text.startswith(piece, at):
            raise ValueError(f"token {len(ends)} does not stand at byte {at}")
        at += len(piece)
        ends.append(at)
    if at != len(text):
        raise ValueError(f"the ids end at byte {at} of {len(text)}")
    return ends
