"""Parsing of users' table files: CSV (delimiter, rows of a wrong length, duplicate names).

A table with one column per metric (spreadsheets, serving benchmarks) becomes one with a row per metric.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pandas as pd

from .collective_logs import is_log, read_log
from .columns import renamed
from .digits import has_decimal_commas
from .marks import with_tabs
from .reading import ODD_NUMBER
from .run_logs import read_phases, read_run
from .spelling import MIDDLE, is_metric, middle_rank, parted_metric
from .two_lines import in_one_line
from .upright import read_report, upright


def as_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table that has neither metrics nor values as columns, with one for each metric that a header names."""
    if "metric" in rows or "value" in rows:
        told = {"metric", "value"} <= set(rows) and "unit" not in rows
        # of names such as "TPOT (ms)" the unit is told
        return rows.assign(unit=None) if told and any(parted_metric(str(m))[2] for m in rows["metric"]) else rows
    told = _once([c for c in map(str, rows.columns) if is_metric(c)])
    if not told:
        return rows
    rows = rows if "unit" in rows else rows.assign(unit=None)
    # what no header calls a metric describes the run, and belongs to each of its metrics
    kept = [c for c in rows.columns if c not in told]
    long = rows.melt(kept, told, "metric", "value").dropna(subset=["value"])
    # a row whose metrics are all blank is refused by name, rather than gone
    blank = rows.loc[rows[told].isna().all(axis=1), kept].assign(metric=told[0], value="")
    return pd.DataFrame(pd.concat([long, blank]) if len(blank) else long).reset_index(drop=True)


def _once(headers: list[str]) -> list[str]:
    """Headers without those that say again what another says: the mean beside a median, or a time by its other name."""
    found: dict[tuple[str, str, str], str] = {}
    for header in sorted(headers, key=_rank):
        name, stat, unit = parted_metric(header)
        found.setdefault((name, "" if stat in MIDDLE else stat, unit), header)
    return [h for h in headers if h in found.values()]


def _rank(header: str) -> tuple[bool, int]:
    name, stat, _ = parted_metric(header)
    return name not in header.lower(), middle_rank(stat)


def read_text(path: Path, kind: str) -> pd.DataFrame:
    """A CSV, its columns parted by comma, semicolon, tab or bar, as the header shows; lines above it are titles.

    ValueError for a table that cannot be told: no line, or two columns of one name.
    """
    # spreadsheets put a byte-order mark before the first header, which would be part of its name
    text = path.read_text(encoding="utf-8-sig")
    if is_log(text):
        return read_log(text)
    for reader in (lambda said, _: read_phases(said), read_report, read_run):
        if (report := reader(text, kind)) is not None:
            return report
    lines = _lines(with_tabs(text), kind)
    if not lines:
        raise ValueError("no line; give a header and rows")
    _checked(lines[0])
    text, why = _fitted(lines)
    # in one piece: by parts a column could come out as numbers here and as text there
    rows = renamed(pd.read_csv(io.StringIO(text), low_memory=False), kind)
    # where one column has decimal commas, points of others may part thousands: their text tells, a float does not
    if has_decimal_commas(rows):
        rows = renamed(pd.read_csv(io.StringIO(text), dtype=str), kind)
    return rows.assign(**{ODD_NUMBER: why}) if any(why) else rows


def _lines(text: str, kind: str) -> list[list[str]]:
    """Cells of each line of a table, its header first; ValueError for what is no text."""
    try:
        # a title has few cells, and its commas must not decide what parts the table
        first = next((line for line in text.splitlines() if _n_cells(line) > TITLE), "")
        mark = max(MARKS, key=lambda m: _n_cells(first, m))
        # untranslated: the reader ends lines itself, and keeps those inside quotes
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if any(line)]
    except csv.Error as error:
        raise ValueError(f"{error}; is it text?") from None
    lines = [_unbarred(line) for line in lines] if mark == "|" else lines
    lines = lines[next((i for i, line in enumerate(lines) if len(line) > TITLE), 0) :]
    lines = [line for line in lines if not all(re.fullmatch(RULE, cell) for cell in line)]
    # a foot note, or what a program says at its end, has one cell of many
    while len(lines) > TITLE and len(lines[0]) > TITLE and sum(bool(cell.strip()) for cell in lines[-1]) <= 1:
        lines.pop()
    return upright(in_one_line(lines, kind), kind)


RULE = r"\s*:?-*:?\s*"
"""A cell of the line below a header in Markdown."""


def _unbarred(line: list[str]) -> list[str]:
    """The cells between the outer bars of a line of Markdown, without their marks for bold text and code."""
    inner = line[bool(line) and not line[0].strip() :]
    inner = inner[: len(inner) - (bool(inner) and not inner[-1].strip())] if len(inner) < len(line) else inner
    return [re.sub(r"^(\*{1,3}|`)(.*)\1$", r"\2", cell.strip()) for cell in inner]


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
