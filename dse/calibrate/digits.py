"""Parsing of printed numbers: grouped digits, decimal commas. Ambiguous numbers are not parsed but reported.

"1,234.5", "1 234", "1_234" and "1.234,5" are one number each. "1,234" is 1234 or 1.234: its column decides, by a cell
that can be read in one way only; a column of counts has no decimals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from .reading import AT_LEAST_ONE, MEANS, NOT_NEGATIVE, ODD_NUMBER, WHOLE

COLUMNS = tuple(dict.fromkeys((*AT_LEAST_ONE, *NOT_NEGATIVE, "concurrency")))
"""Columns of numbers."""
LENGTHS = (*MEANS, "num_chips", "concurrency")
"""Those of sizes that may be means, but are hardly printed to a thousandth."""
SPACE = "[ _'\u2019\u00a0\u2009\u202f]"
"""What parts groups of three digits and nothing else."""
POINT, COMMA, EITHER_COMMA, EITHER_POINT, NEUTRAL = "point", "comma", "either comma", "either point", "neutral"
SHAPES: tuple[tuple[str, str], ...] = (
    (rf"\d{{1,3}}({SPACE})\d{{3}}(\1\d{{3}})*|\d+", NEUTRAL),
    # no group of thousands begins with 0: "0,123" can only be a decimal comma, and falls through to the last line
    (r"[1-9]\d{0,2},\d{3}", EITHER_COMMA),
    (r"[1-9]\d{0,2}\.\d{3}", EITHER_POINT),
    # a mark that comes twice parts thousands, since a number has one decimal mark
    (r"\d{1,3}(,\d{3})+\.\d*|\d{1,3}(,\d{3}){2,}", POINT),
    (r"\d{1,3}(\.\d{3})+,\d*|\d{1,3}(\.\d{3}){2,}", COMMA),
    (rf"(\d{{1,3}}({SPACE})\d{{3}}(\2\d{{3}})*|\d*)\.\d+(e[+-]?\d+)?|\d+\.|\d+e[+-]?\d+", POINT),
    (rf"(\d{{1,3}}({SPACE})\d{{3}}(\2\d{{3}})*|\d*),\d+(e[+-]?\d+)?", COMMA),
)
"""Pattern of a cell without its sign and what its marks tell of the decimal mark; the first that matches counts."""


def shape(cell: object) -> str | None:
    """What a cell tells of its column's decimal mark; None for what is no number or no text."""
    if not isinstance(cell, str):
        return None
    bare = re.sub(r"^[+-]", "", cell.strip()).lower()
    return next((kind for pattern, kind in SHAPES if re.fullmatch(pattern, bare)), None)


def has_decimal_commas(rows: pd.DataFrame) -> bool:
    """Whether any column, metrics by their own names among them, has a cell with what can only be a decimal comma."""
    texts = (rows[c] for c in rows if not pd.api.types.is_numeric_dtype(rows[c]))
    return any(COMMA in map(shape, column) for column in texts)


def _texts(rows: pd.DataFrame) -> list[tuple[str, Any]]:
    """Columns of numbers that hold text."""
    return [(c, rows[c]) for c in COLUMNS if c in rows and not pd.api.types.is_numeric_dtype(rows[c])]


def with_plain_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose grouped digits and decimal commas are plain numbers; `ODD_NUMBER` says which cell could be two."""
    texts = _texts(rows)
    if not texts:
        return rows
    shapes = {name: [shape(cell) for cell in column] for name, column in texts}
    # one writer has one decimal mark, in whichever column it shows
    elsewhere = any(COMMA in found for found in shapes.values())
    pointed = not elsewhere and _has_decimal_points(rows)
    why: Any = rows[ODD_NUMBER] if ODD_NUMBER in rows else pd.Series("", index=rows.index)
    changed: dict[str, Any] = {}
    for name, column in texts:
        mark = _mark(name, shapes[name], elsewhere, pointed)
        cells = [_plain(cell, kind, mark) for cell, kind in zip(column, shapes[name], strict=True)]
        both = zip(cells, column, strict=True)
        odd = pd.Series([f"{name} = '{said}' {open_}" if open_ else "" for (_, open_), said in both], index=rows.index)
        why = why.where(why != "", odd)
        plain = pd.Series([cell for cell, _ in cells], index=rows.index, dtype=object)
        numbers: Any = pd.to_numeric(plain, errors="coerce")
        # with one cell that is no number the column stays text, so that its row can quote it
        changed[name] = numbers if bool((numbers.notna() | plain.isna()).all()) else plain
    rows = rows.assign(**changed)
    return rows.assign(**{ODD_NUMBER: why}) if bool((why != "").any()) else rows


TWO, BOTH = "", "both"
"""What a column tells of its mark where nothing does, and where its cells contradict each other."""


def _has_decimal_points(rows: pd.DataFrame) -> bool:
    """Whether any column has a cell with what can only be a decimal point."""
    texts = (rows[c] for c in rows if not pd.api.types.is_float_dtype(rows[c]))
    floats = (rows[c].dropna() for c in rows if pd.api.types.is_float_dtype(rows[c]))
    return any(POINT in map(shape, column) for column in texts) or any(bool((x % 1 != 0).any()) for x in floats)


def _mark(name: str, shapes: Sequence[str | None], elsewhere: bool, pointed: bool = False) -> str:
    """The decimal mark of a column: `POINT`, `COMMA`, `BOTH`, or `TWO` where it could be either.

    `elsewhere` and `pointed`: other columns have decimal commas, or points alone.
    """
    point, comma = POINT in shapes, COMMA in shapes
    if point and comma:
        return BOTH
    if point or comma:
        return POINT if point else COMMA
    whole = name in WHOLE
    if (whole or (name in LENGTHS and not elsewhere)) and EITHER_COMMA in shapes and EITHER_POINT not in shapes:
        return POINT  # 1,234 of a count is no decimal
    if pointed and EITHER_COMMA in shapes and EITHER_POINT not in shapes:
        return POINT
    # who wrote decimal commas in another column parted the thousands of this one by points
    if whole and EITHER_POINT in shapes and EITHER_COMMA not in shapes and elsewhere:
        return COMMA
    if EITHER_COMMA in shapes or elsewhere:
        return BOTH if {EITHER_COMMA, EITHER_POINT} <= set(shapes) else TWO
    # "1.234" alone, in a file without a comma anywhere: a decimal point, as programs write it
    return POINT


def _plain(cell: Any, kind: str | None, mark: str) -> tuple[Any, str]:
    """A cell as Python writes numbers, or the cell and why it could be two numbers."""
    if kind is None:
        return cell, ""
    either = kind in (EITHER_COMMA, EITHER_POINT)
    if (mark == BOTH and kind == COMMA) or (mark in (BOTH, TWO) and either):
        thousands, decimal = re.sub("[.,]", "", cell.strip()), cell.strip().replace(",", ".")
        two = f"may be {thousands} or {decimal}" if either else "has a decimal comma"
        of = "other cells of the column have the other mark" if mark == BOTH else "no cell of the column tells"
        return cell, f"{two}, and {of}; write numbers without marks between thousands, decimals behind a point"
    bare = re.sub(SPACE, "", cell.strip())
    drop, decimal = (".", ",") if mark == COMMA else (",", ".")
    return bare.replace(drop, "").replace(decimal, "."), ""
