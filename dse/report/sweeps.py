"""What a sweep takes and what came of it, and answers of queries, as tables and as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..core.text import digits, in_unit
from ..sweep.results import reasons
from .layout import table
from .terminal import duration

if TYPE_CHECKING:
    from ..sweep.estimate import Estimate
    from ..sweep.store import Store

SHOWN_ROWS = 50
"""Rows of an answer that a terminal shows; `--json` gives them all."""
SHOWN_REASONS = 5
"""Reasons of failure shown, the most frequent first."""


def estimate_view(name: str, e: Estimate) -> RenderableType:
    """What a sweep will take."""
    rows = table("", "")
    rows.show_header = False
    for label, value in (
        ("points", f"{e.points:,}"),
        ("combinations of choices", f"{e.settings:,}"),
        ("shards", f"{e.shards:,}"),
        ("time in this process", duration(e.seconds)),
        ("compiling, once", duration(e.once_s)),
        ("disk", in_unit(e.disk_B, "B")),
    ):
        rows.add_row(label, value)
    return Group(rows, f"{name}: nothing was written; extrapolated from {e.probed:,} points.")


def summary(store: Store) -> dict[str, Any]:
    """What is in a results folder now, as plain data."""
    found = reasons(store.folder)
    rows = sum(found.values())
    return {
        "sweep": store.sweep.name,
        "folder": str(store.folder),
        "points": store.sweep.size,
        "rows": rows,
        "failed": rows - found.pop("", 0),
        "reasons": found,
    }


def summary_view(found: dict[str, Any]) -> RenderableType:
    """`summary` for the terminal."""
    lines: list[RenderableType] = [Text(f"{found['rows']:,} rows, {found['failed']:,} without an answer")]
    if found["reasons"]:
        why = table("why", "rows")
        for reason, count in list(found["reasons"].items())[:SHOWN_REASONS]:
            why.add_row(escape(reason), f"{count:,}")
        if len(found["reasons"]) > SHOWN_REASONS:
            why.add_row(f"{len(found['reasons']) - SHOWN_REASONS} other reasons", "")
        why.columns[0].no_wrap = False
        lines.append(why)
    folder = found["folder"]
    told = f"Written to {folder}/\nAsk with: dse query 'select * from results limit 5' {folder}"
    lines.append(Text(told, no_wrap=True, overflow="ignore"))
    return Group(*lines)


def answer_view(answer: pd.DataFrame, folder: str | Path) -> RenderableType:
    """The answer of a query for the terminal."""
    made: Table = table(*(escape(str(c)) for c in answer.columns))
    for row in answer.head(SHOWN_ROWS).itertuples(index=False):
        made.add_row(*(escape(_cell(v)) for v in row))
    if len(answer) <= SHOWN_ROWS:
        return made
    return Group(made, Text(f"{SHOWN_ROWS} of {len(answer):,} rows of {folder}; --json gives them all"))


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return "-"
    if isinstance(value, float):
        return digits(value, 4) if abs(value) < LARGE else f"{value:.4g}"
    return str(value)


LARGE = 1e6
"""Numbers from here on are shown with an exponent: they are in canonical units."""
