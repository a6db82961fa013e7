"""Tables with a column per metric, as spreadsheets and benchmarks of serving stacks have them, as a row per metric."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from .spelling import METRICS, parted_metric, renamed

JSON = (".json", ".jsonl", ".ndjson")
"""Endings of files that hold objects, in a list or one a line."""
SOME = ("model", "layers", "hidden", "heads"), ("concurrency", "batch")
"""A column that says, by row, what those behind it leave blank."""


def read_objects(path: Path, known: tuple[str, ...]) -> pd.DataFrame:
    """The objects of a JSON file as rows, keys of inner objects behind a dot. ValueError for anything else."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected an object, or a list or lines of them")
    return renamed(pd.json_normalize(rows), known)


def as_rows(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Rows of a table that has neither metrics nor values as columns, with one for each metric that a header names.

    A point without a name gets that of its line, and a table without a source that of its file.
    """
    for said, *blank in SOME:
        absent = [c for c in blank if c not in rows]
        rows = rows.assign(**dict.fromkeys(absent, None)) if said in rows and absent else rows
    if "metric" in rows or "value" in rows:
        return rows
    told = [c for c in map(str, rows.columns) if _is_metric(c)]
    if not told:
        return rows
    at = pd.Series([f"line {i + 1}" for i in range(len(rows))], index=rows.index)
    named = {n: x for n, x in (("point_id", at), ("source", source), ("unit", None)) if n not in rows}
    rows = rows.assign(**named)
    kept = [c for c in rows.columns if c not in told]
    return pd.DataFrame(rows.melt(kept, told, "metric", "value").dropna(subset=["value"]).reset_index(drop=True))


def _is_metric(header: str) -> bool:
    name, _, unit = parted_metric(header)
    return bool(unit) or name in METRICS.values()
