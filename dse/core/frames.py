"""Records as tables: `frame()` in canonical units for pandas, and HTML with labels and units for notebooks."""

from __future__ import annotations

import dataclasses
import html
import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .provenance import Sourced
from .text import label, quantity_text, unit_of

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 60
"""Rows of a table that a notebook shows; `frame()` has all."""


def table_of(rows: Iterable[object], columns: Sequence[str], by: str | None = None) -> pd.DataFrame:
    """A table of `rows` with named columns; column `by`, if given, becomes the index."""
    import pandas as pd  # a quarter of a second, which a command that prints one answer need not wait for

    made = pd.DataFrame(list(rows), columns=list(columns))
    return made if by is None else made.set_index(by)


def worded(table: pd.DataFrame) -> pd.DataFrame:
    """A table in canonical units for display: column names in words, every number with its unit."""
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
    return f"<p>{len(table) - SHOWN} more in frame()</p>" if len(table) > SHOWN else ""


def numbers_of(record: object, above: str = "") -> Iterator[tuple[str, str, float]]:
    """Path, name and value of every single number in a record, and then in the records inside it."""
    values = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}  # type: ignore[arg-type]
    for name, value in values.items():
        if not isinstance(value, (str, bool)) and np.ndim(value) == 0 and _is_number(value):
            yield f"{above}{name}", name, float(np.asarray(value))
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            yield from numbers_of(value, f"{above}{name}.")


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) or np.issubdtype(getattr(value, "dtype", object), np.number)


class AbstractShown:
    """A record with `frame()` and an HTML view: every number with its unit and the kind of its receipt."""

    receipts_of: ClassVar[dict[str, Callable[[Any], Sequence[Sourced]]]] = {}
    """Functions that return the receipts of a record, by class name; filled by the modules that know them."""

    def frame(self) -> pd.DataFrame:
        """One row per number: canonical value and unit, and the kind of its receipt, or "changed".

        A number is called by its field, or by the path to it where two fields share a name.
        """
        found = list(numbers_of(self))
        shared = {name for name, n in Counter(name for _, name, _ in found).items() if n > 1}
        facts = {f.name: f for f in self.receipts_of.get(type(self).__name__, lambda _: ())(self)}
        rows = [
            (path if name in shared else name, value, unit_of(name), _kind(facts.get(name), value))
            for path, name, value in found
        ]
        return table_of(rows, ["number", "value", "unit", "kind"], "number")

    def _repr_html_(self) -> str:
        table = self.frame()
        names, kinds = [str(n) for n in table.index], table["kind"].tolist()
        values = [quantity_text(n.rpartition(".")[2], x) for n, x in zip(names, table["value"].tolist(), strict=True)]
        said = {"number": [label(n) for n in names], "value": values, **({"kind": kinds} if any(kinds) else {})}
        texts = [str(v) for f in dataclasses.fields(self) if isinstance(v := getattr(self, f.name), str)]  # type: ignore[arg-type]
        return page(
            ", ".join(texts) or type(self).__name__, table_of(zip(*said.values(), strict=True), list(said), "number")
        )


def _kind(fact: Sourced | None, value: float) -> str:
    """Kind of a number's receipt, or "changed" if the number differs from it; empty without a receipt."""
    if fact is None or isinstance(fact.value, str):
        return ""
    # relative alone: an absolute tolerance would call all capacitances and energies alike
    return fact.kind if np.isclose(fact.value, value, rtol=SAME, atol=0.0) else CHANGED


SAME = 1e-9
"""Relative difference that is rounding."""
CHANGED = "changed"
"""Kind of a number that differs from its receipt."""


class Facts(list[Sourced]):
    """A list of receipts with `frame()` and an HTML view: values, ranges and sources."""

    def frame(self) -> pd.DataFrame:
        """One row per fact, in canonical units."""
        columns = [f.name for f in dataclasses.fields(Sourced)]
        return table_of([dataclasses.asdict(f) for f in self], columns, "name")

    def _repr_html_(self) -> str:
        said = [
            (label(f.name), f.value if isinstance(f.value, str) else quantity_text(f.name, f.value), f.kind, f.source)
            for f in self
        ]
        return page("", table_of(said, ["fact", "value", "kind", "source"], "fact"))
