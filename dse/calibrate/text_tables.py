"""Parsing of text tables (CSV): delimiter, rows of a wrong length, duplicate column names."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd

from .digits import has_decimal_commas
from .reading import ODD_NUMBER
from .spelling import renamed


def read_text(path: Path, known: tuple[str, ...]) -> pd.DataFrame:
    """A CSV, its columns parted by comma, semicolon, tab or bar, as the header shows; lines above it are titles.

    ValueError for a table that cannot be told: no line, or two columns of one name.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            first = next((line for line in file if _n_cells(line) > TITLE), "")
            file.seek(0)
            mark = max(MARKS, key=lambda m: _n_cells(first, m))
            lines = [line for line in csv.reader(file, delimiter=mark) if any(line)]
        except csv.Error as error:
            raise ValueError(f"{error}; is it text?") from None
    lines = lines[next((i for i, line in enumerate(lines) if len(line) > TITLE), 0) :]
    if not lines:
        raise ValueError("no line; give a header and rows")
    _checked(lines[0])
    text, why = _fitted(lines)
    rows = renamed(pd.read_csv(io.StringIO(text), low_memory=False), known)
    # where one column has decimal commas, points of others may part thousands: their text tells, a float does not
    if has_decimal_commas(rows):
        rows = renamed(pd.read_csv(io.StringIO(text), dtype=str), known)
    return rows.assign(**{ODD_NUMBER: why}) if any(why) else rows


MARKS = ",;\t|"
"""What may part columns."""
TITLE = 2
"""Most cells of a line above a header that is a title: a header has more."""


def _n_cells(line: str, marks: str = MARKS) -> int:
    """Cells of a line, parted by the one of `marks` that parts it into most."""
    return max(len(next(csv.reader([line], delimiter=m), [])) for m in marks)


def _checked(header: list[str]) -> None:
    """ValueError for a name that two columns have: which of them counts is not said."""
    names = [n.strip().lower() for n in header if n.strip()]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise ValueError(f"two columns are named '{twice}'; keep one")


def _fitted(lines: list[list[str]]) -> tuple[str, list[str]]:
    """The lines as text, each as long as the header, and for each row with cells beyond it the reason to leave it.

    Empty cells at the end are none: spreadsheets write them.
    """
    n, out, why = len(lines[0]), io.StringIO(), []
    write: Any = csv.writer(out)
    write.writerow(lines[0])
    for line in lines[1:]:
        beyond = [cell for cell in line[n:] if cell.strip()]
        why.append(
            f"the row has {len(line)} cells and the header {n}: which cell is whose is not said" if beyond else ""
        )
        write.writerow([*line[:n], *[""] * (n - len(line))])
    return out.getvalue(), why
