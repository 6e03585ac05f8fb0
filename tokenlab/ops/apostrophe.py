"""Apostrophe: `'` between letters becomes a Latin letter, so that a vocabulary may merge `don't` as it
merges any word.

SentencePiece merges characters of one script only, and `'` has none. Between two ASCII letters it is written
U+A78C (LATIN SMALL LETTER SALTILLO), which is charged its byte. ESC stands before a U+A78C and an ESC of the
input. Definition: shared/REPRESENTATIONS.md, apos.
"""

from __future__ import annotations

import re

from tokenlab.ops.kernel_operator import KernelOperator
from tokenlab.ops.marks import ESC, JOINING_APOSTROPHE


class Apostrophe(KernelOperator):
    """The `apostrophe` operator."""

    name: str = "apostrophe"
    markers: tuple[str, ...] = (ESC,)
    kernels = "tokenlab.ops.apostrophe_kernels"

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """See `Operator.apply_reference`."""
        return apply_reference(text.decode())


def apply_reference(text: str) -> tuple[bytes, list[int]]:
    """One document rewritten, with its cut map, in plain Python: the twin of the kernel."""
    out = bytearray()
    cuts: list[int] = []
    consumed = 0
    for match in re.finditer(r"(?P<joins>(?<=[A-Za-z])'(?=[A-Za-z]))|(?P<other>.)", text, re.DOTALL):
        data = match.group().encode()
        if match["joins"]:
            written, advances = JOINING_APOSTROPHE.encode(), False
        else:
            written, advances = data, True
            if match["other"] in (ESC, JOINING_APOSTROPHE):
                out.extend(ESC.encode())
                cuts.extend([consumed] * 3)
        out.extend(written)
        cuts.extend(consumed + k * advances for k in range(len(written)))
        consumed += len(data)
    return bytes(out), [*cuts, consumed]


def invert_reference(text: str) -> str:
    """One document read back, in plain Python: the twin of the kernel. Raises ValueError."""
    out = []
    at = 0
    joins = f"(?<=[A-Za-z]){JOINING_APOSTROPHE}(?=[A-Za-z])"
    own = f"[{ESC}{JOINING_APOSTROPHE}]"
    token = re.compile(f"{ESC}(?P<literal>{own})|(?P<joins>{joins})|(?!{own})(?P<other>.)", re.DOTALL)
    while at < len(text):
        match = token.match(text, at)
        if match is None:
            raise ValueError(f"unreadable mark at character {at}")
        out.append("'" if match["joins"] else match["literal"] or match["other"])
        at = match.end()
    return "".join(out)
