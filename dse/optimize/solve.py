"""`solve`: search, branch and bound, prices and certificate of a study, or the least relaxation if infeasible."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np

from ..core.kept import kept_record
from ..core.program import compiled, meanwhile
from ..core.types import FloatLike, Vector
from ..evaluation.host import evaluated
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..physics.calibration import extreme
from ..physics.evaluate import Silicon, chip_technology
from ..study.convex import (
    AHEAD,
    MEMORY,
    TIMES,
    ConvexCore,
    Data,
    Kind,
    chip_at,
    coordinates,
    named_numbers,
    ratio_rows,
    rows_of_limit,
    separate,
)
from ..study.design import STEPPED, Choice, choice_technology, template, with_free
from ..study.metrics import HOTTEST, Load, State, mean_speedup, metric_of, silicon_of, upkeep_of
from ..study.study import Study, least_cap_W, rated_W
from ..technology.presets import Technology
from .blank import study_blank_mm2
from .curvature import curvature_batch, proved_of
from .deadline import Deadline, check_stop
from .descent import run_search
from .relax import relaxations
from .search import Candidate, Search, leaders, search_from, solve_points
from .solution import (
    SMALLEST_PRICE,
    Alternative,
    Certificate,
    LimitReport,
    Overall,
    Solution,
    Status,
    WorkloadReport,
    rack_report,
)
from .space import (
    Space,
    data_of,
    economy_around,
    every_coefficient,
    jobs_of,
    prepare_prices,
    space_of,
    with_plans,
)
from .tables import Tables, prepare_hulls, tables_of
from .tree import Proof, Tree, n_designs, progress_text

GAP_FRAC = 1e-3
"""Default relative gap at which branch and bound stops."""
LIMIT_S = 60.0
"""Default time limit, without compilation."""


def solve(
    study: Study,
    progress: Callable[[str], None] = lambda _: None,
    space: Space | Search | None = None,
    *,
    gap_frac: float = GAP_FRAC,
    limit_s: float = LIMIT_S,
    may_stop: bool = False,
) -> Solution:
    """The best design with whole counts, with certificate and prices of limits; or, if infeasible, what to relax.

    `gap_frac`: relative optimality gap at which branch and bound stops; `limit_s`: its time limit, after the continuous
    search, which has as much and at least `LIMIT_S`. `space`: the lowered study or a search of it, if available;
    `progress` gets text.
    `may_stop`: Ctrl-C during branch and bound ends it with the best design so far, `stopped`, instead of being raised.
    Prices are those of the continuous optimum of the same choice and plans. SpecError: gap or time not positive.
    """
    check_stop(gap_frac, limit_s)
    search = search_from(space or space_of(study), progress, Deadline(max(limit_s, LIMIT_S)))
    # compiled in threads; until the solver is, nothing can be searched, and the host lowers what the proof needs
    meanwhile(lambda: prepare_hulls(search))
    # of all plans, not of those kept: a proof must cover what the search never looked at
    tables = tables_of(search)
    meanwhile(lambda: prepare_prices(search.space, tables.every))
    candidates = run_search(search)
    chips = [c for c in candidates if c.log_goal < np.inf]
    tree = Tree(tables, gap_frac, Deadline(limit_s), lambda p: progress(progress_text(p, limit_s)), may_stop=may_stop)
    proof = tree.run(chips)
    if proof.best is None:
        every = every_coefficient(search.space, tables.every)
        roomy = dataclasses.replace(search, space=with_lean_plans(search.space, tables))
        return without_design(roomy, candidates, proof, every)
    plans = tuple(t.plans[k] for t, k in zip(proof.tables, proof.best.plan_index, strict=True))
    # the proof may end at plans that the search had left out: they join behind the others, whose places stay
    # `seen` is copied, since a caller's own space may lack the plans of points solved below
    search = dataclasses.replace(search, space=with_plans(search.space, plans), seen=dict(search.seen))
    index = tuple(kept.index(p) for kept, p in zip(search.space.plans, plans, strict=True))
    best = Candidate(proof.best.choice_index, index, proof.best.optimum)
    # prices are slopes at the continuous optimum of the same choice and plans, which must be there
    known = search.seen.get((best.choice_index, index))
    if known is None or not bool(known.optimum.converged):
        solve_points(search, [(best.choice_index, index)])
    progress("proving that every term is log-log convex")
    # convexity is proved of every coefficient that a bound rests on, not of the answer's alone
    every = every_coefficient(search.space, tables.every)
    found = report_of(search, best, search.seen[best.choice_index, index], every, overall(search, proof))
    return dataclasses.replace(found, stopped=proof.stopped)


def solve_continuous(
    study: Study, progress: Callable[[str], None] = lambda _: None, space: Space | Search | None = None,
    *, limit_s: float = LIMIT_S,
) -> Solution:  # fmt: skip
    """As `solve`, with continuous counts of cores and stacks: faster, and a bound on designs that can be built.

    The certificate holds for the plans found; if time ran out, `unfinished` says what was not tried.
    """
    search = search_from(space or space_of(study), progress, Deadline(limit_s))
    best = run_search(search)[0]
    if best.log_goal == np.inf:
        return solve(study, progress, search.space, limit_s=limit_s)
    found = report_of(search, best, best, every_coefficient(search.space))
    left = tuple(search.deadline.undone)
    return dataclasses.replace(found, status=Status.UNFINISHED, unfinished=left) if left else found


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
    limit = least_cap_W(study)
    if np.isinf(limit):  # a chip file needs a TDP: the most it draws, so that it never throttles
        data = data_of(search.space, candidate.choice_index, candidate.plan_index)
        parts = silicon_of(chip, choice_technology(choice, study.package))
        x |= {"supply_V": jnp.asarray(parts.supply_V), "die_mm2": jnp.asarray(parts.die_mm2)}
        drawn = [float(w.power_W) for w in _at(core, chip, x, data)[0].loads]
        limit = rated_W(study, drawn, float(chip.power_limit_W))
    return dataclasses.replace(chip, name=f"{study.name}-design", power_limit_W=limit)


_at = compiled(chip_at)


def cooling(study: Study) -> FloatLike | None:
    """Limit on the power of every operator [W]; None if the study has none."""
    return None if math.isinf(cap_W := least_cap_W(study, HOTTEST)) else np.float64(cap_W)


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


def with_lean_plans(space: Space, tables: Tables) -> Space:
    """The space with the plans that need the least memory of all: a search for the fastest may have left them out."""
    for k in range(len(space.structures)):
        least = [int(np.argmin(np.asarray(d.memory_B)[k])) for d in tables.every]
        plans = tuple(t.plans[i] for t, i in zip(tables.of_workloads, least, strict=True))
        if any(p not in kept for p, kept in zip(plans, space.plans, strict=True)):
            space = with_plans(space, plans)
    return space


def without_design(search: Search, candidates: list[Candidate], proof: Proof, every: Data) -> Solution:
    """Solution without a design: infeasible if proved, else unfinished; with relaxations either way."""
    known = proof.infeasible and not unproved_terms(search.core, every)
    return Solution(
        study=search.space.study, status=Status.INFEASIBLE if known else Status.UNFINISHED, goal=float("inf"),
        choice=None, chip=None, continuous={}, silicon=None, workloads=(), limits=(), certificate=None,
        alternatives=alternatives_of(search), relaxations=relaxations(search, candidates),
    )  # fmt: skip


def delivered_range(space: Space, demands: list[StepDemand], chip: Chip, tech: Technology) -> tuple[float, float]:
    """Lowest and highest delivered speed-up with both chips' calibrations at bad end, middle and good end."""
    if not demands:
        return float("nan"), float("nan")
    # a design that draws more is no breach
    chip = dataclasses.replace(chip, power_limit_W=least_cap_W(space.study))
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


