"""Axes of a front, shared by figures and pages: units, log ticks, and labels of chips without overlap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from ..core.text import common_scale, digits, label, unit_of
from ..study.metrics import DELIVERED
from .style import CONTEXT, DESIGN

ROOM = 1.25
"""Room around the front, as a factor; chips farther away are marked at the edge."""
ALIKE = 1e-3
"""Share by which numbers of designs must differ to be told apart by the three digits that are shown."""
LETTER, LINE = 5.2, 9.0
"""Width of a letter and height of a line of a label [points]."""
COARSE, MIDDLE = (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
FINE = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0)
"""Steps of a decade that are ticks."""
PLACES = (
    (6, 4, "left"), (-6, -9, "right"), (6, -9, "left"), (-6, 4, "right"), (6, 15, "left"), (-6, -20, "right"),
    (6, -20, "left"), (-6, -31, "right"), (6, 26, "left"), (-6, 26, "right"), (6, 37, "left"), (-6, 37, "right"),
)  # fmt: skip
"""Where a label may stand beside its mark, first choice first: shift in points and side."""
NEAR = 10
"""Shift up or down beyond which a line leads from a label to its mark [points]."""


def better(metric: str, values: Any) -> Any:
    """One value of a metric, or an array, as it is drawn: a delivered time as the speed-up it is."""
    return 1.0 / values if metric == DELIVERED else values


def axis_label(metric: str, values: np.ndarray) -> tuple[str, float]:
    """Axis title with its unit, and what to divide by."""
    if metric == DELIVERED:
        return "delivered speed-up over the baseline [x]", 1.0
    unit = unit_of(metric)
    if unit not in ("", "frac"):
        text, factor = common_scale(values.tolist(), unit)
        return f"{label(metric)} [{text}]", factor
    return label(metric), 1.0


def round_ticks(low: float, high: float) -> list[float]:
    """The 1, 2 and 5 of every decade between two positive numbers, or finer steps where these are fewer than three."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in (COARSE, MIDDLE, FINE):
        every = [m * 10.0**e for e in range(first, last + 1) for m in steps]
        found = [t for t in every if low <= t <= high]
        if len(found) >= 3:
            break
    return found


def log_ticks(low: float, high: float) -> dict[str, object]:
    """A log axis of a page between two positive numbers: ticks as people write them, not plotly's bare digits."""
    ticks = round_ticks(low, high)
    return {"type": "log", "tickvals": ticks, "ticktext": [digits(t, 2) for t in ticks], "showgrid": True}


def log_axes(ax: Axes) -> None:
    """Log axes with plain numbers, ticks wherever less than a decade is shown."""
    for axis, set_scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        set_scale("log")
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda v, _: digits(v, 2)))
        axis.set_minor_formatter(NullFormatter())


def frame(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Show the front with some room around it, whatever else is drawn."""
    ax.set_xlim(float(x.min()) / ROOM, float(x.max()) * ROOM)
    ax.set_ylim(float(y.min()) / ROOM, float(y.max()) * ROOM)
    round_axes(ax)


def round_axes(ax: Axes) -> None:
    """At least three ticks on either log axis as it stands, however little of a decade it shows."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator(round_ticks(*axis.get_view_interval())))
        axis.set_minor_locator(NullLocator())


def mark_chips(ax: Axes, chips: list[tuple[str, float, float]]) -> None:
    """Mark chips by name on log axes whose limits are set; those outside stand at the edge, with their numbers."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    taken: list[tuple[float, float, float, float]] = []
    # in order, so that labels fall alike however chips are listed
    for name, x, y in sorted(chips, key=lambda c: (c[1], c[2])):
        at = float(np.clip(x, x0, x1)), float(np.clip(y, y0, y1))
        inside = at == (x, y)
        text = name if inside else f"{name} ({digits(x, 2)}, {digits(y, 2)})"
        face = "white" if inside else DESIGN
        marked = {"facecolors": face, "edgecolors": DESIGN, "zorder": 5, "clip_on": False}
        ax.scatter(*at, marker="D" if inside else _towards(x, y, at), s=30, **marked)
        dx, dy, side = _free_place(ax, at, text, taken)
        relpos = (float(side == "right"), 0.5)
        look = {"arrowstyle": "-", "color": CONTEXT, "linewidth": 0.6, "shrinkA": 0, "relpos": relpos}
        lead = look if abs(dy) > NEAR else None
        ax.annotate(text, at, (dx, dy), textcoords="offset points", ha=side, fontsize=8, zorder=6, arrowprops=lead)


def _towards(x: float, y: float, at: tuple[float, float]) -> str:
    """The arrow at the edge that points to a chip outside."""
    if x != at[0]:
        return ">" if x > at[0] else "<"
    return "^" if y > at[1] else "v"


def _free_place(
    ax: Axes, at: tuple[float, float], text: str, taken: list[tuple[float, float, float, float]]
) -> tuple[float, float, str]:
    """The first of `PLACES` inside the axes that no label has taken, or the last of them; notes it as taken."""
    points = 72.0 / ax.figure.dpi
    px, py = (float(v) * points for v in ax.transData.transform(at))
    box = ax.get_window_extent()
    left, right = box.x0 * points, box.x1 * points
    found = None
    for dx, dy, side in PLACES:
        # sizes are guessed from the letters: what is drawn can be measured only once it is, label after label
        start = px + dx - (LETTER * len(text) if side == "right" else 0.0)
        here = (start, py + dy, start + LETTER * len(text), py + dy + LINE)
        free = all(here[2] <= t[0] or here[0] >= t[2] or here[3] <= t[1] or here[1] >= t[3] for t in taken)
        if free and left <= here[0] and here[2] <= right and box.y0 * points <= here[1] and here[3] <= box.y1 * points:
            found = here, (dx, dy, side)
            break
    if found is None:
        side = "left" if px < (left + right) / 2 else "right"
        return 6.0 if side == "left" else -6.0, 4.0, side
    taken.append(found[0])
    return found[1]
