"""Repeated measurements in a user's table: each counts once, the others are listed with the reason.

A repeated row counts once. A point with two values of one metric is refused, since neither can be preferred. Points
equal in every column except name and values are repeated runs, of which the median counts, as for runs of one plan in
a ranking; every other column counts, so points that differ in a note stay separate.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pandas as pd

from .published import preset_for
from .reading import Unmodelled, row_text

UNNAMED = ("id", "value")
"""Columns that tell no measurements apart."""
MOST_APART = 2.0
"""Largest ratio of two runs of one point (guess: beyond, something differs that no column tells)."""


def once(rows: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, list[Unmodelled]]:
    """Readable rows of a kind with every measurement once, and what no longer counts with its reason."""
    if rows.empty:
        return rows, []
    columns = [c for c in rows.columns if c not in UNNAMED]
    keys = _keys(rows, columns)
    # equal names, words and value: a line pasted twice. Equal but for the value: a contradiction
    again = pd.DataFrame({"key": keys, "value": rows["value"]}).duplicated()
    left = [_why(row, kind, f"{_said(row)} is in the file twice; it counts once") for row in _typed(rows[again])]
    rows, keys = pd.DataFrame(rows[~again]), pd.Series(keys[~again])
    torn: Any = keys.duplicated(keep=False)
    if torn.any():
        left += _contradicted(rows, torn, kind)
        # a request is scored metric by metric, so its other metrics stay; a step is one number
        away = torn if kind == "inference" else rows["point_id"].isin(rows.loc[torn, "point_id"])
        rows = pd.DataFrame(rows[~away])
    merged, more = _runs(rows, [c for c in columns if c != "point_id"], kind)
    return merged, left + more


def _keys(rows: pd.DataFrame, columns: list[str]) -> pd.Series:
    """What tells each row from others."""
    found = [tuple(map(str, row)) for row in rows[columns].itertuples(index=False)]
    return pd.Series(found, index=rows.index, dtype=object)


def _typed(rows: Any) -> list[Any]:
    return list(rows.itertuples())


def _said(row: Any) -> str:
    return f"{row_text(row, 'metric')} = {float(row.value):g} {row_text(row, 'unit')}"


def _why(row: Any, kind: str, why: str) -> Unmodelled:
    """The row, or its point where points are what is predicted, with the reason."""
    chip = row_text(row, "chip")
    name = f"{row.point_id}:{row_text(row, 'metric')}" if kind == "inference" else str(row.point_id)
    return Unmodelled(name, row_text(row, "source"), (preset_for(chip) or (chip,))[0], why)


def _contradicted(rows: pd.DataFrame, torn: Any, kind: str) -> list[Unmodelled]:
    """Of each point that gives a metric several values, which."""
    found = []
    for _, same in rows[torn].groupby(["point_id", "metric", "unit"], sort=False, dropna=False):
        typed = _typed(same)
        values = " and ".join(f"{x:g}" for x in same["value"])
        why = (
            f"{row_text(typed[0], 'metric')} is printed twice, {values} {row_text(typed[0], 'unit')}; "
            "keep one, or give each run a point_id of its own"
        )
        found += [_why(row, kind, why) for row in (typed if kind == "inference" else typed[:1])]
    return found if kind == "inference" else list({u.point_id: u for u in found}.values())


def _runs(rows: pd.DataFrame, columns: list[str], kind: str) -> tuple[pd.DataFrame, list[Unmodelled]]:
    """The first of points that are alike with the median of each value, and the others with what they repeat."""
    keys, left = list(_keys(rows, columns)), []
    typed, values = _typed(rows), [float(x) for x in rows["value"]]
    stays = [True] * len(typed)
    for points in _alike([row.point_id for row in typed], keys):
        runs: dict[Any, list[float]] = {}
        for i in chain.from_iterable(points):
            runs.setdefault(keys[i], []).append(values[i])
        # a ratio, as times err by factors; values are positive, since `readable` has left the others out
        apart = max(max(x) / min(x) for x in runs.values())
        too_far, name = apart > MOST_APART, typed[points[0][0]].point_id
        # the first point stands for all, each of its rows with the median over runs
        for i in points[0]:
            values[i] = statistics.median(runs[keys[i]])
        several = f"{len(points)} points differ in their values alone"
        why = (
            f"{several}, by a factor of {apart:.3g}: say in a column or a note what else differs, or keep one"
            if too_far
            else f"{several}: the median counts once, as {name}"
        )
        for point in points if too_far else points[1:]:
            left += [_why(typed[i], kind, why) for i in (point if kind == "inference" else point[:1])]
            for i in point:
                stays[i] = False
    return pd.DataFrame(rows.assign(value=values)[stays]), left


def _alike(names: list[Any], keys: list[Any]) -> Iterator[list[list[int]]]:
    """Groups of points whose rows are the same but for their values, each point by where its rows are."""
    points: dict[Any, list[int]] = {}
    for i, name in enumerate(names):
        points.setdefault(name, []).append(i)
    groups: dict[Any, list[list[int]]] = {}
    for at in points.values():
        groups.setdefault(tuple(sorted(keys[i] for i in at)), []).append(at)
    yield from (g for g in groups.values() if len(g) > 1)
