"""Glue: a word without a space before it gets a mark and a space, so that a vocabulary need not hold
each word twice, with its space and without.

A word is a maximal run of ASCII letters. Where neither a space (U+0020), a letter (`letters.py`), a digit
nor an apostrophe (`'`, U+2019) stands before it, GLUE and a space are written there:

    (foo       (GLUE␣foo
    foo.bar    GLUE␣foo.GLUE␣bar          the first is at the beginning of the document
    don't x2y  GLUE␣don't x2y

The decoder deletes both. GLUE is U+2055, of Common script, and no marker: a vocabulary may merge it with
punctuation, so that `(GLUE` is one token. ESC stands before a GLUE and an ESC of the input. Behind
`newline-space` no first word of a line needs a mark.

Definition: shared/REPRESENTATIONS.md; compare the delete token of TokenMonster.
"""

from __future__ import annotations

import re

from tokenlab.ops.kernel_operator import KernelOperator
from tokenlab.ops.letters import is_letter
from tokenlab.ops.marks import ESC, GLUE

GLUED = GLUE + " "


class Glue(KernelOperator):
    """The `glue` operator."""

    name: str = "glue"
    markers: tuple[str, ...] = (ESC,)
    kernels = "tokenlab.ops.glue_kernels"

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """See `Operator.apply_reference`."""
        return apply_reference(text.decode())


def apply_reference(text: str) -> tuple[bytes, list[int]]:
    """One document rewritten, with its cut map, in plain Python: the twin of the kernel."""
    out = bytearray()
    cuts: list[int] = []
    consumed = 0
    before = ""
    for character in text:
        mark = ""
        if character in (ESC, GLUE):
            mark = ESC
        elif character.isascii() and character.isalpha() and not _holds(before):
            mark = GLUED
        data = character.encode()
        cuts.extend([consumed] * len(mark.encode()))
        cuts.extend(consumed + k for k in range(len(data)))
        out.extend(mark.encode() + data)
        consumed += len(data)
        before = character
    return bytes(out), [*cuts, consumed]


def _holds(before: str) -> bool:
    """Whether a letter behind this character (or nothing) needs no mark."""
    return before != "" and (before in " '\u20190123456789" or is_letter(before))


def invert_reference(text: str) -> str:
    """One document read back, in plain Python: the twin of the kernel. Raises ValueError."""
    out = []
    at = 0
    token = re.compile(
        rf"{ESC}(?P<literal>[{ESC}{GLUE}])|{GLUED}(?=[A-Za-z])|(?P<other>[^{ESC}{GLUE}])", re.DOTALL
    )
    while at < len(text):
        match = token.match(text, at)
        if match is None:
            raise ValueError(f"unreadable mark at character {at}")
        out.append(match["literal"] or match["other"] or "")
        at = match.end()
    return "".join(out)
