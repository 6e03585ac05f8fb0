"""What the proxy's gains were worth in trained models, as far as it is known (docs/representations.md)."""

from __future__ import annotations

import msgspec


class Point(msgspec.Struct, frozen=True):
    """A change measured twice, in percent: by the proxy on held-out web text at 8,192 rows, and in
    trained models elsewhere. `source`: who trained them."""

    change: str
    proxy_percent: float
    trained_percent: float
    source: str


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """`points`: at the contest's size; `low` and `high`: what to multiply a gain by. `small`: changes
    against bpe in models of a million parameters (`proxy_percent` at orders 0 to 5)."""

    points: tuple[Point, ...]
    low: float
    high: float
    small: tuple[Point, ...]


CALIBRATION = Calibration(
    points=(
        Point("caseops against bpe", -0.84, -0.39, "parameter-golf #1729, 3 seeds, with another change"),
        Point(
            "one token for space and marker against caseops", -0.29, -0.10, "parameter-golf #2158, 3 seeds"
        ),
    ),
    low=0.3,
    high=0.5,
    small=(
        Point("caseops", -0.84, 0.69, "3 seeds of 400 steps, 2,048 rows"),
        Point("marker before the space", -1.43, -1.48, "3 seeds of 400 steps, 2,048 rows"),
        Point("marker before the space, spaces made alike", -2.09, -1.95, "3 seeds of 400 steps, 2,048 rows"),
        Point("the same with predicted case", -1.97, -2.15, "3 seeds of 400 steps, 2,048 rows"),
    ),
)
"""Figures of ../shared/REPRESENTATIONS.md, sections 1, 3 and 8 (its text H2)."""

BLIND_SPOTS = (
    "long tokens: two tokens that share a stem share nothing here, so longer tokens lose more than in a "
    "network (no split by script: +1.4 to +1.8 % here, +0.05 % trained)",
    "the clock: more tokens a byte cost training time, and a network of a fixed time sees less text",
    "the context: a network's window is in tokens, so more tokens a byte shorten what it sees",
)
"""What a report says of the proxy beside every ranking."""
