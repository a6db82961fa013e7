"""Tables of plain text, and how they look in a terminal; `markup.written` makes HTML of them. Imports no JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table as Grid
from rich.text import Text

from ..core.text import digits


@dataclasses.dataclass(frozen=True)
class Table:
    """Heads and rows of text with units in the cells; the first column is what a row is about."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    styles: tuple[str, ...] = ()
    """A style of Rich's per row, for terminals; none where left out."""
    totals: int = 0
    """Rows at the end that sum up the others."""
    note: str = ""
    title: str = ""
    left: tuple[int, ...] = ()
    """Columns beside the first that are flush left."""
    wrapped: tuple[int, ...] = ()
    """Columns whose cells may take several lines on a page that holds the others."""


def table_of(
    columns: Sequence[str], rows: Iterable[Iterable[str]], note: str = "", totals: int = 0, *, title: str = "",
    styles: tuple[str, ...] = (), left: tuple[int, ...] = (), wrapped: tuple[int, ...] = (),
) -> Table:  # fmt: skip
    """A table of any rows of text; see the fields of `Table`."""
    return Table(tuple(columns), tuple(map(tuple, rows)), styles, totals, note, title, left, wrapped)


def or_dash(value: Any, words: Callable[[Any], str] = digits) -> str:
    """A cell: a value in words, a dash where there is none."""
    return "-" if value is None else words(value)


PAD = 1
"""Columns between columns, on top of what the box draws between them."""
BETWEEN = 1 + PAD
"""Columns from the end of a cell to the beginning of the next."""


class FittingTable(Grid):
    """A table that is never cut: on a narrow page headers and words wrap, or each row has a line for every column."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType | Segment]:
        full = [self._needs(console, i, cells=True) for i, _ in enumerate(self.columns)]
        least = [self._needs(console, i, cells=False) for i, _ in enumerate(self.columns)]
        room = options.max_width - BETWEEN * max(len(self.columns) - 1, 0)
        if sum(w for w, _ in full) <= room:
            yield from super().__rich_console__(console, options)
        elif sum(w for _, w in least) <= room:
            whole, words = ([w for _, w in needs] for needs in (full, least))
            # headers give way first, then whatever is widest
            widths = narrowed(narrowed([w for w, _ in full], whole, room), words, room)
            # Rich reads widths from the columns: they are lent for this page, as another may be wider
            kept = [(c.no_wrap, c.width) for c in self.columns]
            for column, width in zip(self.columns, widths, strict=True):
                column.no_wrap, column.width = False, width
            yield from super().__rich_console__(console, options)
            for column, (no_wrap, width) in zip(self.columns, kept, strict=True):
                column.no_wrap, column.width = no_wrap, width
        else:
            yield self._records(options.max_width)

    def _needs(self, console: Console, i: int, cells: bool) -> tuple[int, int]:
        """Columns that column `i` takes uncut, and the least: with whole cells, or with every word whole."""
        column = self.columns[i]
        head = _measure(console, column.header) if self.show_header else Measurement(0, 0)
        found = [_measure(console, c) for c in column.cells]
        widest = max([head.maximum, *(m.maximum for m in found)])
        least = [m.maximum if cells and column.no_wrap else m.minimum for m in found]
        return widest, max([head.minimum, *least])

    def _records(self, width: int) -> RenderableType:
        """Every row as lines "head  cell"."""
        heads = [_text(c.header).plain for c in self.columns]
        grid = Grid.grid(padding=(0, 1), expand=False)
        grid.add_column(style="dim", max_width=max(width // 2, 8), overflow="fold")
        grid.add_column(overflow="fold")
        rows = zip(*(c.cells for c in self.columns), strict=True)
        for n, row in enumerate(rows):
            if n:
                grid.add_row("", "")
            for head, cell in zip(heads, row, strict=True):
                if _text(cell).plain:
                    grid.add_row(head, cell)
        parts = [Text(str(self.title), style="bold")] if self.title else []
        return Group(*parts, grid, *([_text(self.caption)] if self.caption else []))


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))


def _measure(console: Console, cell: RenderableType) -> Measurement:
    return _text(cell).__rich_measure__(console, console.options)


def narrowed(widths: list[int], least: list[int], room: int) -> list[int]:
    """Widths that are at least `least` and fit into `room` if those do; the widest give way first."""
    widths = list(widths)
    for _ in range(sum(widths) - room):
        loose = [i for i, w in enumerate(widths) if w > least[i]]
        if not loose:
            break
        widths[max(loose, key=lambda i: widths[i])] -= 1
    return widths


def table(*columns: str, title: str = "") -> Grid:
    """An empty table in the house style: the first column flush left, the rest flush right, wrapped where it must."""
    made = FittingTable(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", padding=(0, 0, 0, PAD))
    made.pad_edge, made.show_edge, made.title_style = False, False, "bold"
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", header_style="dim", no_wrap=True)
    return made


def drawn(t: Table) -> Grid:
    """A table for a terminal, in the house style."""
    made = table(*map(escape, t.columns), title=escape(t.title))
    made.show_header = any(t.columns)
    for i in t.left:
        made.columns[i].justify = "left"
    for i in t.wrapped:
        made.columns[i].no_wrap = False
    for i, (row, style) in enumerate(zip_longest(t.rows, t.styles)):
        if t.totals and i == len(t.rows) - t.totals:
            made.add_section()
        made.add_row(*map(escape, row), style=style)
    made.caption, made.caption_justify = escape(t.note) or None, "left"
    return made


WIDE = 120
"""Columns of a page."""
UNBOUNDED = 1000
"""Columns in which nothing wraps."""


def beside(left: RenderableType, right: RenderableType, width: int) -> RenderableType:
    """Two renderables side by side, or one above the other where `width` columns do not hold both uncut."""
    page = Console(width=UNBOUNDED)
    if page.measure(left).maximum + page.measure(right).maximum + 2 > width:
        return Group(left, "", right)
    grid = Grid.grid(padding=(0, 2))
    grid.add_row(left, right)
    return grid
