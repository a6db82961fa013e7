"""Around an optimum: goals with limits loosened by 10 % or removed, and the range of each number near the optimum.

Each limit is moved and the study re-solved, beside its local price. Every number is minimised and maximised among
designs with a goal within (1 + share) of the best, with bounds.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import numpy as np

from ..core.free import Free
from ..core.text import percent
from ..study.convex import TIMES, ConvexCore, Kind, all_strict, coordinates, model_of
from ..study.metrics import Limit
from ..study.study import Study
from .aim import Aim
from .batch import ON_CORE, WIDTH, solve_batch
from .deadline import Deadline
from .descent import run_search
from .prices import LimitReport
from .search import Candidate, Search, data_of_each, search_from, search_of, solve_points
from .solution import Near, Solution, WhatIf
from .space import Space, relative, space_of

MOVED = 1.1
"""A limit is moved by this factor, to the side that loosens it."""
DROPPED = 1e6
"""A limit this much looser is none; the problem keeps its form, so that nothing compiles anew."""


def what_if(
    study: Study, reports: tuple[LimitReport, ...] = (), space: Space | None = None,
    progress: Callable[[str], None] = lambda _: None, deadline: Deadline | None = None,
) -> tuple[WhatIf, ...]:  # fmt: skip
    """Goal of a study with each limit and promise 10 % looser, and without it, over all choices, continuous counts.

    Of `reports`, bounds of free numbers that cost something are moved too, but not dropped.
    """
    space, deadline = space or space_of(study), deadline or Deadline()

    def goal(changed: Study) -> float:
        return math.exp(run_search(search_of(relative(space, changed), deadline=deadline))[0].log_goal)

    # from the same search with fractions as the moved goals: against the whole design every change would look better
    now, found = goal(study), []
    for kind, group in (("limits", _limits_moved(study)), ("bounds", _bounds_moved(study, reports))):
        for i, (name, sense, value, looser, without) in enumerate(group):
            if deadline.over(f"{len(group) - i} of {len(group)} {kind} were not moved"):
                return tuple(found)
            progress(f"with a looser {name}")
            # plans are searched anew, by a search that can miss some; what met the tighter limit meets the looser too
            moved = min(now, goal(looser))
            dropped = None if without is None else min(moved, goal(without))
            found.append(WhatIf(name, sense, value, now, moved, dropped))
    return tuple(found)


Move: TypeAlias = tuple[str, str, float, Study, Study | None]
"""Name, sense and value of what is moved, and the study with it looser, and without it where that can be asked."""


def _limits_moved(study: Study) -> list[Move]:
    """Every limit of a study, then every promised latency."""
    found: list[Move] = []
    for i, x in enumerate(study.limits):
        looser, without = (with_limit(study, i, loosened(x, factor)) for factor in (MOVED, DROPPED))
        found.append((x.metric, x.sense, x.value, looser, without))
    for name, promised_s in zip(study.workloads, study.deadlines_s, strict=True):
        if math.isfinite(promised_s):
            looser, without = (with_promise(study, name, promised_s * factor) for factor in (MOVED, math.inf))
            found.append((f"{TIMES}{name}", "at_most", promised_s, looser, without))
    return found


def _bounds_moved(study: Study, reports: Sequence[LimitReport]) -> list[Move]:
    """The bounds of free numbers that cost something; the models do not hold far beyond them."""
    bounds = [x for x in reports if x.kind is Kind.BOUND and x.name in {f.name for f in study.free}]
    return [(x.name, x.sense, x.limit, widened(study, x), None) for x in bounds]


def with_promise(study: Study, workload: str, promised_s: float) -> Study:
    """The study with another promised latency of a workload; the baseline keeps the plan that its own promise chose."""
    return dataclasses.replace(study, longest_s={**study.longest_s, workload: promised_s})


def loosened(limit: Limit, factor: float) -> Limit:
    """A limit looser by a factor."""
    return dataclasses.replace(limit, value=limit.value * factor if limit.sense == "at_most" else limit.value / factor)


def with_limit(study: Study, i: int, limit: Limit) -> Study:
    """The study with its limit `i` replaced."""
    return dataclasses.replace(study, limits=(*study.limits[:i], limit, *study.limits[i + 1 :]))


def widened(study: Study, bound: LimitReport) -> Study:
    """The study with one bound of a free number moved outwards."""

    def wider(f: Free) -> Free:
        if f.name != bound.name:
            return f
        return (
            Free(f.name, f.lower, f.upper * MOVED)
            if bound.sense == "at_most"
            else Free(f.name, f.lower / MOVED, f.upper)
        )

    return dataclasses.replace(study, free=tuple(wider(f) for f in study.free))


PRODUCTS = {"sram_B": ("n_cores", "scratchpad_B"), "vector_lanes_per_chip": ("n_cores", "vector_lanes")}
"""Numbers of the chip that are products of free ones, and so as straight in logs as they are."""


def near(
    study: Study, goal: float, share_frac: float, space: Space | Search | None = None,
    progress: Callable[[str], None] = lambda _: None, deadline: Deadline | None = None,
) -> tuple[Near, ...]:  # fmt: skip
    """Range of every free number over all designs with a goal of at most (1 + share_frac) `goal`.

    Over all choices and the plans that a search found worth solving; other plans could widen a range.
    """
    search = search_from(space or space_of(study), progress, deadline)
    if not search.seen:
        run_search(search)
    # the goal may be that of whole counts: designs with fractions reach it with room, so that the set has an interior
    most = math.log(goal) + math.log1p(share_frac)
    points = _within(search, most)
    directions = directions_of(search.core)
    progress(f"{len(points)} choices and plans reach {percent(share_frac)}: {2 * len(directions)} ends each")
    if not points:
        return ()
    names, found = list(directions), []
    # whole batches between looks at the clock: of one design at least, of all where they are few
    at_once = max(ON_CORE // 2, -(-WIDTH // len(points)))
    for first in range(0, len(names), at_once):
        if search.deadline.over(f"ranges of {len(names) - first} of {len(names)} numbers"):
            break
        some = names[first : first + at_once]
        ways = [directions[n] for n in some]
        value, least = _ends(search, points, [*ways, *(-w for w in ways)], most)
        rows = zip(some, *np.split(np.exp(value), 2), *np.split(np.exp(least), 2), strict=True)
        found += [Near(n, float(a), float(1 / b), float(c), float(1 / d)) for n, a, b, c, d in rows]  # 1 / min(1/x)
    return tuple(found)


def _within(search: Search, most: float) -> list[Candidate]:
    """Points with a log goal of at most `most`, best first; what misses it at its own optimum has no such design."""
    # the search left many as soon as something else was proved better, though they may be near
    optima = {p: c.optimum for p, c in search.seen.items()}
    late = [p for p, o in optima.items() if not (o.converged or o.impossible or o.lower_bound > most)]
    solve_points(search, late)
    return sorted((c for c in search.seen.values() if c.log_goal <= most), key=lambda c: c.log_goal)


def directions_of(core: ConvexCore) -> dict[str, np.ndarray]:
    """Weights of the coordinates in the log of each number."""
    names = coordinates(core)
    terms = {n: (n,) for n in core.free}
    terms |= {n: parts for n, parts in PRODUCTS.items() if set(parts) <= set(core.free)}
    return {n: np.asarray([float(v in parts) for v in names]) for n, parts in terms.items()}


AT_EDGE = 1e-6
"""Distance to a bound of the study that is the solver's rounding [log units]."""


