"""Prediction errors by group of points: quarters, sources, fifths of a dimension.

A table of predictions has `source`, `measured_s`, `predicted_s`, parts in seconds, `error_frac`, and `low_s` and
`high_s` where there are bands, one row per measurement.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

FIFTHS = 5
"""Groups of equally many points of which `fifths` gives medians."""
SPREAD = (0.1, 0.5, 0.9)
"""Quantiles of the signed error that a group is described by."""


@dataclasses.dataclass(frozen=True)
class ErrorGroup:
    """Some predictions together: what they are made of, and how far they are off."""

    name: str
    """What the points have in common."""
    points: pd.DataFrame
    shares: dict[str, float]
    """Mean share of every part in the predicted time; a part that a point lacks counts as none of it."""
    low_frac: float
    """10th percentile of predicted / measured - 1."""
    middle_frac: float
    """Median of it."""
    high_frac: float
    """90th percentile of it."""


def error_group(name: str, points: pd.DataFrame, parts: Sequence[str]) -> ErrorGroup:
    """Some predictions together, at least one; `parts` are columns in seconds."""
    error: Any = points.error_frac
    low, middle, high = (float(error.quantile(q)) for q in SPREAD)
    # the mean of shares, not the share of sums: a week-long step would drown a thousand short ones
    means: Any = points[list(parts)].fillna(0).div(points.predicted_s, axis=0).mean()
    return ErrorGroup(name, points, {p: float(means[p]) for p in parts}, low, middle, high)


def part_groups(done: pd.DataFrame, parts: Sequence[str] = (), n_sources: int | None = None) -> list[ErrorGroup]:
    """Best and worst quarter by absolute error, then `n_sources` sources, most points first; `parts` in seconds."""
    size: Any = done.error_frac.abs()
    names = done.source.value_counts().index[:n_sources]
    groups = [
        ("best quarter of points", done.loc[size <= size.quantile(0.25)]),
        ("worst quarter", done.loc[size >= size.quantile(0.75)]),
        *((str(n), done.loc[done.source == n]) for n in names),
    ]
    return [error_group(name, points, parts) for name, points in groups]


def largest_share_frac(done: pd.DataFrame, part: str) -> float:
    """Largest share of a part in any predicted time, as a fraction; NaN where no point has it."""
    shares: Any = done[part] / done.predicted_s
    return float(shares.max())


def within_frac(done: pd.DataFrame, band_frac: float) -> float:
    """Share of points whose error is at most `band_frac` either way."""
    return float((done.error_frac.abs() <= band_frac).mean())


def median_error_frac(done: pd.DataFrame) -> float:
    """Median absolute error of all points."""
    return float(done.error_frac.abs().median())


def source_errors(done: pd.DataFrame) -> dict[Any, float]:
    """Median absolute error of every source, as a fraction."""
    return {name: median_error_frac(points) for name, points in done.groupby("source")}


def fifths(x: pd.Series, y: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Medians of `x` and of `y` over every fifth of the points, by rank of `x`; of few points fewer than five."""
    # ranks rather than values: sizes of models and messages span many powers of ten
    fifth = ((x.rank() - 1) * FIFTHS / len(x)).astype(int)  # ranks from 0, or the first fifth would be the smallest
    at, middle = x.groupby(fifth).median(), y.groupby(fifth).median()
    return at.to_numpy(dtype=float), middle.to_numpy(dtype=float)


DIMENSIONS: dict[str, tuple[str, ...]] = {
    "training": (
        "seq_len",
        "hidden",
        "global_batch",
        "micro_batch",
        "tp",
        "pp",
        "dp",
        "cp",
        "ep",
        "num_chips",
        "n_micro",
    ),
    "inference": ("batch", "concurrency", "in_len", "out_len", "hidden", "tp", "ep", "num_chips", "experts"),
    "kernels": ("M", "N", "K", "seq_len", "batch", "head_dim", "elements"),
    "collectives": ("message_bytes", "num_ranks", "num_nodes"),
}
"""Columns of a measurement against which errors are shown, by kind."""


def with_dimensions(done: pd.DataFrame, rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Predictions with the columns of `DIMENSIONS` that their rows print; `point_id` may end in ":" and a metric."""
    printed = rows.drop_duplicates("point_id").set_index("point_id")
    # requests are named by point and metric, their rows by the point alone
    known = printed.reindex(done.point_id.str.rsplit(":", n=1).str[0] if kind == "inference" else done.point_id)
    numbers = {
        n: np.asarray(pd.to_numeric(known[n], errors="coerce"), dtype=float) for n in DIMENSIONS[kind] if n in known
    }
    found = done.assign(**numbers)
    if {"global_batch", "micro_batch", "dp"} <= set(numbers):
        return found.assign(n_micro=found.global_batch / (found.micro_batch * found.dp.clip(lower=1)))
    return found


def multiple(done: pd.DataFrame) -> Any:
    """Measured over predicted time of every row."""
    # above 1 the model promised too much: the other way round than `error_frac`
    return done.measured_s / done.predicted_s
