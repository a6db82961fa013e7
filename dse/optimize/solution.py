"""`Solution` of a study: design, exact metrics, prices (Lagrange multipliers) of limits, certificate, relaxations."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.files import picked
from ..core.text import enough_text, label, percent, quantity_text
from ..economy.presets import system_rack
from ..hardware.chip import Chip
from ..lowering.plan import Plan
from ..physics.evaluate import Evaluation, Silicon
from ..study.convex import Kind
from ..study.design import Choice, choice_technology
from ..study.metrics import HOTTEST, LOADS, METRICS, SERVED, State, chip_state, mean_speedup
from ..study.study import Study
from . import shown

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class RackReport:
    """A full rack of a design in the system that it chose."""

    system: str
    n_chips: float
    power_W: float
    """Provisioned power: chips, hosts, switches, conversion."""
    cost_USD: float
    """Capital: packages at what their owner pays, hosts, switches, cables, network, power, cooling."""
    held: float
    """Chips held per chip at work, spares for the hungriest workload: on a torus a failure takes its whole block."""
    rack_tokens_per_s: dict[str, float]
    """Tokens of each workload per second and rack, failures and spares counted."""
    megawatt_tokens_per_s: dict[str, float]
    """Tokens of each workload per second and megawatt at the building's meter."""


def rack_report(choice: Choice, state: State, workloads: tuple[str, ...]) -> RackReport | None:
    """The rack of a design; None if the study has neither a choice of systems nor economic or rack metrics."""
    if not choice.system or not state.upkeeps:
        return None
    each = list(zip(workloads, state.upkeeps, strict=True))
    # racks are sized for the hungriest workload, so that their power and cost are the same in each
    first = state.upkeeps[0]
    return RackReport(
        system=choice.system,
        n_chips=float(system_rack(choice.system).n_chips),
        power_W=float(np.asarray(first.rack_W)),
        cost_USD=float(np.asarray(first.rack_USD)),
        held=max(float(np.asarray(u.held)) for u in state.upkeeps),
        rack_tokens_per_s={n: 1.0 / float(np.asarray(u.rack_time_per_token_s)) for n, u in each},
        megawatt_tokens_per_s={n: 1.0 / float(np.asarray(u.megawatt_time_per_token_s)) for n, u in each},
    )


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
class LimitReport:
    """One limit at the design: value, margin and price (Lagrange multiplier)."""

    name: str
    sense: str
    value: float
    """Value at the design in canonical units; over several workloads, the one nearest to the limit."""
    limit: float
    """Limit of the study, canonical unit."""
    price: float
    """d log goal / d log limit at the continuous optimum; negative if loosening an upper limit improves the goal."""
    price_per_unit: float
    """d goal / d limit in the goal's unit per canonical unit of the limit."""
    kind: Kind = Kind.USER
    """Origin of the limit: the user, the technology, or the bound of a free number."""

    @property
    def margin(self) -> float:
        """Slack as a fraction of the limit: zero if it binds, negative if violated."""
        # turned for a floor, so that more room is a larger number on either side
        gap = 1 - self.value / self.limit
        return gap if self.sense == "at_most" else -gap

    @property
    def binds(self) -> bool:
        """Whether the limit binds: its margin is at most `TIGHT`."""
        return self.margin <= TIGHT

    @property
    def misses(self) -> bool:
        """Whether the chip as built breaks a limit of the user's, beyond rounding."""
        return self.kind is Kind.USER and self.margin < -TIGHT

    def gain_frac(self, moved: float) -> float:
        """First-order improvement of the goal if the limit is loosened by `moved`, as a fraction of the goal."""
        # to first order: the price is per log of the limit, and d log x = dx / x
        return abs(self.price) * moved / self.limit


TIGHT = 1e-4
"""A limit with a smaller margin binds."""
SMALLEST_PRICE = 1e-4
"""Smaller prices are not reported."""
SLACK, SLACK_PRICE = 0.1, 0.05
"""A limit with more margin than this is shown only if its price exceeds the second number."""


def is_priced(price_frac: float, margin_frac: float) -> bool:
    """Whether the price of a limit is worth showing beside its margin, both as shares."""
    return abs(price_frac) >= (SLACK_PRICE if margin_frac > SLACK else SMALLEST_PRICE)


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


def loads(s: Solution) -> dict[str, float]:
    """Package power of a design: full load by precision, and the operator with the highest power."""
    if s.chip is None or s.choice is None:
        return {}
    state = chip_state(s.chip, choice_technology(s.choice, s.study.package))
    found = {name: float(np.asarray(METRICS[name](state))) for name in LOADS if name.startswith("full_load")}
    # of the evaluations, since this state has no loads that a metric could read
    hottest = [float(w.evaluation.hottest_W) for w in s.workloads]
    return found | ({HOTTEST: max(hottest)} if hottest else {})


def solution_json(solution: Solution) -> dict[str, Any]:
    """`solution` as plain data for JSON, in canonical units; the status is the name of `Status` in lower case."""
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
        **({"stopped": s.stopped_text} if s.stopped else {}),
    }
    if s.what_ifs:
        # JSON has no infinity
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
