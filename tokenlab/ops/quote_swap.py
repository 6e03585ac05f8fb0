"""Quote-swap: a document that writes its apostrophes U+2019 is written with `'`, as most documents are.

Where a document has more U+2019 than `'`, the two change places and SWAPPED_QUOTES stands first. ESC stands
before a SWAPPED_QUOTES or an ESC that any other document begins with; anywhere else both are text. The
character written is charged the bytes of the one it stands for.
Definition: shared/REPRESENTATIONS.md, qswap.
"""

from __future__ import annotations

from tokenlab.ops.kernel_operator import KernelOperator
from tokenlab.ops.marks import ESC, SWAPPED_QUOTES

STRAIGHT, CURLY = "'", "\u2019"


class QuoteSwap(KernelOperator):
    """The `quote-swap` operator."""

    name: str = "quote-swap"
    markers: tuple[str, ...] = (SWAPPED_QUOTES, ESC)
    kernels = "tokenlab.ops.quote_swap_kernels"

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
