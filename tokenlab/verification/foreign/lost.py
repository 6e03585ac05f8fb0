"""What a normaliser takes away: source bytes that cannot be had back, by class."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NEWLINES = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
CLASSES = ("newline", "other whitespace", "compatibility form", "deleted")


def lost_bytes(source: bytes, normal: bytes, cuts: NDArray[np.int32]) -> Counter[str]:
    """Bytes of `source` that are not themselves in `normal`, by class of their character.

    `cuts`: the normaliser's map, int32 of `len(normal) + 1`. A character is *deleted* when no
    output came from it, a *compatibility form* when another did.
    """
    original = np.frombuffer(source, np.uint8)
    output = np.frombuffer(normal, np.uint8)
    starts = cuts[:-1][cuts[1:] > cuts[:-1]]
    kept = starts[original[starts] == output[cuts[1:] > cuts[:-1]]]
    lost = np.ones(len(original), bool)
    lost[kept] = False
    counts: Counter[str] = Counter()
    places = np.flatnonzero(lost)
    if not len(places):
        return counts
    origins = set(cuts[:-1].tolist())
    for start, stop in _characters(original, places):
        character = source[start:stop].decode()
        size = int(lost[start:stop].sum())
        if character in NEWLINES:
            counts["newline"] += size
        elif character.isspace() or character == "\u2581":
            counts["other whitespace"] += size
        else:
            counts["compatibility form" if start in origins else "deleted"] += size
    return counts


def _characters(original: NDArray[np.uint8], places: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Bounds of the characters that the places are in, each once."""
    firsts = np.flatnonzero((original & 0xC0) != 0x80)
    bounds = [*firsts.tolist(), len(original)]
    spans = list(pairwise(bounds))
    return [spans[i] for i in np.unique(np.searchsorted(firsts, places, side="right") - 1)]
