"""Tables of measurements, one row per metric with its source; rows that share `point_id` are one measurement.

A user's file has the same columns as CSV, JSON or Parquet, or one column per metric (see `wide_tables`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import DseError, SpecError
from .cell_units import with_cell_units
from .columns import given, needed, renamed, told_apart
from .joined import in_columns
from .llama_bench import with_tests
from .objects import JSON, read_objects
from .published_models import SIZES
from .rates import SECONDS, WHOSE, rate
from .spelling import tidied
from .spread import gathered
from .told import completed
from .wide_tables import as_rows, read_text

DATA = Path(__file__).parent / "data"
FORMS = "give CSV in UTF-8, JSON or Parquet"


def read(kind: str, path: str | Path | None = None, said: Sequence[str] = ()) -> pd.DataFrame:
    """All rows of a kind, from the shipped file or another; `said` are cells of all its rows as "column=cell".

    UnknownNameError for a kind not among `KINDS`; SpecError for a file that cannot be read or lacks a column.
    """
    must, own, path = needed(kind), path is not None, DATA / f"{kind}.parquet" if path is None else Path(path)
    try:
        rows = _as_written(path, kind)
        if own:
            rows = with_tests(rows) if kind == "inference" else rows
            rows = gathered(given(renamed(rows, kind), said, kind), kind)
            rows = completed(told_apart(in_columns(rows, kind), kind), kind, path.stem)
            rows = points_apart(tidied(with_cell_units(as_rows(rows))))
    except DseError as error:
        raise SpecError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]}); {FORMS}") from error
    missing = [c for c in must if c not in rows.columns]
    if missing:
        told = [f"{c} (or model)" if c in SIZES and "model" not in rows else c for c in missing if c not in PARTS]
        told += ["with a metric and its unit in its name (or metric, value, unit)"] if "metric" in missing else []
        raise SpecError(
            f"{path}: no column {', '.join(told or missing)}; dse validate --kind {kind} --columns shows all, and "
            "--given column=cell says what a file leaves out"
        )
    return rows


PARTS = ("metric", "value", "unit")
"""Columns of tables with one row per metric."""
APART = ("source", "chip", "framework")
"""Columns that are one and the same for all rows of a point."""


def points_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose points have source, chip and framework in their name where several share one.

    Tables put together from others count points from 1 again, and predictions, calibrations and bands go by name.
    """
    told = [c for c in APART if c in rows]
    if "point_id" not in rows or not told or not len(rows["point_id"].dropna()):
        return rows
    counts: Any = rows.groupby("point_id")[told].transform("nunique")  # an empty cell contradicts none
    shared: Any = (counts > 1).any(axis=1)
    if not bool(shared.any()):
        return rows
    parts = rows[["point_id", *told]].itertuples(index=False)
    names = [" ".join(str(x) for x in part if not pd.isna(x)) for part in parts]
    return rows.assign(point_id=rows["point_id"].where(~shared, pd.Series(names, index=rows.index)))


UNREAD = (".xlsx", ".xls", ".ods", ".yaml", ".yml", ".toml", ".html", ".pdf", ".sqlite", ".nsys-rep")
"""Endings of files that are read as no table."""


def _as_written(path: Path, kind: str) -> pd.DataFrame:
    """The table of a file, by its ending."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix.lower() in UNREAD:
        raise ValueError(f"a file ending in {path.suffix} is not read")
    return read_objects(path, kind) if path.suffix in JSON else read_text(path, kind)


def complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose configuration is fully known, where the table says so."""
    return rows.loc[rows["spec"] == "complete"] if "spec" in rows.columns else rows


# by the letters, as standards have it; logs that mean 2^30 by GB are corrected by their stack
BYTES = {"B": 1.0, "MB": 1e6, "MiB": 2.0**20, "GB": 1e9, "GiB": 2.0**30}

BINARY_STACKS = ("nanotron",)
"""Stacks whose logs say GB for 2^30 bytes: they divide PyTorch's counters by 1024^3 [nanotron2026]."""

PEAKS = ("memory_reserved", "memory_allocated")
"""Metrics of peak memory. What the allocator reserved comes first: that is what must fit on the chip."""


def peak_memory_B(point: pd.DataFrame, stack: str) -> float | None:
    """Peak memory of one chip that a point prints, or None [B]; logs of some stacks call a GiB a GB."""
    columns = zip(point["metric"], point["unit"], point["value"], strict=True)
    values = {metric: (str(unit), float(value)) for metric, unit, value in columns}
    for metric in PEAKS:
        unit, value = values.get(metric, ("", 0.0))
        if unit in BYTES and value > 0:
            return value * BYTES["GiB" if unit == "GB" and stack in BINARY_STACKS else unit]
    return None


def step_s(point: pd.DataFrame) -> float | None:
    """Step time of one training point: printed, derived, or from its throughput, never from FLOP rates; or None."""
    columns = zip(point["metric"], point["unit"], point["value"], strict=True)
    values = {(str(metric), str(unit)): float(value) for metric, unit, value in columns}
    # a printed time before one worked out from it by whoever collected the table
    for metric in ("step_time", "step_time_derived"):
        for (name, unit), value in values.items():
            if name == metric and unit in SECONDS:
                return value * SECONDS[unit]
    # FLOP rates are no fallback: publications count FLOP in ways that differ by up to a half
    first = point.iloc[0]
    per_step = {
        "tokens": float(first.global_batch) * float(first.seq_len),
        "sequences": float(first.global_batch),
        "steps": 1.0,
    }
    for (name, unit), value in values.items():
        said = rate(unit) if name.removeprefix("total_") in ("throughput", "throughput_per_chip") else None
        whose = unit != WHOSE or float(first.num_chips) == 1
        if said is not None and value > 0 and whose:
            chips = float(first.num_chips) if said.per_chip or name.endswith("chip") else 1.0
            return per_step[said.of] / (value * said.per_s * chips)
    return None
