"""What several pages are made of: lists of facts, tables, bars."""

from __future__ import annotations

from collections.abc import Sequence

from tokenlab.report.page import Html, element


def facts_list(pairs: Sequence[tuple[str, str]], kind: str) -> Html:
    """Names and values, of the class `kind`."""
    rows = (
        element("div", element("dt", name), element("dd", element("bdi", value))) for name, value in pairs
    )
    return element("dl", *rows, class_=kind)


def table(rows: Sequence[Sequence[str]], kind: str | None = None) -> Html:
    """A table that scrolls within itself where the screen is narrow; the first row is its head, and
    cells are text or markup."""
    head = element("thead", element("tr", *(element("th", cell, scope="col") for cell in rows[0])))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows[1:]))
    return element("div", element("table", head, body, class_=kind), class_="wide")


def titled(title: str, *children: Html | None) -> Html:
    """A section under its title."""
    return element("section", element("h2", title), *children)


def bar(share: float) -> Html:
    """A bar from the left, of a share of the width."""
    rect = element("rect", x=0, y=0, width=f"{100 * share:.1f}", height=8)
    return element(
        "svg", rect, viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true", class_="bar"
    )


def signed_bar(share: float) -> Html:
    """A bar from the middle: to the left below 0, to the right above; `share` is -1..1 of half the width."""
    width = 50 * min(1.0, abs(share))
    rect = element(
        "rect",
        x=f"{50 - width if share < 0 else 50:.2f}",
        y=0,
        width=f"{width:.2f}",
        height=8,
        class_="less" if share < 0 else "more",
    )
    middle = element("line", x1=50, x2=50, y1=-2, y2=10, class_="rule")
    return element(
        "svg",
        rect,
        middle,
        viewBox="0 -2 100 12",
        preserveAspectRatio="none",
        aria_hidden="true",
        class_="signed",
    )
