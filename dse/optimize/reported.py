"""What is told of a solved study: the chip, its exact metrics, prices of limits, the certificate, the alternatives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np

from ..core.kept import kept_record
from ..core.program import compiled
from ..core.types import FloatLike
from ..evaluation.host import evaluated
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..physics.calibration import extreme
from ..physics.evaluate import Silicon, chip_technology
from ..study.convex import ConvexCore, Data, chip_at, coordinates, named_numbers, ratio_rows, separate
from ..study.design import STEPPED, Choice, choice_technology, template, with_free
from ..study.limits import least_cap_W, rated_W
from ..study.metrics import HOTTEST, Load, State, mean_speedup, silicon_of, upkeep_of
from ..study.study import Study
from ..technology.presets import Technology
from .blank import study_blank_mm2
from .curvature import curvature_batch, proved_of
from .prices import limit_reports
from .rack import rack_report
from .search import Candidate, Search, leaders
from .solution import Alternative, Certificate, Overall, Solution, Status, WorkloadReport
from .space import Space, data_of, economy_around, jobs_of
from .tree import Proof, n_designs


def design_chip(search: Search, candidate: Candidate, *, whole: bool = True) -> Chip:
    """The chip of a candidate, with counts rounded if `whole`; its power limit is the study's cap on mean power.

    Without a cap, it is the highest power of a workload at the step times of the solution.
    """
    study, core = search.space.study, search.core
    choice = study.choices[candidate.choice_index]
    x = named_numbers(core, candidate.optimum.z)
    # a count that was held lies a hair beside the whole number: its log was fixed, not the number
    free = {n: np.float64(np.round(x[n]) if whole and n in STEPPED else x[n]) for n in core.free}
    chip = with_free(template(choice, study.baseline.chip, study.scaleout_Bps), free)
    chip = dataclasses.replace(chip, blank_mm2=study_blank_mm2(study, chip, choice_technology(choice, study.package)))
    limit = least_cap_W(study.limits)
    if np.isinf(limit):  # a chip file needs a TDP: the most it draws, so that it never throttles
        data = data_of(search.space, candidate.choice_index, candidate.plan_index)
        parts = silicon_of(chip, choice_technology(choice, study.package))
        x |= {"supply_V": jnp.asarray(parts.supply_V), "die_mm2": jnp.asarray(parts.die_mm2)}
        drawn = [float(w.power_W) for w in _at(core, chip, x, data)[0].loads]
        limit = rated_W(study.limits, drawn, float(chip.power_limit_W))
    return dataclasses.replace(chip, name=f"{study.name}-design", power_limit_W=limit)


_at = compiled(chip_at)


def cooling(study: Study) -> FloatLike | None:
    """Limit on the power of every operator [W]; None if the study has none."""
    return None if math.isinf(cap_W := least_cap_W(study.limits, HOTTEST)) else np.float64(cap_W)


Separate: TypeAlias = Callable[[Mapping[str, FloatLike], Data], tuple[FloatLike, ...]]
"""Function of named positive numbers and coefficients that returns goal and every ratio separately."""


def unproved_terms(core: ConvexCore, data: Data, others: Separate | None = None) -> tuple[str, ...]:
    """Terms of the core (or `others`) not proved log-log convex for the whole batch, each with the reason."""
    x = {name: np.asarray(1.0) for name in coordinates(core)}
    what = f"curvature of {others or separate.__name__} of {core!r}: {proved_of(data)}"
    verdicts = kept_record("optimize", what, lambda: curvature_batch(others or partial(separate, core), x, data))
    labels = ("goal", *(r.label for r in ratio_rows(core)))
    said = ((label, v) for label, v in zip(labels, verdicts, strict=True) if not v.is_convex)
    return tuple(f"{label}: {v.reason or v.verdict.value}" for label, v in said)


def report_of(
    search: Search, best: Candidate, continuous: Candidate, every: Data, proved: Overall | None = None
) -> Solution:
    """Solution from the design `best`, the prices of its `continuous` optimum, and the global bound `proved`.

    `every`: all coefficients that the certificate is about.
    """
    study, space = search.space.study, search.space
    first = leaders(search)
    bound = min(first, key=lambda c: c.log_goal)
    choice = study.choices[best.choice_index]
    chip = design_chip(search, best, whole=proved is not None)
    tech = choice_technology(choice, study.package)
    parts = silicon_of(chip, tech)
    demands = list(data_of(space, best.choice_index, best.plan_index).demands)
    workloads = []
    for w, (name, d, c) in enumerate(zip(study.workloads, demands, space.ground.calibrations, strict=True)):
        evaluation = evaluated(d, chip, tech, c, cooling(study))
        own, own_s = space.ground.baselines[w]
        # in service the design may run another batch: the baseline's time for as many tokens is what counts
        before = own_s * float(d.tokens) / space.ground.n_tokens[w]
        workloads.append(WorkloadReport(name, space.plans[w][best.plan_index[w]], evaluation, before, own))
    state = design_state(search, choice, chip, tech, parts, tuple(workloads))
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
        overall=proved,
    )
    limits = limit_reports(search, best, continuous, state)
    # supply, die and times are what a chip needs, so that a floor under one of them can be met in the model alone
    missed = any(x.misses for x in limits)
    return Solution(
        study=study,
        status=Status.LOCAL if missed else status_of(certificate),
        goal=float(np.exp(best.log_goal)),
        choice=choice,
        chip=chip,
        continuous=dict(zip(coordinates(search.core), np.exp(continuous.optimum.z).tolist(), strict=True)),
        silicon=parts,
        workloads=tuple(workloads),
        limits=limits,
        rack=rack_report(choice, state, tuple(study.workloads)),
        delivered_range=delivered_range(space, demands, chip, tech),
        certificate=certificate,
        alternatives=alternatives_of(search),
    )


def status_of(c: Certificate) -> Status:
    """Status of a design with this certificate; a gap that is no number is not closed."""
    if not (c.proved and c.relative_gap <= GAP):
        return Status.LOCAL
    return Status.OPTIMAL if c.overall is None or c.overall.gap <= WORTH else Status.UNFINISHED


def overall(search: Search, proof: Proof) -> Overall:
    """Global bound of a branch-and-bound proof."""
    return Overall(proof.end.bound, proof.end.gap, proof.end.n_nodes, n_designs(search, proof), proof.end.seconds)


def alternatives_of(search: Search) -> tuple[Alternative, ...]:
    """Continuous optimum of every choice, best first."""
    found = sorted(leaders(search), key=lambda c: c.log_goal)
    choices = search.space.study.choices
    return tuple(Alternative(choices[c.choice_index], float(np.exp(c.log_goal))) for c in found)


def delivered_range(space: Space, demands: list[StepDemand], chip: Chip, tech: Technology) -> tuple[float, float]:
    """Lowest and highest delivered speed-up with both chips' calibrations at bad end, middle and good end."""
    if not demands:
        return float("nan"), float("nan")
    # a design that draws more is no breach
    chip = dataclasses.replace(chip, power_limit_W=least_cap_W(space.study.limits))
    base = space.study.baseline.chip
    base_tech, ends = chip_technology(base), []
    # both chips at the same end: what is wrong for both cancels in the ratio, as far as it does in the goal
    for end in (lambda c: extreme(c.name, False), lambda c: c, lambda c: extreme(c.name, True)):
        speedups = []
        for d, mine, calibration in zip(demands, space.ground.own, space.ground.calibrations, strict=True):
            c = end(calibration)
            then = evaluated(mine, base, base_tech, c).step_s * float(d.tokens / mine.tokens)
            speedups.append(float(then / evaluated(d, chip, tech, c, cooling(space.study)).step_s))
        ends.append(mean_speedup(space.study.goal, speedups, list(space.ground.traffic_frac), space.study.shares))
    return min(ends), max(ends)


def design_state(
    search: Search, choice: Choice, chip: Chip, tech: Technology, parts: Silicon, workloads: tuple[WorkloadReport, ...]
) -> State:
    """The rounded design as a `State` for `METRICS`."""
    loads = []
    sizes = [n for _, n in search.space.study.workloads.values()]
    for w, n, share in zip(workloads, sizes, search.space.ground.traffic_frac, strict=True):
        e = w.evaluation
        tokens = e.tokens_per_s * e.step_s / n
        loads.append(Load(e.step_s, e.power_W, np.float64(w.baseline_s), tokens, share, e.hottest_W))
    economy = economy_around(search.space.study, chip.node, choice.system)
    upkeeps = upkeep_of(chip, tech, parts.money, parts.die_mm2, economy, jobs_of(search.space.study), loads)
    return State(
        chip, tech, parts.area, parts.money, parts.die_mm2, parts.supply_V, loads, upkeeps, search.space.study.shares
    )


GAP = 1e-5
"""Largest relative gap of a continuous optimum with status OPTIMAL."""
WORTH = 1e-2
"""Largest relative gap of an integer design to the global bound with status OPTIMAL."""
