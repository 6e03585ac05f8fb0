"""What `tokenlab inspect` prints."""

from __future__ import annotations

from tokenlab.inspection import Inspection
from tokenlab.report.plain import table


def inspection_text(result: Inspection) -> str:
    """A table of a document's tokens; control characters are escaped, spaces shown as they are."""
    rows = [("token", "id", "piece", "bytes", f"{result.text_is}")]
    rows += [
        (str(row.token), str(row.id), _visible(row.piece), str(row.bytes), _visible(row.source))
        for row in result.tokens
    ]
    lines = [
        f"{result.dataset}: document {result.source_document} of the source, "
        f"{result.document} of {result.split}; BOS is charged 0",
        *table(rows, align=">><><"),
        f"{len(result.tokens):,} tokens charged {result.charged_bytes:,} of {result.source_bytes:,} "
        f"bytes of the {result.text_is}",
    ]
    return "\n".join(lines)


def _visible(text: str) -> str:
    """Text on one line, quoted: markers and control characters by number, the rest as it is."""
    return repr(text)
