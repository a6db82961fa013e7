"""A table as a record of plain text, rendered by `layout.drawn` (terminal) and `markup.written` (HTML)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence


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
