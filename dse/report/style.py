"""One look for all figures: a block has one colour everywhere, gray is context, estimates are hollow or hatched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
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
    "delivery loss": "#c9c9c9",
    "other": "#dcdcdc",
}
"""Block of a chip to its colour, in areas, powers and rooflines alike."""

CONTEXT = "#9a9a9a"
"""What is there to compare with."""
DESIGN = "#1d1d1d"
"""Lines of the design."""
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
    "svg.hashsalt": "dse",
    "hatch.linewidth": 0.6,
}
"""Settings of every figure."""


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `figure` to `folder` as PNG and SVG and close it; files do not depend on the time of day."""
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.15, metadata=metadata)
    plt.close(figure)
    return paths
