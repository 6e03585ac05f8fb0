"""Line charts as inline SVG, drawn for pages that load nothing: colours and type are the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tokenlab.report.page import Html, element

WIDTH, HEIGHT = 720, 280
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 14, 42
POINTS = 360
"""A longer series is drawn by means of equal parts: more points than half the pixels are noise."""


class Series(NamedTuple):
    """A line: its name and its points, in the order of x. `marked` draws the points too."""

    name: str
    points: Sequence[tuple[float, float]]
    marked: bool = False


def line_chart(series: Sequence[Series], *, x: str, y: str, from_zero: bool = False) -> Html:
    """A chart of at least one point; `x` and `y` name the axes. Lines beyond the sixth share its style."""
    drawn = [line._replace(points=thinned(line.points)) for line in series if line.points]
    xs = [point[0] for line in drawn for point in line.points]
    ys = [point[1] for line in drawn for point in line.points]
    across = Scale.over(min([0.0, *xs]), max(xs), LEFT, WIDTH - RIGHT)
    up = Scale.over(min([0.0, *ys]) if from_zero else min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    grid = [
        *(_horizontal(tick, up, across) for tick in up.ticks(5)),
        *(_below(tick, across) for tick in across.ticks(6)),
        element("text", x, x=(LEFT + WIDTH - RIGHT) // 2, y=HEIGHT - 6, class_="axis middle"),
    ]
    lines = [part for number, line in enumerate(drawn) for part in _line(line, min(number, 5), across, up)]
    first, last = drawn[0].points[0], drawn[0].points[-1]
    label = f"{y} against {x}: from {spelled(first[1])} to {spelled(last[1])} at {spelled(last[0])}"
    svg = element(
        "svg", *grid, *lines, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label, class_="chart"
    )
    key = [element("span", line.name, class_=f"key s{min(n, 5)}") for n, line in enumerate(drawn)]
    return element(
        "figure",
        element("figcaption", y, *(key if len(drawn) > 1 else [])),
        element("div", svg, class_="wide"),
    )


class Scale(NamedTuple):
    """Values `low`..`high` laid on pixels `start`..`stop`."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def over(cls, low: float, high: float, start: float, stop: float) -> Scale:
        """A scale of some height even where all values are equal."""
        if high <= low:
            half = abs(low) / 2 or 0.5
            low, high = low - half, high + half
        return cls(low, high, start, stop)

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round values within, at most `most` + 1 of them."""
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        step *= next(m for m in (1, 2, 5, 10) if m * step * most >= (self.high - self.low))
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most `most` points: means of equal parts, x and y alike."""
    size = -(-len(points) // most)
    groups = (points[at : at + size] for at in range(0, len(points), size))
    return [
        (sum(p[0] for p in group) / len(group), sum(p[1] for p in group) / len(group)) for group in groups
    ]


def spelled(value: float) -> str:
    """A value on an axis: 1.5, 0.02, 300, 2.5 M."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == ' k' else limit):.4g}{unit}"
    return f"{value:.4g}"


def _line(line: Series, number: int, across: Scale, up: Scale) -> list[Html]:
    pixels = [(across.at(x), up.at(y)) for x, y in line.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in pixels)
    drawn = [element("path", d=path, class_=f"line s{number}")]
    if line.marked or len(pixels) == 1:
        drawn += [
            element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, class_=f"s{number}") for x, y in pixels
        ]
    return drawn


def _horizontal(tick: float, up: Scale, across: Scale) -> Html:
    y = f"{up.at(tick):.1f}"
    rule = element("line", x1=f"{across.start:.1f}", x2=f"{across.stop:.1f}", y1=y, y2=y, class_="rule")
    return element("g", rule, element("text", spelled(tick), x=LEFT - 8, y=y, class_="tick end"))


def _below(tick: float, across: Scale) -> Html:
    at = across.at(tick)
    where = "edge" if at > across.stop - 12 else "middle"
    return element("text", spelled(tick), x=f"{at:.1f}", y=HEIGHT - BOTTOM + 17, class_=f"tick {where}")
