"""Summary of a sweep's results folder, as JSON and as a section of a page."""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path
from typing import Any

from ..sweep.points import Sweep
from ..sweep.results import KEPT, axes_of, best_rows, load, main_metric, reasons
from ..sweep.settings import asked
from ..sweep.store import Failure, Store
from .evaluated import stand_in_text
from .hover import scatter
from .markup import folded, paragraph, records, table, wrapped
from .sweeps import SHOWN_REASONS


def summary(store: Store, given_up: tuple[Failure, ...] = ()) -> dict[str, Any]:
    """What is in a results folder now, and which shards a run gave up, as plain data."""
    # where every shard was given up there is no row to count
    found = reasons(store.folder) if store.present() or store.merged.exists() else {}
    rows = sum(found.values())
    return {
        "sweep": store.sweep.name,
        "folder": str(store.folder),
        "points": store.sweep.size,
        "rows": rows,
        "failed": rows - found.pop("", 0),
        "reasons": found,
        "given_up": [dataclasses.asdict(f) for f in given_up],
        "notes": notes(store.sweep),
    }


def notes(sweep: Sweep) -> list[str]:
    """What products run in where a chip of the sweep lacks the precision that a workload asks for."""
    if sweep.of_studies:
        return []
    said = dict.fromkeys(stand_in_text(w, c) for c, w in asked(sweep.choices, sweep.folder))
    return [f"{x}." for x in said if x]


SHOWN_ROWS = 10
MOST_COLOURS = 10
"""Values that an axis may have to be told apart by colour."""


def sweep(folder: Path, manifest: dict[str, Any]) -> str:
    """A sweep's section."""
    rows = load(folder)
    done = rows.loc[rows.ok]
    counts = reasons(folder)
    answered = counts.pop("", 0)
    said = f"{len(rows):,} of {manifest['points']:,} points computed, {answered:,} with an answer."
    most = [(wrapped(r), f"{n:,}") for r, n in list(counts.items())[:SHOWN_REASONS]]
    why = table(["why not", "rows"], most) if most else ""
    spec = folded("Specification", f"<pre>{escape(manifest['specification'])}</pre>")
    meanings = folded("Columns", table(["column", ""], manifest["columns"].items()))
    return paragraph(said, "lead") + why + _picture(done) + spec + meanings


def _picture(done: Any) -> str:
    """The main metric over the axis with most values, and the best rows."""
    metric = main_metric(done)
    if metric is None or done.empty:
        return ""
    axes = axes_of(done)
    best: Any = best_rows(done, metric, SHOWN_ROWS)
    columns = [*axes, *(c for c in done.columns if c not in (*axes, *KEPT) and done[c].dtype.kind == "f")][:9]
    shown = [{k: _value(v) for k, v in r.items()} for r in best[columns].to_dict("records")]
    made = folded("Best points", records(shown, columns)) if shown else ""
    if not axes:
        return made
    # a number before a name, whose values have no order along an axis
    x = max(axes, key=lambda a: (done[a].dtype.kind in "fi", done[a].nunique()))
    by = next((a for a in axes if a != x and done[a].nunique() <= MOST_COLOURS), None)
    return scatter(done, x, metric, by, columns) + made


def _value(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
