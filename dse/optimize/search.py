"""Search over discrete choices and plans, with certified convex solves inside, all choices in one `vmap`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from ..core.errors import SpecError
from ..core.program import meanwhile
from ..study.convex import (
    ConvexCore,
    Data,
    all_strict,
    chip_at,
    coordinates,
    model_of,
    named_numbers,
    power_auxiliaries,
)
from ..study.design import STEPPED, steps, with_free
from ..study.metrics import SPEEDUPS, metric_of
from .batch import WIDTH, solve_batch
from .deadline import Deadline
from .interior import Optimum
from .pricing import Plans, alternate, fastest_plans, prepare_pricing
from .space import Space, batch_of, data_of, element, leanest, own_plans, valid_in


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One solved discrete point."""

    choice_index: int
    plan_index: Plans
    """Position of each workload's plan in `space.plans`."""
    optimum: Optimum

    @property
    def log_goal(self) -> float:
        """Log objective; infinite when no design meets the limits."""
        return float(self.optimum.objective) if bool(self.optimum.feasible) else float("inf")


def bounds(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Log bounds of every coordinate of the convex core, shape (n,) each.

    Supply keeps to product limits, step times and auxiliary powers to a factor 1,000 of the baseline's; above the
    reticle, which is a row, there is room.
    """
    tech = space.without_plans.tech
    low_V, high_V = float(np.min(tech.node.minimum_V)), float(np.max(tech.node.maximum_V))
    reticle = float(np.max(tech.package.reticle_mm2))
    free = [(f.lower, f.upper) for f in space.study.free]
    deadlines = zip(space.ground.baselines, space.study.deadlines_s, strict=True)
    # a time needs both ends, since the proof is about a box; the upper one is the promised latency where there is one
    times = [(min(seconds, deadline) / SPAN, min(seconds * SPAN, deadline)) for (_, seconds), deadline in deadlines]
    # some scale is needed, and the baseline's is the only one that is there before a design
    tdp_W = float(space.study.baseline.chip.power_limit_W)
    powers = [(tdp_W / SPAN, tdp_W * SPAN) for _ in power_auxiliaries(space.study.core())]
    box = np.log(np.asarray([*free, (low_V, high_V), (reticle / SPAN, reticle * ROOM), *powers, *times]))
    return box[:, 0], box[:, 1]


SPAN = 1e3
"""Widest ratio considered for step times and die areas; wide enough never to bind."""
ROOM = 2.0
"""How far the box reaches above the reticle: more than any receipt allows, so that its row alone binds."""


@dataclasses.dataclass(frozen=True)
class Search:
    """A study whose plans are priced at the current chips and whose chips are solved, in turn, many starts at once."""

    space: Space
    core: ConvexCore
    box: tuple[np.ndarray, np.ndarray]
    integer_places: list[int]
    """Positions of the stepped numbers among the coordinates."""
    steps_by_dies: dict[int, list[np.ndarray]]
    """Logs of what can be built of each stepped number inside the box, by number of dies."""
    progress: Callable[[str], None]
    seen: dict[tuple[int, Plans], Candidate]
    """Every discrete point solved so far, by choice and plans."""
    deadline: Deadline


def search_of(
    space: Space, progress: Callable[[str], None] = lambda _: None, deadline: Deadline | None = None
) -> Search:
    """A search in the bounds of a study, nothing solved yet."""
    core, box = space.study.core(), bounds(space)
    names = coordinates(core)
    places = [names.index(x) for x in STEPPED if x in core.free]
    by_dies = _steps(space, [names[i] for i in places], [np.exp(b[places]) for b in box])
    return Search(space, core, box, places, by_dies, progress, {}, deadline or Deadline())


def _steps(space: Space, names: list[str], ends: list[np.ndarray]) -> dict[int, list[np.ndarray]]:
    """Logs of what can be built of some stepped numbers between ends, by number of dies."""
    each = list(zip(names, *(e.tolist() for e in ends), strict=True))
    of_dies = dict.fromkeys(c.n_dies for c in space.study.choices)
    return {n: [np.log(steps(name, n, low, high)) for name, low, high in each] for n in of_dies}


def n_choices(search: Search) -> int:
    """Number of discrete choices: the size of every batch, so that nothing compiles anew."""
    return len(search.space.study.choices)


def solve_points(search: Search, points: Sequence[tuple[int, Plans]]) -> list[Candidate]:
    """Solve choices under plans; those whose choice worked under no plan yet, which take long, come last."""
    # a batch takes as long as its slowest problem, and an impossible one takes all iterations: they share batches
    works = {c.choice_index: False for c in search.seen.values()}
    works.update((c.choice_index, True) for c in search.seen.values() if c.log_goal < np.inf)
    new = {i: k for k, (i, _) in reversed(list(enumerate(points))) if i not in works}
    first = sorted(new.values())
    found = dict(zip(first, _solved(search, [points[k] for k in first]), strict=True))
    works.update((c.choice_index, c.log_goal < np.inf) for c in found.values())
    rest = sorted((k for k in range(len(points)) if k not in found), key=lambda k: not works[points[k][0]])
    found.update(zip(rest, _solved(search, [points[k] for k in rest]), strict=True))
    in_order = [found[k] for k in range(len(points))]
    search.seen.update({(c.choice_index, c.plan_index): c for c in in_order})
    return in_order


def _solved(search: Search, points: Sequence[tuple[int, Plans]]) -> list[Candidate]:
    if not points:
        return []
    data = batch_of(search.space, [i for i, _ in points], [p for _, p in points])
    lower, upper = search.box
    middle, strict = (lower + upper) / 2, all_strict(search.core)  # far from every bound, where barriers are steep
    batch = solve_batch(model_of(search.core), data, lower, upper, middle, loose=strict, size=WIDTH)
    return [Candidate(i, p, element(batch, k)) for k, (i, p) in enumerate(points)]


def price_plans(
    search: Search, which: list[int], candidates: list[Candidate], *, among: Sequence[Sequence[np.ndarray]],
    limits: np.ndarray | None = None,
) -> list[Plans]:  # fmt: skip
    """Fastest plan of every workload at each candidate's chip, of those in `among` for its problem.

    Problems may have `limits` of their own, shape (problems, limits).
    """
    data = data_of_each(search, candidates)
    data = data if limits is None else dataclasses.replace(data, limits=limits[which])
    structures = search.space.structure_of_choice[[c.choice_index for c in candidates]]
    z, plans = np.stack([c.optimum.z for c in candidates]), [c.plan_index for c in candidates]
    return fastest_plans(search.core, z, data, structures, search.space.demands, plans, [among[i] for i in which])


def data_of_each(search: Search, candidates: Sequence[Candidate]) -> Data:
    """Coefficients of candidates, leading axis over them."""
    return batch_of(search.space, [c.choice_index for c in candidates], [c.plan_index for c in candidates])


def in_box(search: Search, box: tuple[np.ndarray, np.ndarray]) -> Search:
    """The search in another box, nothing solved there yet."""
    names = coordinates(search.core)
    ends = [np.exp(b[search.integer_places]) for b in box]
    by_dies = _steps(search.space, [names[i] for i in search.integer_places], ends)
    return dataclasses.replace(search, box=box, steps_by_dies=by_dies, seen={}, deadline=Deadline())


def best_goal(search: Search) -> float:
    """Smallest goal so far, infinite if nothing is feasible."""
    return float(np.exp(min((c.log_goal for c in search.seen.values()), default=np.inf)))


def run_search(search: Search) -> list[Candidate]:
    """Best candidate of every choice, best choice first, by the baseline's best plans and any that won."""
    _check_own(search)
    meanwhile(lambda: _prepare_pricing(search))
    rounds = itertools.count(1)
    problems = list(itertools.product(range(n_choices(search)), range(len(search.space.classes))))
    masks = [search.space.classes[k] for _, k in problems]

    def solve(active: list[int], plans: list[Plans], _: dict[int, Candidate]) -> list[Candidate]:
        found = solve_points(search, [(problems[i][0], p) for i, p in zip(active, plans, strict=True)])
        feasible = sum(c.log_goal < np.inf for c in found)
        search.progress(f"round {next(rounds)}: {feasible} of {len(found)} feasible, best {best_goal(search):.5g}")
        return found

    start = _first_plans_of(search, problems)
    alternate(start, solve, partial(price_plans, search, among=masks), lambda c: c.log_goal, search.deadline)
    # plans and chips improve in turn, which can settle where neither alone gets better: a plan that won for one
    # choice is a way out for others
    winners = {c.plan_index for c in leaders(search)}
    every = dict.fromkeys((i, p) for p in winners for i in range(n_choices(search)))
    if search.core.goal not in SPEEDUPS:  # the fastest plans fill memory, which costs something where time does not
        every |= dict.fromkeys(leanest(search.space))
    crossed = [point for point in every if point not in search.seen]
    if crossed and not search.deadline.over(f"{len(crossed)} pairs of choice and plans were not tried"):
        solve_points(search, crossed)
    search.progress(f"{len(winners)} plans crossed with {n_choices(search)} choices: best {best_goal(search):.5g}")
    return sorted(leaders(search), key=lambda c: c.log_goal)


def _prepare_pricing(search: Search) -> None:
    data = data_of(search.space, 0, tuple(0 for _ in search.space.plans))
    prepare_pricing(search.core, data, search.space.demands, len(search.box[0]))


def _check_own(search: Search) -> None:
    """Refuse a metric of the user's own that is not positive in the middle of the box, where every solve begins."""
    if not search.core.own:
        return
    x = named_numbers(search.core, (search.box[0] + search.box[1]) / 2)
    data = data_of(search.space, 0, first_plans(search, 0, 0))
    state, _ = chip_at(search.core, with_free(data.chip, {n: x[n] for n in search.core.free}), x, data)
    for name in (n for n, _ in search.core.own if n in (search.core.goal, *(m for m, _ in search.core.limits))):
        value = metric_of(search.core.own, name)(state)
        if not isinstance(value, list) and not float(value) > 0:
            raise SpecError(
                f"metrics.{name}: {float(value):.3g} in the middle of all bounds, where the search begins; "
                "a metric must be positive for every design"
            )


def _first_plans_of(search: Search, problems: list[tuple[int, int]]) -> list[Plans]:
    """`first_plans` of choices and classes; of the choices it asks for nothing but their system."""
    at = [(search.space.study.choices[i].system, k) for i, k in problems]
    found = {key: first_plans(search, *one) for key, one in dict(zip(at, problems, strict=True)).items()}
    return [found[key] for key in at]


def first_plans(search: Search, choice_index: int, k: int) -> Plans:
    """The baseline's best plans in the orders of class `k`; where a system forbids one, the first it allows."""
    starts, space = [], search.space
    for w, (kept, own, mask) in enumerate(zip(space.plans, own_plans(space), space.classes[k], strict=True)):
        wanted = kept.index(dataclasses.replace(kept[own], order=kept[int(np.argmax(mask))].order))
        allowed = mask & valid_in(space, w, kept, choice_index)
        starts.append(wanted if allowed[wanted] or not allowed.any() else int(np.argmax(allowed)))
    return tuple(starts)


def with_design(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that meet the limits, best first."""
    return sorted((c for c in candidates if c.log_goal < np.inf), key=lambda c: c.log_goal)


def leaders(search: Search) -> list[Candidate]:
    """Best candidate of every choice so far, in the order of choices."""
    groups = [[c for c in search.seen.values() if c.choice_index == i] for i in range(n_choices(search))]
    return [min(g, key=lambda c: c.log_goal) for g in groups]
