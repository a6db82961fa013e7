"""Back-tests as terminal tables, JSON, and a figure with one row per step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.text import Text

from ..core.files import picked
from ..core.text import digits, label, percent, quantity_text, times
from ..explore.against_built import CLOSE, HIT, NEAR, SHARE_FRAC, Backtest, n_right
from ..explore.backtest import OWN
from ..explore.tally import Backtests, KindOfNumber, Tally
from ..hardware.own_chip import short_name
from .chip_tables import product
from .layout import Table, table_of
from .style import BAND, CONTEXT, DESIGN, VERDICTS, named_rows, plt
from .terminal import unfinished

NAMES = {"tensor_pes": "PEs of all cores", "pes_per_core": "PEs of a core", "n_dies": "dies"}
"""Labels of quantities that are no metrics."""
DRAWN = (
    "peak_bf16_FLOPps", "tensor_pes", "clock_Hz", "sram_B", "vector_lanes", "n_stacks", "hbm_bandwidth_Bps",
    "scaleup_bandwidth_per_dir_Bps",
)  # fmt: skip
"""Quantities in the figure, left to right."""
TICKS = (0.25, 0.5, 1.0, 2.0, 4.0)


def name_of(name: str) -> str:
    """Label of a quantity."""
    return NAMES.get(name, label(name))


def step_name(b: Backtest) -> str:
    """From which chip to which."""
    return " to ".join(product(short_name(n)) for n in (b.study.baseline.chip.name, b.built))


def backtests_view(found: Backtests) -> RenderableType:
    """All back-tests: each in full, then one row per step and the tally where there are several."""
    each = [part for b in found.steps for part in (backtest_view(b), "")]
    return Group(*each, steps_table(found), "", kinds_table(found), tally_text(found.tally))


def backtest_view(b: Backtest) -> RenderableType:
    """One back-test: verdict and table."""
    quantities = backtest_table(backtest_json(b))
    return Group(Text(headline(b), style="bold"), *map(Text, lines(b)), "", quantities, *unfinished(b.unfinished))


def headline(b: Backtest) -> str:
    """The verdict in one sentence."""
    n = b.counts
    return (
        f"{step_name(b)}: {n_right(b)} of {len(b.named)} technologies as built; "
        f"{n['hit']} hits (within {digits(HIT)}x), {n['near']} near (within {digits(NEAR)}x), {n['miss']} misses"
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
    return [
        f"chosen: {words}",
        f"delivered by the model: {total} ({speeds}); regret of the built chip {percent(b.regret_frac)}",
        f"median factor {times(b.factors[0], 2)}; the older chip scaled by area and node {times(b.factors[1], 2)}",
    ]


STYLES = {"miss": "red", "near": "yellow", "given": "dim"}


def backtest_table(a: dict[str, Any]) -> Table:
    """Quantity by quantity, from the JSON of a step."""
    rows: list[tuple[str, ...]] = []
    for r in a["rows"]:
        mine, theirs = (text_of(r["name"], r[k]) for k in ("proposed", "built"))
        near = " to ".join(text_of(r["name"], v) for v in r["near"] or ())
        # a miss on a flat optimum is no error of the model: designs as good have the built number
        verdict = f"{r['verdict']}, inside" if r["inside"] and r["verdict"] in ("near", "miss") else r["verdict"]
        rows.append((name_of(r["name"]), mine, near, theirs, times(r["ratio"], 2), verdict, times(r["naive_ratio"], 2)))
    styles = tuple(STYLES.get(r["verdict"], "none") for r in a["rows"])
    heads = ("quantity", "proposed", f"within {percent(SHARE_FRAC)}", a["built"], "ratio", "verdict", "naive")
    return Table(heads, tuple(rows), styles)


def text_of(name: str, value: float) -> str:
    """A quantity as people write it; counts of PEs in full."""
    return f"{value:,.0f}" if name in OWN else quantity_text(name, value)


def steps_table(found: Backtests) -> Table:
    """One row per step."""
    heads = ("step", "as built", "median factor", "naive", f"within {CLOSE:g}x", "SRAM", "inside", "regret of built")
    rows = (
        (
            step_name(b), f"{n_right(b)} of {len(b.named)}", *(times(x, 2) for x in b.factors[:2]),
            f"{b.n_close} of {len(b.scored)}", times(b.sram_ratio, 2), _inside(b), percent(b.regret_frac),
        )
        for b in found.steps
    )  # fmt: skip
    return table_of(heads, rows)


def _inside(x: Backtest | KindOfNumber) -> str:
    """How many built numbers lie in the ranges of designs as good; nothing where there are none."""
    return f"{x.n_inside} of {x.n_ranged}" if x.n_ranged else ""


def kinds_table(found: Backtests) -> Table:
    """One row per quantity over all steps, the one that is missed most first."""
    heads = ("number", "steps", "ratio", "spread", "median factor", "naive", "share of all misses", "inside")
    rows = (
        (
            name_of(k.name), str(k.n_steps), *(times(x, 2) for x in (k.ratio, k.spread, k.factor, k.naive_factor)),
            percent(k.share_frac), _inside(k),
        )
        for k in found.kinds
    )  # fmt: skip
    return table_of(heads, rows)


def tally_text(t: Tally) -> str:
    """All steps in one sentence."""
    return (
        f"{t.n_numbers} numbers of {t.n_steps} steps: median factor {times(t.median_factor, 2)} (naive "
        f"{times(t.naive_factor, 2)}), {percent(t.within_frac['1.5'])} within 1.5x; SRAM within 2x in "
        f"{percent(t.sram_frac)} of steps; {percent(t.inside_frac)} of built numbers among designs within "
        f"{percent(SHARE_FRAC)} of the optimum; regret of the built chip {percent(t.regret_frac)} in median; better "
        f"than the naive forecast on {t.n_better} of {t.n_steps} steps."
    )


def backtests_json(found: Backtests) -> dict[str, Any]:
    """All back-tests for machines, canonical units."""
    t = dataclasses.asdict(found.tally)
    # JSON has no NaN
    t["inside_frac"] = None if math.isnan(t["inside_frac"]) else t["inside_frac"]
    kinds = [dataclasses.asdict(k) for k in found.kinds]
    return {"steps": [backtest_json(b) for b in found.steps], "tally": t, "kinds": kinds}


def backtest_json(b: Backtest) -> dict[str, Any]:
    """One back-test for machines, canonical units."""
    return {
        "study": b.study.name,
        "predecessor": b.study.baseline.chip.name,
        "built": b.built,
        "status": b.solution.status.name.lower(),
        "unfinished": list(b.unfinished),
        "certified": b.solution.certificate is not None and b.solution.certificate.proved,
        "choices": [{"what": w, "proposed": p, "built": q, "same": p == q} for w, p, q in b.named],
        "counts": b.counts,
        "factor": b.factors[0],
        "baseline_factor": b.factors[1],
        "regret": b.regret_frac,
        "delivered_proposed": b.solution.delivered,
        "delivered_built": b.built_delivered,
        "speedups_proposed": {w.name: float(w.speedup) for w in b.solution.workloads},
        "speedups_built": b.built_speedup,
        "rows": [{**dataclasses.asdict(r), **picked(r, "ratio", "verdict", "inside", "naive_ratio")} for r in b.rows],
    }


def steps_figure(found: Sequence[Backtest]) -> Figure:
    """One row per step, one panel per quantity: proposed over built, its range, and the naive forecast."""
    size = (2.2 + 1.55 * len(DRAWN), 0.42 * len(found) + 1.5)
    figure, axes = plt.subplots(1, len(DRAWN), figsize=size, sharey=True, squeeze=False)
    for ax, name in zip(axes[0], DRAWN, strict=True):
        _panel(ax, name, found)
    named_rows(axes[0][0], [step_name(b) for b in found])
    words = {"hit": f"within {HIT:g}x", "near": f"within {NEAR:g}x", "miss": "beyond", "given": "given"}
    handles = [
        plt.Line2D([], [], marker="o", color="none", markeredgecolor=CONTEXT, markerfacecolor=VERDICTS[v], label=w)
        for v, w in words.items()
    ]
    handles += [
        plt.Line2D([], [], color=DESIGN, linewidth=3, alpha=0.4, label=f"within {percent(SHARE_FRAC)} of the optimum"),
        plt.Line2D([], [], marker="x", color="none", markeredgecolor=CONTEXT, label="scaled by area and node"),
    ]
    figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncol=6, fontsize=9)
    return figure


TICK_ROOM = 0.26
"""Least distance of two ticks, as a share of a panel."""


def _panel(ax: Axes, name: str, found: Sequence[Backtest]) -> None:
    """Ratios of one quantity over all steps, on a log axis; the band is a hit."""
    ax.axvspan(1 / HIT, HIT, color=BAND, zorder=0)
    ax.axvline(1, color=DESIGN, linewidth=0.8)
    for i, b in enumerate(found):
        r = next((x for x in b.rows if x.name == name), None)
        if r is None:
            continue
        if r.near_ratio is not None:
            ax.plot(r.near_ratio, [i, i], color=DESIGN, linewidth=3.0, alpha=0.4, solid_capstyle="butt", zorder=1)
        ax.plot(r.naive_ratio, i, "x", markersize=5, color=CONTEXT, zorder=2)
        ax.plot(r.ratio, i, "o", markersize=7, color=VERDICTS[r.verdict], markeredgecolor=CONTEXT, zorder=3)
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, 0.4), max(high, 2.5))
    low, high = ax.get_xlim()
    near = (high / low) ** TICK_ROOM  # words closer to each other would touch
    shown = [x for x in TICKS if low <= x <= high and (x == 1 or abs(math.log(x)) >= math.log(near))]
    ax.set_xticks(shown, [f"{x:g}" for x in shown])
    ax.minorticks_off()
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    ax.set_title(name_of(name), fontsize=9)
