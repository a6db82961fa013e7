"""Choices under plans, solved and priced all in one `vmap`, each with its certificate; `descent` decides which."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ..study.convex import (
    ConvexCore,
    Data,
    all_strict,
    coordinates,
    model_of,
)
from ..study.design import STEPPED, steps
from .batch import WIDTH, solve_batch
from .box import bounds
from .deadline import Deadline
from .interior import Optimum
from .pricing import Plans, fastest_plans
from .space import Space, batch_of, element


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
    wanted: float = -np.inf
    """Log goals up to this are solved to the end even where something better is known."""


def search_of(
    space: Space, progress: Callable[[str], None] = lambda _: None, deadline: Deadline | None = None, *,
    wanted: float = -np.inf,
) -> Search:  # fmt: skip
    """A search in the bounds of a study, nothing solved yet."""
    core, box = space.study.core(), bounds(space)
    names = coordinates(core)
    places = [names.index(x) for x in STEPPED if x in core.free]
    by_dies = _steps(space, [names[i] for i in places], [np.exp(b[places]) for b in box])
    return Search(space, core, box, places, by_dies, progress, {}, deadline or Deadline(), wanted)


def search_from(
    known: Space | Search, progress: Callable[[str], None] = lambda _: None, deadline: Deadline | None = None
) -> Search:
    """A search of a lowered study, or one that goes on from all that another has solved."""
    if isinstance(known, Space):
        return search_of(known, progress, deadline)
    return dataclasses.replace(known, progress=progress, deadline=deadline or Deadline())


def _steps(space: Space, names: list[str], ends: list[np.ndarray]) -> dict[int, list[np.ndarray]]:
    """Logs of what can be built of some stepped numbers between ends, by number of dies."""
    each = list(zip(names, *(e.tolist() for e in ends), strict=True))
    # of a choice the dies alone decide what can be built
    of_dies = dict.fromkeys(c.n_dies for c in space.study.choices)
    return {n: [np.log(steps(name, n, low, high)) for name, low, high in each] for n in of_dies}


def n_choices(search: Search) -> int:
    """Number of discrete choices: the size of every batch, so that nothing compiles anew."""
    return len(search.space.study.choices)


def solve_points(
    search: Search, points: Sequence[tuple[int, Plans]], better_than: Sequence[float] | None = None
) -> list[Candidate]:
    """Solve choices under plans; those whose choice worked under no plan yet, which take long, come last.

    Where given, a point is left as it is once proved to have no log goal below its number in `better_than`.
    """
    most = np.full(len(points), np.inf) if better_than is None else np.maximum(better_than, search.wanted)
    # a batch takes as long as its slowest problem, and an impossible one takes all iterations: they share batches
    works = {c.choice_index: False for c in search.seen.values()}
    # after all that failed: one plan that works outweighs any number that do not
    works.update((c.choice_index, True) for c in search.seen.values() if c.log_goal < np.inf)
    # backwards, so that the first point of a choice is the one that stays
    new = {i: k for k, (i, _) in reversed(list(enumerate(points))) if i not in works}
    first = sorted(new.values())
    found = dict(zip(first, solved(search, [points[k] for k in first], most[first]), strict=True))
    works.update((c.choice_index, c.log_goal < np.inf) for c in found.values())
    rest = sorted((k for k in range(len(points)) if k not in found), key=lambda k: not works[points[k][0]])
    found.update(zip(rest, solved(search, [points[k] for k in rest], most[rest]), strict=True))
    # callers pair answers with what they asked, not with what was solved first
    in_order = [found[k] for k in range(len(points))]
    search.seen.update({(c.choice_index, c.plan_index): c for c in in_order})
    return in_order


def solved(
    search: Search, points: Sequence[tuple[int, Plans]], too_much: np.ndarray, *, limits: np.ndarray | None = None,
    box: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[Candidate]:  # fmt: skip
    """Choices under plans, each as far as it may be below its `too_much`, shape (points,).

    Points may have `limits` and a `box` of their own, shapes (points, limits) and twice (points, coordinates).
    """
    if not points:
        return []
    data = batch_of(search.space, [i for i, _ in points], [p for _, p in points])
    data = data if limits is None else dataclasses.replace(data, limits=limits)
    batch = optima(search, data, too_much, box)
    return [Candidate(i, p, element(batch, k)) for k, (i, p) in enumerate(points)]


def optima(
    search: Search, data: Data, too_much: np.ndarray, box: tuple[np.ndarray, np.ndarray] | None = None
) -> Optimum:
    """Optima in the box of a search or in boxes of their own, as far as they may be below `too_much`.

    Leading axis over problems.
    """
    lower, upper = search.box if box is None else box
    middle, strict = (lower + upper) / 2, all_strict(search.core)  # far from every bound, where barriers are steep
    return solve_batch(model_of(search.core), data, lower, upper, middle, loose=strict, too_much=too_much, size=WIDTH)


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


def with_design(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that meet the limits, best first."""
    return sorted((c for c in candidates if c.log_goal < np.inf), key=lambda c: c.log_goal)


def leaders(search: Search) -> list[Candidate]:
    """Best candidate of every choice so far, in the order of choices."""
    best: dict[int, Candidate] = {}
    for c in search.seen.values():
        # infinite is not below infinite: a choice without a design has a leader through the first half
        if c.choice_index not in best or c.log_goal < best[c.choice_index].log_goal:
            best[c.choice_index] = c
    return [best[i] for i in range(n_choices(search))]


def goals_of(search: Search, points: Sequence[tuple[int, Plans]]) -> list[float]:
    """Best log goal so far of the choice of every point."""
    known = [c.log_goal for c in leaders(search)]
    return [known[i] for i, _ in points]
