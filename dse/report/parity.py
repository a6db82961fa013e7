"""Figures of a validation: predicted against measured, and the parts of predictions."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator

from ..calibrate.error_groups import ErrorGroup, largest_share_frac, part_groups, source_errors, within_frac
from ..core.text import digits, percent, scale_of
from ..evaluation.breakdown import PARTS
from ..physics.calibration import FAMILIES, family
from .style import BAND, BLOCKS, CONTEXT, DESIGN, colours, draw, named_rows, note, plt
from .style import FAMILIES as FAMILY_COLOURS

WHAT = {"training": "step", "inference": "request", "kernels": "operator", "collectives": "collective"}
"""Kind of measurement to what is timed."""
MARKERS: tuple[Any, ...] = (*"os^Dv<>PX*dp", (4, 1, 0), "$\\clubsuit$", (6, 1, 0), "8", "H", (8, 1, 0))
"""Marker of a source, by its number of points; stars are (corners, 1, 0)."""
BAND_FRAC = 0.25
"""Half width of the shaded band."""

LOOKS: dict[str, dict[str, Any]] = {
    "compute_s": {"facecolor": BLOCKS["tensor engines"]},
    "host_exposed_s": {"facecolor": BLOCKS["control, DMA"]},
    "tensor_exposed_s": {"facecolor": BLOCKS["links"]},
    "pipeline_exposed_s": {"facecolor": "#93bd8f"},
    "data_exposed_s": {"facecolor": "#25522a"},
    "optimizer_s": {"facecolor": BLOCKS["HBM"]},
    "bubble_s": {"facecolor": "white", "edgecolor": CONTEXT, "hatch": "////"},
}
"""Part of a predicted step to its look: green for links, hatched for idle time."""
SHOWN_SOURCES = 16
"""Sources with a bar of their own, most points first."""


def write_figures(done: pd.DataFrame, kind: str, folder: Path) -> list[Path]:
    """Draw `parity` and `parts` of predictions into `folder`, as PNG and SVG."""
    return draw(folder, parity=lambda: parity_figure(done, kind), parts=lambda: parts_figure(done, kind))


def family_colours(done: pd.DataFrame) -> dict[str, str]:
    """Chip family to its colour, the same in every figure; a chip of no family has the next one that is free."""
    return colours([*(name for name, _ in FAMILIES), *sorted({family(c) for c in done.chip})], FAMILY_COLOURS)


def parity_figure(done: pd.DataFrame, kind: str) -> Figure:
    """Predicted against measured time, both logarithmic: colour is the chip family, marker the source."""
    figure, ax = plt.subplots(figsize=(6.4, 6.0))
    low, high = both_ends(done)
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    ax.set_aspect("equal")
    ax.grid(which="major")
    line = np.asarray([low, high])
    ax.fill_between(line, (1 - BAND_FRAC) * line, (1 + BAND_FRAC) * line, color=BAND, linewidth=0, zorder=0.5)
    ax.plot(line, line, color=CONTEXT, linewidth=1.0, zorder=1)
    counts = done.source.value_counts()
    markers, colour = dict(zip(counts.index, cycle(MARKERS), strict=False)), family_colours(done)
    for source, n in counts.items():  # few points on top of many
        mine = done[done.source == source]
        alpha = 0.9 if n < CROWD else 0.45
        for name, group in mine.groupby(mine.chip.map(family)):
            ax.scatter(
                group.measured_s, group.predicted_s, marker=markers[source], s=30 if n < CROWD else 18,
                color=colour[str(name)], alpha=alpha, edgecolors="white", linewidths=0.4, zorder=3,
            )  # fmt: skip
    unit, factor = scale_of(math.sqrt(low * high), "s")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda x, _: digits(x / factor))
        axis.set_major_locator(FixedLocator(factor_ticks(low, high, factor)))
    ax.minorticks_off()
    ax.set(xlabel=f"measured {WHAT[kind]} time [{unit}]", ylabel=f"predicted {WHAT[kind]} time [{unit}]")
    inside = percent(within_frac(done, BAND_FRAC))
    ax.set_title(f"{len(done):,} measured {WHAT[kind]}s, {inside} within ±{percent(BAND_FRAC)}")
    parity_legend(ax, done, markers)
    return figure


CROWD = 150
"""Points of a source from which its marks are small and light."""
TICK_SPAN = 100.0
"""Ratio of limits from which powers of ten are ticks enough."""


def factor_ticks(low: float, high: float, factor: float) -> list[float]:
    """Powers of ten of a unit of size `factor` between two limits, with steps between them where those are near."""
    powers = range(math.floor(math.log10(low / factor)), math.ceil(math.log10(high / factor)) + 1)
    # over two decades three marks each would touch
    steps = (1,) if high / low > TICK_SPAN else (1, 2, 5)
    ticks = [factor * step * 10.0**i for i in powers for step in steps]
    return [t for t in ticks if low <= t <= high]


def both_ends(done: pd.DataFrame) -> tuple[float, float]:
    """Limits that hold all measured and predicted times with room around."""
    every = np.concatenate([done.measured_s.to_numpy(float), done.predicted_s.to_numpy(float)])
    return float(every.min()) / 1.6, float(every.max()) * 1.6


def parity_legend(ax: Axes, done: pd.DataFrame, markers: dict[Any, str]) -> None:
    """Families, lines and sources outside the panel."""
    look: dict[str, Any] = {"color": "none", "markeredgecolor": "white", "markersize": 8}
    chips = {n: sorted(set(done.chip[done.chip.map(family) == n])) for n in family_colours(done)}
    families = [
        Line2D([], [], marker="o", markerfacecolor=colour, label=", ".join(chips[n]), **look)
        for n, colour in family_colours(done).items()
        if chips[n]
    ]
    context = [
        Line2D([], [], color=CONTEXT, label="predicted = measured"),
        Patch(facecolor=BAND, label=f"±{percent(BAND_FRAC)}"),
    ]
    error = source_errors(done)
    count = done.source.value_counts()
    look = {**look, "markerfacecolor": "#555555"}
    sources = [
        Line2D([], [], marker=m, label=f"{s}  ({count[s]:,}; {percent(error[s])})", **look) for s, m in markers.items()
    ]
    place: dict[str, Any] = {"loc": "upper left", "fontsize": 8.5, "alignment": "left", "title_fontsize": 9}
    first = ax.legend(handles=families, title="chip", bbox_to_anchor=(1.02, 1.02), **place)
    ax.add_artist(first)
    # matplotlib places a second legend only by hand: below the first, a line for each family and its title
    below = 1.0 - 0.039 * (len(families) + 2)
    ax.legend(
        handles=[*sources, *context], title="source (points; median error)", bbox_to_anchor=(1.02, below), **place
    )


def parts_figure(done: pd.DataFrame, kind: str) -> Figure:
    """Share of the predicted time by part, and the error, for best and worst quarter of points and for every source."""
    parts = [p for p in LOOKS if p in done.columns and largest_share_frac(done, p) > SMALLEST_SHARE]
    groups = part_groups(done, parts, SHOWN_SOURCES)
    height = 1.3 + 0.34 * len(groups)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10.5, height), sharey=True, gridspec_kw={"wspace": 0.07, "width_ratios": [2.0, 1.0]}
    )
    for row, group in enumerate(groups):
        start = 0.0
        for part, share in group.shares.items():
            left.barh(row, share, left=start, height=0.66, linewidth=0.5, **LOOKS[part])
            start += share
        error_row(right, row, group)
    for ax in (left, right):
        ax.axhline(1.5, color=CONTEXT, linewidth=0.8)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.xaxis.set_major_formatter(lambda x, _: digits(100 * x))
    named_rows(left, [f"{g.name}  ({len(g.points):,})" for g in groups])
    left.set(xlim=(0, 1), xlabel=f"mean share of predicted {WHAT[kind]} time [%]")
    left.set_title("What the prediction is made of")
    right.axvline(0, color=DESIGN, linewidth=0.8)
    right.axvspan(-BAND_FRAC, BAND_FRAC, color=BAND, zorder=0)
    right.set(xlim=(-ERROR_SPAN, ERROR_SPAN), xlabel="predicted / measured - 1 [%]")
    right.set_xticks([-0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75])
    right.set_title("Error: median and 80 % of points")
    handles = [Patch(label=PARTS[p], linewidth=0.5, **LOOKS[p]) for p in parts]
    figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.45, 0.11 - 0.5 / height), ncol=4, fontsize=9)
    return figure


SMALLEST_SHARE = 1e-3
"""Share that a part must reach somewhere to be drawn."""
ERROR_SPAN = 1.0
"""Ends of the error axis; a bar that goes on has an arrow."""


def error_row(ax: Axes, row: int, group: ErrorGroup) -> None:
    """Median error as a point, 10th to 90th percentile as a line."""
    low, middle, high = group.low_frac, group.middle_frac, group.high_frac
    ax.plot([max(low, -ERROR_SPAN), min(high, ERROR_SPAN)], [row, row], color=CONTEXT, linewidth=3, zorder=2)
    if high > ERROR_SPAN:
        note(ax, f"to +{digits(100 * high)} %", (ERROR_SPAN, row), (-2, 5), ha="right", fontsize=8, color="#505050")
    ax.plot(min(middle, ERROR_SPAN), row, "o", color=DESIGN, markersize=6, zorder=3)
