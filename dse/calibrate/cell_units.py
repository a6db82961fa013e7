"""Values with a unit, a spread or a letter for thousands in the same cell, as "14 ms" and "1.2T"."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd

from .rates import SCALES, SECONDS, rate
from .spelling import RATES, TIMES, unit_word

CELL = re.compile(
    r"\s*(?P<number>\d[\d.,]*(?:e[+-]?\d+)?)\s*(?:(?:\u00b1|\+/?-)\s*[\d.,]+)?"
    r"\s*(?P<unit>[a-zA-Z\u00b5\u03bc][\w\u00b5/ ]*)?\s*"
)
"""A number with how far it spreads and its unit behind it."""
MULTIPLES = ("k", "K", "M", "B", "T")
"""Letters behind a number that multiply it: a G would be a size."""


def with_cell_units(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose values have their units in the column of units, where none says another; other cells as they are."""
    if "value" not in rows or pd.api.types.is_numeric_dtype(rows["value"]):
        return rows
    units: list[Any] = list(rows["unit"]) if "unit" in rows else [None] * len(rows)
    both = [_parted(said, unit) for said, unit in zip(rows["value"], units, strict=True)]
    return rows.assign(value=[value for value, _ in both], unit=[unit for _, unit in both])


def _parted(said: Any, column: Any) -> tuple[Any, Any]:
    """Number and unit of a cell and of its row's column of units; both as they are where the cell is something else."""
    found = CELL.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        return said, column
    number, unit = found["number"], (found["unit"] or "").strip()
    if unit in MULTIPLES:
        # "1,200k" may be two numbers with a letter behind them too
        return (said if "," in number else f"{number}e{round(math.log10(SCALES[unit]))}"), column
    own = column if isinstance(column, str) else ""
    known = is_unit(unit) or "B/s" in unit_word(unit)
    if unit and (not known or (own and unit_word(own) != unit_word(unit))):
        return said, column
    return number, unit or column


def is_unit(said: str) -> bool:
    """Whether a word alone is a unit of time or a rate that is known."""
    return said.lower() in (*TIMES, *SECONDS) or unit_word(said) in RATES.values() or rate(said) is not None
