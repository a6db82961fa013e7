"""Back-tests on one screen, for machines, and as a figure of ratios."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..core.text import digits, label, quantity_text, times
from ..explore.backtest import HIT, NEAR, Backtest, Row
from .screen import product
from .style import BAND, CONTEXT, DESIGN, STYLE, VERDICTS, plt, save
from .tables import table

NAMES = {"tensor_pes": "PEs of all cores", "n_dies": "dies"}
"""Labels of quantities that are no metrics."""


def name_of(row: Row) -> str:
    """Label of a quantity."""
    return NAMES.get(row.name, label(row.name))


def tally(b: Backtest) -> dict[str, int]:
    """How many quantities are hits, near and misses, those set by the budget left out."""
    return {v: sum(r.verdict == v for r in b.rows) for v in ("hit", "near", "miss")}


def backtest_view(b: Backtest) -> RenderableType:
    """One back-test: verdict, table, what explains the misses."""
    return Group(Text(headline(b), style="bold"), *map(Text, lines(b)), "", backtest_table(b), *map(Text, reasons(b)))


def headline(b: Backtest) -> str:
    """The verdict in one sentence."""
    counts, built = tally(b), product(b.case.built)
    right = sum(mine == theirs for _, mine, theirs in b.named)
    return (
        f"{product(b.solution.study.baseline.chip.name)} to {built}: {right} of {len(b.named)} technologies as built; "
        f"{counts['hit']} hits (within {digits(HIT)}x), {counts['near']} near (within {digits(NEAR)}x), "
        f"{counts['miss']} misses"
    )


def lines(b: Backtest) -> list[str]:
    """Discrete choices, and what either chip delivers by the model."""
    words = ", ".join(
        f"{w} {mine}" if mine == theirs else f"{w} {mine} (built {theirs})" for w, mine, theirs in b.named
    )
    speeds = "; ".join(
        f"{w.name} {times(w.speedup)} against {times(b.built_speedup[w.name])}" for w in b.solution.workloads
    )
    total = f"{times(b.solution.delivered)} proposed against {times(b.built_delivered)} built"
    return [f"chosen: {words}", f"delivered by the model: {total} ({speeds})"]


def backtest_table(b: Backtest) -> Table:
    """Quantity by quantity."""
    t = table("quantity", "proposed", b.case.built, "ratio", "verdict")
    for r in b.rows:
        style = {"miss": "red", "near": "yellow", "given": "dim"}.get(r.verdict, "none")
        mine, theirs = (text_of(r.name, v) for v in (r.proposed, r.built))
        t.add_row(name_of(r), mine, theirs, times(r.ratio, 2), r.verdict, style=style)
    return t


def text_of(name: str, value: float) -> str:
    """A quantity as people write it; counts of PEs in full."""
    return f"{value:,.0f}" if name in NAMES else quantity_text(name, value)


def reasons(b: Backtest) -> list[str]:
    """What explains what is off; then what the budgets were."""
    said = [f"{name_of(r)}: {r.reason}" for r in b.rows if r.reason and r.verdict in ("near", "miss")]
    return [*said, "given: the study's budget is the built chip's, by published estimate or this package's own model."]


def backtest_json(b: Backtest) -> dict[str, Any]:
    """A back-test for machines, canonical units."""
    return {
        "study": b.solution.study.name,
        "built": b.case.built,
        "certified": b.solution.certificate is not None and b.solution.certificate.proved,
        "choices": [{"what": w, "proposed": p, "built": q, "same": p == q} for w, p, q in b.named],
        "tally": tally(b),
        "delivered_proposed": b.solution.delivered,
        "delivered_built": b.built_delivered,
        "speedups_built": b.built_speedup,
        "rows": [{**dataclasses.asdict(r), "ratio": r.ratio, "verdict": r.verdict} for r in b.rows],
    }


def write_backtest_figure(found: list[Backtest], folder: Path) -> list[Path]:
    """Draw the ratios of all back-tests into `folder`, as PNG and SVG."""
    with plt.rc_context(STYLE):
        return save(ratio_figure(found), folder, "backtest_ratios")


def ratio_figure(found: list[Backtest]) -> Figure:
    """Proposed over built, one panel per back-test, on a log axis; the band is a hit."""
    rows = [r.name for r in found[0].rows]
    size = (1.6 + 3.6 * len(found), 0.3 * len(rows) + 1.3)
    figure, axes = plt.subplots(1, len(found), figsize=size, sharey=True, sharex=True, squeeze=False)
    for ax, b in zip(axes[0], found, strict=True):
        ax.axvspan(1 / HIT, HIT, color=BAND, zorder=0)
        ax.axvline(1, color=DESIGN, linewidth=0.8)
        for i, r in enumerate(b.rows):
            ax.plot([1, r.ratio], [i, i], color=CONTEXT, linewidth=1.0, zorder=1)
            ax.plot(r.ratio, i, "o", markersize=7, color=VERDICTS[r.verdict], markeredgecolor=CONTEXT, zorder=2)
        ax.set_xscale("log")
        ticks = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
        ax.set_xticks(ticks, [f"{x:.3g}x" for x in ticks])
        ax.minorticks_off()
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        ax.set_title(f"{product(b.solution.study.baseline.chip.name)} to {product(b.case.built)}")
        ax.set_xlabel("proposed over built")
    axes[0][0].set_yticks(range(len(rows)), [name_of(r) for r in found[0].rows])
    axes[0][0].set_ylim(len(rows) - 0.4, -0.6)
    words = {"hit": f"within {HIT:g}x", "near": f"within {NEAR:g}x", "miss": "beyond", "given": "set by the budget"}
    handles = [
        plt.Line2D([], [], marker="o", color="none", markerfacecolor=VERDICTS[v], markeredgecolor=CONTEXT, label=w)
        for v, w in words.items()
    ]
    figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.04), ncol=4, fontsize=9)
    return figure
