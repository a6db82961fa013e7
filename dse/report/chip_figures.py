"""The figure of one workload on one chip: its roofline with operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..core.text import percent
from ..evaluation.breakdown import Finding
from ..hardware.chip import peak_FLOPps
from .figures import BOUND_BLOCKS, BOUND_WORDS, LARGEST_POINT, SMALLEST_POINT, draw_roofs, label_operators
from .style import BLOCKS, DESIGN, plt


def chip_roofline_figure(f: Finding) -> Figure:
    """Roofs of a chip at the precisions that occur, operators as points as large as their share of the time."""
    figure, ax = plt.subplots(figsize=(7.0, 4.2))
    c, ops = f.system.chip, tuple(o for o in f.operators if o.run_FLOP > 0 and o.run_B > 0)
    top = max(float(peak_FLOPps(c, o.precision)) for o in ops)
    ridge = top / float(c.hbm_bandwidth_Bps)
    x = (min(o.intensity for o in ops) / 3, max(ridge, *(o.intensity for o in ops)) * 4)
    ax.set(xscale="log", yscale="log", xlim=x, ylim=(min(o.achieved_FLOPps for o in ops) / 3, top * 3))
    ax.set(xlabel="FLOP per byte of HBM traffic", ylabel="FLOP/s of one chip")
    ax.grid(which="major")
    lines = draw_roofs(ax, c, {o.precision for o in ops}, DESIGN, x)
    for o in ops:
        area = SMALLEST_POINT + LARGEST_POINT * o.seconds / sum(p.seconds for p in ops)
        ax.scatter(
            o.intensity, o.achieved_FLOPps, s=area, c=BLOCKS[BOUND_BLOCKS[o.bound]], edgecolors="white", linewidths=1.0,
            zorder=3,
        )  # fmt: skip
    label_operators(ax, ops, np.asarray([(o.intensity, o.achieved_FLOPps) for o in ops]), np.concatenate(lines))
    blocks = {BOUND_WORDS[o.bound]: BLOCKS[BOUND_BLOCKS[o.bound]] for o in ops}
    look: dict[str, Any] = {"marker": "o", "color": "none", "markeredgecolor": "white", "markersize": 9}
    handles = [Line2D([], [], markerfacecolor=c, label=f"bound {words}", **look) for words, c in blocks.items()]
    ax.legend(handles=handles, loc="lower right", fontsize=9)
    mfu = percent(float(f.evaluation.mfu_frac))
    ax.set_title(f"{f.workload.model.name} on {f.system.n_chips:,} x {c.name}: {mfu} of peak used")
    return figure
