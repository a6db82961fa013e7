"""Tables that others wrote: one odd cell costs one row, and the row says which cell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pandas as pd

from ..core.errors import DseError


@dataclasses.dataclass(frozen=True)
class Unmodelled:
    """A measurement that cannot be predicted."""

    point_id: str
    """Identifier of the measurement."""
    source: str
    """Who published it."""
    chip_name: str
    """As published."""
    why: str
    """The reason, in words."""


T = TypeVar("T")

UNREADABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What Python raises where a cell holds what no formula takes."""


def row_number(row: Any, name: str, default: float = math.nan) -> float:
    """The number in a column of a row; `default` where it is absent or text."""
    value = getattr(row, name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return default
    return number if math.isfinite(number) else default


def row_text(row: Any, name: str) -> str:
    """The text in a column of a row; empty where it is absent."""
    value = getattr(row, name, "")
    return "" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)


def odd_cell(row: Any, columns: Sequence[str]) -> str | None:
    """Which of `columns` holds something else than a number that is not negative, in words; None if none does."""
    for name in columns:
        said = row_text(row, name).strip()
        if said and not row_number(row, name, -1.0) >= 0:
            return f"{name} = '{said}' is not a number from 0 up"
    return None


def guarded(label: tuple[str, str, str], make: Callable[[], T]) -> T | Unmodelled:
    """What `make` makes of a row, or the reason why nothing: no row may stop the rest of its table."""
    try:
        return make()
    except DseError as error:
        return Unmodelled(*label, str(error))
    except UNREADABLE as error:
        return Unmodelled(*label, f"the row cannot be read ({type(error).__name__}: {error})")


def readable(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Unmodelled]]:
    """Rows with a name, a source and a positive number for their value, and the others with the reason."""
    value: Any = pd.to_numeric(rows["value"], errors="coerce")
    named = rows["point_id"].notna() & rows["source"].notna()
    fine = named & value.map(math.isfinite) & (value > 0)
    rest = []
    for at, row in zip((~fine).to_numpy().nonzero()[0], rows.loc[~fine].itertuples(), strict=True):
        label = row_text(row, "point_id") or f"row {at + 1}", row_text(row, "source") or "not stated"
        absent = [n for n in ("point_id", "source") if not row_text(row, n)]
        why = f"value = '{row_text(row, 'value')}' is not a positive number"
        rest.append(Unmodelled(*label, row_text(row, "chip"), f"no {', '.join(absent)}" if absent else why))
    return rows.loc[fine].assign(value=value[fine]), rest
