"""Elements of a roofline figure: roofs, operators as points, and labels without overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from ..evaluation.breakdown import Operator
from ..hardware.chip import Chip, peak_FLOPps
from .style import note

SMALLEST_POINT, LARGEST_POINT = 24.0, 240.0
"""Area of a point that takes no time, and what is added for one that takes all [square points]."""
LABELLED = 4
"""Operators named in a panel."""
LETTER, LINE, ROOF_LABEL = 5.0, 11.0, 25.0
"""Width of a letter, height of a line, width of a roof's label [points]."""
SIDES = [np.asarray(x) for x in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))]
"""Where a label may stand, best first: right, left, above, below, corners."""
HALO = [withStroke(linewidth=2.5, foreground="white")]


def draw_roofs(
    ax: Axes, c: Chip, precisions: set[str], color: str, x: tuple[float, float], below: bool = False
) -> list[np.ndarray]:  # fmt: skip
    """The bandwidth slope and the roof of every precision, named above or `below`; returns points along the lines."""
    rate, drawn = float(c.hbm_bandwidth_Bps), []
    # highest first: its line has the slope, from which the others branch off
    peaks = sorted(((float(peak_FLOPps(c, p)), p) for p in precisions), reverse=True)
    look: dict[str, Any] = {"fontsize": 8, "color": color, "ha": "right", "va": "top" if below else "bottom"}
    for i, (peak, precision) in enumerate(peaks):
        across = np.geomspace(x[0] if i == 0 else peak / rate, x[1], 200)
        up = np.minimum(peak, across * rate)
        ax.plot(across, up, color=color, linewidth=1.8 if i == 0 else 1.0, linestyle="-" if i == 0 else "--", zorder=1)
        note(ax, precision.upper(), (x[1], peak), (-2, -2 if below else 2), **look)
        drawn.append(np.stack([across, up], axis=1))
    return drawn


def draw_operators(ax: Axes, ops: tuple[Operator, ...], faces: list[str], order: int) -> None:
    """Operators as points as large as their share of the time."""
    total = sum(o.seconds for o in ops)
    for o, face in zip(ops, faces, strict=True):
        area = SMALLEST_POINT + LARGEST_POINT * o.seconds / total
        ax.scatter(o.intensity, o.achieved_FLOPps, s=area, c=face, edgecolors="white", linewidths=1.0, zorder=order)


def label_operators(ax: Axes, ops: tuple[Operator, ...], points: np.ndarray, lines: np.ndarray) -> None:
    """Names beside the longest operators: off all points, and off the roofs too where there is room."""
    scale = ax.figure.dpi / 72  # pixels of a point: labels are shifted in points, 72 an inch
    points, lines = (ax.transData.transform(x) / scale for x in (points, lines))
    right = float(ax.bbox.x1) / scale - ROOF_LABEL
    named: dict[str, np.ndarray] = {}
    for o in ops:
        here = ax.transData.transform((o.intensity, o.achieved_FLOPps)) / scale
        word = o.name.split()[0]
        crowded = any(np.abs(here - at).max() < 1.5 * LINE for at in named.values())
        if len(named) == LABELLED or word in named or crowded:
            continue
        half = np.asarray([LETTER * len(word) / 2 + 2, LINE / 2 + 2])
        offsets = [half * side + np.sign(side) * (6, 4) for side in SIDES]
        clear = [x for x in offsets if (here + x + half)[0] < right and not _covers(here + x, half + 4, points)]
        free = [x for x in clear if not _covers(here + x, half, lines)]
        if not clear:
            continue
        place = (free or clear)[0]
        look: dict[str, Any] = {"fontsize": 8.5, "color": "#303030", "path_effects": HALO, "zorder": 5}
        note(ax, word, (o.intensity, o.achieved_FLOPps), tuple(place), ha="center", va="center", **look)
        named[word] = here
        # a label takes its place as a row of points, so that the next one keeps off it
        letters = np.linspace(here + place - half * SIDES[0], here + place + half * SIDES[0], 9)
        points = np.concatenate([points, letters])


def _covers(centre: np.ndarray, half: np.ndarray, others: np.ndarray) -> bool:
    return bool(np.any(np.all(np.abs(others - centre) < half, axis=1)))
