"""A forest plot as inline SVG: differences with their intervals around a line of no difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tokenlab.report.chart import WIDTH, Scale, spelled
from tokenlab.report.page import Html, element

LEFT, RIGHT, TOP, ROW, BOTTOM = 12, 12, 8, 52, 44
LONGEST_LABEL = 84


class Row(NamedTuple):
    """A difference: its label, the value, its interval where there is one, the single differences it is
    the mean of, and its mark (`better`, `worse`, `equivalent` or `undecided`)."""

    label: str
    value: float
    low: float | None
    high: float | None
    single: Sequence[float]
    mark: str


def forest_plot(rows: Sequence[Row], *, x: str, margin: float) -> Html:
    """A plot of at least one row; `x` names the axis, differences within `margin` of 0 are shaded."""
    values = [v for row in rows for v in (row.value, row.low, row.high, *row.single) if v is not None]
    low, high = min(-1.3 * margin, *values), max(1.3 * margin, *values)
    across = Scale.over(low - 0.03 * (high - low), high + 0.03 * (high - low), LEFT, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    band = element(
        "rect",
        x=f"{across.at(-margin):.1f}",
        y=TOP,
        width=f"{across.at(margin) - across.at(-margin):.1f}",
        height=bottom - TOP,
        class_="band",
    )
    zero = f"{across.at(0):.1f}"
    parts = [
        band,
        element("line", x1=zero, x2=zero, y1=TOP, y2=bottom + 4, class_="zero"),
        *(
            element("text", spelled(tick), x=f"{across.at(tick):.1f}", y=bottom + 18, class_="tick middle")
            for tick in across.ticks(6)
        ),
        element("text", x, x=WIDTH // 2, y=bottom + 38, class_="axis middle"),
    ]
    for index, row in enumerate(rows):
        parts += _row(row, TOP + ROW * index, across)
    said = "; ".join(f"{row.label}: {spelled(row.value)}" for row in rows)
    height = bottom + BOTTOM
    return element(
        "div",
        element(
            "svg",
            *parts,
            viewBox=f"0 0 {WIDTH} {height}",
            role="img",
            aria_label=f"{x}. {said}",
            class_="chart forest",
        ),
        class_="wide",
    )


def _row(row: Row, top: int, across: Scale) -> list[Html]:
    y = top + 34
    label = row.label if len(row.label) <= LONGEST_LABEL else row.label[: LONGEST_LABEL - 1] + "…"
    drawn = [element("text", label, x=LEFT, y=top + 16, class_="label")]
    drawn += [
        element("circle", cx=f"{across.at(value):.1f}", cy=y + 9, r=2, class_="single")
        for value in row.single
    ]
    if row.low is not None and row.high is not None:
        ends = across.at(row.low), across.at(row.high)
        drawn.append(
            element(
                "line", x1=f"{ends[0]:.1f}", x2=f"{ends[1]:.1f}", y1=y, y2=y, class_=f"whisker {row.mark}"
            )
        )
        drawn += [
            element(
                "line", x1=f"{end:.1f}", x2=f"{end:.1f}", y1=y - 4, y2=y + 4, class_=f"whisker {row.mark}"
            )
            for end in ends
        ]
    at = across.at(row.value)
    drawn.append(element("rect", x=f"{at - 4:.1f}", y=y - 4, width=8, height=8, class_=f"point {row.mark}"))
    return drawn
