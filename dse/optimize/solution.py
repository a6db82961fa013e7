"""`Solution` of a study: design, exact metrics, prices (Lagrange multipliers) of limits, certificate, relaxations."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import TYPE_CHECKING

from ..core.text import enough_text, label, percent, quantity_text
from ..hardware.chip import Chip
from ..lowering.plan import Plan
from ..physics.evaluate import Evaluation, Silicon
from ..study.design import Choice
from ..study.metrics import SERVED, mean_speedup
from ..study.study import Study
from . import shown
from .prices import LimitReport
from .rack import RackReport

if TYPE_CHECKING:
    import pandas as pd


class Status(enum.Enum):
    """Outcome of a solve; the value explains it."""

    OPTIMAL = "optimal: every term is log-log convex and the gap to the lower bound is closed"
    LOCAL = (
        "local: no certificate, since some term is not proved log-log convex, the solve did not close its gap, or the "
        "chip as built misses a limit"
    )
    UNFINISHED = "unfinished: it ended before the best design that can be built was proved; the gap says what is left"
    INFEASIBLE = "infeasible: no design meets all limits; see the cheapest relaxation"


@dataclasses.dataclass(frozen=True)
class Overall:
    """Global bound over all designs: every choice, plan and whole count."""

    lower_bound: float
    """Lower bound on the goal of every design."""
    gap: float
    """The design's goal over the bound, minus 1."""
    n_nodes: int
    n_designs: float
    """Number of designs covered: choices times plans times counts."""
    seconds: float


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Proof of optimality: convexity, lower bounds and gaps."""

    proved: bool
    """Whether every term is proved log-log convex."""
    unproved: tuple[str, ...]
    """Terms not proved log-log convex, each with the first operation that breaks the rules."""
    lower_bound: float
    relative_gap: float
    """Continuous optimum over its lower bound, minus 1."""
    integer_gap: float
    """Goal of the design over the best continuous optimum of any choice, minus 1."""
    n_solves: int
    n_plans: tuple[int, ...]
    """Number of plans per workload that compete at every solved chip."""
    overall: Overall | None = None
    """Bound over all choices, plans and whole counts; None for a continuous solution."""


@dataclasses.dataclass(frozen=True, repr=False)
class Relaxation:
    """One limit of the least relaxation that makes an infeasible study feasible."""

    name: str
    limit: float
    needed: float
    """Value that suffices, together with the other relaxations."""
    sense: str = "at_most"

    @property
    def change_frac(self) -> float:
        """Change of the limit as a fraction of it."""
        return abs(self.needed / self.limit - 1)

    @property
    def needed_text(self) -> str:
        """`needed` with its unit in three digits, rounded to the sufficient side."""
        return enough_text(self.name, self.needed, more=self.needed > self.limit)

    def __repr__(self) -> str:
        asked = f"{'<=' if self.sense == 'at_most' else '>='} {quantity_text(self.name, self.limit)}"
        return f"Relaxation({label(self.name)} {asked}: {self.needed_text} is enough)"


@dataclasses.dataclass(frozen=True)
class WhatIf:
    """Goal with one limit loosened or removed, re-solved over all choices and plans with continuous counts."""

    name: str
    sense: str
    limit: float
    goal: float
    """Goal of the study as it is; infinite if infeasible."""
    moved: float
    """Goal with the limit 10 % looser."""
    dropped: float | None
    """Goal without the limit; None for the bound of a free number, beyond which the models do not hold."""


@dataclasses.dataclass(frozen=True)
class Near:
    """Range of one number over all near-optimal designs; canonical units, continuous counts."""

    name: str
    """Free number, or a product of several, such as the total SRAM of the chip."""
    lower: float
    """Smallest value of a design that was found."""
    upper: float
    """Largest value of a design that was found."""
    lower_bound: float
    """Proved lower bound over the set."""
    upper_bound: float
    """Proved upper bound over the set."""


@dataclasses.dataclass(frozen=True)
class WorkloadReport:
    """One workload on the design: plan, evaluation and the baseline's time."""

    name: str
    plan: Plan
    evaluation: Evaluation
    baseline_s: float
    """Step time of the baseline with its own best plan."""
    baseline_plan: Plan

    @property
    def speedup(self) -> float:
        """Step time of the baseline over that of the design."""
        return self.baseline_s / float(self.evaluation.step_s)


@dataclasses.dataclass(frozen=True)
class Alternative:
    """Continuous optimum of a discrete choice."""

    choice: Choice
    goal: float
    """Goal at its continuous optimum; infinite if infeasible."""


@dataclasses.dataclass(frozen=True)
class Solution:
    """Solution of a study. If infeasible, `chip` and reports are None or empty and `relaxations` is the way out."""

    study: Study
    status: Status
    goal: float
    choice: Choice | None
    chip: Chip | None
    """The design, with whole counts unless from `solve_continuous`."""
    continuous: dict[str, float]
    silicon: Silicon | None
    """Area, supply voltage, static power and cost of the design."""
    workloads: tuple[WorkloadReport, ...]
    limits: tuple[LimitReport, ...]
    certificate: Certificate | None
    alternatives: tuple[Alternative, ...]
    """Continuous optimum of every discrete choice, best first."""
    delivered_range: tuple[float, float] = (float("nan"), float("nan"))
    """Lowest and highest delivered speed-up with calibrations at the bad end, middle and good end of their ranges."""
    relaxations: tuple[Relaxation, ...] = ()
    """Least relaxation of an infeasible study."""
    what_ifs: tuple[WhatIf, ...] = ()
    """Goals with limits loosened or removed, if requested."""
    near: tuple[Near, ...] = ()
    """Range of every number over near-optimal designs, if requested."""
    rack: RackReport | None = None
    """A full rack of the design, if the study chooses or limits racks."""
    unfinished: tuple[str, ...] = ()
    """Parts of the search that were skipped for lack of time, in words."""
    stopped: bool = False
    """Whether Ctrl-C ended the search."""

    @property
    def stopped_text(self) -> str:
        """What is said of a search that Ctrl-C ended; empty where it ended by itself."""
        if not self.stopped:
            return ""
        proved = None if self.certificate is None else self.certificate.overall
        gap = "unknown" if proved is None or not math.isfinite(proved.gap) else percent(max(proved.gap, 0.0))
        return f"stopped, gap {gap}"

    @property
    def delivered(self) -> float:
        """Mean speed-up over the baseline: weighted geometric mean over workloads, or that of the serving fleet."""
        return (
            # of a fleet: its mean needs every model's traffic, which the goal has added up
            1.0 / self.goal
            if self.study.goal == SERVED
            else mean_speedup(self.study.goal, [w.speedup for w in self.workloads], [], self.study.shares)
        )

    def behind_frac(self, other: Alternative) -> float:
        """Relative excess of another choice's continuous optimum over that of the best choice."""
        # of several as good, rounding may put another a hair before the first
        return max(other.goal / self.alternatives[0].goal - 1, 0.0)

    @property
    def room_frac(self) -> float:
        """Largest possible relative improvement, over all choices with the plans found."""
        assert self.certificate is not None
        # rounding can put a goal a hair below its own bound
        return max(self.goal / self.certificate.lower_bound - 1, 0.0)

    def frame(self, of: str = "design") -> pd.DataFrame:
        """A table in canonical units: "design", "limits", "workloads" or "relaxations" (see `shown.frame`)."""
        return shown.frame(self, of)

    def _repr_html_(self) -> str:
        return shown.page(self)
