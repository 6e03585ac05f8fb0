"""The terminal view of `tokenlab inspect`: tokens as running text, each with its charge beneath.

    TITLE the · ALLCAPS n as a
    0     3   1 0       1 2  1

A token is a cell as wide as its text or its charge, whichever is wider, and is never cut
unless it is wider than the screen; a line ends at the width, and behind a newline. Two
schemes stand one below the other, block by block, so that what is above is below. A charge
on record that is not the length of the token's slice gets a `!`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tokenlab.inspection import Comparison, Inspection, TokenRow
from tokenlab.report.inspection import headline, totals
from tokenlab.report.visible import Part, label, plain

MARGIN = 2

# Ink and ground are both set, so that a token reads the same on a light and a dark terminal.
TOKEN_STYLES = (Style.parse("color(16) on color(153)"), Style.parse("color(16) on color(223)"))
_CHARGES = (Style.parse("color(32)"), Style.parse("color(172)"))
_OPERATOR = Style.parse("bold color(231) on color(97)")
FAINT = Style.parse("color(243)")
_WRONG = Style.parse("bold color(231) on color(160)")


@dataclass(frozen=True, slots=True)
class Cell:
    """A token, or a piece of one too wide for the screen: its parts and what stands beneath."""

    parts: tuple[Part, ...]
    charge: str
    parity: int
    wrong: bool = False
    ends_line: bool = False

    @property
    def width(self) -> int:
        return max(cell_len("".join(part.text for part in self.parts)), len(self.charge))


Lanes = tuple[tuple[Cell, ...], ...]
"""Cells that stand for the same text: one lane a scheme."""


def print_flow(result: Inspection | Comparison, console: Console) -> None:
    """Print the flow view to the console, at its width and in its colours, if it has any."""
    painter = _Painter(console)
    for heading in headline(result).splitlines():
        painter.plain(heading)
    names: tuple[str, ...] = ("",) if isinstance(result, Inspection) else ("A", "B")
    groups = _groups(result) if isinstance(result, Inspection) else _block_groups(result)
    for line in layout(groups, console.width - MARGIN - (2 if names[0] else 0), painter.gap):
        painter.line(line, names)
    for closing in totals(result).splitlines():
        painter.plain(closing)


def layout(groups: Iterable[Lanes], width: int, gap: int) -> Iterator[list[Lanes]]:
    """Groups packed into lines of at most `width` cells, `gap` between two tokens."""
    width = max(width, 8)
    line: list[Lanes] = []
    used = 0
    for group in groups:
        for part in _fit(group, width, gap):
            needed = group_width(part, gap)
            if line and used + needed > width:
                yield line
                line, used = [], 0
            line.append(part)
            used += needed
            if any(lane and lane[-1].ends_line for lane in part):
                yield line
                line, used = [], 0
    if line:
        yield line


def group_width(group: Lanes, gap: int) -> int:
    """Cells that a group takes: those of its widest lane."""
    return max((sum(cell.width + gap for cell in lane) for lane in group), default=0)


def _groups(result: Inspection) -> Iterator[Lanes]:
    for row in result.tokens:
        yield ((_cell(row, result.text_is),),)


def _block_groups(result: Comparison) -> Iterator[Lanes]:
    for block in result.blocks:
        spans = ((result.a, block.a), (result.b, block.b))
        yield tuple(
            tuple(_cell(row, result.text_is) for row in side.tokens[slice(*span)]) for side, span in spans
        )


def _cell(row: TokenRow, text_is: str) -> Cell:
    parts = tuple(label(row))
    wrong = text_is == "source" and row.bytes != row.stop - row.start
    return Cell(
        parts, f"{row.bytes}!" if wrong else str(row.bytes), row.token % 2, wrong, row.spells.endswith("0a")
    )


def _fit(group: Lanes, width: int, gap: int) -> Iterator[Lanes]:
    """The group, or where it is wider than a line, as much of each lane as fits at a time."""
    if group_width(group, gap) <= width:
        yield group
        return
    lanes = [list(_lines(lane, width, gap)) for lane in group]
    yield from zip_longest(*lanes, fillvalue=())


def _lines(lane: Sequence[Cell], width: int, gap: int) -> Iterator[tuple[Cell, ...]]:
    line: list[Cell] = []
    used = 0
    for cell in chain.from_iterable(_pieces(whole, width - gap) for whole in lane):
        if line and used + cell.width + gap > width:
            yield tuple(line)
            line, used = [], 0
        line.append(cell)
        used += cell.width + gap
    if line:
        yield tuple(line)


def _pieces(cell: Cell, width: int) -> Iterator[Cell]:
    if cell.width <= width:
        yield cell
        return
    charge = cell.charge
    piece: list[Part] = []
    for part in [Part(c, run.kind) for run in cell.parts for c in run.text]:
        if cell_len("".join(p.text for p in [*piece, part])) > width:
            yield Cell(tuple(piece), charge, cell.parity, cell.wrong)
            charge, piece = "", []
        piece.append(part)
    yield Cell(tuple(piece), charge, cell.parity, cell.wrong, cell.ends_line)


class _Painter:
    """Lines of cells as lines of the console; without colours a bar parts the tokens."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.coloured = console.color_system is not None and not console.no_color
        self.gap = 0 if self.coloured else 1

    def plain(self, text: str) -> None:
        self._print(Text(plain(text)))

    def line(self, groups: Sequence[Lanes], names: tuple[str, ...]) -> None:
        for lane, name in enumerate(names):
            above = Text(" " * MARGIN + (f"{name} " if name else ""))
            below = Text(" " * len(above.plain))
            for group in groups:
                free = group_width(group, self.gap)
                for cell in group[lane]:
                    self._paint(cell, above, below)
                    free -= cell.width + self.gap
                above.append(" " * free)
                below.append(" " * free)
            self._print(above)
            self._print(below)
        if len(names) > 1:
            self._print(Text())

    def _paint(self, cell: Cell, above: Text, below: Text) -> None:
        ground = TOKEN_STYLES[cell.parity]
        room = cell.width
        for part in cell.parts:
            style = _OPERATOR if part.kind == "operator" else ground
            above.append(part.text, style if part.kind in ("text", "operator") else style + FAINT)
            room -= cell_len(part.text)
        above.append(" " * room, _OPERATOR if cell.parts[0].kind == "operator" else ground)
        below.append(cell.charge.ljust(cell.width), _WRONG if cell.wrong else _CHARGES[cell.parity])
        if not self.coloured:
            above.append("|")
            below.append(" ")

    def _print(self, text: Text) -> None:
        text.rstrip()
        self.console.print(text, soft_wrap=True, highlight=False)
