"""Figures and pages for notebooks; all functions except `save` and `write_page` return matplotlib figures.

    solution = dse.solve(study)
    dse.plots.area_power(solution)
For your own figures use `with dse.plots.style(): ...` and the colours `BLOCKS`, `NODES`, `DESIGN` (the design) and
`CONTEXT` (references for comparison); filled marks are measured or published, hollow ones estimated. `label` has the
words for a canonical name, such as "HBM bandwidth" for `hbm_bandwidth_Bps`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from .calibrate.validate import Validation
from .core.text import label as label
from .evaluation.breakdown import find
from .explore.designed import named_chips
from .explore.front import Front
from .explore.outcome import Risk
from .explore.sensitivity import Sensitivity
from .hardware.system import System
from .lowering.plan import Plan
from .optimize.solution import Solution
from .report import figures, front_figures, parity
from .report.page import write_page as write_page
from .report.style import BLOCKS as BLOCKS
from .report.style import CONTEXT as CONTEXT
from .report.style import DESIGN as DESIGN
from .report.style import NODES as NODES
from .report.style import STYLE, plt
from .report.style import save as _save
from .workload.transformer import Workload


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Context manager of the figure style, for your own figures."""
    with plt.rc_context(STYLE):
        yield
        shows = plt.isinteractive()  # a notebook turns this on at its first figure, which may be in here
    plt.interactive(shows)


def _drawn(draw: Callable[[], Figure]) -> Figure:
    """A figure in the style, closed, so that a notebook shows it only once, as the value of its cell."""
    with style():
        figure = draw()
    plt.close(figure)
    return figure


def save(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG into `folder`; returns both paths."""
    with style():
        return _save(figure, Path(folder), name)


def roofline(system: System, workload: Workload, plan: Plan | None = None) -> Figure:
    """Roofline of a workload on a system, under `plan` or the fastest that fits; operators sized by their time."""
    return _drawn(lambda: figures.chip_roofline_figure(find(system, workload, plan)))


def rooflines(solution: Solution) -> Figure:
    """Rooflines of every workload of a study, on the baseline and on the design."""
    return _drawn(lambda: figures.roofline_figure(solution))


def area_power(solution: Solution) -> Figure:
    """Area and power by block of the design below earlier chips; ValueError without a design."""
    chip = solution.chip
    if chip is None:
        raise ValueError("the study has no design: solution.relaxations says what to loosen")
    return _drawn(lambda: figures.area_power_figure(chip, solution.study))


def front(found: Front, beside: bool = True) -> Figure:
    """A Pareto front over its first two metrics; `beside` also evaluates and marks existing chips."""
    seconds = [s for _, s in found.rays.space.ground.baselines]
    named = named_chips(found.study, found.metrics, seconds) if beside else []
    return _drawn(lambda: front_figures.front_figure(found, named))


def designs(found: Front) -> Figure:
    """Metrics and free numbers of all designs of a front, one line per design (parallel coordinates)."""
    return _drawn(lambda: front_figures.along_figure(found))


def tornado(found: Sensitivity) -> Figure:
    """Tornado chart: effect of each fact's range on the goal."""
    return _drawn(lambda: front_figures.tornado_figure(found))


def verdict(found: Risk) -> Figure:
    """Histogram of the outcome over all samples, with those that reach the target in colour."""
    return _drawn(lambda: front_figures.verdict_figure(found))


def spread(found: Risk) -> Figure:
    """Distribution of the optimal design's numbers over the samples."""
    return _drawn(lambda: front_figures.design_figure(found))


def drivers(found: Risk) -> Figure:
    """Unknowns by rank correlation with the outcome."""
    return _drawn(lambda: front_figures.drivers_figure(found))


def parity_of(found: Validation) -> Figure:
    """Predicted against measured times."""
    return _drawn(lambda: parity.parity_figure(found.modelled, found.kind))


def errors_of(found: Validation) -> Figure:
    """Parts of predicted times, and prediction errors by source."""
    return _drawn(lambda: parity.parts_figure(found.modelled, found.kind))
