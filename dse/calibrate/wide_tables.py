"""Parsing of users' table files: CSV (delimiter, rows of a wrong length, duplicate names) and JSON.

A table with one column per metric (spreadsheets, serving benchmarks) becomes one with a row per metric.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from .collective_logs import is_log, read_log
from .columns import is_column, renamed
from .digits import has_decimal_commas
from .marks import with_tabs
from .reading import ODD_NUMBER, UNREADABLE
from .run_logs import read_run
from .spelling import MIDDLE, is_metric, middle_rank, parted_metric
from .two_lines import in_one_line
from .upright import read_report, upright

JSON = (".json", ".jsonl", ".ndjson")
"""Endings of files that hold objects, in a list or one a line."""


def read_objects(path: Path, kind: str) -> pd.DataFrame:
    """The objects of a JSON file as rows, keys of inner objects behind a dot. ValueError for anything else.

    An object with a unit is a metric with its statistics, as GenAI-Perf writes them. Objects that only group a run's
    settings or results leave no trace in the names of what they hold.
    """
    try:
        found = _by_columns(_parsed(path.read_text(encoding="utf-8-sig")))
        rows = found if isinstance(found, list) else _inner(found)
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("expected an object, or a list or lines of them")
        table = pd.json_normalize([_with_headers(row) for row in rows])
    except (RecursionError, *UNREADABLE) as error:
        raise ValueError(str(error) or "nested too deeply") from None
    if table.empty:
        raise ValueError("no object")
    return _ungrouped(table, kind).map(lambda x: str(x) if isinstance(x, bool | list) else x)


GROUPS = (
    "config", "configuration", "args", "arguments", "settings", "setup", "params", "parameters", "meta", "metadata",
    "hardware", "environment", "workload", "run", "benchmark", "summary", "result", "results", "metrics", "performance",
)  # fmt: skip
"""Names of objects that say nothing of what they hold."""


def _ungrouped(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A table whose columns inside such objects have their own names, where no other column has them."""
    ends = [str(c).rpartition(".") for c in table.columns]
    leaves = [leaf for _, _, leaf in ends]
    told = {
        f"{outer}.{leaf}": leaf
        for outer, _, leaf in ends
        if outer and set(outer.lower().split(".")) <= set(GROUPS) and leaves.count(leaf) == 1
        and (is_column(leaf, kind) or is_metric(leaf))
    }  # fmt: skip
    return table.rename(columns=told)


def _by_columns(found: Any) -> Any:
    """Rows of an object with a list for each column, or with names and lines as pandas splits them; else as it is."""
    if not isinstance(found, dict) or not found:
        return found
    if {"columns", "data"} <= set(found) <= {"columns", "data", "index"}:
        return [dict(zip(found["columns"], line, strict=True)) for line in found["data"]]
    lists = list(found.values())
    if not all(isinstance(x, list) and x and len(x) == len(lists[0]) for x in lists) or isinstance(lists[0][0], dict):
        return found
    return [dict(zip(found, line, strict=True)) for line in zip(*lists, strict=True)]


def _parsed(text: str) -> Any:
    """What a text says as one JSON value, or as one for each line."""
    try:
        # as a whole first: lines of an indented object are no objects
        return json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _inner(found: Any) -> list[Any]:
    """The objects of the one list that an object holds, each with what stands beside the list; else the object."""
    lists = {k: v for k, v in found.items() if isinstance(v, list)} if isinstance(found, dict) else {}
    rows = next(iter(lists.values())) if len(lists) == 1 else []
    if not rows or not all(isinstance(row, dict) for row in rows):
        return [found]
    return [{k: v for k, v in found.items() if k not in lists} | row for row in rows]


def _with_headers(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with metrics that are objects under a header for each of their statistics."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        unit = value.get("unit") if isinstance(value, dict) else None
        flat |= {f"{name}_{k} ({unit})": x for k, x in value.items() if k != "unit"} if unit else {name: value}
    return flat


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
    if (report := read_report(text, kind)) is not None or (report := read_run(text, kind)) is not None:
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
