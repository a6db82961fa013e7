"""Records as tables: numbers in canonical units for pandas, and the same in words and units for a notebook.

Every record that shows itself has `frame()`, a table in canonical units, and shows that table as `page` words it.
"""

from __future__ import annotations

import dataclasses
import html
import numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .provenance import Sourced
from .text import label, quantity_text

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 60
"""Rows of a table that a notebook shows; `frame()` has all."""


def table_of(rows: Iterable[object], columns: Sequence[str], by: str | None = None) -> pd.DataFrame:
    """A table of `rows` with names of columns; column `by`, where given, names the rows."""
    import pandas as pd  # a quarter of a second, which a command that prints one answer need not wait for

    made = pd.DataFrame(list(rows), columns=list(columns))
    return made if by is None else made.set_index(by)


def worded(table: pd.DataFrame) -> pd.DataFrame:
    """A table in canonical units as people read it: names in words, every number with its unit."""
    text = {label(str(column)): [_cell(str(column), value) for value in table[column]] for column in table.columns}
    return table_of(zip(*text.values(), strict=True), list(text)).set_index(table.index)


def _cell(column: str, value: object) -> str:
    """One value: a number in the unit that its column's name ends in, all else as it is."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return quantity_text(column, float(value)) if is_number else str(value)  # type: ignore[arg-type]


def page(title: str, *tables: pd.DataFrame) -> str:
    """Tables in canonical units as HTML, worded, below a line that says what they are."""
    shown = "".join(worded(t.head(SHOWN)).to_html(border=0) + _more(t) for t in tables if len(t))
    return (f"<p><b>{html.escape(title)}</b></p>" if title else "") + shown


def _more(table: pd.DataFrame) -> str:
    """How many rows are not shown."""
    return f"<p>{len(table) - SHOWN} more in frame()</p>" if len(table) > SHOWN else ""


class Facts(list[Sourced]):
    """Facts that show themselves: a table of their values, ranges and sources."""

    def frame(self) -> pd.DataFrame:
        """One row per fact, in canonical units."""
        columns = [f.name for f in dataclasses.fields(Sourced)]
        return table_of([dataclasses.asdict(f) for f in self], columns, "name")

    def _repr_html_(self) -> str:
        """What a notebook shows: every fact with its unit, what is a guess, and where it is from."""
        said = [
            (label(f.name), f.value if isinstance(f.value, str) else quantity_text(f.name, f.value), f.kind, f.source)
            for f in self
        ]
        return page("", table_of(said, ["fact", "value", "kind", "source"], "fact"))
