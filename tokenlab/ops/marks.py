"""The characters that operators write as marks, one table for all, so that no two mean different things.

Private-use marks (U+E001 on) are markers: a vocabulary holds each whole. GLUE and JOINING_APOSTROPHE
are ordinary characters, Common and Latin, so that a vocabulary may merge them with their neighbours.

Why any text comes back through any list of operators. Every operator here is an injection on *all*
valid UTF-8 by itself: in its input it writes ESC before each of its own marks and before ESC, so that in
its output

- a mark (or ESC) behind an ESC that is not itself behind one is text, and
- every other mark is the operator's own,

whatever the text is: a document, or what another operator wrote, marks of either in any place. Reading
from the left tells the two apart, and the decoder undoes the one and unwraps the other: `invert(apply(x))
== x` for every `x`. A composition of injections is one, and its inverse is the inverses backwards. So no
order of reversible operators needs to know its neighbours. The price is that an ESC in the source is
doubled by every operator that escapes: private-use characters in text, no others.
"""

from __future__ import annotations

TITLE, ALLCAPS, CAPNEXT, ESC = "\ue001", "\ue002", "\ue003", "\ue004"
LOWER, SPACE_TITLE, SPACE_ALLCAPS, SPACE_LOWER = "\ue005", "\ue006", "\ue007", "\ue008"
SWAPPED_QUOTES = "\ue009"
GLUE = "\u2055"
JOINING_APOSTROPHE = "\ua78c"
METASPACE = "\u2581"

WITH_SPACE = (SPACE_TITLE, SPACE_ALLCAPS, SPACE_LOWER)
"""Marks that stand for a space too, and are charged its byte."""

MARK_NAMES = {
    TITLE: "TITLE",
    ALLCAPS: "ALLCAPS",
    CAPNEXT: "CAPNEXT",
    ESC: "ESC",
    LOWER: "LOWER",
    SPACE_TITLE: "SPACE+TITLE",
    SPACE_ALLCAPS: "SPACE+ALLCAPS",
    SPACE_LOWER: "SPACE+LOWER",
    SWAPPED_QUOTES: "SWAPPED-QUOTES",
}
"""What people are shown for a marker."""
