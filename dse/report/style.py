"""Style of all figures: colours, marks and their meaning.

A block of a chip (`BLOCKS`), a process node, a chip family and a sign have one colour each. Gray is for comparison,
near-black the design; blue helps and red harms; filled is measured or published, hollow an estimate, hatched empty.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib

if "ipykernel" not in sys.modules:  # a notebook shows figures itself; anything else writes files
    matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLOCKS = {
    "tensor engines": "#23608f",
    "vector lanes": "#6fb1d6",
    "SRAM": "#e6a23c",
    "HBM": "#b23a48",
    "links": "#4c8c4a",
    "on-die network": "#a3c585",
    "control, DMA": "#8f7fb0",
    "static": "#7d7d7d",
    "launches": "#c9609f",
    "delivery loss": "#b9a88a",
    "other": "#dcdcdc",
}
"""Block of a chip to its colour, in areas, powers and rooflines alike; launches, which no block does, have one too."""
CONTEXT = "#9a9a9a"
"""What is there to compare with."""
BAND = "#ededed"
"""A range in which an error is small, or a correlation noise."""
DESIGN = "#1d1d1d"
HARMS, HELPS = BLOCKS["HBM"], BLOCKS["tensor engines"]
"""What makes the goal worse, and what makes it better."""
REACHED = BLOCKS["links"]
VERDICTS = {"hit": REACHED, "near": "#d9a21b", "miss": HARMS, "given": CONTEXT}
"""How near a proposal came to what was built."""
NODES = (
    "#23608f", "#b23a48", "#4c8c4a", "#e6a23c", "#8f7fb0", "#6fb1d6", "#7a5c3e", "#d77fb0", "#a3b83c", "#1b3a2f",
    "#6a3fc0", "#2fa3a0",
)  # fmt: skip
"""Process nodes along a front, in the order of the study."""
FAMILIES = (
    "#33658a", "#d1603d", "#4c8c4a", "#8a4f7d", "#d9a21b", "#2fa3a0", "#7a5c3e", "#e07fb0", "#a3b83c", "#7f8fd9",
    "#1b3a2f", "#b00058", "#6a3fc0", "#c9b28a", "#5cc4e8",
)  # fmt: skip
"""Chip families of measurements, in the order of their calibrations, then chips of no family."""
DPI = 144

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#606060",
    "axes.labelcolor": "#303030",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "grid.color": "#ececec",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    # without it names inside an SVG are random, and equal figures would differ as files
    "svg.hashsalt": "dse",
    "hatch.linewidth": 0.6,
}


def colours(names: Iterable[str], palette: tuple[str, ...]) -> dict[str, str]:
    """Each name once, with its colour; a palette that runs out begins again, so that nothing is left undrawn."""
    return dict(zip(dict.fromkeys(names), cycle(palette), strict=False))


def note(ax: Axes, words: str, at: tuple[float, float], shift: tuple[float, float], **look: Any) -> None:
    """Words beside a point, `shift` points of print from it."""
    ax.annotate(words, at, shift, textcoords="offset points", **look)


def named_rows(ax: Axes, names: Sequence[str], **look: Any) -> None:
    """A row per name down the page, the first on top, with lines across for its values."""
    ax.set_yticks(range(len(names)), names, **look)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(True, axis="x")  # said, since a bare second call would switch them off again


MARGIN_INCH = 0.15


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `figure` to `folder` as PNG and SVG and close it; files do not depend on the time of day."""
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    figure.draw_without_rendering()
    # the frame around all that is drawn, found once: "tight" lays the whole figure out again for each file
    box = figure.get_tightbbox().padded(MARGIN_INCH)
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=DPI, bbox_inches=box, metadata=metadata)
    plt.close(figure)
    return paths


def draw(folder: Path, **figures: Callable[[], Figure]) -> list[Path]:
    """Draw figures in the house style and `save` each under its name."""
    with plt.rc_context(STYLE):
        return [path for name, make in figures.items() for path in save(make(), folder, name)]
