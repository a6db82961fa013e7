"""What a study answers: a design with exact metrics, a price on every limit, and a certificate."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.files import picked
from ..core.text import enough_text, label, quantity_text
from ..hardware.chip import Chip
from ..lowering.plan import Plan
from ..physics.evaluate import Evaluation, Silicon
from ..study.convex import Kind
from ..study.design import Choice, choice_technology
from ..study.metrics import HOTTEST, LOADS, METRICS, SERVED, chip_state, mean_speedup
from ..study.study import Study
from . import shown
from .racked import RackReport

if TYPE_CHECKING:
    import pandas as pd


class Status(enum.Enum):
    """How a search ended; the value is the explanation."""

    OPTIMAL = "optimal: every term is log-log convex and the gap to the lower bound is closed"
    LOCAL = "local: no certificate, since some term is not proved log-log convex or the solve did not close its gap"
    UNFINISHED = (
        "unfinished: time ran out before the best design that can be built was proved; the gap says what is left"
    )
    INFEASIBLE = "infeasible: no design meets all limits; see the cheapest relaxation"


@dataclasses.dataclass(frozen=True)
class LimitReport:
    """One limit at the design."""

    name: str
    sense: str
    value: float
    """Of the design, canonical unit; over workloads, the one nearest to the limit."""
    limit: float
    """What the study asks."""
    price: float
    """d log goal / d log limit at the continuous optimum: negative where loosening an upper limit helps."""
    price_per_unit: float
    """d goal / d limit in the goal's unit per canonical unit of the limit."""
    kind: Kind = Kind.USER
    """Who sets it: the user, the technology, or the bound of a free number."""

    @property
    def margin(self) -> float:
        """Room left, as a share of the limit; zero when it binds, negative when broken."""
        gap = 1 - self.value / self.limit
        return gap if self.sense == "at_most" else -gap

    @property
    def binds(self) -> bool:
        """Whether no room is left that is worth a number."""
        return self.margin <= TIGHT

    def gain_frac(self, moved: float) -> float:
        """How much better the goal gets if the limit is `moved` so far, to first order, as a share of the goal."""
        return abs(self.price) * moved / self.limit


TIGHT = 1e-4
"""A limit with a smaller margin binds."""
SMALLEST_PRICE = 1e-4
"""A smaller price is not worth a line."""
SLACK, SLACK_PRICE = 0.1, 0.05
"""Room of a limit that whole counts alone do not leave, and what its price must be to be shown all the same."""


def is_priced(price_frac: float, margin_frac: float) -> bool:
    """Whether the price of a limit is worth showing beside its margin, both as shares."""
    return abs(price_frac) >= (SLACK_PRICE if margin_frac > SLACK else SMALLEST_PRICE)


