"""What a sweep found: its axes that vary, its main metric, its best rows."""

from __future__ import annotations

from typing import Any

import pandas as pd

PREFERRED = {"delivered_speedup": False, "tokens_per_s": False, "step_s": True}
"""Main metrics, the first that was recorded, to whether less is better."""
FIRST_ANSWERS = ("plan", "status")
"""First column that is an answer: of an evaluated point, of a solved study."""
KEPT = ("point", "ok", "reason")


def axes_of(rows: Any) -> list[str]:
    """The sweep's axes that vary: the columns before the answers."""
    names = list(rows.columns)
    first = min((names.index(n) for n in FIRST_ANSWERS if n in names), default=len(names))
    return [c for c in names[:first] if c not in KEPT and rows[c].nunique() > 1]


def main_metric(rows: pd.DataFrame) -> str | None:
    """The metric to judge rows by; None where none of `PREFERRED` was recorded."""
    return next((m for m in PREFERRED if m in rows.columns), None)


def best_rows(rows: pd.DataFrame, metric: str, n: int) -> pd.DataFrame:
    """The `n` best rows by one of `PREFERRED`, best first."""
    return rows.sort_values(metric, ascending=PREFERRED[metric]).head(n)
