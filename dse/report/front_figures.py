"""Figures of fronts with existing chips, designs along a front, tornado charts of sensitivities, proofs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..core.text import label, scoped_label
from ..explore.designed import Named
from ..explore.front import Front
from ..explore.sensitivity import Sensitivity
from ..study.metrics import DELIVERED
from .front import SHOWN, goal_text, heading
from .front_axes import axis_label, better, frame, log_axes, mark_chips
from .style import CONTEXT, DESIGN, HARMS, HELPS, NODES, colours, draw, plt

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
    near = np.all(f.cloud <= CLOUD_REACH * f.values.max(axis=0), axis=1)
    cloud = [better(m, f.cloud[near, j]) for j, m in enumerate(f.metrics[:2])]
    ax.scatter(cloud[1] / x_size, cloud[0] / y_size, s=5, color=CONTEXT, alpha=0.5, label="dominated designs", zorder=1)
    own = np.asarray([f.study.choices[p.choice_index].node for p in f.points])
    for node, colour in colours((c.node for c in f.study.choices), NODES).items():
        mine = own == node
        if mine.any():
            ax.scatter(x[mine], y[mine], s=16, color=colour, label=f"front on {node}", zorder=3)
    ax.scatter(
        [x[f.knee]], [y[f.knee]], s=110, facecolors="none", edgecolors=DESIGN, linewidths=1.4, label="knee", zorder=4
    )
    ax.set(
        xlabel=x_label,
        ylabel=y_label,
        title=f"{f.study.name}: best {heading(f.metrics[0])} at every {heading(f.metrics[1])}",
    )
    log_axes(ax)
    frame(ax, np.concatenate([x, cloud[1] / x_size]), np.concatenate([y, cloud[0] / y_size]))
    mark_chips(ax, [(n.name, *_place(f, n, (x_size, y_size))) for n in named])
    ax.grid(which="both")
    ax.legend(fontsize=8, loc="best")
    return figure


def _place(f: Front, chip: Named, sizes: tuple[float, float]) -> tuple[float, float]:
    y, x = (float(better(m, np.asarray([v]))[0]) for m, v in zip(f.metrics[:2], chip.values, strict=False))
    return x / sizes[0], y / sizes[1]


def along_figure(f: Front) -> Figure:
    """Every design of the front as a line over its free numbers, each axis from least to most."""
    names = [*f.metrics, *f.rays.core.free]
    table = f.frame()
    columns = [better(n, table[n].to_numpy(dtype=float)) for n in names]
    figure, ax = plt.subplots(figsize=(10.5, 4.2))
    logs = np.log(np.asarray(columns))
    low, high = logs.min(axis=1, keepdims=True), logs.max(axis=1, keepdims=True)
    unit = np.where(high - low > 1e-6, (logs - low) / np.maximum(high - low, 1e-12), 0.5)
    colour = plt.get_cmap("viridis")(np.linspace(0, 1, len(f.points)))
    for i in range(len(f.points)):
        bold = i == f.knee
        ax.plot(
            unit[:, i], color=DESIGN if bold else colour[i], linewidth=2.0 if bold else 0.7, alpha=1.0 if bold else 0.7
        )
    for j, n in enumerate(names):
        values = table[n].to_numpy(dtype=float)
        ends = (values.max(), values.min()) if n == DELIVERED else (values.min(), values.max())
        for end, y, side in zip(ends, (-0.02, 1.02), ("top", "bottom"), strict=True):
            ax.annotate(goal_text(n, end), (j, y), ha="center", va=side, fontsize=7.5, annotation_clip=False)
    ax.set_xticks(
        range(len(names)), [heading(n) if n in f.metrics else label(n) for n in names], rotation=20, fontsize=8
    )
    ax.tick_params(axis="x", pad=22, length=0)
    ax.set(yticks=[], ylim=(-0.02, 1.02))
    ax.set_title(f"{f.study.name}: designs along the front (purple fastest, yellow last, black knee)", pad=30)
    ax.grid(axis="x", color=CONTEXT, linewidth=0.6)
    ax.spines["left"].set_visible(False)
    return figure


def tornado_figure(s: Sensitivity) -> Figure:
    """What each fact's range is worth in the goal: the widest bars, guesses hollow."""
    facts = [p for p in s.parameters if p.fact is not None and p.fact.low > 0][: SHOWN + 4][::-1]
    figure, ax = plt.subplots(figsize=(8.6, 0.34 * len(facts) + 1.3))
    for row, p in enumerate(facts):
        assert p.fact is not None
        guess = p.fact.kind in ("guess", "estimate")
        for end, word in ((p.fact.low, "low"), (p.fact.high, "high")):
            move = 100.0 * p.moved_frac(end)
            colour = HARMS if move > 0 else HELPS
            ax.barh(row, move, height=0.6, color="white" if guess else colour, edgecolor=colour, linewidth=1.2)
            side = {"ha": "left" if move > 0 else "right", "va": "center", "fontsize": 7, "color": CONTEXT}
            ax.annotate(word, (move, row), (3 if move > 0 else -3, 0), textcoords="offset points", **side)
    ax.axvline(0, color=DESIGN, linewidth=0.8)
    ax.set_yticks(range(len(facts)), [scoped_label(p.name) for p in facts], fontsize=8)
    title = "What the optimum rests on: the goal at both ends of each range"
    ax.set(xlabel="change of the goal, first order [%]; blue is better, red worse; hollow: guessed or estimated")
    ax.margins(x=0.08)
    ax.set_title(title, fontsize=9.5)
    ax.grid(axis="x")
    return figure
