"""Figures of a risk study: distribution of the outcome, spread of designs, drivers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..core.text import label, percent, quantity_text, scoped_label, times, unit_of
from ..explore.outcome import FEW, Risk, outcome_histogram, stands_out
from ..study.metrics import DELIVERED
from .risk import SHOWN_DRIVERS, precision_text
from .style import BAND, CONTEXT, DESIGN, HARMS, HELPS, REACHED, draw, plt

BINS = 36
EDGES = (0.05, 0.95)
MIDDLE = (0.25, 0.5, 0.75)


def write_risk_figures(r: Risk, folder: Path) -> list[Path]:
    """Draw the figures of a risk study into `folder`, as PNG and SVG."""
    if not r.feasible.any():
        return []
    paths = draw(folder, risk_verdict=lambda: verdict_figure(r), risk_design=lambda: design_figure(r))
    return paths + (draw(folder, risk_drivers=lambda: drivers_figure(r)) if r.drivers else [])


def verdict_figure(r: Risk) -> Figure:
    """Histogram of the outcome, samples that reach the target in colour, samples without a design in words."""
    figure, ax = plt.subplots(figsize=(7.2, 3.4))
    delivered = r.study.goal == DELIVERED
    bars = outcome_histogram(r, BINS)
    colors = np.where(bars.reaches, REACHED, CONTEXT)
    look = {"align": "edge", "color": colors, "edgecolor": "white", "linewidth": 0.4}
    ax.bar(bars.edges[:-1], 100 * bars.share_frac, np.diff(bars.edges), **look)
    nominal = 1 / r.nominal if delivered else r.nominal
    marks = [(nominal, "at the\nvalues", "--"), *([(r.target, "target", "-")] if r.target is not None else [])]
    top = 100 * bars.share_frac.max()
    for x, text, line in marks:
        ax.axvline(x, color=DESIGN, linewidth=1.2, linestyle=line)
        ax.annotate(text, (x, 1.13 * top), (4, 0), textcoords="offset points", fontsize=8.5, va="top")
    ax.set_ylim(0, 1.15 * top)
    share, error = r.probability(r.reached)
    sure = precision_text(share, error, r.n).replace("+-", "±")
    reach = f"{times(r.target)} within reach" if r.target is not None else "Limits can be met"
    ax.set_title(f"{reach} in {percent(share)} of the samples ({sure})")
    ax.set_ylabel("share of all samples [%]")
    what = f"{label(r.study.goal)} [{unit_of(r.study.goal)}]"
    if delivered:
        what = f"delivered speed-up over {r.study.baseline.chip.name}"
    without = percent(1 - r.probability(r.feasible)[0])
    none = "" if r.feasible.all() else f";\nno design meets the limits in {without} of them"
    ax.set_xlabel(f"{what}, each sample with its best design{none}")
    ax.grid(axis="y")
    return figure


def design_figure(r: Risk) -> Figure:
    """Spread of every number of the optimal design, over its median, on one log axis."""
    quantiles = r.quantiles((EDGES[0], *MIDDLE, EDGES[1]))
    names = [n for n in quantiles if not n.startswith("step_s:")]
    figure, ax = plt.subplots(figsize=(7.2, 0.36 * len(names) + 1.0))
    for row, name in enumerate(names):
        low, first, middle, third, high = (q / quantiles[name][2] for q in quantiles[name])
        ax.plot([low, high], [row, row], color=CONTEXT, linewidth=2, solid_capstyle="butt")
        ax.plot([first, third], [row, row], color=HELPS, linewidth=8, solid_capstyle="butt")
        ax.plot([middle], [row], "|", color="white", markersize=8, markeredgewidth=1.6)
    ax.set_xscale("log")
    ticks = [x for x in (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0) if ax.get_xlim()[0] <= x <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"{x:g}x" for x in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(names)), [f"{label(n)}  {quantity_text(n, quantiles[n][2])}" for n in names])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x")
    ax.set_title("The best design depends on what is true")
    ax.set_xlabel("over the median: middle half of the samples thick, 9 of 10 thin")
    return figure


def drivers_figure(r: Risk) -> Figure:
    """Tornado of the unknowns by rank correlation with the outcome."""
    shown = [d for d in r.drivers[:SHOWN_DRIVERS] if stands_out(d.correlation, d.error)] or list(r.drivers[:1])
    figure, ax = plt.subplots(figsize=(7.2, 0.32 * len(shown) + 1.0))
    values = np.asarray([d.correlation for d in shown])
    ax.barh(range(len(shown)), values, height=0.64, color=np.where(values > 0, HELPS, HARMS))
    ax.axvline(0, color=DESIGN, linewidth=0.8)
    ax.set_yticks(range(len(shown)), [scoped_label(d.unknown.name) for d in shown])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    widest = 1.15 * float(np.abs(values).max())
    ax.set_xlim(-widest, widest)
    ax.axvspan(-FEW * shown[0].error, FEW * shown[0].error, color=BAND, zorder=0)
    ax.grid(axis="x")
    ax.set_title("What the verdict hangs on")
    ax.set_xlabel("rank correlation with the outcome: more is worse (left) or better (right); gray is noise")
    return figure
