"""Figures of an optimised chip: area and power by block, and rooflines with its operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..core.text import digits, label, percent
from ..evaluation.breakdown import Finding
from ..explore.designed import WHITE_SPACE, Cloud, area_parts_mm2, clouds, full_load_W, phases
from ..hardware.chip import Chip, peak_FLOPps
from ..hardware.presets import chip as preset_chip
from ..hardware.presets import chip_receipts
from ..optimize.solution import Solution
from ..study.metrics import FULL_LOAD, HOTTEST, POWER, Limit
from ..study.study import Study
from .roofline_figures import draw_operators, draw_roofs, label_operators
from .style import BLOCKS, CONTEXT, DESIGN, draw, note, plt

FAMILY = ("trainium1", "trainium2", "trainium3")
"""Chips shown beside a design for context."""

AREA_BLOCKS = {
    "tensor_mm2": "tensor engines", "vector_mm2": "vector lanes", "sram_mm2": "SRAM", "local_sram_mm2": "SRAM",
    "hbm_mm2": "HBM", "link_mm2": "links", "die_to_die_mm2": "links", "network_mm2": "on-die network",
    "control_mm2": "control, DMA", "misc_mm2": "other",
}  # fmt: skip
"""Part of `Area` to the block whose colour it has."""

POWER_BLOCKS = {
    "tensor": "tensor engines", "vector": "vector lanes", "sram": "SRAM", "hbm": "HBM", "links": "links",
    "wire": "on-die network", "static": "static", "delivery": "delivery loss",
}  # fmt: skip
"""Part of the full-load power to the block whose colour it has."""

BOUND_BLOCKS = {
    "compute": "tensor engines", "tile": "tensor engines", "hbm": "HBM", "vector": "vector lanes",
    "dma": "control, DMA", "launch": "launches",
}  # fmt: skip
"""Limit of an operator to the block whose colour it has."""


def write_figures(s: Solution, folder: Path) -> list[Path]:
    """Draw both figures of a solution that has a design into `folder`, as PNG and SVG."""
    chip = s.chip
    assert chip is not None
    paths = draw(folder, area_power=lambda: area_power_figure(chip, s.study))
    return paths + (draw(folder, roofline=lambda: roofline_figure(s)) if phases(s) else [])


def area_parts(chip: Chip, package: str) -> dict[str, float]:
    """Silicon of all dies by block [mm2]."""
    found: dict[str, float] = {}
    parts = area_parts_mm2(chip, package)
    for name, block in (*AREA_BLOCKS.items(), (WHITE_SPACE, WHITE_SPACE)):
        found[block] = found.get(block, 0.0) + parts[name]
    return found


def power_parts(chip: Chip, package: str, precision: str) -> dict[str, float]:
    """Power by block with everything at full rate [W]."""
    return {POWER_BLOCKS[name]: watts for name, watts in full_load_W(chip, package, precision).items()}


def area_power_figure(design: Chip, study: Study) -> Figure:
    """Area and full-load FP8 power by block, the design below the Trainium family."""
    base = study.baseline.chip
    family = [preset_chip(n) for n in FAMILY if n != base.name]
    chips = [*family, base, design]
    names = [*(c.name for c in chips[:-1]), "design"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, gridspec_kw={"wspace": 0.09})
    areas = [area_parts(c, study.package) for c in chips]
    powers = [power_parts(c, study.package, "fp8") for c in chips]
    limit = drawn_limit(study)
    marks = [*(float(c.power_limit_W) for c in chips[:-1]), limit.value if limit else 0.0]
    stacked_bars(left, names, areas, [0.0] * len(chips), "mm²")
    stacked_bars(right, names, powers, marks, "W")
    left.get_yticklabels()[-1].set_fontweight("bold")
    left.set(xlabel="silicon of all compute dies, modelled [mm²]", title="Area by block")
    right.set(xlabel="everything at full rate in FP8, modelled [W]", title="Full-load power by block")
    for row, c in enumerate(chips[:-1]):
        mark_tdp(right, row, c)
    if limit:
        right.plot([limit.value] * 2, [len(chips) - 1.42, len(chips) - 0.58], color=DESIGN, linewidth=2)
    shown = {block for parts in (*areas, *powers) for block, value in parts.items() if value > 0}
    figure.legend(
        handles=block_handles(shown, limit), loc="upper center", bbox_to_anchor=(0.5, -0.07), ncol=5, fontsize=9
    )
    return figure


def stacked_bars(ax: Axes, names: list[str], bars: list[dict[str, float]], marks: list[float], unit: str) -> None:
    """One horizontal bar per name, stacked by block, its total behind both its end and its mark."""
    longest = max(sum(b.values()) for b in bars)
    for row, (parts, mark) in enumerate(zip(bars, marks, strict=True)):
        start = 0.0
        for block, value in parts.items():
            if value > 0:
                ax.barh(row, value, left=start, height=0.62, **block_look(block))
            start += value
        # else the number would lie on the mark
        near = start < mark + 0.03 * longest
        text = f"{digits(start)} {unit}"
        place = (max(start, mark) if near else start, row)
        note(ax, text, place, (9 if near else 5, 0), va="center", fontsize=9)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.set_xlim(0, 1.2 * longest)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.grid(axis="x")


def block_look(block: str) -> dict[str, Any]:
    """Fill of a block; white space is hatched."""
    if block in BLOCKS:
        return {"facecolor": BLOCKS[block], "linewidth": 0.0}
    return {"facecolor": "white", "edgecolor": CONTEXT, "hatch": "////", "linewidth": 0.6}


def drawn_limit(study: Study) -> Limit | None:
    """The limit on power that says most of a chip at full rate: on that itself, else on what it does in a step."""
    caps = {x.metric: x for x in study.limits if x.sense == "at_most"}
    return next((caps[n] for n in ("full_load_fp8_W", FULL_LOAD, HOTTEST, POWER) if n in caps), None)


def mark_tdp(ax: Axes, row: int, c: Chip) -> None:
    """Sustained power of a chip: a hollow mark where it is an estimate, filled where published."""
    kind = next((f.kind for f in chip_receipts(c.name) if f.name == "power_limit_W"), "guess")
    face = DESIGN if kind in ("datasheet", "measured") else "white"
    ax.plot(float(c.power_limit_W), row, "D", markersize=6, markerfacecolor=face, markeredgecolor=DESIGN)


def block_handles(shown: set[str], limit: Limit | None) -> list[Patch | Line2D]:
    """Legend of the blocks that occur, and of the marks; a limit on the mean is no limit on full load, and says so."""
    patches = [Patch(label=block, **block_look(block)) for block in (*BLOCKS, WHITE_SPACE) if block in shown]
    look: dict[str, Any] = {"color": "none", "markeredgecolor": DESIGN}
    tdp = Line2D([], [], marker="D", markerfacecolor="white", label="TDP (third-party estimate)", **look)
    if limit is None:
        return [*patches, tdp]
    words = f"limit of the study: {'mean power' if limit.metric == POWER else label(limit.metric)}"
    return [*patches, tdp, Line2D([], [], marker="|", markersize=11, markeredgewidth=2, label=words, **look)]


def roofline_figure(s: Solution) -> Figure:
    """Rooflines of baseline and design, one panel per workload, with its operators."""
    n = len(phases(s))
    size, grid = (max(5.0 * n, 6.0), 4.2), {"wspace": 0.06}
    figure, axes = plt.subplots(1, n, figsize=size, sharey=True, squeeze=False, gridspec_kw=grid)
    pairs = [clouds(s, name) for name in phases(s)]
    every = [(c, o) for pair in pairs for c in pair for o in c.operators]
    x = (min(o.intensity for _, o in every) / 3, max(o.intensity for _, o in every) * 6)
    # one scale for all panels, so that workloads compare
    top = max(map(highest_roof_FLOPps, pairs))
    axes[0][0].set(ylim=(min(o.achieved_FLOPps for _, o in every) / 3, top * 3), ylabel="FLOP/s of one chip")
    for ax, pair, (name, (workload, n_chips)) in zip(axes[0], pairs, phases(s).items(), strict=True):
        ax.set_title(f"{name}: {workload.model.name}, {n_chips:,} chips")
        ax.set_xlabel("FLOP per byte of HBM traffic")
        precisions = {o.precision for cloud in pair for o in cloud.operators}
        roofline_panel(ax, pair[1], precisions, x, pair[0])
    # both have one colour and one word, so that a legend has them once
    bounds = list(dict.fromkeys("compute" if o.bound == "tile" else o.bound for p in pairs for o in p[1].operators))
    handles = bound_handles(bounds, s.study.baseline.chip.name)
    look: dict[str, Any] = {"ncol": len(handles), "fontsize": 9, "columnspacing": 1.4, "handletextpad": 0.5}
    figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.01), **look)
    return figure


def highest_roof_FLOPps(pair: tuple[Cloud, Cloud]) -> float:
    """What a panel must reach up to: no point, but the roof of the faster chip."""
    return max(float(peak_FLOPps(c.chip, o.precision)) for c in pair for cloud in pair for o in cloud.operators)


def roofline_panel(
    ax: Axes, shown: Cloud, precisions: set[str], x: tuple[float, float], behind: Cloud | None = None
) -> None:
    """Roofs at some precisions, operators as points as large as their share of time; in gray those of a baseline."""
    ax.set(xscale="log", yscale="log", xlim=x)
    ax.grid(which="major")
    lines, others = [], behind.operators if behind else ()
    if behind:  # each precision has a roof of both chips, also of one that has no operator to show
        lines += draw_roofs(ax, behind.chip, precisions, CONTEXT, x, below=True)
    lines += draw_roofs(ax, shown.chip, precisions, DESIGN, x)
    if not shown.operators:
        said = f"{'design: ' if behind else ''}{NO_POINTS}"
        ax.text(0.03, 0.97, said, transform=ax.transAxes, va="top", fontsize=8.5, color=DESIGN)
    draw_operators(ax, others, [CONTEXT] * len(others), 3)
    draw_operators(ax, shown.operators, [BLOCKS[BOUND_BLOCKS[o.bound]] for o in shown.operators], 4)
    points = [(o.intensity, o.achieved_FLOPps) for o in (*others, *shown.operators)]
    if shown.operators:
        label_operators(ax, shown.operators, np.asarray(points), np.concatenate(lines))


NO_POINTS = "operators of streamed blocks\nhave no HBM traffic of their own"
"""What a panel says of a chip that none of its operators has a place for."""


def bound_handles(bounds: list[str], baseline: str) -> list[Line2D]:
    """Legend of roofs and of what bounds the points."""
    roofs = [Line2D([], [], color=c, linewidth=1.8, label=t) for c, t in ((DESIGN, "design"), (CONTEXT, baseline))]
    look: dict[str, Any] = {"color": "none", "marker": "o", "markersize": 8, "markeredgecolor": "white"}
    dots = [(BLOCKS[BOUND_BLOCKS[b]], f"bound {BOUND_WORDS[b]}") for b in bounds]
    dots.append((CONTEXT, f"operator on {baseline}"))
    return [*roofs, *(Line2D([], [], markerfacecolor=c, label=t, **look) for c, t in dots)]


BOUND_WORDS = {
    "compute": "by tensor engines", "tile": "by tensor engines", "hbm": "by HBM",
    "vector": "by vector lanes", "dma": "by DMA", "launch": "by launches",
}  # fmt: skip
"""Limit of an operator to its words in a legend."""


def chip_roofline_figure(f: Finding) -> Figure:
    """Roofs of a chip at the precisions that occur, operators as points as large as their share of the time."""
    figure, ax = plt.subplots(figsize=(7.0, 4.2))
    c, products = f.system.chip, [o for o in f.operators if o.run_FLOP > 0]
    ops = tuple(o for o in products if o.run_B > 0)
    peaks_FLOPps = {o.precision: float(peak_FLOPps(c, o.precision)) for o in products}
    top = max(peaks_FLOPps.values())
    across = [top / float(c.hbm_bandwidth_Bps), *(o.intensity for o in ops)]  # the ridge is always shown
    x, low = (min(across) / 3, max(across) * 4), min([*peaks_FLOPps.values(), *(o.achieved_FLOPps for o in ops)])
    ax.set(ylim=(low / 3, top * 3), xlabel="FLOP per byte of HBM traffic", ylabel="FLOP/s of one chip")
    roofline_panel(ax, Cloud(c, ops), set(peaks_FLOPps), x)
    blocks = {BOUND_WORDS[o.bound]: BLOCKS[BOUND_BLOCKS[o.bound]] for o in ops}
    look: dict[str, Any] = {"marker": "o", "color": "none", "markeredgecolor": "white", "markersize": 9}
    handles = [Line2D([], [], markerfacecolor=c, label=f"bound {words}", **look) for words, c in blocks.items()]
    ax.legend(handles=handles, loc="lower right", fontsize=9)
    mfu = percent(float(f.evaluation.mfu_frac))
    ax.set_title(f"{f.workload.model.name} on {f.system.n_chips:,} x {c.name}: {mfu} of peak used")
    return figure
