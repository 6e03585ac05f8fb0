"""What `tokenlab inspect --boundaries` prints: patches in colours or as a table, and their statistics."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Literal

from tokenlab.inspection.patches import PatchInspection, PatchRow, PatchStatistics
from tokenlab.report.plain import table
from tokenlab.report.visible import visible

BAR = 40
"""Cells of the longest bar of the histogram."""

LENGTHS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 8), (9, 12), (13, 16), (17, 32), (33, 64))
"""Bytes from and to, of the histogram's rows; the last row is of all that is longer."""


def print_patches(result: PatchInspection, view: Literal["flow", "table"] | None = None) -> None:
    """Print to stdout in one view; without one in colours on a terminal, else as a table."""
    if result.patches is not None and (view or ("flow" if sys.stdout.isatty() else "table")) == "flow":
        sys.stdout.write(headline(result) + "\n")
        sys.stdout.flush()
        _print_flow(result.patches)
        sys.stdout.write("\n".join(statistics_lines(result.statistics)) + "\n")
    else:
        sys.stdout.write(patches_text(result) + "\n")
    sys.stdout.flush()


def patches_text(result: PatchInspection) -> str:
    """A table of the patches, if there are any to show, and the statistics."""
    lines = [headline(result)]
    if result.patches is not None:
        rows = [("patch", "start", "bytes", "text")]
        rows += [(str(r.patch), str(r.start), str(r.stop - r.start), repr(r.text)) for r in result.patches]
        lines += table(rows, align=">>><")
    return "\n".join([*lines, *statistics_lines(result.statistics)])


def closing_text(result: PatchInspection) -> str:
    """Head and statistics alone."""
    return "\n".join([headline(result), *statistics_lines(result.statistics)])


def headline(result: PatchInspection) -> str:
    """Which text it is, and by which rule."""
    if result.dataset is None:
        what = "text"
    elif result.document is None:
        what = f"{result.dataset}: all of {result.split}"
    else:
        what = (
            f"{result.dataset}: document {result.source_document} of the source, "
            f"{result.document} of {result.split}"
        )
    looks = "" if result.causal else " (looks ahead: for analysis only)"
    return f"{what}; boundaries {result.rule}{looks}"


def statistics_lines(statistics: PatchStatistics) -> list[str]:
    """The statistics, a histogram of lengths last."""
    s = statistics
    counts = histogram(s)
    most = max(1, *(count for _, count in counts))
    rows = [
        (label, f"{count:,}", f"{100 * count / max(1, s.patches):.1f} %", "#" * round(BAR * count / most))
        for label, count in counts
    ]
    return [
        f"{s.bytes:,} bytes in {s.patches:,} patches, {s.bytes_per_patch:.3f} bytes a patch; "
        f"{s.documents:,} documents",
        f"start a word: {100 * s.word_share:.1f} % of the patches ({100 * s.chance:.1f} % of all bytes do)",
        *table([("bytes", "patches", "share", ""), *rows], align=">>><"),
    ]


def histogram(statistics: PatchStatistics) -> list[tuple[str, int]]:
    """Lengths of patches by LENGTHS: the range in words, and how many there are."""

    def between(low: int, high: float) -> int:
        return sum(count for length, count in statistics.lengths.items() if low <= length <= high)

    last = LENGTHS[-1][1] + 1
    named = [(str(low) if low == high else f"{low}-{high}", between(low, high)) for low, high in LENGTHS]
    return [*named, (f"{last} on", between(last, float("inf")))]


def lines_of(patches: tuple[PatchRow, ...]) -> Iterator[tuple[PatchRow, ...]]:
    """The patches, a line ending behind one with a newline."""
    line: list[PatchRow] = []
    for row in patches:
        line.append(row)
        if b"\n" in bytes.fromhex(row.spells):
            yield tuple(line)
            line = []
    if line:
        yield tuple(line)


def _print_flow(patches: tuple[PatchRow, ...]) -> None:
    """Patches as running text, neighbours of two colours; without colours a bar parts them."""
    from rich.console import Console
    from rich.text import Text

    from tokenlab.report.flow import FAINT, TOKEN_STYLES

    console = Console(markup=False, emoji=False)
    coloured = console.color_system is not None and not console.no_color
    for line in lines_of(patches):
        text = Text(overflow="fold")
        for row in line:
            ground = TOKEN_STYLES[row.patch % 2]
            for part in visible(bytes.fromhex(row.spells)):
                text.append(part.text, ground if part.kind == "text" else ground + FAINT)
            if not coloured:
                text.append("|")
        console.print(text, highlight=False)
