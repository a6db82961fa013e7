"""Columns that hold several sizes in a cell, as "TP/PP/DP" with 8/4/2."""

from __future__ import annotations

import math
import re

import pandas as pd

from .columns import column_of
from .reading import ODD_NUMBER
from .spelling import is_metric

APART = r"\s*(?:[/,|+&\u00d7*-]|\bx\b)\s*"
"""What stands between names, or between their numbers."""


def in_columns(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows whose sizes stand together in a cell have each in its column, where no column has one of them.

    A row whose cell has another number of parts has a reason why it cannot be told.
    """
    for header in [c for c in map(str, rows.columns) if not column_of(c, kind) and not is_metric(c)]:
        parts = [column_of(x, kind) for x in re.split(APART, header.strip("()[] "))]
        names = [x for x in parts if x]
        if len(names) < 2 or len(names) < len(parts) or len(set(names)) < len(names) or set(names) & set(rows.columns):
            continue
        cells = [re.findall(r"\d+", str(x)) if not pd.isna(x) else [] for x in rows[header]]
        fits = [
            len(x) == len(names) and not re.search("[a-z.]", str(said))
            for x, said in zip(cells, rows[header], strict=True)
        ]
        if not any(fits):
            continue
        odd = [
            "" if ok or pd.isna(said) else f"{header} = '{said}' is not {len(names)} whole numbers"
            for ok, said in zip(fits, rows[header], strict=True)
        ]
        told = {
            n: [float(x[i]) if ok else math.nan for x, ok in zip(cells, fits, strict=True)] for i, n in enumerate(names)
        }
        why = rows[ODD_NUMBER].where(rows[ODD_NUMBER] != "", odd) if ODD_NUMBER in rows else odd
        rows = rows.drop(columns=header).assign(**told, **({ODD_NUMBER: why} if any(odd) else {}))
    return rows
