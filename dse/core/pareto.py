"""Pareto filters: non-dominated points, and those far enough apart to show."""

from __future__ import annotations

import numpy as np


def is_unbeaten(values: np.ndarray) -> np.ndarray:
    """Mask of non-dominated rows (minimisation, at most 255 columns); of equal rows only the first."""
    import moocore  # here, since its C library is slow to load and most commands draw no front

    return np.asarray(moocore.is_nondominated(values, keep_weakly=False), dtype=bool)


def is_worth_showing(values: np.ndarray, near_frac: float) -> np.ndarray:
    """Mask of non-dominated rows to show, thinned so that every other row is within a tolerance of a shown one.

    Columns are logs of minimised metrics; a row hides those nowhere better by `near_frac` of a column's range.
    Source: [laumanns2002] for sets that cover a front to within a tolerance.
    """
    kept = np.zeros(len(values), dtype=bool)
    if not len(values):
        return kept
    width = np.ptp(values, axis=0)
    unit = (values - values.min(axis=0)) / np.where(width > 0.0, width, 1.0)
    # best sums first: a row can only be hidden by one that is shown already, and all-round good ones hide most
    for i in np.argsort(unit.sum(axis=1), kind="stable"):
        kept[i] = near_frac <= 0.0 or not (unit[kept] <= unit[i] + near_frac).all(axis=1).any()
    return kept


def is_end(values: np.ndarray, same_frac: float) -> np.ndarray:
    """Mask of one row per column: of those within `same_frac` of its least, that of the least sum of ranged values."""
    ends = np.zeros(len(values), dtype=bool)
    if len(values):
        width = np.ptp(values, axis=0)
        sums = (values / np.where(width > 0.0, width, 1.0)).sum(axis=1)
        ends[[np.argmin(np.where(column <= column.min() + same_frac, sums, np.inf)) for column in values.T]] = True
    return ends
