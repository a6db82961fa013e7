"""A search: plans and chips in turn, what won for one choice tried for others, then other plans of one workload."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from ..core.errors import SpecError
from ..core.program import meanwhile
from ..core.types import row_of
from ..study.convex import chip_at, named_numbers
from ..study.design import with_free
from ..study.metrics import OF_WORKLOADS, SPEEDUPS, metric_of
from .hull import least_demand
from .pricing import SAME, Plans, alternate
from .search import (
    Candidate,
    Search,
    best_goal,
    data_of_each,
    goals_of,
    leaders,
    n_choices,
    optima,
    price_plans,
    solve_points,
)
from .space import Space, data_of, leanest, own_plans, prepare_prices, valid_in


@runtime_checkable
class Solved(Protocol):
    """A design that was solved for a choice under plans."""

    @property
    def choice_index(self) -> int:
        """Position among the study's choices."""
        ...

    @property
    def plan_index(self) -> Plans:
        """Plan of each workload."""
        ...


T = TypeVar("T", bound=Solved)


def run_search(search: Search) -> list[Candidate]:
    """Best candidate of every choice, best choice first, by the baseline's best plans and any that won."""
    _check_own(search)
    # plans are priced after the first solves, and the program is made while these run
    meanwhile(lambda: prepare_prices(search.space, search.space.demands))
    able = _able(search)
    _in_turn(search, able)
    _cross(search, able)
    _vary_plans(search, able)
    return sorted(leaders(search), key=lambda c: c.log_goal)


def _in_turn(search: Search, able: list[int]) -> None:
    """Plans and chips of choices improved in turn, by each combination of orders for itself."""
    rounds = itertools.count(1)
    problems = list(itertools.product(able, range(len(search.space.classes))))
    masks = [search.space.classes[k] for _, k in problems]

    def solve(active: list[int], plans: list[Plans], best: dict[int, Candidate]) -> list[Candidate]:
        points = [(problems[i][0], p) for i, p in zip(active, plans, strict=True)]
        known = {p: best[i].log_goal if i in best else np.inf for i, p in zip(active, points, strict=True)}
        fresh = [p for p in points if p not in search.seen]
        solve_points(search, fresh, [known[p] for p in fresh])
        found = [search.seen[p] for p in points]
        feasible = sum(c.log_goal < np.inf for c in found)
        search.progress(f"round {next(rounds)}: {feasible} of {len(found)} feasible, best {best_goal(search):.5g}")
        return found

    start = _first_plans_of(search, problems)
    alternate(start, solve, partial(price_plans, search, among=masks), lambda c: c.log_goal, search.deadline)


def _cross(search: Search, able: list[int]) -> None:
    """Plans that won for one choice under all others: a way out where neither plans nor chip alone get better."""
    winners = {c.plan_index for c in leaders(search)}
    every = dict.fromkeys((i, p) for p in winners for i in able)
    if search.core.goal not in SPEEDUPS:  # the fastest plans fill memory, which costs something where time does not
        every |= dict.fromkeys((i, p) for i, p in leanest(search.space) if i in able)
    crossed = [point for point in every if point not in search.seen]
    if crossed and not search.deadline.over(f"{len(crossed)} pairs of choice and plans were not tried"):
        solve_points(search, crossed, goals_of(search, crossed))
    search.progress(f"{len(winners)} plans crossed with {len(able)} choices: best {best_goal(search):.5g}")


def _able(search: Search) -> list[int]:
    """Choices that some plan may work for, all of them where none does; each is solved under its first plans."""
    every = list(range(n_choices(search)))
    starts = _first_plans_of(search, [(i, 0) for i in every])
    found = solve_points(search, list(zip(every, starts, strict=True)))
    stuck = [c for c in found if bool(c.optimum.impossible)]
    if not 0 < len(stuck) < len(every) or not wants_less(search):
        return every
    # a demand with the best of each coefficient asks for no more than any plan: what is impossible with it always is
    rows = search.space.structure_of_choice[[c.choice_index for c in stuck]]
    least = tuple(row_of(least_demand(d), rows) for d in search.space.demands)
    data = dataclasses.replace(data_of_each(search, stuck), demands=least)
    impossible = np.asarray(optima(search, data, np.full(len(stuck), np.inf)).impossible)
    never = {c.choice_index for c, no in zip(stuck, impossible.tolist(), strict=True) if no}
    return [i for i in every if i not in never]


def wants_less(search: Search) -> bool:
    """Whether goal and limits gain, or lose nothing, by every coefficient of a demand that gets better."""
    # a floor is easier met by a plan that spends more, and a metric of the user's own may read any number either way
    floors = [x.metric for x in search.space.study.limits if x.sense == "at_least"]
    return not search.core.own and not set(floors) & set(OF_WORKLOADS)


def _vary_plans(search: Search, able: list[int]) -> None:
    """`local_search` from the best design of all; plans that win are tried under every choice, as a way out for it."""

    def leader() -> Candidate:
        return min(leaders(search), key=lambda c: c.log_goal)

    def solve(best: Candidate, near: list[tuple[int, Plans]]) -> Candidate:
        fresh = [p for p in near if p not in search.seen]
        if not fresh or search.deadline.over(f"{len(fresh)} plans in place of the best were not tried"):
            return best
        solve_points(search, fresh, goals_of(search, fresh))
        won = leader().plan_index
        again = [(i, won) for i in able if (i, won) not in search.seen]
        solve_points(search, again, goals_of(search, again))
        search.progress(f"{len(fresh)} plans in place of the best: best {best_goal(search):.5g}")
        return leader()

    local_search(search.space, leader(), solve, lambda c: c.log_goal)


def local_search(
    space: Space, best: T, solve: Callable[[T, list[tuple[int, Plans]]], T], goal: Callable[[T], float],
    margin: float = SAME,
) -> T:  # fmt: skip
    """Best-improvement local search over plans: one workload's is swapped at a time, until no swap lowers the goal.

    `solve` gives the best of a design and its neighbours, a choice and plans each, every one with a chip of its own:
    the fastest plan at a chip that was made for another may be that other still.
    """
    while goal(best) < math.inf:
        found = solve(best, swapped(space, best.choice_index, best.plan_index))
        # without the margin two plans as good as each other would be swapped for ever
        if not goal(found) < goal(best) - margin:
            break
        best = found
    return best


def swapped(space: Space, choice: int, plans: Plans) -> list[tuple[int, Plans]]:
    """A choice under every combination that differs from `plans` in the plan of one workload."""
    valid = [np.flatnonzero(valid_in(space, w, kept, choice)) for w, kept in enumerate(space.plans)]
    each = ((*plans[:w], int(k), *plans[w + 1 :]) for w, of_one in enumerate(valid) for k in of_one)
    return [(choice, other) for other in each if other != plans]


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
