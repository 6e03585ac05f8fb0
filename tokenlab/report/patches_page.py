"""`tokenlab inspect --boundaries --html`: the patches as running text, and their statistics."""

from __future__ import annotations

from tokenlab.inspection.patches import PatchInspection, PatchRow, PatchStatistics
from tokenlab.report.page import Html, element, join, page
from tokenlab.report.patches import headline, histogram, lines_of
from tokenlab.report.visible import visible


def patches_page(result: PatchInspection, command: str) -> str:
    """The whole page. `command`: what was typed to get it."""
    title = "Patches" if result.document is None else f"Patches of document {result.source_document}"
    shown = None
    if result.patches is not None:
        lines = (
            element("div", element("div", *map(_patch, line), class_="cell"), class_="line")
            for line in lines_of(result.patches)
        )
        shown = element("div", *lines, class_="tokens")
    header = element(
        "header",
        element("p", "tokenlab inspect --boundaries", class_="eyebrow"),
        element("h1", title),
        element("p", headline(result), class_="lead"),
        element("p", *_figures(result.statistics), class_="figures"),
        None if shown is None else _legend(),
    )
    body = join([header, element("main", shown, _lengths(result.statistics))])
    return page(kind="inspect", title=title, body=body, command=command, assets=("inspection.css",))


def _patch(row: PatchRow) -> Html:
    parts = visible(bytes.fromhex(row.spells))
    length = row.stop - row.start
    return element(
        "span",
        *(part.text if part.kind == "text" else element("i", part.text) for part in parts),
        class_=("t" if row.patch % 2 else "t e") + (" n" if length > 9 else ""),
        data_b=length,
    )


def _figures(statistics: PatchStatistics) -> list[Html]:
    facts = (
        (f"{statistics.bytes_per_patch:.3f}", "bytes a patch"),
        (f"{statistics.patches:,}", f"patches of {statistics.bytes:,} bytes"),
        (
            f"{100 * statistics.word_share:.1f} %",
            f"of the patches start a word ({100 * statistics.chance:.1f} % of all bytes do)",
        ),
        (f"{statistics.documents:,}", "documents"),
    )
    return [element("span", element("b", value), f" {name}", class_="figure") for value, name in facts]


def _legend() -> Html:
    keys = (
        ("·", " space"),
        ("↵", " newline"),
        ("<0xE2>", " part of a character"),
        ("3", " beneath: its bytes"),
    )
    spans = (element("span", element("b", sign), meaning, class_="key") for sign, meaning in keys)
    return element("p", *spans, class_="legend")


def _lengths(statistics: PatchStatistics) -> Html:
    rows = (
        element(
            "tr",
            element("td", label),
            element("td", f"{count:,}"),
            element("td", f"{100 * count / max(1, statistics.patches):.1f} %"),
        )
        for label, count in histogram(statistics)
    )
    head = element("tr", *(element("th", name) for name in ("bytes", "patches", "share")))
    return join(
        [
            element("h2", "Lengths"),
            element("table", element("thead", head), element("tbody", *rows)),
        ]
    )
