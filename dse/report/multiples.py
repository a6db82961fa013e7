"""The page of small multiples of a validation: where predictions are wrong, by source and by dimension."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from ..calibrate.error_groups import DIMENSIONS, fifths, median_error_frac, multiple, with_dimensions
from ..calibrate.score import covered_frac
from ..core.text import digits, percent
from .front_axes import round_ticks
from .parity import factor_ticks
from .style import BAND, CONTEXT, DESIGN, draw, plt

COLUMNS = 6
"""Panels in a row of the page."""
WIDEST = 3.0
"""Ends of the axis of errors, as a factor either way; what is further out lies on the edge."""
FEWEST = 3
"""Different values that a dimension must have to be worth a panel."""


def write_page(done: pd.DataFrame, rows: pd.DataFrame, kind: str, folder: Path) -> list[Path]:
    """Draw the page as `multiples` into `folder`, as PNG and SVG; returns the files."""
    return draw(folder, multiples=lambda: multiples_figure(with_dimensions(done, rows, kind), kind))


def multiples_figure(done: pd.DataFrame, kind: str) -> Figure:
    """Measured over predicted time of every source against measured time, then of all against every dimension."""
    sources = list(done.source.value_counts().index)
    seen = [n for n in DIMENSIONS[kind] if n in done and np.unique(done[n].dropna()).size >= FEWEST]
    n_rows = math.ceil(len(sources) / COLUMNS) + math.ceil(len(seen) / COLUMNS)
    size = (2.3 * COLUMNS, 2.1 * n_rows + 0.8)
    figure, axes = plt.subplots(n_rows, COLUMNS, figsize=size, sharey=True, squeeze=False, layout="constrained")
    flat = list(axes.flat)
    below = math.ceil(len(sources) / COLUMNS) * COLUMNS
    # the last row of each kind may have more panels than it needs; those are hidden below
    used = [*zip(flat, sources, strict=False), *zip(flat[below:], seen, strict=False)]
    for ax, name in used:
        mine = done.query("source == @name") if name in sources else done
        panel(ax, mine, "measured_s" if name in sources else name)
        ax.set_title(title(mine, name) if name in sources else name, fontsize=7)
        ax.set_xlabel("measured [s]" if name in sources else "", fontsize=6)
    for ax in set(flat) - {ax for ax, _ in used}:
        ax.set_visible(False)
    figure.supylabel("measured / predicted time", fontsize=9)
    figure.suptitle(f"{len(done):,} {kind} rows: by source against measured time, then all against each dimension")
    return figure


def title(mine: pd.DataFrame, name: str) -> str:
    """A source, its points and median error, and how many lie in their 80 % bands."""
    said = f"{name}\n{len(mine):,}; {percent(median_error_frac(mine))}"
    inside = covered_frac(mine)
    return said if math.isnan(inside) else f"{said}; {percent(inside)} in band"


def short(x: float) -> str:
    """A tick in a panel, where a million written out runs into its neighbour."""
    size, letter = next(((s, c) for s, c in ((1e6, "M"), (1e3, "k")) if x >= s), (1.0, ""))
    return digits(x / size) + letter


def panel(ax: Axes, mine: pd.DataFrame, column: str) -> None:
    """Points of one panel, the median of every fifth of them, and the band of a quarter."""
    # a log axis has no place for the others
    here: Any = mine[mine[column] > 0]
    ratio = multiple(here).clip(1 / WIDEST, WIDEST)
    ax.axhspan(1 / 1.25, 1.25, color=BAND, linewidth=0, zorder=0)
    ax.axhline(1.0, color=CONTEXT, linewidth=0.8, zorder=1)
    ax.scatter(here[column], ratio, s=6, color="#4a6fa5", alpha=0.35, linewidths=0, zorder=2)
    ax.plot(*fifths(here[column], ratio), "o-", color=DESIGN, markersize=3, linewidth=1.0, zorder=3)
    ax.set(xscale="log", yscale="log", ylim=(1 / WIDEST / 1.05, WIDEST * 1.05))
    ax.set_yticks([0.33, 0.5, 0.8, 1.0, 1.25, 2.0, 3.0], ["⅓", "½", "0.8", "1", "1.25", "2", "3"])
    ax.minorticks_off()
    ticks = factor_ticks(*ax.get_xlim(), 1.0)
    ax.xaxis.set_major_locator(FixedLocator(ticks if len(ticks) > 1 else round_ticks(*ax.get_xlim())))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    ax.tick_params(labelsize=6)