@dataclasses.dataclass(frozen=True)
class Overall:
    """A bound on every design: any choice, any plans, any whole counts."""

    lower_bound: float
    """No design at all has a smaller goal."""
    gap: float
    """The design's goal over the bound, minus 1."""
    n_nodes: int
    n_designs: float
    """Designs they cover: choices times plans times counts."""
    seconds: float


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Why no better design exists, and how sure that is."""

    proved: bool
    """Whether the walker proved every term log-log convex."""
    unproved: tuple[str, ...]
    """Terms it could not prove, each with the first operation that breaks membership."""
    lower_bound: float
    relative_gap: float
    """Continuous optimum over its lower bound, minus 1."""
    integer_gap: float
    """The design over the best optimum of any choice with broken counts, minus 1."""
    n_solves: int
    n_plans: tuple[int, ...]
    """Plans priced per workload at every solved chip."""
    overall: Overall | None = None
    """Proof over all choices, plans and whole counts; None of an answer with broken counts."""


@dataclasses.dataclass(frozen=True, repr=False)
class Relaxation:
    """The cheapest loosening that makes an infeasible study feasible."""

    name: str
    limit: float
    needed: float
    """What would be enough, together with the other relaxations."""
    sense: str = "at_most"

    @property
    def change_frac(self) -> float:
        """How far the limit moves, as a share of it."""
        return abs(self.needed / self.limit - 1)

    @property
    def needed_text(self) -> str:
        """What is enough, three digits, rounded to the side that suffices."""
        return enough_text(self.name, self.needed, more=self.needed > self.limit)

    def __repr__(self) -> str:
        asked = f"{'<=' if self.sense == 'at_most' else '>='} {quantity_text(self.name, self.limit)}"
        return f"Relaxation({label(self.name)} {asked}: {self.needed_text} is enough)"


@dataclasses.dataclass(frozen=True)
class WhatIf:
    """What becomes of the goal if one limit is looser, or gone; counts broken, over all choices and plans."""

    name: str
    sense: str
    limit: float
    goal: float
    """As the study stands; infinite where no design meets all limits."""
    moved: float
    """With the limit 10 % looser."""
    dropped: float | None
    """Without the limit; None for the bound of a free number, beyond which the models are not made for."""


@dataclasses.dataclass(frozen=True)
class Near:
    """One number of a design among all that are nearly as good; canonical units, counts broken."""

    name: str
    """Free number, or a product of some, such as all SRAM of the chip."""
    lower: float
    """Least of a design that was found."""
    upper: float
    """Largest of a design that was found."""
    lower_bound: float
    """No design in the set has less."""
    upper_bound: float
    """No design in the set has more."""


@dataclasses.dataclass(frozen=True)
class WorkloadReport:
    """One workload on the design."""

    name: str
    plan: Plan
    evaluation: Evaluation
    baseline_s: float
    """Step time of the baseline with its own best plan."""
    baseline_plan: Plan

    @property
    def speedup(self) -> float:
        """Baseline's step time over the design's."""
        return self.baseline_s / float(self.evaluation.step_s)


@dataclasses.dataclass(frozen=True)
class Alternative:
    """The best of another discrete choice, continuous."""

    choice: Choice
    goal: float
    """Its continuous optimum; infinite if infeasible."""


@dataclasses.dataclass(frozen=True)
class Solution:
    """Answer of a study. When infeasible, `chip` and reports are None or empty and `relaxations` say why."""

    study: Study
    status: Status
    goal: float
    choice: Choice | None
    chip: Chip | None
    """The design, counts whole unless broken ones were asked for."""
    continuous: dict[str, float]
    silicon: Silicon | None
    """Area, supply, static power and cost of the design."""
    workloads: tuple[WorkloadReport, ...]
    limits: tuple[LimitReport, ...]
    certificate: Certificate | None
    alternatives: tuple[Alternative, ...]
    """Best of every choice, best first."""
    delivered_range: tuple[float, float] = (float("nan"), float("nan"))
    """Least and most delivered speed-up with the calibration at the bad end, middle and good end of its ranges."""
    relaxations: tuple[Relaxation, ...] = ()
    """Cheapest way out of an infeasible study."""
    what_ifs: tuple[WhatIf, ...] = ()
    """What every limit costs, solved again, if that was asked for."""
    near: tuple[Near, ...] = ()
    """Range of every number over the designs that are nearly as good, if that was asked for."""
    rack: RackReport | None = None
    """A full rack of the design, where the study chooses or limits one."""
    unfinished: tuple[str, ...] = ()
    """What was left out beside the proof because time was up, in words."""

    @property
    def delivered(self) -> float:
        """Speed-up over the baseline of all workloads as one: their geometric mean, or that of the fleet in service."""
        return (
            1.0 / self.goal
            if self.study.goal == SERVED
            else mean_speedup(self.study.goal, [w.speedup for w in self.workloads], [], self.study.shares)
        )

    def behind_frac(self, other: Alternative) -> float:
        """How much worse the best design of another choice is than that of the best choice, counts broken."""
        return max(other.goal / self.alternatives[0].goal - 1, 0.0)

    @property
    def room_frac(self) -> float:
        """How much better than this design one of its choices with the plans found may at most be."""
        assert self.certificate is not None
        return max(self.goal / self.certificate.lower_bound - 1, 0.0)

    def frame(self, of: str = "design") -> pd.DataFrame:
        """A table in canonical units: "design", "limits", "workloads" or "relaxations" (see `shown.frame`)."""
        return shown.frame(self, of)

    def _repr_html_(self) -> str:
        return shown.page(self)


def loads(s: Solution) -> dict[str, float]:
    """What the package of a design burns: all engines at full rate by precision, and the hottest operator."""
    if s.chip is None or s.choice is None:
        return {}
    state = chip_state(s.chip, choice_technology(s.choice, s.study.package))
    found = {name: float(np.asarray(METRICS[name](state))) for name in LOADS if name.startswith("full_load")}
    hottest = [float(w.evaluation.hottest_W) for w in s.workloads]
    return found | ({HOTTEST: max(hottest)} if hottest else {})


def solution_json(solution: Solution) -> dict[str, Any]:
    """`solution` as plain data for machines, canonical units; the status word is that of `Status`, small."""
    s = solution
    out: dict[str, Any] = {
        "study": s.study.name,
        "status": s.status.name.lower(),
        "explanation": s.status.value,
        "alternatives": [
            {"choice": a.choice.written(), "goal": a.goal if np.isfinite(a.goal) else None} for a in s.alternatives
        ],
        "relaxations": [dataclasses.asdict(r) for r in s.relaxations],
        "unfinished": list(s.unfinished),
    }
    if s.what_ifs:
        each = (dataclasses.asdict(w) for w in s.what_ifs)
        out["what_ifs"] = [{k: None if v == math.inf else v for k, v in w.items()} for w in each]
    if s.near:
        out["near"] = [dataclasses.asdict(n) for n in s.near]
    if s.chip is None or s.silicon is None or s.certificate is None or s.choice is None:
        return out
    numbers = _numbers_json(s.chip, float(s.silicon.supply_V))
    out["design"] = {"choice": s.choice.written(), **numbers, "continuous": s.continuous}
    out["metrics"] = {
        "goal": s.goal,
        "delivered_speedup": s.delivered if s.workloads else None,
        "delivered_range": sorted(s.delivered_range) if s.workloads else None,
        "die_mm2": float(s.silicon.die_mm2),
        "static_W": float(s.silicon.static_W),
        **loads(s),
        "sram_B": float(s.chip.n_cores * s.chip.core.scratchpad_B),
        "workloads": {w.name: _workload_json(w) for w in s.workloads},
    }
    if s.rack is not None:
        out["rack"] = dataclasses.asdict(s.rack)
    out["certificate"] = dataclasses.asdict(s.certificate)
    out["limits"] = [{**dataclasses.asdict(x), "margin": x.margin} for x in s.limits]
    return out


def _numbers_json(chip: Chip, supply_V: float) -> dict[str, float]:
    core = chip.core
    return {
        **picked(chip, "n_cores", "clock_Hz"),
        "supply_V": supply_V,
        **{f"{n}_per_core": v for n, v in picked(core, "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps").items()},
        **picked(chip, "n_stacks", "hbm_bandwidth_Bps", "hbm_capacity_B", "scaleup_bandwidth_per_dir_Bps"),
    }


def _workload_json(w: WorkloadReport) -> dict[str, Any]:
    e = w.evaluation
    return {
        "plan": dataclasses.asdict(w.plan),
        **picked(e, "step_s"),
        "unthrottled_s": float(e.step.total_s),
        "speedup": w.speedup,
        **picked(e, "tokens_per_s", "power_W", "mfu_frac", "memory_B"),
    }
