"""Estimates, results and queries of sweeps, as terminal tables and JSON."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from ..core.text import digits, in_unit
from .layout import table_of
from .terminal import duration

if TYPE_CHECKING:
    from ..sweep.engine import Estimate

SHOWN_ROWS = 50
"""Rows of an answer that a terminal shows; `--json` gives them all."""
SHOWN_REASONS = 5
"""Reasons of failure shown, the most frequent first."""


def estimate_view(name: str, e: Estimate) -> RenderableType:
    """What a sweep will take."""
    said = {
        "points": f"{e.points:,}", "combinations of choices": f"{e.settings:,}", "shards": f"{e.shards:,}",
        "time in this process": duration(e.seconds), "compiling, once": duration(e.once_s),
        "disk": in_unit(e.disk_B, "B"),
    }  # fmt: skip
    return Group(
        table_of(("", ""), said.items()),
        f"{name}: nothing was written; extrapolated from {e.probed:,} point{'' if e.probed == 1 else 's'}.",
    )


def summary_view(found: dict[str, Any]) -> RenderableType:
    """`summary` for the terminal."""
    lines: list[RenderableType] = [Text(f"{found['rows']:,} rows, {found['failed']:,} without an answer")]
    lines += _whys(found["reasons"], found["given_up"])
    lines += [Text(x, style="yellow") for x in found["notes"]]
    folder = found["folder"]
    told = f"Written to {folder}/\nAsk with: dse query 'select * from results limit 5' {folder}"
    lines.append(Text(told, no_wrap=True, overflow="ignore"))
    return Group(*lines)


def _whys(reasons: dict[str, int], given_up: list[dict[str, Any]]) -> list[RenderableType]:
    """Tables of why rows have no answer and why shards were given up; none where there is nothing to say."""
    made: list[RenderableType] = []
    failures = {f"shard {f['shard']}": f["reason"] for f in given_up}
    for heads, rows in (
        (("why", "rows"), [(r, f"{n:,}") for r, n in reasons.items()]),
        (("given up", "why"), list(failures.items())),
    ):
        more = [(f"{len(rows) - SHOWN_REASONS} others", "")] if len(rows) > SHOWN_REASONS else []
        made += [table_of(heads, [*rows[:SHOWN_REASONS], *more], wrapped=(0, 1))] if rows else []
    return made


def status_view(found: dict[str, Any]) -> RenderableType:
    """`sweep.folder.status` for the terminal."""
    counts = ("points", "rows", "failed", "shards", "whole", "missing", "damaged", "foreign")
    said = "finished" if found["finished"] else "not finished: go on with dse sweep SPEC.toml --resume"
    head = Text(f"{found['sweep']} in {found['folder']}: {said}", no_wrap=True, overflow="ignore")
    told = table_of(("", ""), ((n, f"{found[n]:,}") for n in counts))
    return Group(head, told, *_whys(found["reasons"], found["given_up"]))


def answer_view(answer: pd.DataFrame, folder: str | Path) -> RenderableType:
    """The answer of a query for the terminal."""
    rows = answer.head(SHOWN_ROWS).itertuples(index=False)
    made = table_of([str(c) for c in answer.columns], (map(_cell, row) for row in rows))
    if len(answer) <= SHOWN_ROWS:
        return made
    return Group(made, Text(f"{SHOWN_ROWS} of {len(answer):,} rows of {folder}; --json gives them all"))


def answer_rows(answer: pd.DataFrame) -> list[dict[str, Any]]:
    """The answer of a query as plain data, one mapping per row."""
    columns = {str(name): [plain_cell(v) for v in answer[name].tolist()] for name in answer.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain_cell(value: Any) -> Any:
    """A value of any type of SQL as JSON can hold it: lists and records as such, bytes in hexadecimal, else text."""
    if isinstance(value, np.ndarray):  # of a list with gaps: masked, whose entries are arrays again
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain_cell(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain_cell(v) for k, v in value.items()}
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if value is None or value is pd.NA or value != value:  # NaN and NaT alone differ from themselves
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


def _cell(value: Any) -> str:
    plain = plain_cell(value)
    if plain is None:
        return "-"
    if isinstance(plain, float):
        return digits(plain, 4) if abs(plain) < LARGE else f"{plain:.4g}"
    return str(value) if isinstance(plain, str) and not isinstance(value, bytes | bytearray) else str(plain)


LARGE = 1e6
"""Numbers from here on are shown with an exponent: they are in canonical units."""
