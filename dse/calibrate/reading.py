"""Reading of users' tables: an unreadable cell excludes its row, with the cell as the reason."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..core.errors import DseError, ReceiptError, SpecError

FACTS = Path(__file__).parent / "data" / "rows.toml"
"""What rows leave out, with its receipts."""


@dataclasses.dataclass(frozen=True)
class Unmodelled:
    """A measurement that cannot be predicted."""

    point_id: str
    source: str
    chip_name: str
    why: str


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
    # "inf" and "nan" are words that Python takes for numbers
    return number if math.isfinite(number) else default


def row_text(row: Any, name: str) -> str:
    """The text in a column of a row; empty where it is absent."""
    value = getattr(row, name, "")
    return "" if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else str(value)


THOUSANDS = r"(\d+(?:\.\d+)?)\s?k"
"""A number in thousands, which of tokens are 1000 or 1024."""


def odd_cell(row: Any, columns: Sequence[str]) -> str | None:
    """Which of `columns` holds something else than a number that is not negative, in words; None if none does."""
    for name in columns:
        said = row_text(row, name).strip()
        # -1 stands for what is no number; "not >=" catches NaN, which compares false either way
        if said and not row_number(row, name, -1.0) >= 0:
            thousands = re.fullmatch(THOUSANDS, said, re.IGNORECASE)
            remedy = ", or say what a k is: --given k_tokens=1024" if thousands else ""
            return f"{name} = '{said}' is not a number from 0 up; write digits alone{remedy}"
    return None


YES = ("yes", "y", "true", "on", "1", "1.0")
NO = ("no", "n", "none", "false", "off", "0", "0.0")
"""Words for a switch."""


def without_unit(metric: str, such_as: str) -> str:
    """Why a value without a unit tells nothing, and what would help."""
    return f"'{metric}' has no unit; write it into the header: {metric} ({such_as}), or --given unit={such_as}"


def row_switch(row: Any, name: str, usual: bool) -> bool:
    """Yes or no of a cell, `usual` where it is blank; SpecError for another word."""
    said = row_text(row, name).strip().lower()
    if said and said not in YES and said not in NO:
        raise SpecError(f"{name} = '{row_text(row, name)}' is not yes or no")
    return said in YES if said else usual


TWO_WIDTHS = r"^\s*b?f?(fp|loat)?16\s*(/|,|or|vs)\s*(nv|mx)?fp[48]\b|^\s*(nv|mx)?fp[48]\s*(/|,|or|vs)\s*[bf]p?f?16\b"
"""A cell that is no more than 16 bit beside a narrower format."""


def weights_only(precision: str) -> str:
    """A row's precision, SpecError where it tells that of a cache: which words are the weights' is not said."""
    if re.search(TWO_WIDTHS, precision.lower()):
        raise SpecError(f"precision '{precision}' names two widths; give each row its own")
    if re.search(r"\bkv\b|kv[ _-]?cache|_kv", precision.lower()):
        raise SpecError(f"precision '{precision}' tells that of the KV cache too; give that of the weights alone")
    return precision


def guarded(label: tuple[str, str, str], make: Callable[[], T]) -> T | Unmodelled:
    """What `make` makes of a row, or the reason why nothing; ReceiptError where a fact of this package is missing."""
    try:
        return make()
    # a fact that this package lacks is our fault, and must not pass as a fault of the row
    except ReceiptError:
        raise
    except DseError as error:
        return Unmodelled(*label, str(error))
    except UNREADABLE as error:
        return Unmodelled(*label, f"the row cannot be read ({type(error).__name__}: {error})")


AT_LEAST_ONE = (
    "layers", "hidden", "ffn_hidden", "heads", "kv_heads", "head_dim", "vocab", "seq_len", "global_batch",
    "micro_batch", "tp", "pp", "dp", "cp", "ep", "virtual_pp", "batch", "in_len", "out_len", "M", "N", "K", "elements",
    "message_bytes", "num_ranks", "num_nodes",
)  # fmt: skip
"""Columns of sizes: a cell is empty, or what a measurement can have had."""
NOT_NEGATIVE = ("num_chips", "params_B", "experts", "active_experts", "value")
"""Columns of numbers that may be zero or below one."""
MAY_BE_ZERO = ("params_B", "experts", "active_experts", "value")
"""Those of them that may be zero; a value of zero is told apart later."""
MEANS = ("batch", "in_len", "out_len", "elements", "message_bytes")
WHOLE = tuple(n for n in AT_LEAST_ONE if n not in MEANS)
"""Columns of counts that no mean is printed of, as lengths and batches may be."""
ODD_NUMBER = "odd_number"
"""Column that says why a row cannot be told: a cell that may be two numbers, or cells beyond the header."""
LEAST, MOST = 1e-15, 1e15
"""Numbers nearer to zero, or larger, are no measurement: a second has 1e15 femtoseconds."""


def impossible(rows: pd.DataFrame) -> pd.Series:
    """For every row, the first cell that no measurement can have had and what is allowed; empty where none."""
    why: Any = rows[ODD_NUMBER] if ODD_NUMBER in rows else pd.Series("", index=rows.index)
    why = why.copy()
    for column in (c for c in (*AT_LEAST_ONE, *NOT_NEGATIVE) if c in rows.columns):
        numbers = np.asarray(pd.to_numeric(rows[column], errors="coerce"), dtype=float)
        least = 1.0 if column in AT_LEAST_ONE else LEAST
        zero = (numbers == 0) & (column in MAY_BE_ZERO)
        part = (np.floor(numbers) != numbers) & (column in WHOLE)
        fits = (numbers >= least) & (numbers <= MOST) & ~part
        # a blank is not wrong; the first wrong cell of a row is reason enough
        wrong = ~np.isnan(numbers) & ~zero & ~fits & (why == "").to_numpy()
        allowed = f"number from {least:g} to {MOST:g}{' or 0' if column in MAY_BE_ZERO else ''}, or empty"
        why[wrong] = [
            f"{column} = {n:g}; expected a {'whole ' if cut else ''}{allowed}"
            for n, cut in zip(numbers[wrong], part[wrong], strict=True)
        ]
    return why


def readable(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Unmodelled]]:
    """Rows with a name, a source and numbers that can be; and the others with the reason."""
    value: Any = pd.to_numeric(rows["value"], errors="coerce")
    named, wrong = rows["point_id"].notna() & rows["source"].notna(), impossible(rows)
    fine = named & value.map(math.isfinite) & (value > 0) & (wrong == "")
    rest = []
    for at, row in zip((~fine).to_numpy().nonzero()[0], rows.loc[~fine].itertuples(), strict=True):
        label = row_text(row, "point_id") or f"row {at + 1}", row_text(row, "source") or "not stated"
        absent = [n for n in ("point_id", "source") if not row_text(row, n)]
        why = wrong.iloc[at] or f"value = '{row_text(row, 'value')}' is not a positive number"
        rest.append(Unmodelled(*label, row_text(row, "chip"), f"no {', '.join(absent)}" if absent else why))
    return rows.loc[fine].assign(value=value[fine]), rest
