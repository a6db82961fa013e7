"""Tables of a study's limits, free numbers, choices and workloads: for pandas, and with units for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..core.frames import table_of
from ..core.free import Free
from ..core.text import label, quantity_text, unit_of
from ..workload.requests import Asked
from .design import Choice
from .metrics import Limit

if TYPE_CHECKING:
    import pandas as pd


def limit_frame(limits: Iterable[Limit]) -> pd.DataFrame:
    """Limits in canonical units."""
    rows = [(x.metric, x.sense, x.value, unit_of(x.metric)) for x in limits]
    return table_of(rows, ["metric", "sense", "value", "unit"])


def free_frame(free: Iterable[Free]) -> pd.DataFrame:
    """Free numbers in canonical units."""
    return table_of([(f.name, f.lower, f.upper, unit_of(f.name)) for f in free], ["number", "lower", "upper", "unit"])


def choice_frame(choices: Iterable[Choice]) -> pd.DataFrame:
    """A row per combination of discrete choices."""
    import pandas as pd  # as in `table_of`

    return pd.DataFrame([c.written() for c in choices])


def workload_frame(
    workloads: Mapping[str, tuple[Asked, int]], weights: Mapping[str, float], longest_s: Mapping[str, float]
) -> pd.DataFrame:
    """Workloads with their weights in means and longest step times."""
    rows = [
        (n, w.model.name, chips, weights.get(n, 1.0), longest_s.get(n, float("inf")))
        for n, (w, chips) in workloads.items()
    ]
    return table_of(rows, ["workload", "model", "n_chips", "weight", "longest_s"])


def worded_limits(limits: Iterable[Limit]) -> pd.DataFrame:
    """Limits with labels and units."""
    rows = [(label(x.metric), x.sense.replace("_", " "), quantity_text(x.metric, x.value)) for x in limits]
    return table_of(rows, ["limit", "sense", "value"])


def worded_free(free: Iterable[Free]) -> pd.DataFrame:
    """Free numbers with labels and units."""
    rows = [(label(f.name), quantity_text(f.name, f.lower), quantity_text(f.name, f.upper)) for f in free]
    return table_of(rows, ["free number", "at least", "at most"])
