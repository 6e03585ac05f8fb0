"""Escape: what SentencePiece cannot spell, written so that it can.

SentencePiece cannot tell U+2581 from a space. So U+2581 is written ESC and a space, and a
literal ESC twice; everything else stands. The cuts of `ESC` do not advance: the character
behind it carries the bytes.
"""

from __future__ import annotations

from tokenlab.cuts import CutMap
from tokenlab.errors import DecodingError
from tokenlab.ops.marks import ESC, METASPACE
from tokenlab.ragged import Ragged


class Escape:
    """The `escape` operator."""

    name: str = "escape"
    reversible: bool = True
    markers: tuple[str, ...] = (ESC,)

    def apply(self, text: Ragged) -> tuple[Ragged, CutMap]:
        """Write what needs it as an escape; see `Operator.apply`."""
        from tokenlab.ops.escape_kernels import apply, count

        escapes = count(text.values)
        if not escapes:
            return text, CutMap.identity(text)
        values, offsets, positions = apply(text.values, text.offsets, escapes)
        return Ragged(values, offsets), CutMap(offsets, positions)

    def invert(self, text: Ragged) -> Ragged:
        """Read the escapes back; see `Operator.invert`."""
        from tokenlab.ops.escape_kernels import count, invert

        if not count(text.values):
            return text
        values, offsets, document, position = invert(text.values, text.offsets)
        if document >= 0:
            raise DecodingError(document, position, "ESC is not followed by a space or ESC")
        return Ragged(values, offsets)

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """See `Operator.apply_reference`."""
        return apply_reference(text.decode())


def apply_reference(text: str) -> tuple[bytes, list[int]]:
    """One document rewritten, with its cut map, in plain Python: the twin of the kernel."""
    out = bytearray()
    cuts: list[int] = []
    consumed = 0
    for character in text:
        if character in (ESC, METASPACE):
            out.extend(ESC.encode())
            cuts.extend([consumed] * 3)
        spelled = b" " if character == METASPACE else character.encode()
        out.extend(spelled)
        cuts.extend(consumed + k for k in range(len(spelled)))
        consumed += len(character.encode())
    return bytes(out), [*cuts, consumed]


def invert_reference(text: str) -> str:
    """One document read back, in plain Python: the twin of the kernel. Raises ValueError."""
    out = []
    characters = iter(text)
    for character in characters:
        if character == ESC:
            character = next(characters, "")
            if character not in (" ", ESC) or not character:
                raise ValueError("ESC is not followed by a space or ESC")
            character = METASPACE if character == " " else ESC
        out.append(character)
    return "".join(out)
