"""Figures of cost of ownership: cost by part, goodput against cluster size, renting against buying."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..core.text import digits, percent
from ..economy.bill import ChipCost
from ..economy.curves import BreakEven, Goodputs
from .chip_tables import product
from .style import BLOCKS, CONTEXT, DESIGN, draw, named_rows, note, plt

PARTS = {
    "dies": "tensor engines", "memory": "HBM", "interposer": "on-die network", "test, assembly": "control, DMA",
    "lost in assembly": "other", "maker's margin": "static", "board": "vector lanes", "host": "vector lanes",
    "scale-up links": "links", "network": "links", "supply, rack": "SRAM", "cooling": "SRAM",
}  # fmt: skip
"""Part of the capital to the block whose colour it has."""
FABRICS = {
    "trn2-ultraserver": ("Trainium2, torus of 64", BLOCKS["SRAM"]),
    "trn3-gen2-144": ("Trainium3, switched", BLOCKS["tensor engines"]),
    "dgx-h100": ("H100, switched", BLOCKS["HBM"]),
}
"""System to its words and colour."""
OWN_SPARES = 1000.0
"""Chips from which goodput per chip held is drawn; smaller clusters would share spares."""


def waterfall_figure(c: ChipCost) -> Figure:
    """Capital of one chip in its rack, part by part."""
    parts, total = c.capital_parts_USD, float(c.purchase.capital_USD)
    figure, ax = plt.subplots(figsize=(8.0, 4.2))
    at = 0.0
    for row, (name, value) in enumerate(parts.items()):
        ax.barh(row, value, left=at, height=0.66, color=BLOCKS[PARTS[name]])
        end = at + value
        note(ax, digits(value), (max(at, end), row), (4, 0), va="center", fontsize=9)
        if row + 1 < len(parts):
            ax.plot([end, end], [row + 0.33, row + 0.67], color=CONTEXT, linewidth=0.8)
        at = end
    n = len(parts)
    ax.barh(n, total, height=0.66, color=DESIGN)
    note(ax, digits(total), (total, n), (4, 0), va="center", fontsize=9, weight="bold")
    named_rows(ax, [*parts, "capital"])
    ax.set(xlim=(0, 1.14 * total), xlabel="USD per chip, modelled")
    ax.set_title(f"{product(c.chip_name)} in its rack: what it costs its owner")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure


def goodput_figure(g: Goodputs) -> Figure:
    """Useful over wall time against cluster size, with the range between clusters."""
    figure, ax = plt.subplots(figsize=(7.0, 4.2))
    sizes = np.asarray(g.n_chips)
    large = sizes >= OWN_SPARES
    for name, kept in g.kept.items():
        words, color = FABRICS[name]
        low, high = (np.asarray([k.goodput_range[i] for k in kept]) for i in (0, 1))
        ax.fill_between(sizes, low, high, color=color, alpha=0.13, linewidth=0)
        ax.plot(sizes, [k.goodput_frac for k in kept], color=color, linewidth=1.8, label=words)
        held = np.asarray([k.per_held_frac for k in kept])
        ax.plot(sizes[large], held[large], color=color, linewidth=1.0, linestyle="--")
    # draws nothing: one line of the legend stands for all fabrics
    ax.plot([], [], color=CONTEXT, linewidth=1.0, linestyle="--", label="per chip held, spares counted")
    words = f"Llama 3 405B: above {percent(g.observed_frac)}"
    ax.plot(g.observed_n_chips, g.observed_frac, marker="^", markersize=8, color=DESIGN, linestyle="none", label=words)
    ax.set(xscale="log", ylim=(0, 1.02), xlim=(sizes[0], sizes[-1]))
    ax.set(xlabel="chips in one synchronous job", ylabel="useful over wall time")
    ax.set_title("Goodput falls with cluster size")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    ax.grid()
    ax.legend(loc="lower left")
    return figure


def break_even_figure(c: ChipCost, even: BreakEven) -> Figure:
    """Dollars spent on one chip against days of use: bought, and rented under every public contract."""
    figure, ax = plt.subplots(figsize=(7.0, 4.2))
    years, bought_USD = even.days / 365, even.bought_USD
    ax.plot(years, bought_USD, color=DESIGN, linewidth=2, label="bought, and kept running")
    top = 1.8 * bought_USD[-1]  # dearer rents leave the figure, or crossings would be pressed into its corner
    # not strict: chips have one to four contracts
    for style, (kind, fact) in zip(("-", "--", ":", "-."), c.rents.items(), strict=False):
        spent, at = even.rented_USD[kind], even.crossing(kind)
        words = f"rented, {kind.replace('_', ' ')}: {digits(float(fact.value))} USD/h"
        ax.plot(years, np.where(spent < top, spent, np.nan), color=BLOCKS["HBM"], linestyle=style, label=words)
        if at is not None:
            _mark_crossing(ax, float(years[at]), float(bought_USD[at]), above=style == "-")
    ax.set(xlim=(0, 5), ylim=(0, top), xlabel="years of use, all hours paid", ylabel="USD per chip")
    ax.set_title(f"{product(c.chip_name)}: rent or buy")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.grid()
    ax.legend(loc="lower right")
    return figure


def _mark_crossing(ax: Axes, years: float, bought_USD: float, above: bool) -> None:
    """A dot where renting has cost as much as buying, with the time."""
    ax.plot(years, bought_USD, "o", color=DESIGN, markersize=5)
    offset, side = ((-4, 8), "right") if above else ((6, -13), "left")
    note(ax, f"{digits(years, 2)} y", (years, bought_USD), offset, ha=side, fontsize=9)


def write_cost_figures(c: ChipCost, even: BreakEven, folder: Path) -> list[Path]:
    """Waterfall, and renting against buying where a rent is known."""
    paths = draw(folder, waterfall=lambda: waterfall_figure(c))
    return paths + (draw(folder, break_even=lambda: break_even_figure(c, even)) if c.rents else [])
