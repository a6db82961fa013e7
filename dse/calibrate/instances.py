"""Machines of clouds by the names that tables have for them: which chips they hold, and how many."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

MACHINES: tuple[tuple[str, str, int], ...] = (
    (r"trn1n?\.32xl(arge)?", "trainium1", 16),
    (r"trn1\.2xl(arge)?", "trainium1", 1),
    (r"trn2\.48xl(arge)?", "trainium2", 16),
    (r"trn2\.3xl(arge)?", "trainium2", 1),
    (r"inf2\.(8)?xl(arge)?", "inferentia2", 1),
    (r"inf2\.24xl(arge)?", "inferentia2", 6),
    (r"inf2\.48xl(arge)?", "inferentia2", 12),
    (r"p3\.16xl(arge)?", "v100", 8),
    (r"p3dn\.24xl(arge)?", "v100-32", 8),
    (r"p4d\.24xl(arge)?", "a100-40", 8),
    (r"p4de\.24xl(arge)?", "a100-80", 8),
    (r"p5\.48xl(arge)?", "h100", 8),
    (r"p5en?\.48xl(arge)?", "h200", 8),
    (r"p6-b200\.48xl(arge)?", "b200", 8),
    (r"g6e\.48xl(arge)?", "l40s", 8),
    (r"g6e\.(12|24)xl(arge)?", "l40s", 4),
    (r"(standard_)?nd96asr_v4", "a100-40", 8),
    (r"(standard_)?nd96amsr_a100_v4", "a100-80", 8),
    (r"(standard_)?nd96isr_h100_v5", "h100", 8),
    (r"(standard_)?nd96isr_h200_v5", "h200", 8),
    (r"(standard_)?nd96isr_mi300x_v5", "mi300x", 8),
    (r"a2-highgpu-8g", "a100-40", 8),
    (r"a2-ultragpu-8g", "a100-80", 8),
    (r"a3-(high|mega)gpu-8g", "h100", 8),
    (r"a3-ultragpu-8g", "h200", 8),
    (r"a4-highgpu-8g", "b200", 8),
)
"""Pattern of a machine's name, its chip and how many it has, as the clouds' own pages list them."""


def machine(said: object) -> tuple[str, int] | None:
    """Chip of a machine and how many it holds; None for an unknown name, or for two machines that are not alike."""
    names = [part for part in re.split(r"\s*[/,]\s*|\s+or\s+", str(said).strip().lower()) if part]
    # SageMaker's "ml." is the same machine; None stays in the set, so that an unknown name tells nothing
    found = {next(((c, n) for p, c, n in MACHINES if re.fullmatch(p, re.sub(r"^ml\.", "", x))), None) for x in names}
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
        "num_nodes": 1.0 if "num_chips" not in rows else None,
    }
    # what the table says itself counts before what its machine usually holds
    return rows.assign(**{c: cells for c, cells in told.items() if c not in rows})
