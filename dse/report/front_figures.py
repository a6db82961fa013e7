"""Figures of fronts with existing chips and designs along a front, of sensitivities, and of risk studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..core.text import label, percent, quantity_text, scoped_label, times, unit_of
from ..explore.designed import Named
from ..explore.front import Front
from ..explore.outcome import FEW, Risk, outcome_histogram, stands_out
from ..explore.sensitivity import Sensitivity
from ..study.metrics import DELIVERED
from .front import SHOWN, axis_words, goal_text, heading
from .front_axes import ALIKE, axis_label, better, frame, log_axes, mark_chips
from .risk import SHOWN_DRIVERS, precision_text
from .style import BAND, CONTEXT, DESIGN, HARMS, HELPS, NODES, REACHED, colours, draw, named_rows, note, plt

CLOUD_REACH = 1.3
"""Dominated designs farther than this factor beyond the front's worst values are not drawn."""


def write_front_figures(f: Front, named: list[Named], folder: Path) -> list[Path]:
    """Draw a front into `folder` as PNG, SVG and, where plotly is installed, as pages to hover over."""
    from .front_pages import write_pages

    paths = draw(folder, front=lambda: front_figure(f, named), designs=lambda: along_figure(f))
    return paths + write_pages(f, named, folder)


def front_figure(f: Front, named: list[Named]) -> Figure:
    """The front over its first two metrics: nodes by colour, knee marked, dominated designs and real chips behind."""
    figure, ax = plt.subplots(figsize=(7.2, 4.6))
    columns = [better(m, f.values[:, j]) for j, m in enumerate(f.metrics[:2])]
    (y_label, y_size), (x_label, x_size) = (axis_label(m, c) for m, c in zip(f.metrics, columns, strict=False))
    y, x = columns[0] / y_size, columns[1] / x_size
    # single solves under odd plans lie decades away, and would squeeze the front into a corner
    near = np.all(f.cloud <= CLOUD_REACH * f.values.max(axis=0), axis=1)
    cloud = [better(m, f.cloud[near, j]) for j, m in enumerate(f.metrics[:2])]
    ax.scatter(cloud[1] / x_size, cloud[0] / y_size, s=5, color=CONTEXT, alpha=0.5, label="dominated designs", zorder=1)
    own = np.asarray([f.study.choices[p.choice_index].node for p in f.points])
    for node, colour in colours((c.node for c in f.study.choices), NODES).items():
        mine = own == node
        if mine.any():
            ax.scatter(x[mine], y[mine], s=16, color=colour, label=f"front on {node}", zorder=3)
    ring = {"s": 110, "facecolors": "none", "edgecolors": DESIGN, "linewidths": 1.4, "label": "knee", "zorder": 4}
    ax.scatter([x[f.knee]], [y[f.knee]], **ring)
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.set_title(f"{f.study.name}: best {axis_words(f.metrics[0])} at every {axis_words(f.metrics[1])}")
    log_axes(ax)
    frame(ax, np.concatenate([x, cloud[1] / x_size]), np.concatenate([y, cloud[0] / y_size]))
    mark_chips(ax, [(n.name, *_place(f, n, (x_size, y_size))) for n in named])
    ax.grid(which="both")
    ax.legend(fontsize=8, loc="best")
    return figure


def _place(f: Front, chip: Named, sizes: tuple[float, float]) -> tuple[float, float]:
    y, x = (float(better(m, v)) for m, v in zip(f.metrics[:2], chip.values, strict=False))
    return x / sizes[0], y / sizes[1]


