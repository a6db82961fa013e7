"""The table of what each correction of the physics is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType

from ..core.text import label, percent, quantity_text, times
from ..explore.ablation import CORRECTIONS, Variant
from .layout import table

SHOWN = ("n_cores", "sram_B", "clock_Hz", "n_stacks", "full_load_fp8_W")


def ablation_json(found: dict[str, list[Variant]], left: Sequence[str] = ()) -> dict[str, Any]:
    """Every variant of every study, canonical units, and what the corrections say."""
    studies = {study: [dataclasses.asdict(v) for v in rows] for study, rows in found.items()}
    return {"corrections": {c.name: c.what for c in CORRECTIONS}, "studies": studies, "unfinished": list(left)}


def ablation_view(found: dict[str, list[Variant]]) -> RenderableType:
    """A table per study."""
    parts: list[RenderableType] = []
    for study, rows in found.items():
        t = table(study, "delivered", *(label(n) for n in SHOWN), "SRAM / built", "regret of built", "design")
        for v in rows:
            numbers = [quantity_text(n, v.quantities[n]) if v.quantities else "" for n in SHOWN]
            against = ["" if v.sram_ratio is None else f"{v.sram_ratio:.2f}"]
            against += ["" if v.regret_frac is None else percent(v.regret_frac)]
            t.add_row(v.label, times(v.speedup) if v.speedup else "none", *numbers, *against, v.choice)
        parts += [t, ""]
    return Group(*parts)
