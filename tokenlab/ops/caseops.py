"""CaseOps: capital letters as operators before the word, so that a vocabulary holds it once.

A word is a maximal run of ASCII letters. It is written in lower case, after a marker:

    The       TITLE the                  first letter upper, the rest lower (also one capital)
    NASA      ALLCAPS nasa               two or more letters, all upper
    iPhone    i CAPNEXT phone            any other: CAPNEXT before each upper letter,
    McDonald  TITLE mc CAPNEXT donald    but TITLE if it is the first

ESC stands before a marker that the source spells itself. With `escape_metaspace`, U+2581,
which SentencePiece cannot tell from a space, is written ESC and a space. Markers come from
no source byte: their cuts do not advance, and the letter after carries its own byte.

Definition: openai/parameter-golf PR 1729 ("lossless caps, caseops v1");
the metaspace escape is ours.
"""

from __future__ import annotations

import re

from tokenlab.ops.kernel_operator import KernelOperator
from tokenlab.ops.marks import ALLCAPS, CAPNEXT, ESC, METASPACE, TITLE


class CaseOps(KernelOperator):
    """The `caseops` operator."""

    name: str = "caseops"
    markers: tuple[str, ...] = (TITLE, ALLCAPS, CAPNEXT, ESC)

    kernels = "tokenlab.ops.caseops_kernels"

    def __init__(self, *, escape_metaspace: bool = True) -> None:
        self.escape_metaspace = escape_metaspace
        self.arguments = (escape_metaspace,)

    def apply_reference(self, text: bytes) -> tuple[bytes, list[int]]:
        """See `Operator.apply_reference`."""
        return apply_reference(text.decode(), escape_metaspace=self.escape_metaspace)


def apply_reference(text: str, *, escape_metaspace: bool = True) -> tuple[bytes, list[int]]:
    """One document rewritten, with its cut map, in plain Python: the twin of the kernel."""
    out = bytearray()
    cuts: list[int] = []
    consumed = 0

    def emit(rendered: str, source_bytes: int) -> None:
        nonlocal consumed
        data = rendered.encode()
        advances = len(data) == source_bytes  # a character that stands for itself, byte by byte
        cuts.extend(consumed + k * advances for k in range(len(data)))
        out.extend(data)
        consumed += source_bytes

    for match in re.finditer(r"[A-Za-z]+|[^A-Za-z]", text):
        word = match.group()
        if word in (TITLE, ALLCAPS, CAPNEXT, ESC):
            emit(ESC, 0)
            emit(word, 3)
        elif word == METASPACE and escape_metaspace:
            emit(ESC, 0)
            emit(" ", 3)
        elif len(word) >= 2 and word.isascii() and word.isupper() and word.isalpha():
            emit(ALLCAPS, 0)
            for letter in word:
                emit(letter.lower(), 1)
        elif word.isascii() and word.isalpha():
            for k, letter in enumerate(word):
                if letter.isupper():
                    emit(TITLE if k == 0 else CAPNEXT, 0)
                emit(letter.lower(), 1)
        else:
            emit(word, len(word.encode()))
    cuts.append(consumed)
    return bytes(out), cuts


def invert_reference(text: str, *, escape_metaspace: bool = True) -> str:
    """One document read back, in plain Python: the twin of the kernel. Raises ValueError."""
    letter = "[a-z]"
    token = re.compile(
        f"{ESC}(?P<literal>[{TITLE}{ALLCAPS}{CAPNEXT}{ESC}{' ' if escape_metaspace else ''}])"
        f"|{ALLCAPS}(?P<caps>{letter}+)|[{TITLE}{CAPNEXT}](?P<cap>{letter})|(?P<other>[^{TITLE}{ALLCAPS}{CAPNEXT}{ESC}])",
        re.DOTALL,
    )
    out = []
    at = 0
    while at < len(text):
        match = token.match(text, at)
        if match is None:
            raise ValueError(f"unreadable marker at character {at}")
        if match["literal"]:
            out.append(METASPACE if match["literal"] == " " else match["literal"])
        else:
            out.append((match["caps"] or match["cap"] or "").upper() or match["other"])
        at = match.end()
    return "".join(out)
