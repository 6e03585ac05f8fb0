"""Two schemes on the same text, aligned where both have a token boundary.

Worked example, `NASA` in `caseops` and in bytes: the only places where both cut are 0, 1,
3 and 4, so there are three blocks:

    block     0–1             1–3        3–4
    caseops   ALLCAPS, `n`    `as`       `a`
    bytes     `N`             `A`, `S`   `A`
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from tokenlab.inspection.text import NamedScheme, inspect_text
from tokenlab.inspection.tokens import Inspection
from tokenlab.manifest import Split

Span = tuple[int, int]


class Block(msgspec.Struct, frozen=True):
    """Source bytes `start:stop`, and the tokens of each side (first, one past the last) that
    stand for them. A token of no source byte belongs to what follows it."""

    start: int
    stop: int
    a: Span
    b: Span


class Comparison(msgspec.Struct, frozen=True):
    """A text in two schemes; the first four as in `Inspection`."""

    dataset: str | None
    split: Split | None
    document: int | None
    source_document: int | None
    text_is: str
    source_bytes: int
    a: Inspection
    b: Inspection
    blocks: tuple[Block, ...]


def compare(
    text: str | bytes, schemes: tuple[NamedScheme, NamedScheme], of: Inspection | None = None
) -> Comparison:
    """A text in two schemes; `of` says which document it is, if it is one. Raises as `inspect_text`."""
    a, b = (inspect_text(text, named) for named in schemes)
    return Comparison(
        dataset=of.dataset if of else None,
        split=of.split if of else None,
        document=of.document if of else None,
        source_document=of.source_document if of else None,
        text_is=of.text_is if of else "source",
        source_bytes=a.source_bytes,
        a=a,
        b=b,
        blocks=tuple(align(_spans(a), _spans(b), a.source_bytes)),
    )


def _spans(side: Inspection) -> list[Span]:
    return [(row.start, row.stop) for row in side.tokens]


def align(a: Sequence[Span], b: Sequence[Span], length: int) -> list[Block]:
    """The finest blocks of a text of `length` bytes that no token of either side crosses.

    Spans never go back; what no token covers (whitespace that a normaliser stripped) is in
    a block all the same.
    """
    cuts = sorted(_boundaries(a, length) & _boundaries(b, length))
    blocks: list[Block] = []
    first = (0, 0)
    for start, stop in pairwise(cuts):
        last = stop == length
        ends = tuple(_advance(spans, at, stop, last) for spans, at in zip((a, b), first, strict=True))
        blocks.append(Block(start, stop, (first[0], ends[0]), (first[1], ends[1])))
        first = (ends[0], ends[1])
    return blocks


def _boundaries(spans: Sequence[Span], length: int) -> set[int]:
    return {0, length}.union(*spans)


def _advance(spans: Sequence[Span], at: int, stop: int, last: bool) -> int:
    """The first token from `at` on that begins at `stop` or later."""
    if last:
        return len(spans)
    while at < len(spans) and spans[at][0] < stop:
        at += 1
    return at
