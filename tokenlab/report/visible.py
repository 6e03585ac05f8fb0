"""Text made visible: what a screen would swallow, obey or draw over its neighbours gets a name.

>>> [(part.text, part.kind) for part in visible("a b\\n\\u202e".encode() + b"\\xe2")]
[('a', 'text'), ('·', 'space'), ('b', 'text'), ('↵', 'space'), ('<U+202E>', 'name'), ('<0xE2>', 'byte')]
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from tokenlab.inspection import TokenRow
from tokenlab.ops.marks import MARK_NAMES

Kind = Literal["text", "space", "name", "byte", "operator"]

_SPACES = {" ": "·", "\n": "↵", "\t": "⇥"}

_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and symbols by category, and yet nothing to see: Hangul fillers, the empty Braille cell."""

_NAMELESS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}

CIRCLE = "\u25cc"
"""Carries a combining mark that has no letter of its own."""


@dataclass(frozen=True, slots=True)
class Part:
    """A run of one kind: as it stands, a sign for a space, the name of a character, a byte that
    is no whole character, or the name of an operator."""

    text: str
    kind: Kind


def visible(data: bytes) -> list[Part]:
    """Any bytes as what can be shown."""
    return _joined(_parts(data.decode("utf-8", "surrogateescape")))


def label(row: TokenRow) -> list[Part]:
    """A token as what can be shown: an operator by its name, else what its id spells."""
    spelled = bytes.fromhex(row.spells)
    if row.operator:
        return [Part(MARK_NAMES.get(c, _name(c)), "operator") for c in spelled.decode()]
    return visible(spelled)


def plain(text: str) -> str:
    """A string for a line of prose: spaces stay, whatever steers a screen gets its name."""
    return "".join(
        c if c == " " or not (unicodedata.category(c) in _NAMELESS or c in _BLANK_LETTERS) else _name(c)
        for c in text
    )


def _parts(text: str) -> Iterator[Part]:
    bare = True
    for c in text:
        category = unicodedata.category(c)
        if "\udc80" <= c <= "\udcff":
            yield Part(f"<0x{ord(c) - 0xDC00:02X}>", "byte")
        elif c in _SPACES:
            yield Part(_SPACES[c], "space")
        elif category in _NAMELESS or c in _BLANK_LETTERS:
            yield Part(_name(c), "name")
        else:
            joins = category.startswith("M") or "\u1160" <= c <= "\u11ff"
            yield Part(CIRCLE + c if joins and bare else c, "text")
            bare = False
            continue
        bare = True


def _joined(parts: Iterable[Part]) -> list[Part]:
    return [
        Part("".join(part.text for part in run), kind) for kind, run in groupby(parts, lambda part: part.kind)
    ]


def _name(c: str) -> str:
    return f"<U+{ord(c):04X}>"