def limit_reports(search: Search, best: Candidate, continuous: Candidate, state: State) -> tuple[LimitReport, ...]:
    """Value of every limit at the design, and its price at the continuous optimum, summed over workloads.

    Promised latencies follow, then technology limits and memory, as fractions of their limits, and binding bounds of
    free numbers.
    """
    core, goal = search.core, float(np.exp(continuous.log_goal))
    # values of the whole design, prices of the continuous one: a price is a slope, which whole counts have none of
    multipliers, ratios = continuous.optimum.multipliers, np.exp(best.optimum.limits)
    reports = []
    for k, limit in enumerate(search.space.study.limits):
        value = metric_of(core.own, limit.metric)(state)
        ends = [float(v) for v in value] if isinstance(value, list) else [float(value)]
        # a limit holds for every workload, so that the nearest to it, or beyond, is the one to tell
        worst = max(ends) if limit.sense == "at_most" else min(ends)
        price = limit_price(search, k, multipliers)
        unit = goal * price / limit.value
        reports.append(LimitReport(limit.metric, limit.sense, worst, limit.value, price, unit, Kind.USER))
    reports += _promise_reports(search, continuous, goal, state)
    for i, row in enumerate(ratio_rows(core)):
        if row.kind is Kind.TECHNOLOGY or row.what in (MEMORY, AHEAD):
            # a ratio is limited to 1: loosening it by a log unit gains its multiplier
            price, name = -float(multipliers[i]), f"{row.what} of {row.workload}" if row.workload else row.what
            reports.append(LimitReport(name, "at_most", float(ratios[i]), 1.0, price, goal * price, row.kind))
    return (*reports, *_bound_reports(search, continuous, goal))


def limit_price(search: Search, k: int, multipliers: Vector) -> float:
    """Price of limit `k`: d log goal / d log limit, from the Lagrange multipliers of a continuous optimum."""
    sense = search.space.study.limits[k].sense
    return float(sum(multipliers[i] for i in rows_of_limit(search.core, k))) * (-1.0 if sense == "at_most" else 1.0)


def _promise_reports(search: Search, continuous: Candidate, goal: float, state: State) -> list[LimitReport]:
    """Every promised latency: the user's limit too, though the solver knows it as the upper bound of a step time."""
    out, first = [], len(coordinates(search.core)) - len(state.loads)
    for i, (load, promised_s) in enumerate(zip(state.loads, search.space.study.deadlines_s, strict=True)):
        if np.isfinite(promised_s):
            name, price = f"{TIMES}{search.core.workloads[i]}", -float(continuous.optimum.upper_multipliers[first + i])
            unit = goal * price / promised_s
            out.append(LimitReport(name, "at_most", float(load.step_s), promised_s, price, unit, Kind.USER))
    return out


def _bound_reports(search: Search, continuous: Candidate, goal: float) -> list[LimitReport]:
    """Binding bounds of free numbers, which the user may not have intended."""
    lower, upper = (np.exp(b) for b in search.box)
    o, out = continuous.optimum, []
    for i, name in enumerate(coordinates(search.core)):
        value, promised = float(np.exp(o.z[i])), name.startswith(TIMES)
        for sense, bound, price in (
            ("at_least", float(lower[i]), float(o.lower_multipliers[i])),
            ("at_most", float(upper[i]), -float(o.upper_multipliers[i])),
        ):
            # the upper end of a step time is a promise, which has a row already; without one it is too far to bind
            if abs(price) > SMALLEST_PRICE and not (promised and sense == "at_most"):
                out.append(LimitReport(name, sense, value, bound, price, goal * price / bound, Kind.BOUND))
    return out