def _ends(
    search: Search, points: Sequence[Candidate], ways: Sequence[np.ndarray], most: float
) -> tuple[np.ndarray, np.ndarray]:
    """Least log number along each way over all points, best first: found, and no less than."""
    best, *rest = points
    value, least = _reached(search, [best], ways, most, np.full(len(ways), np.inf))
    edge = np.asarray([np.minimum(w * search.box[0], w * search.box[1]).sum() for w in ways])
    inside = np.flatnonzero(value > edge + AT_EDGE).tolist()
    least = np.minimum(least, np.where(value > edge + AT_EDGE, np.inf, edge))
    if rest and inside:
        # the best has the most room and mostly reaches farthest: of the others a proof is enough that they do not
        more, proved = _reached(search, rest, [ways[k] for k in inside], most, value[inside])
        value[inside], least[inside] = np.minimum(value[inside], more), np.minimum(least[inside], proved)
    return value, least


def _reached(
    search: Search, points: Sequence[Candidate], ways: Sequence[np.ndarray], most: float, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `_ends`, each point left as it is once proved to have no number below the `known` of its way."""
    # way by way: what ends early is solved side by side; a product of numbers is a straight line in logs, too, convex
    # both ways, so that either end of its range has a proof
    pairs = list(itertools.product(ways, points))
    data, aim = (
        data_of_each(search, [c for _, c in pairs]),
        Aim(np.stack([w for w, _ in pairs]), np.full(len(pairs), most)),
    )
    # the optimum is in the set: every end is sought from a design that meets everything
    starts, strict = np.stack([c.optimum.z for _, c in pairs]), all_strict(search.core)
    args, too_much = (model_of(search.core), data, *search.box, starts), np.repeat(known, len(points))
    o = jax.device_get(solve_batch(*args, loose=strict, too_much=too_much, aim=aim, size=WIDTH))
    value = np.where(o.feasible, o.objective, np.inf).reshape(len(ways), -1)
    # a point that is proved to reach no such goal bounds nothing; of the others the loosest bound holds for all
    least = np.where(o.impossible, np.inf, o.lower_bound).reshape(len(ways), -1)
    return value.min(axis=1), least.min(axis=1)


def with_more(
    solution: Solution, what_ifs: bool, near_frac: float, limit_s: float, tell: Callable[[str], None]
) -> Solution:
    """The solution with both where asked; Ctrl-C ends that, but loses nothing that was found before."""
    # time of its own: a long proof must not leave none for what was asked besides
    more, found = Deadline(limit_s), {}
    try:
        if what_ifs:
            found["what_ifs"] = what_if(solution.study, solution.limits, progress=tell, deadline=more)
        if near_frac > 0 and solution.chip is not None:
            found["near"] = near(solution.study, solution.goal, near_frac, progress=tell, deadline=more)
    except KeyboardInterrupt:
        found["stopped"] = True
    return dataclasses.replace(solution, **found, unfinished=(*solution.unfinished, *more.undone))
