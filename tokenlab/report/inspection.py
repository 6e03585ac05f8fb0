"""What `tokenlab inspect` prints: a table for programs and grep, or a flow for people."""

from __future__ import annotations

import sys
from itertools import zip_longest
from typing import Literal

from tokenlab.inspection import Comparison, Inspection, TokenRow
from tokenlab.report.plain import table

View = Literal["flow", "table"]


def print_inspection(result: Inspection | Comparison, view: View | None = None) -> None:
    """Print to stdout in one view; without one in the flow view on a terminal, else as a table."""
    if (view or ("flow" if sys.stdout.isatty() else "table")) == "table":
        text = inspection_text(result) if isinstance(result, Inspection) else comparison_text(result)
        sys.stdout.write(text + "\n")
    else:
        from rich.console import Console

        from tokenlab.report.flow import print_flow

        print_flow(result, Console(markup=False, emoji=False))
    sys.stdout.flush()


def inspection_text(result: Inspection) -> str:
    """A table of a document's tokens; control characters are escaped, spaces shown as they are."""
    rows = [("token", "id", "piece", "bytes", f"{result.text_is}")]
    rows += [
        (str(row.token), str(row.id), _visible(row.piece), str(row.bytes), _visible(row.source))
        for row in result.tokens
    ]
    return "\n".join([headline(result), *table(rows, align=">><><"), totals(result)])


def comparison_text(result: Comparison) -> str:
    """Two schemes beside each other. A row begins with the source byte of its block: the tokens
    of a block stand for the same text, one below the other."""
    rows: list[tuple[str, ...]] = [("at", "id", "A", "bytes", "", "id", "B", "bytes")]
    for block in result.blocks:
        pairs = zip_longest(result.a.tokens[slice(*block.a)], result.b.tokens[slice(*block.b)])
        rows += [(str(block.start), *_cells(a), "|", *_cells(b)) for a, b in pairs]
    return "\n".join([headline(result), *table(rows, align=">><><><>"), totals(result)])


def closing_text(result: Inspection | Comparison) -> str:
    """Head and totals alone."""
    return f"{headline(result)}\n{totals(result)}"


def headline(result: Inspection | Comparison) -> str:
    """Which text it is, in which scheme."""
    if result.dataset is not None:
        what = (
            f"{result.dataset}: document {result.source_document} of the source, "
            f"{result.document} of {result.split}"
        )
    else:
        what = "text"
    if isinstance(result, Inspection):
        return f"{what}; BOS is charged 0" if result.dataset else f"{what} in {_scheme(result)}"
    return "\n".join([f"{what}: {result.source_bytes:,} bytes of the {result.text_is}", *sides(result)])


def sides(result: Comparison) -> list[str]:
    """The two schemes, one line each."""
    return [f"  {side}  {_scheme(of)}" for side, of in (("A", result.a), ("B", result.b))]


def totals(result: Inspection | Comparison) -> str:
    """The closing lines: tokens, charges and bytes a token."""
    if isinstance(result, Inspection):
        return (
            f"{len(result.tokens):,} tokens charged {result.charged_bytes:,} of {result.source_bytes:,} "
            f"bytes of the {result.text_is}"
        )
    return "\n".join(
        f"{side}: {totals(of)}, {per_token(of)} bytes a token"
        for side, of in (("A", result.a), ("B", result.b))
    )


def per_token(result: Inspection) -> str:
    """Source bytes a token, or a dash for no tokens."""
    return f"{result.source_bytes / len(result.tokens):.3f}" if result.tokens else "-"


def _scheme(result: Inspection) -> str:
    return f"{result.scheme} (vocabulary: {result.vocabulary})"


def _cells(row: TokenRow | None) -> tuple[str, str, str]:
    return ("", "", "") if row is None else (str(row.id), _visible(row.piece), str(row.bytes))


def _visible(text: str) -> str:
    """Text on one line, quoted: markers and control characters by number, the rest as it is."""
    return repr(text)
