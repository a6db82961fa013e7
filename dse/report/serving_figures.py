"""Throughput-interactivity figure: tokens/s per chip, per watt and per dollar against speed per user."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..serving.offer import Offer, serving_numbers
from .front_axes import log_axes, round_axes
from .style import CONTEXT, DESIGN, FAMILIES, colours, plt

MARKERS = {"prefill first": "o", "chunked": "s", "apart": "^"}
PANELS = (
    ("chip_tokens_per_s", "per chip", "output tokens/s per chip"),
    ("tokens_per_J", "per watt", "output tokens/s per W of package"),
    ("tokens_per_s_per_USD_per_h", "per dollar", "output tokens/s per USD/h of rent"),
)
"""Number of a point, title and axis of each panel."""


def serving_figure(offers: list[Offer]) -> Figure:
    """One panel per whole that tokens are counted per; colour is the chip, marker the scheduler."""
    rows = {o.name: [serving_numbers(s, o.hour.chip_hour_USD) for s in o.best] for o in offers}
    # without a price of any chip there is nothing to draw per dollar
    shown = [p for p in PANELS if any(r[p[0]] is not None for rs in rows.values() for r in rs)]
    figure, axes = plt.subplots(1, len(shown), figsize=(4.2 * len(shown), 4.0), squeeze=False)
    figure.subplots_adjust(wspace=0.28)
    colors = colours(rows, FAMILIES)
    for ax, (key, title, label) in zip(axes[0], shown, strict=True):
        panel(ax, rows, colors, key)
        ax.set(title=title[0].upper() + title[1:], ylabel=label, xlabel="output tokens/s that one user sees")
        limit = offers[0].curve.promise.tpot_s
        if limit is not None:
            ax.axvline(1 / limit, color=CONTEXT, linewidth=1.0, linestyle="--", zorder=1)
    used = {r["scheduler"] for rs in rows.values() for r in rs}
    figure.legend(handles=handles(colors, used), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=6, fontsize=9)
    figure.suptitle(heading(offers), x=0.125, y=1.0, ha="left", fontsize=10, color="#303030")
    return figure


def panel(ax: Axes, rows: dict[str, list[dict[str, Any]]], colors: dict[str, str], key: str) -> None:
    """One curve per chip; what its numbers lack is left out."""
    ax.grid(which="major")
    for name, points in rows.items():
        known = [p for p in points if p[key] is not None]
        x, y = (np.asarray(v) for v in ([1 / p["tpot_s"] for p in known], [p[key] for p in known]))
        if not known:
            continue
        ax.plot(x, y, color=colors[name], linewidth=1.4, zorder=2)
        for scheduler, marker in MARKERS.items():
            mine = np.asarray([p["scheduler"] == scheduler for p in known])
            look: dict[str, Any] = {"c": colors[name], "edgecolors": "white", "linewidths": 0.6, "zorder": 3}
            ax.scatter(x[mine], y[mine], s=26, marker=marker, **look)
    log_axes(ax)
    round_axes(ax)


def handles(colors: dict[str, str], used: set[str]) -> list[Line2D]:
    """Legend of chips and of the schedulers that occur."""
    chips = [Line2D([], [], color=c, linewidth=2, label=n) for n, c in colors.items()]
    words = {"prefill first": "prompts first", "chunked": "prompts in chunks", "apart": "prompts on chips apart"}
    dots = [
        Line2D([], [], color="none", marker=m, markerfacecolor=DESIGN, markeredgecolor="white", label=words[s])
        for s, m in MARKERS.items()
        if s in used
    ]
    return [*chips, *dots]


def heading(offers: list[Offer]) -> str:
    """Model and lengths in a line."""
    c = offers[0].curve
    lengths = ", ".join(f"{x.prompt:,} tokens in and {x.output:,} out" for x in c.requests.lengths)
    share = f"{100 * c.promise.quantile_frac:g} % of requests at least this fast"
    return f"{c.requests.model.name}, {c.requests.weight_precision} weights; {lengths}; {share}"
