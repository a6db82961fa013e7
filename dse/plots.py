"""Figures and pages for notebooks, in the house style; all but `save` and `write_page` return matplotlib figures.

    solution = dse.solve(study)
    dse.plots.area_power(solution)
Draw your own in the same look with `with dse.plots.style(): ...` and the colours `BLOCKS`, `NODES`, `DESIGN` (the
design) and `CONTEXT` (what is there to compare with); filled marks are measured or published, hollow ones estimated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from .calibrate.validate import Validation
from .evaluation.breakdown import find
from .explore.designed import named_chips
from .explore.front import Front
from .explore.outcome import Risk
from .explore.sensitivity import Sensitivity
from .hardware.system import System
from .lowering.plan import Plan
from .optimize.solution import Solution
from .report import figures, front_figures, parity, risk_figures
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
    """The house style, for figures of your own."""
    with plt.rc_context(STYLE):
        yield
        shows = plt.isinteractive()  # a notebook turns this on at its first figure, which may be in here
    plt.interactive(shows)


def _drawn(draw: Callable[[], Figure]) -> Figure:
    """A figure in the house style, closed, so that a notebook shows it once: as the value of its cell."""
    with style():
        figure = draw()
    plt.close(figure)
    return figure


def save(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG into a folder and return both paths."""
    with style():
        return _save(figure, Path(folder), name)


def roofline(system: System, workload: Workload, plan: Plan | None = None) -> Figure:
    """One workload on one system, under a plan or the fastest: roofs, and operators as large as their time."""
    return _drawn(lambda: figures.chip_roofline_figure(find(system, workload, plan)))


def rooflines(solution: Solution) -> Figure:
    """Every workload of a study on the baseline and on the design."""
    return _drawn(lambda: figures.roofline_figure(solution))


def area_power(solution: Solution) -> Figure:
    """Area and power by block, the design below the chips before it; raises ValueError without a design."""
    chip = solution.chip
    if chip is None:
        raise ValueError("the study has no design: solution.relaxations says what to loosen")
    return _drawn(lambda: figures.area_power_figure(chip, solution.study))


def front(found: Front, beside: bool = True) -> Figure:
    """A front over its first two metrics; `beside` also marks chips that exist, which takes a moment to evaluate."""
    seconds = [s for _, s in found.rays.space.ground.baselines]
    named = named_chips(found.study, found.metrics, seconds) if beside else []
    return _drawn(lambda: front_figures.front_figure(found, named))


def designs(found: Front) -> Figure:
    """Every design of a front as a line over its numbers."""
    return _drawn(lambda: front_figures.along_figure(found))


def tornado(found: Sensitivity) -> Figure:
    """What each fact's range is worth in the goal."""
    return _drawn(lambda: front_figures.tornado_figure(found))


def verdict(found: Risk) -> Figure:
    """Outcome over all samples, those that reach the target in colour."""
    return _drawn(lambda: risk_figures.verdict_figure(found))


def spread(found: Risk) -> Figure:
    """Spread of the best design over the samples."""
    return _drawn(lambda: risk_figures.design_figure(found))


def drivers(found: Risk) -> Figure:
    """Unknowns by how they move the outcome."""
    return _drawn(lambda: risk_figures.drivers_figure(found))


def parity_of(found: Validation) -> Figure:
    """Predicted against measured."""
    return _drawn(lambda: parity.parity_figure(found.modelled, found.kind))


def errors_of(found: Validation) -> Figure:
    """What predictions are made of, and how far they are off, by source."""
    return _drawn(lambda: parity.parts_figure(found.modelled, found.kind))
