"""The house style of tables, and how they share a page. Light: imports no JAX."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table


def table(*columns: str, title: str = "") -> Table:
    """An empty table in the house style: the first column flush left, the rest flush right, nothing wrapped."""
    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", padding=(0, 0, 0, 1))
    made.pad_edge, made.show_edge, made.title_style = False, False, "bold"
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", header_style="dim", no_wrap=True)
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
    grid = Table.grid(padding=(0, 2))
    grid.add_row(left, right)
    return grid
