"""Columns of tables of measurements as a terminal table and JSON, with a table to start from."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..calibrate.columns import columns, example
from .layout import table_of

NAMES = ("point_id", "source", "metric", "value", "unit")
"""Columns that a table with a column per metric does without."""


def columns_json(kind: str) -> dict[str, Any]:
    """Columns of a kind of measurement, and a table of one row."""
    shown = [{**dataclasses.asdict(c), "needed": kind in c.needs} for c in columns(kind)]
    return {"kind": kind, "columns": shown, "example": example_csv(kind)}


def columns_view(kind: str) -> RenderableType:
    """The columns that cannot be blank first, and a table to copy."""
    order = sorted(columns(kind), key=lambda c: (kind not in c.needs or c.filled, kind not in c.needs))
    rows = (
        (c.name, "yes" if kind in c.needs and not c.filled and c.name not in NAMES else "", c.says, ", ".join(c.also))
        for c in order
        if c.name not in NAMES
    )
    return Group(
        table_of(("column", "needed", "what a cell says", "also called"), rows, left=(1, 2, 3), wrapped=(2, 3)),
        "",
        Text(
            "Any number of metrics, each in a column named with its unit, as below; or one row per metric with the "
            f"columns {', '.join(NAMES)}. CSV, JSON, Parquet, or the file that a benchmark wrote.",
        ),
        "",
        Text(example_csv(kind), style="dim"),
    )


def example_csv(kind: str) -> str:
    """A table of one row."""
    text = io.StringIO()
    shown = example(kind)
    # csv ends lines as Windows does unless told
    csv.writer(text, lineterminator="\n").writerows([shown.keys(), shown.values()])
    return text.getvalue()
