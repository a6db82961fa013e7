"""`Table`, the one model of a table: Rich draws it on terminals, `markup.written` in HTML. Imports no JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from ..core.text import digits

Cell = str | Text
"""Plain text, never read as markup; a `Text` where parts of a cell have styles of their own."""
PAD = 1
"""Columns between columns, on top of what the box draws between them."""
BETWEEN = 1 + PAD
"""Columns from the end of a cell to the beginning of the next."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Heads and rows with units in the cells; the first column, flush left, is what a row is about."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
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

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Never cut: on a narrow page headers and words wrap, or each row has a line for every column."""
        places = range(len(self.columns))
        full, least = ([self._needs(console, i, whole) for i in places] for whole in (True, False))
        room = options.max_width - BETWEEN * max(len(places) - 1, 0)
        if sum(w for w, _ in full) <= room:
            yield self._grid()
        elif sum(w for _, w in least) <= room:
            cells, words = ([w for _, w in needs] for needs in (full, least))
            # headers give way first, then whatever is widest
            yield self._grid(narrowed(narrowed([w for w, _ in full], cells, room), words, room))
        else:
            yield self._records(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._grid())

    def _needs(self, console: Console, i: int, whole: bool) -> tuple[int, int]:
        """Columns that column `i` takes uncut, and the least: with `whole` cells, or with every word whole."""
        head, *cells = (_text(x).__rich_measure__(console, console.options) for x in (self.columns[i], *self._cells(i)))
        least = [m.maximum if whole and i not in self.wrapped else m.minimum for m in cells]
        return max([head.maximum, *(m.maximum for m in cells)]), max([head.minimum, *least])

    def _cells(self, i: int) -> list[Cell]:
        return [row[i] for row in self.rows]

    def _grid(self, widths: Sequence[int] | None = None) -> Grid:
        """In the house style, as wide as it needs to be, or wrapped to `widths`."""
        made = Grid(box=box.SIMPLE_HEAD, padding=(0, 0, 0, PAD), title_justify="left", caption_justify="left")
        made.pad_edge, made.show_edge, made.title_style, made.show_header = False, False, "bold", any(self.columns)
        made.title, made.caption = (_text(x) if x else None for x in (self.title, self.note))
        for i, column in enumerate(self.columns):
            side = "left" if i == 0 or i in self.left else "right"
            fixed = widths is None and i not in self.wrapped
            made.add_column(
                _text(column), justify=side, header_style="dim", no_wrap=fixed, width=widths[i] if widths else None
            )
        for i, (row, style) in enumerate(zip_longest(self.rows, self.styles)):
            if self.totals and i == len(self.rows) - self.totals:
                made.add_section()
            made.add_row(*map(_text, row), style=style)
        return made

    def _records(self, width: int) -> RenderableType:
        """Every row as lines "head  cell"."""
        grid = Grid.grid(padding=(0, 1), expand=False)
        grid.add_column(style="dim", max_width=max(width // 2, 8), overflow="fold")
        grid.add_column(overflow="fold")
        for n, row in enumerate(self.rows):
            if n:
                grid.add_row("", "")
            for head, cell in zip(self.columns, row, strict=True):
                if str(cell):
                    grid.add_row(head, _text(cell))
        parts = [Text(self.title, style="bold")] if self.title else []
        return Group(*parts, grid, *([Text(self.note)] if self.note else []))


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)  # no markup: names of files and models may hold brackets


def table_of(
    columns: Sequence[str], rows: Iterable[Iterable[Cell]], note: str = "", totals: int = 0, *, title: str = "",
    styles: tuple[str, ...] = (), left: tuple[int, ...] = (), wrapped: tuple[int, ...] = (),
) -> Table:  # fmt: skip
    """A table of any rows; see the fields of `Table`."""
    return Table(tuple(columns), tuple(map(tuple, rows)), styles, totals, note, title, left, wrapped)


def or_dash(value: Any, words: Callable[[Any], str] = digits) -> str:
    """A cell: a value in words, a dash where there is none."""
    return "-" if value is None else words(value)


def narrowed(widths: list[int], least: list[int], room: int) -> list[int]:
    """Widths that are at least `least` and fit into `room` if those do; the widest give way first."""
    widths = list(widths)
    for _ in range(sum(widths) - room):
        loose = [i for i, w in enumerate(widths) if w > least[i]]
        if not loose:
            break
        widths[max(loose, key=lambda i: widths[i])] -= 1
    return widths


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
