"""Interpretations of a TDP and ablations of the physics: tables, JSON and the README's figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Group, RenderableType

from ..core.files import write_json
from ..core.text import label, percent, quantity_text, times
from ..explore.ablation import CORRECTIONS, Variant
from ..explore.readings import READINGS, WORDS, Point
from .layout import Table, table_of
from .style import CONTEXT, DESIGN, HARMS, HELPS, draw, note, plt

COLOURS = dict(zip(READINGS, (HARMS, CONTEXT, HELPS), strict=True))
SHOWN = ("n_cores", "sram_B", "clock_Hz", "n_stacks", "full_load_fp8_W")


def readings_json(points: list[Point], left: Sequence[str] = ()) -> dict[str, Any]:
    """Every point as plain data, canonical units, and what was left out for lack of time."""
    return {"rows": [dataclasses.asdict(p) for p in points], "unfinished": list(left)}


def readings_view(points: list[Point]) -> RenderableType:
    """The curve as a table."""
    return readings_table(readings_json(points)["rows"])


def readings_table(rows: Sequence[dict[str, Any]]) -> Table:
    """What is the fastest under each reading of each TDP, from the JSON."""
    told = (
        (
            WORDS.get(p["reading"], "unknown"), quantity_text("tdp_W", p["tdp_W"]),
            *_numbers(p["speedup"], p["quantities"]),
        )
        for p in rows
    )  # fmt: skip
    return table_of(("the TDP binds", "TDP", *NUMBERS), told)


NUMBERS = ("delivered", *map(label, SHOWN))


def _numbers(speedup: float | None, quantities: dict[str, float] | None) -> tuple[str, ...]:
    """Cells of a design under `NUMBERS`; of none, empty ones."""
    each = (quantity_text(n, quantities[n]) if quantities else "" for n in SHOWN)
    return times(speedup) if speedup else "none", *each


def readings_figure(points: list[Point], baseline: str) -> Figure:
    """Delivered speed-up over TDP, a line per reading."""
    figure, ax = plt.subplots(figsize=(6.4, 3.8))
    for reading in READINGS:
        mine = [p for p in points if p.reading == reading and p.speedup is not None]
        at = [(p.tdp_W, float(p.speedup or 0.0)) for p in mine]
        ax.plot([x for x, _ in at], [y for _, y in at], "o-", color=COLOURS[reading], markersize=4)
        if at:
            note(ax, WORDS[reading], at[-1], (6, 0), fontsize=8.5, va="center", color=DESIGN)
        # a line that begins later than others would look like one that was not looked for
        lacking = [p.tdp_W for p in points if p.reading == reading and p.speedup is None and at and p.tdp_W < at[0][0]]
        if lacking:
            note(
                ax, f"no design up to {quantity_text('tdp_W', max(lacking))}", at[0], (0, -12), fontsize=8, color=DESIGN
            )
    ax.set(xlabel="TDP of the package [W]", ylabel=f"delivered speed-up over {baseline} [x]")
    ax.set_title("The same TDP, three readings: what may not exceed it?", fontsize=10)
    ax.set_ylim(bottom=min(1.0, ax.get_ylim()[0]))  # a low TDP may leave the best design slower than the baseline
    ax.margins(x=0.2)
    ax.grid(axis="y")
    return figure


def write_readings(folder: Path, points: list[Point], baseline: str, figures: bool, left: Sequence[str] = ()) -> None:
    """`tdp.json` and the figure beside it."""
    write_json(folder / "tdp.json", readings_json(points, left))
    if figures:
        draw(folder, tdp=lambda: readings_figure(points, baseline))


def ablation_json(found: dict[str, list[Variant]], left: Sequence[str] = ()) -> dict[str, Any]:
    """Every variant of every study, canonical units, and what the corrections say."""
    studies = {study: [dataclasses.asdict(v) for v in rows] for study, rows in found.items()}
    return {"corrections": {c.name: c.what for c in CORRECTIONS}, "studies": studies, "unfinished": list(left)}


def ablation_view(found: dict[str, list[Variant]]) -> RenderableType:
    """A table per study."""
    heads = (*NUMBERS, "SRAM / built", "regret of built", "design")
    each = (table_of((study, *heads), map(_variant_row, rows)) for study, rows in found.items())
    return Group(*(part for t in each for part in (t, "")))


def _variant_row(v: Variant) -> tuple[str, ...]:
    sram = "" if v.sram_ratio is None else f"{v.sram_ratio:.2f}"
    regret = "" if v.regret_frac is None else percent(v.regret_frac)
    return v.label, *_numbers(v.speedup, v.quantities), sram, regret, v.choice
