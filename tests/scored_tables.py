"""Users' tables, written to a file and read as `dse validate` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dse.calibrate.families import SCORERS
from dse.calibrate.measurements import read
from dse.calibrate.reading import readable


def cases_of(
    folder: Path, kind: str, text: str, given: Sequence[str] = (), name: str = "table.csv"
) -> tuple[pd.DataFrame, dict[str, Any], dict[str, str]]:
    """Rows of a table, its cases by name, and the reason of each row without one."""
    path = folder / name
    path.write_text(text)
    rows, odd = readable(read(kind, path, given))
    cases, rest = SCORERS[kind](rows)
    return rows, {c.point_id: c for c in cases}, {u.point_id: u.why for u in (*odd, *rest)}


def seconds_of(
    folder: Path, kind: str, text: str, given: Sequence[str] = (), name: str = "table.csv"
) -> tuple[pd.DataFrame, dict[str, float], dict[str, str]]:
    """As `cases_of`, with the measured seconds of each case in its place."""
    rows, cases, why = cases_of(folder, kind, text, given, name)
    return rows, {name: c.measured_s for name, c in cases.items()}, why
