"""Machines of clouds by the names that tables have for them: which chips they hold, and how many."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from ..core.words import MACHINES, plain_name


def machine(said: object) -> tuple[str, int] | None:
    """Chip of a machine and how many it holds; None for an unknown name, or for two machines that are not alike."""
    names = [part for part in re.split(r"\s*[/,]\s*|\s+or\s+", str(said).strip().lower()) if part]
    # SageMaker's "ml." is the same machine; None stays in the set, so that an unknown name tells nothing
    plain = [re.sub(r"xl$", "xlarge", plain_name(re.sub(r"^(ml\.|standard_)", "", x))) for x in names]
    found = {MACHINES.get(x) for x in plain}
    return next(iter(found)) if len(found) == 1 else None


def with_machines(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose column `instance` names a machine have its chip, and its count where nodes are counted or one.

    Without that column a machine may stand where the chip should.
    """
    if "instance" not in rows:
        if "chip" not in rows or not any(map(machine, rows["chip"].unique())):
            return rows
        rows = rows.rename(columns={"chip": "instance"})
    found = [machine(cell) for cell in rows["instance"]]
    told: dict[str, Any] = {
        "chip": [m[0] if m else str(cell) for m, cell in zip(found, rows["instance"], strict=True)],
        "chips_per_node": [m[1] if m else None for m in found],
        # a machine beside a count of chips is one of as many as hold them
        "num_nodes": [1.0 if pd.isna(n) else None for n in rows["num_chips"]] if "num_chips" in rows else 1.0,
    }
    # what the table says itself counts before what its machine usually holds
    return rows.assign(**{c: cells for c, cells in told.items() if c not in rows})
