"""`tokenlab inspect --html`: the tokens as running text, with their details on hover and focus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tokenlab.inspection import Comparison, Inspection, TokenRow
from tokenlab.report.inspection import per_token
from tokenlab.report.page import Html, element, join, page
from tokenlab.report.visible import label

Span = tuple[int, int]

LINE_TOKENS = 60
"""Tokens of a side after which two columns are aligned anew, if no newline does it before."""

_DETAILS = (
    ("token", "Token"),
    ("id", "Id"),
    ("piece", "Piece"),
    ("source", "Source"),
    ("bytes", "Bytes charged"),
    ("offset", "Source offset"),
    ("spells", "Spells"),
)


def inspection_page(result: Inspection | Comparison, command: str) -> str:
    """The whole page. `command`: what was typed to get it."""
    single = isinstance(result, Inspection)
    sides = {"a": result} if isinstance(result, Inspection) else {"a": result.a, "b": result.b}
    lines = _lines(result) if isinstance(result, Inspection) else _aligned_lines(result)
    tokens = element(
        "div",
        None if single else _heads(sides),
        *(
            element("div", *(_cell(side, sides[side], span) for side, span in line.items()), class_="line")
            for line in lines
        ),
        class_="tokens" if single else "tokens two",
        role="application",
        aria_label="Tokens: arrow keys move from one to the next",
        aria_describedby="keys",
    )
    body = join([_header(result, sides), element("main", tokens, _panel(), class_="work")])
    return page(
        kind="inspect",
        title=_title(result),
        body=body,
        command=command,
        assets=("inspection.css", "inspection.js"),
        data={name: _columns(side) for name, side in sides.items()},
    )


def _title(result: Inspection | Comparison) -> str:
    return f"Document {result.source_document}" if result.dataset is not None else "A text"


def _header(result: Inspection | Comparison, sides: dict[str, Inspection]) -> Html:
    lead = f"{result.source_bytes:,} bytes of the {result.text_is}."
    if result.dataset is not None:
        lead = f"{result.dataset}, number {result.document} of {result.split}. {lead} Its BOS is charged 0."
    figures = None if len(sides) > 1 else element("p", *_figures(sides["a"]), class_="figures")
    legend = element(
        "p",
        element("span", element("b", "·"), " space", class_="key"),
        element("span", element("b", "↵"), " newline", class_="key"),
        element("span", element("b", "TITLE", class_="op"), " operator", class_="key"),
        element("span", element("b", "<0xE2>"), " part of a character", class_="key"),
        element("span", element("b", "3"), " beneath a token: source bytes it is charged", class_="key"),
        class_="legend",
    )
    return element(
        "header",
        element("p", "tokenlab inspect", class_="eyebrow"),
        element("h1", _title(result)),
        element("p", lead, class_="lead"),
        figures,
        legend,
    )


def _figures(side: Inspection) -> list[Html]:
    facts = (
        (f"{len(side.tokens):,}", "tokens"),
        (f"{side.charged_bytes:,}", f"of {side.source_bytes:,} bytes charged"),
        (per_token(side), "bytes a token"),
        (side.scheme, f"vocabulary: {side.vocabulary}"),
    )
    return [element("span", element("b", value), f" {name}", class_="figure") for value, name in facts]


def _heads(sides: dict[str, Inspection]) -> Html:
    heads = (
        element(
            "div",
            element("h2", f"{name.upper()}  {side.scheme}"),
            element("p", *_figures(side)[:3], class_="figures"),
            element("p", f"vocabulary: {side.vocabulary}", class_="quiet"),
            class_="cell head",
        )
        for name, side in sides.items()
    )
    return element("div", *heads, class_="line heads")


def _panel() -> Html:
    pairs = (
        element("div", element("dt", name), element("dd", element("bdi", "–", id=f"d-{key}")))
        for key, name in _DETAILS
    )
    return element(
        "aside",
        element("div", element("dl", *pairs), id="details", aria_live="polite", aria_atomic="true"),
        element("p", "← → next token, ↑ ↓ next line, Home and End. Hover or tap for a look.", id="keys"),
        element("noscript", "The details of a token need the script of this page."),
        class_="panel",
    )


def _lines(result: Inspection) -> Iterator[dict[str, Span]]:
    """Token ranges, each up to and with a newline."""
    start = 0
    for row in result.tokens:
        if row.spells.endswith("0a"):
            yield {"a": (start, row.token + 1)}
            start = row.token + 1
    if start < len(result.tokens):
        yield {"a": (start, len(result.tokens))}


def _aligned_lines(result: Comparison) -> Iterator[dict[str, Span]]:
    """Ranges of both sides that stand for the same text: up to a newline, or some LINE_TOKENS."""
    first = (0, 0)
    for n, block in enumerate(result.blocks):
        ends = (block.a[1], block.b[1])
        newline = any(row.spells.endswith("0a") for row in result.a.tokens[slice(*block.a)])
        full = max(ends[0] - first[0], ends[1] - first[1]) >= LINE_TOKENS
        if newline or full or n == len(result.blocks) - 1:
            yield {"a": (first[0], ends[0]), "b": (first[1], ends[1])}
            first = ends


def _cell(side: str, of: Inspection, span: Span) -> Html:
    rows = of.tokens[slice(*span)]
    return element("div", *_tokens(side, rows, of.text_is), class_="cell", data_side=side.upper())


def _tokens(side: str, rows: Iterable[TokenRow], text_is: str) -> Iterator[Html]:
    for row in rows:
        parts = label(row)
        classes = "t o" if row.operator else "t e" if row.token % 2 else "t"
        if text_is == "source" and row.bytes != row.stop - row.start:
            classes += " w"
        if row.bytes > 9:
            classes += " n"
        yield element(
            "span",
            *(part.text if part.kind in ("text", "operator") else element("i", part.text) for part in parts),
            class_=classes,
            id=f"{side}{row.token}",
            data_b=row.bytes,
            tabindex=0 if row.token == 0 else None,
        )


def _columns(side: Inspection) -> dict[str, Any]:
    """What the script shows of a token, a list a column; pieces and spellings once an id."""
    ids = {row.id: (row.piece, row.spells) for row in side.tokens}
    return {
        "text_is": side.text_is,
        "source_bytes": side.source_bytes,
        "id": [row.id for row in side.tokens],
        "start": [row.start for row in side.tokens],
        "stop": [row.stop for row in side.tokens],
        "bytes": [row.bytes for row in side.tokens],
        "source": [row.source for row in side.tokens],
        "piece": {str(token): piece for token, (piece, _) in ids.items()},
        "spells": {str(token): spells for token, (_, spells) in ids.items()},
    }
