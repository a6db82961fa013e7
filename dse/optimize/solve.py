"""From a study to a solution: search, round, price, certify, or say what is infeasible and the cheapest way out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ..core.types import FloatLike
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..physics.calibration import extreme
from ..physics.evaluate import Silicon, chip_technology, evaluate_demand, silicon, throttled_step_s
from ..study.convex import ConvexCore, Data, Kind, chip_at
from ..study.design import INTEGERS, choice_technology, template, with_free
from ..study.metrics import METRICS, Load, State, mean_speedup, upkeep_of
from ..study.study import Study
from ..technology.presets import Technology
from .batch import in_batches
from .curvature import curvature_batch
from .elastic import cheapest_relaxation
from .search import Candidate, Search
from .solution import (
    Alternative,
    Certificate,
    LimitReport,
    Relaxation,
    Solution,
    Status,
    WorkloadReport,
)
from .space import Space, element


def solve(study: Study, progress: Callable[[str], None] = lambda _: None, space: Space | None = None) -> Solution:
    """The best design of a study, with prices and certificate; or the cheapest relaxation if there is none.

    Args:
        study: goal, limits, free numbers and choices.
        progress: told what happens, one line at a time.
        space: the study, lowered, where that is done already.

    Returns:
        The solution; `status` says how far to trust it.
    """
    search = Search(space or Space(study), progress)
    candidates = search.run()
    alternatives = tuple(Alternative(study.choices[c.choice_index], float(np.exp(c.log_goal))) for c in candidates)
    best = search.rounded(candidates)
    if best is None:
        return _infeasible(search, candidates, alternatives)
    continuous = next(c for c in candidates if c.choice_index == best.choice_index and c.plan_index == best.plan_index)
    progress("proving that every term is log-log convex")
    return report_of(search, best, continuous, candidates[0], alternatives)


Separate: TypeAlias = Callable[[Mapping[str, FloatLike], Data], tuple[FloatLike, ...]]
"""Goal and every ratio as outputs of their own, of named positive numbers and coefficients."""


def unproved_terms(core: ConvexCore, data: Data, separate: Separate | None = None) -> tuple[str, ...]:
    """Objective and limits that the walker cannot prove log-log convex, each with the operation that breaks it.

    `data` is batched over choices and plans: the proof then holds for all of them at once. `separate` is the core's
    unless it has another goal.
    """
    x = {name: np.asarray(1.0) for name in core.variables()}
    verdicts = curvature_batch(separate or core.separate, x, data)
    labels = ("goal", *(r.label for r in core.rows()))
    return tuple(f"{label}: {v.reason}" for label, v in zip(labels, verdicts, strict=True) if not v.is_convex)


def design_chip(search: Search, candidate: Candidate) -> Chip:
    """The chip of a candidate, counts whole, with the power that the study allows as its limit.

    A study that does not limit power gives the chip what its hungriest workload draws at the step times of the
    solution, so that the design as reported is the design as solved.
    """
    study, core = search.space.study, search.core
    choice = study.choices[candidate.choice_index]
    x = core.positive(candidate.optimum.z)
    free = {n: float(round(float(x[n]))) if n in INTEGERS else float(x[n]) for n in core.free}
    chip = with_free(template(choice, study.baseline.chip, study.scaleout_Bps), free)
    limit = study.power_cap_W
    if np.isinf(limit):
        data = search.space.data(candidate.choice_index, candidate.plan_index)
        parts = silicon(chip, choice_technology(choice, study.package))
        x |= {"supply_V": jnp.asarray(parts.supply_V), "die_mm2": jnp.asarray(parts.die_mm2)}
        drawn = [float(w.power_W) for w in jax.jit(partial(chip_at, core))(chip, x, data)[0].loads]
        limit = max([*drawn, study.cooled_W or 0.0], default=float(chip.power_limit_W))
    return dataclasses.replace(chip, name=f"{study.name}-design", power_limit_W=limit)


def cooling(study: Study) -> FloatLike | None:
    """What no operator of a design may exceed; None where the study does not limit it."""
    return None if study.cooled_W is None else np.float64(study.cooled_W)


def report_of(
    search: Search, best: Candidate, continuous: Candidate, bound: Candidate, alternatives: tuple[Alternative, ...]
) -> Solution:
    """The rounded design `best`, prices of its `continuous` optimum and the bound of the best of all."""
    study, space = search.space.study, search.space
    choice = study.choices[best.choice_index]
    chip, tech = design_chip(search, best), choice_technology(choice, study.package)
    parts = silicon(chip, tech)
    demands = list(space.data(best.choice_index, best.plan_index).demands)
    workloads = []
    for w, (name, d, c) in enumerate(zip(study.workloads, demands, space.calibrations, strict=True)):
        evaluation = jax.jit(evaluate_demand)(d, chip, tech, c, cooling(study))
        before = space.baselines[w][1] * float(d.tokens) / space.n_baseline_tokens[w]
        workloads.append(WorkloadReport(name, space.plans[w][best.plan_index[w]], evaluation, before))
    leaders = search.leaders()
    every = space.batch(range(len(leaders)), [c.plan_index for c in leaders])
    unproved = unproved_terms(search.core, every)
    gap = float(np.expm1(continuous.optimum.gap))
    certificate = Certificate(
        proved=not unproved,
        unproved=unproved,
        lower_bound=float(np.exp(bound.optimum.lower_bound)),
        relative_gap=gap,
        integer_gap=float(np.expm1(best.log_goal - bound.log_goal)),
        n_solves=len(search.seen),
        n_plans=tuple(len(p) for p in space.plans),
    )
    certified = certificate.proved and gap <= GAP
    return Solution(
        study=study,
        status=Status.OPTIMAL if certified else Status.LOCAL,
        goal=float(np.exp(best.log_goal)),
        choice=choice,
        chip=chip,
        continuous=dict(zip(search.core.variables(), np.exp(continuous.optimum.z).tolist(), strict=True)),
        silicon=parts,
        workloads=tuple(workloads),
        limits=limit_reports(search, best, continuous, parts, tuple(workloads), chip, tech),
        delivered_range=delivered_range(space, demands, chip, tech),
        certificate=certificate,
        alternatives=alternatives,
    )


def delivered_range(space: Space, demands: list[StepDemand], chip: Chip, tech: Technology) -> tuple[float, float]:
    """Least and most delivered speed-up at the bad end, the middle and the good end of the calibration.

    Same plans and same numbers on both chips; the middle can lie outside the ends, since a ratio is no monotone.
    """
    if not demands:
        return float("nan"), float("nan")
    chip = dataclasses.replace(chip, power_limit_W=space.study.power_cap_W)  # a design that draws more is no breach
    base = space.study.baseline.chip
    base_tech, ends = chip_technology(base), []
    for end in (lambda c: extreme(c.name, False), lambda c: c, lambda c: extreme(c.name, True)):
        speedups = []
        each = zip(demands, space.lowered, space.baselines, space.calibrations, strict=True)
        for d, (every, own), (plan, _), calibration in each:
            mine, c = own[every.index(plan)], end(calibration)
            before = throttled_step_s(mine, base, base_tech, c) * float(d.tokens / mine.tokens)
            speedups.append(float(before / throttled_step_s(d, chip, tech, c, cooling(space.study))))
        ends.append(mean_speedup(space.study.goal, speedups, list(space.traffic_frac)))
    return min(ends), max(ends)


def design_state(
    search: Search, chip: Chip, tech: Technology, parts: Silicon, workloads: tuple[WorkloadReport, ...]
) -> State:
    """The rounded design as a point that `METRICS` can read."""
    loads = []
    sizes = [n for _, n in search.space.study.workloads.values()]
    for w, n, share in zip(workloads, sizes, search.space.traffic_frac, strict=True):
        e = w.evaluation
        tokens = e.tokens_per_s * e.step_s / n
        loads.append(Load(e.step_s, e.power_W, np.float64(w.baseline_s), tokens, share, e.hottest_W))
    economy = search.space.economy(chip.node)
    upkeeps = upkeep_of(chip, tech, parts.money, parts.die_mm2, economy, search.space.jobs, loads)
    return State(chip, tech, parts.area, parts.money, parts.die_mm2, parts.supply_V, loads, upkeeps)


GAP = 1e-5
"""Largest relative gap of a continuous optimum that is called optimal."""


def limit_reports(
    search: Search,
    best: Candidate,
    continuous: Candidate,
    parts: Silicon,
    workloads: tuple[WorkloadReport, ...],
    chip: Chip,
    tech: Technology,
) -> tuple[LimitReport, ...]:
    """Value of every limit on the design, and its price at the continuous optimum.

    A limit with a row per workload is priced once, by the sum of its rows. Limits of the technology (reticle, HBM
    stack) and bounds of free numbers that cost something follow, as shares of what is allowed.
    """
    core, goal = search.core, float(np.exp(continuous.log_goal))
    state = design_state(search, chip, tech, parts, workloads)
    multipliers, ratios = continuous.optimum.multipliers, np.exp(best.optimum.limits)
    reports = []
    for k, limit in enumerate(search.space.study.limits):
        value = METRICS[limit.metric](state)
        ends = [float(v) for v in value] if isinstance(value, list) else [float(value)]
        worst = max(ends) if limit.sense == "at_most" else min(ends)
        price = float(sum(multipliers[i] for i in core.rows_of(k))) * (-1.0 if limit.sense == "at_most" else 1.0)
        unit = goal * price / limit.value
        reports.append(LimitReport(limit.metric, limit.sense, worst, limit.value, price, unit, Kind.USER))
    for i, row in enumerate(core.rows()):
        if row.kind is Kind.TECHNOLOGY:
            price = -float(multipliers[i])
            reports.append(LimitReport(row.what, "at_most", float(ratios[i]), 1.0, price, goal * price, row.kind))
    return (*reports, *_bound_reports(search, continuous, goal))


def _bound_reports(search: Search, continuous: Candidate, goal: float) -> list[LimitReport]:
    """Bounds of free numbers that the optimum leans on, which the user may not have meant to be binding."""
    lower, upper = (np.exp(b) for b in search.box)
    o, out = continuous.optimum, []
    for i, name in enumerate(search.core.variables()):
        value = float(np.exp(o.z[i]))
        for sense, bound, price in (
            ("at_least", float(lower[i]), float(o.lower_multipliers[i])),
            ("at_most", float(upper[i]), -float(o.upper_multipliers[i])),
        ):
            if abs(price) > SMALLEST_PRICE:
                out.append(LimitReport(name, sense, value, bound, price, goal * price / bound, Kind.BOUND))
    return out


SMALLEST_PRICE = 1e-4
"""Bounds with a smaller price are not worth a line."""


def _infeasible(search: Search, candidates: list[Candidate], alternatives: tuple[Alternative, ...]) -> Solution:
    """No design meets all limits: the choice whose limits need the least loosening in all, and which."""
    study, core = search.space.study, search.core
    user = np.asarray([r.kind is Kind.USER for r in core.rows()])
    lower, upper, data = _relaxation_problems(search, candidates)
    relax = jax.jit(jax.vmap(lambda d, low, high: cheapest_relaxation(core.logs, d, low, high, (low + high) / 2, user)))
    solved = in_batches(relax, (data, lower, upper), len(lower))
    totals = np.where(solved.converged, solved.total, np.inf)
    found = element(solved, int(np.argmin(totals)))
    relaxations = []
    for k, limit in enumerate(study.limits):
        loosen = float(np.exp(max(found.loosening[i] for i in core.rows_of(k))))
        if loosen > 1 + SMALLEST_LOOSENING:
            needed = limit.value * loosen if limit.sense == "at_most" else limit.value / loosen
            relaxations.append(Relaxation(limit.metric, limit.value, needed, limit.sense))
    return Solution(
        study=study, status=Status.INFEASIBLE, goal=float("inf"), choice=None, chip=None, continuous={}, silicon=None,
        workloads=(), limits=(), certificate=None, alternatives=alternatives, relaxations=tuple(relaxations),
    )  # fmt: skip


def _relaxation_problems(search: Search, candidates: list[Candidate]) -> tuple[np.ndarray, np.ndarray, Data]:
    """Boxes and coefficients of the problems to relax: every choice, or rounded neighbours if only rounding fails."""
    if candidates[0].log_goal < np.inf:
        feasible = [c for c in candidates if c.log_goal < np.inf][:INTEGER_RELAXATIONS]
        points = [(c, values) for c in feasible for values in search.neighbours(c)]
        lower, upper = search.fixed_boxes([values for _, values in points])
        return lower, upper, search.space.batch([c.choice_index for c, _ in points], [c.plan_index for c, _ in points])
    leaders = search.leaders()
    lower, upper = (np.repeat(b[None], len(leaders), axis=0) for b in search.box)
    return lower, upper, search.space.batch(range(len(leaders)), [c.plan_index for c in leaders])


INTEGER_RELAXATIONS = 4
"""Choices whose rounded neighbours are relaxed when only rounding makes a study infeasible."""
SMALLEST_LOOSENING = 1e-4
"""Relaxations below this share are rounding."""
