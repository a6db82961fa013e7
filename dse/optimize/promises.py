"""Promised latencies in an infeasible study: rows that may be exceeded at a price, as limits are.

A promise is the upper bound of a step time, since a box costs the solver nothing. Where nothing keeps it, it becomes a
row, so that promises and limits compete for the least change together.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..study.convex import ConvexCore, Data, Row, core_logs, model_of, ratio_rows
from .batch import WIDTH
from .elastic import Loosened, cheapest_relaxations
from .pricing import Plans, alternate, fastest_plans
from .search import Search, first_plans, n_choices
from .space import batch_of


@dataclasses.dataclass(frozen=True, eq=False)
class Broken:
    """A choice with plans and its least relaxation for continuous counts."""

    choice: int
    plans: Plans
    z: Float[np.ndarray, " n"]
    """The chip that needs the least."""
    total: float
    """Sum of the loosenings [log units]; infinite where none of those allowed is enough."""


def total(found: Loosened) -> Float[np.ndarray, " b"]:
    """Sums of loosenings, infinite where what may be loosened is not enough."""
    return np.where(found.converged, found.total, np.inf)


def promised(search: Search) -> np.ndarray:
    """Which workloads have a promised latency, an upper bound of their step time."""
    return np.isfinite(np.asarray(search.space.study.deadlines_s, dtype=float))


def rows_to_loosen(search: Search, may: Callable[[Row], bool]) -> Bool[np.ndarray, " m"]:
    """Which rows of `relaxed` may be exceeded: those that `may` allows, and every promise."""
    own = np.asarray([may(row) for row in ratio_rows(search.core)], dtype=bool)
    return np.append(own, promised(search)) if promised(search).any() else own


def promise_logs(core: ConvexCore, z: Array, data: tuple[Data, Array]) -> tuple[Array, Array]:
    """`core_logs` with a row for every step time more, over the longest that is allowed."""
    inner, longest = data
    goal, limits = core_logs(core, z, inner)
    # a bound of the box cannot be exceeded at a price; as a row it competes with the limits for the least change
    return goal, jnp.concatenate([limits, z[z.shape[0] - longest.shape[0] :] - longest])


FURTHEST = 64.0
"""How far beyond a box what can be built, or what can be promised, is looked for."""


def relaxed(
    search: Search, points: Sequence[tuple[int, Plans]], lower: np.ndarray, upper: np.ndarray, loose: np.ndarray
) -> Loosened:
    """The cheapest loosening of each choice under its plans, in its box; `loose` as of `rows_to_loosen`."""
    data, model = batch_of(search.space, [i for i, _ in points], [p for _, p in points]), model_of(search.core)
    if not (late := promised(search)).any():
        return cheapest_relaxations(model, data, lower, upper, loose, WIDTH)
    # step times are the last coordinates, one per workload in their order
    longest = np.repeat(search.box[1][None, -late.size :], len(points), axis=0)
    upper = upper.copy()
    upper[:, -late.size :] += np.where(late, math.log(FURTHEST), 0.0)
    model = eqx.Partial(promise_logs, search.core)
    return cheapest_relaxations(model, (data, longest), lower, upper, loose, WIDTH)


def late_plans(search: Search, loose: Bool[np.ndarray, " m"]) -> list[tuple[int, Plans]]:
    """Choices with the plans that are fastest on the chips that miss promises and limits least; none without a promise.

    The search for the best design finds none of them: where no plan is in time, it has no reason to change any.
    """
    if not promised(search).any():
        return []
    space = search.space
    problems = list(itertools.product(range(n_choices(search)), range(len(space.classes))))

    def solve(active: list[int], plans: list[Plans], _: dict[int, Broken]) -> list[Broken]:
        points = [(problems[i][0], p) for i, p in zip(active, plans, strict=True)]
        lower, upper = (np.repeat(b[None], len(points), axis=0) for b in search.box)
        found = relaxed(search, points, lower, upper, loose)
        each = zip(points, np.asarray(found.z), total(found).tolist(), strict=True)
        return [Broken(choice, p, z, t) for (choice, p), z, t in each]

    def price(which: list[int], found: list[Broken]) -> list[Plans]:
        choices, plans = [b.choice for b in found], [b.plans for b in found]
        data = batch_of(space, choices, plans)
        # the fastest plan is asked for, however late it is
        data = dataclasses.replace(data, deadline_s=np.full_like(data.deadline_s, np.inf))
        z, structures = np.stack([b.z for b in found]), space.structure_of_choice[choices]
        among = [space.classes[problems[i][1]] for i in which]
        return fastest_plans(search.core, z, data, structures, space.demands, plans, among)

    start = [first_plans(search, i, k) for i, k in problems]
    best = alternate(start, solve, price, lambda b: b.total)
    return list(dict.fromkeys((b.choice, b.plans) for b in best))