def heights(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Designs on axes, a row each, from 0 at the least to 1 at the most in logs; in the middle where all are alike."""
    logs = np.log(np.asarray(columns))
    low, high = logs.min(axis=1, keepdims=True), logs.max(axis=1, keepdims=True)
    return np.where(high - low > ALIKE, (logs - low) / np.maximum(high - low, ALIKE), 0.5)


def along_figure(f: Front) -> Figure:
    """Every design of the front as a line over its free numbers, each axis from least to most."""
    names = [*f.metrics, *f.rays.core.free]
    table = f.frame()
    columns = [better(n, table[n].to_numpy(dtype=float)) for n in names]
    figure, ax = plt.subplots(figsize=(10.5, 4.2))
    unit = heights(columns)
    colour = plt.get_cmap("viridis")(unit[0])  # as on the page beside it: brighter for more of the first metric
    for i in range(len(f.points)):
        bold = i == f.knee
        look = {"color": DESIGN, "linewidth": 2.0} if bold else {"color": colour[i], "linewidth": 0.7, "alpha": 0.7}
        ax.plot(unit[:, i], **look)
    for j, n in enumerate(names):
        values = table[n].to_numpy(dtype=float)
        ends = (values.max(), values.min()) if n == DELIVERED else (values.min(), values.max())
        for end, y, side in zip(ends, (-0.02, 1.02), ("top", "bottom"), strict=True):
            ax.annotate(goal_text(n, end), (j, y), ha="center", va=side, fontsize=7.5, annotation_clip=False)
    words = [heading(n) if n in f.metrics else label(n) for n in names]
    ax.set_xticks(range(len(names)), words, rotation=20, fontsize=8)
    ax.tick_params(axis="x", pad=22, length=0)
    ax.set(yticks=[], ylim=(-0.02, 1.02))
    ax.set_title(f"{f.study.name}: designs along the front (brighter: more {words[0]}; black: knee)", pad=30)
    ax.grid(axis="x", color=CONTEXT, linewidth=0.6)
    ax.spines["left"].set_visible(False)
    return figure


def tornado_figure(s: Sensitivity) -> Figure:
    """What each fact's range is worth in the goal: the widest bars, guesses hollow."""
    # bars are drawn from below, so that the widest comes last
    facts = [p for p in s.parameters if p.fact is not None and p.fact.low > 0][: SHOWN + 4][::-1]
    figure, ax = plt.subplots(figsize=(8.6, 0.34 * len(facts) + 1.3))
    for row, p in enumerate(facts):
        assert p.fact is not None
        guess = p.fact.kind in ("guess", "estimate")
        for end, word in ((p.fact.low, "low"), (p.fact.high, "high")):
            move = 100.0 * p.moved_frac(end)
            colour = HARMS if move > 0 else HELPS
            ax.barh(row, move, height=0.6, color="white" if guess else colour, edgecolor=colour, linewidth=1.2)
            shift, side = (3, "left") if move > 0 else (-3, "right")
            note(ax, word, (move, row), (shift, 0), ha=side, va="center", fontsize=7, color=CONTEXT)
    ax.axvline(0, color=DESIGN, linewidth=0.8)
    ax.set_yticks(range(len(facts)), [scoped_label(p.name) for p in facts], fontsize=8)
    title = "What the optimum rests on: the goal at both ends of each range"
    ax.set(xlabel="change of the goal, first order [%]; blue is better, red worse; hollow: guessed or estimated")
    ax.margins(x=0.08)
    ax.set_title(title, fontsize=9.5)
    ax.grid(axis="x")
    return figure


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
        note(ax, text, (x, 1.13 * top), (4, 0), fontsize=8.5, va="top")
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
    named_rows(ax, [f"{label(n)}  {quantity_text(n, quantiles[n][2])}" for n in names])
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
    named_rows(ax, [scoped_label(d.unknown.name) for d in shown])
    widest = 1.15 * float(np.abs(values).max())
    ax.set_xlim(-widest, widest)
    ax.axvspan(-FEW * shown[0].error, FEW * shown[0].error, color=BAND, zorder=0)
    ax.set_title("What the verdict hangs on")
    ax.set_xlabel("rank correlation with the outcome: more is worse (left) or better (right); gray is noise")
    return figure
