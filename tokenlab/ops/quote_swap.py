"""Quote-swap: a document that writes its apostrophes U+2019 is written with `'`, as most documents are.

Where a document has more U+2019 than `'`, the two change places and SWAPPED_QUOTES stands first. ESC stands
before a SWAPPED_QUOTES or an ESC that any other document begins with; anywhere else both are text. The
character written is charged the bytes of the one it stands for.
Definition: shared/REPRESENTATIONS.md, qswap.
"""

from __future__ import annotations

from tokenlab.cuts import CutMap
from tokenlab.errors import DecodingError
from tokenlab.ops.marks import ESC, SWAPPED_QUOTES
from tokenlab.ragged import Ragged

STRAIGHT, CURLY = "'", "\u2019"


class QuoteSwap:
    """The `quote-swap` operator."""

    name: str = "quote-swap"
    reversible: bool = True
    markers: tuple[str, ...] = (SWAPPED_QUOTES, ESC)

    def apply(self, text: Ragged) -> tuple[Ragged, CutMap]:
        """Swap where it pays; see `Operator.apply`."""
        from tokenlab.ops.quote_swap_kernels import apply

        values, offsets, positions = apply(text.values, text.offsets)
        return Ragged(values, offsets), CutMap(offsets, positions)

    def invert(self, text: Ragged) -> Ragged:
        """Swap back; see `Operator.invert`."""
        from tokenlab.ops.quote_swap_kernels import REASONS, invert

        values, offsets, document, position, reason = invert(text.values, text.offsets)
        if reason:
            raise DecodingError(document, position, REASONS[reason])
        return Ragged(values, offsets)

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """See `Operator.apply_reference`."""
        return apply_reference(text.decode())


def apply_reference(text: str) -> tuple[bytes, list[int]]:
    """One document rewritten, with its cut map, in plain Python: the twin of the kernel."""
    swapped = text.count(CURLY) > text.count(STRAIGHT)
    first = SWAPPED_QUOTES if swapped else ESC if text.startswith((SWAPPED_QUOTES, ESC)) else ""
    out = bytearray(first.encode())
    cuts = [0] * len(out)
    consumed = 0
    for character in text:
        written = _swap(character).encode() if swapped else character.encode()
        size = len(character.encode())
        cuts.extend(consumed + k * (len(written) == size) for k in range(len(written)))
        out.extend(written)
        consumed += size
    return bytes(out), [*cuts, consumed]


def invert_reference(text: str) -> str:
    """One document read back, in plain Python: the twin of the kernel. Raises ValueError."""
    if text.startswith(SWAPPED_QUOTES):
        source = "".join(map(_swap, text[1:]))
        if source.count(CURLY) <= source.count(STRAIGHT):
            raise ValueError("the quotes of this document are not worth swapping")
        return source
    if text.startswith(ESC):
        if not text.startswith((SWAPPED_QUOTES, ESC), 1):
            raise ValueError("ESC is not followed by SWAPPED_QUOTES or ESC")
        return text[1:]
    return text


def _swap(character: str) -> str:
    return {STRAIGHT: CURLY, CURLY: STRAIGHT}.get(character, character)
