"""Tables of a study's limits, free numbers, choices and workloads: for pandas, and with units for notebooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.errors import UnknownNameError
from ..core.frames import table_of
from ..core.free import Free
from ..core.text import label, quantity_text, unit_of
from ..workload.requests import Asked
from .design import Choice
from .metrics import Limit

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("limits", "free", "choices", "workloads")
"""Names of a study's tables."""


@dataclasses.dataclass(frozen=True)
class Asks:
    """The parts of a study that are tables."""

    limits: tuple[Limit, ...]
    free: tuple[Free, ...]
    choices: tuple[Choice, ...]
    workloads: Mapping[str, tuple[Asked, int]]
    longest_s: Mapping[str, float]
    """Longest step times of single workloads."""
    weights: Mapping[str, float]

    def frame(self, of: str) -> pd.DataFrame:
        """One of `TABLES` in canonical units; UnknownNameError for another."""
        if of not in TABLES:
            raise UnknownNameError("table of a study", of, TABLES)
        if of == "limits":
            rows = [(x.metric, x.sense, x.value, unit_of(x.metric)) for x in self.limits]
            return table_of(rows, ["metric", "sense", "value", "unit"])
        if of == "free":
            ends = [(f.name, f.lower, f.upper, unit_of(f.name)) for f in self.free]
            return table_of(ends, ["number", "lower", "upper", "unit"])
        if of == "choices":
            import pandas as pd  # as in `table_of`

            return pd.DataFrame([c.written() for c in self.choices])
        asked = [
            (n, w.model.name, chips, self.weights.get(n, 1.0), self.longest_s.get(n, float("inf")))
            for n, (w, chips) in self.workloads.items()
        ]
        return table_of(asked, ["workload", "model", "n_chips", "weight", "longest_s"])

    def worded(self) -> tuple[pd.DataFrame, ...]:
        """Workloads, limits and free numbers with labels and units."""
        limits = [(label(x.metric), x.sense.replace("_", " "), quantity_text(x.metric, x.value)) for x in self.limits]
        free = [(label(f.name), quantity_text(f.name, f.lower), quantity_text(f.name, f.upper)) for f in self.free]
        return (
            self.frame("workloads"),
            table_of(limits, ["limit", "sense", "value"]),
            table_of(free, ["free number", "at least", "at most"]),
        )
