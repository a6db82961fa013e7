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

from ..study.convex import ConvexCore, Data, Row, coordinates, core_logs, model_of, ratio_rows, rows_of_limit
from .batch import WIDTH
from .descent import first_plans
from .elastic import Loosened, cheapest_relaxations
from .pricing import Plans, alternate, fastest_plans
from .search import Search, n_choices
from .space import batch_of


@dataclasses.dataclass(frozen=True, eq=False)
class Broken:
    """A choice with plans and its least relaxation for continuous counts."""

    choice_index: int
    plan_index: Plans
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


def together(core: ConvexCore) -> list[list[int]]:
    """Rows of each limit that has several, one per workload: one value holds for all, so that they loosen as one."""
    each = (rows_of_limit(core, k) for k in range(len(core.limits)))
    return [rows for rows in each if len(rows) > 1]


def loosened_logs(core: ConvexCore, z: Array, data: tuple[Data, Array]) -> tuple[Array, Array]:
    """`core_logs` with a row for every promised step time more, over the longest, and one for every looser limit.

    How much looser a limit of several rows is stands last among the coordinates.
    """
    inner, longest = data
    n = len(coordinates(core))
    goal, limits = core_logs(core, z[:n], inner)
    for k, rows in enumerate(together(core)):
        limits = limits.at[np.asarray(rows)].add(-z[n + k])
    # a bound of the box cannot be exceeded at a price; as a row it competes with the limits for the least change
    return goal, jnp.concatenate([limits, z[n - longest.shape[0] : n] - longest, z[n:]])


FURTHEST = 64.0
"""How far beyond a box what can be built, or what can be promised, is looked for."""


MOST = 40.0
"""How much looser a limit over several workloads may get [log units]: more than any is."""


def relaxed(
    search: Search, points: Sequence[tuple[int, Plans]], lower: np.ndarray, upper: np.ndarray, loose: np.ndarray
) -> Loosened:
    """The cheapest loosening of each choice under its plans, in its box; `loose` as of `rows_to_loosen`.

    A limit over several workloads is loosened once, for all of them.
    """
    data, core = batch_of(search.space, [i for i, _ in points], [p for _, p in points]), search.core
    late, several = promised(search), together(core)
    if not late.any() and not several:
        return cheapest_relaxations(model_of(core), data, lower, upper, loose, WIDTH)
    late = late if late.any() else late[:0]
    # step times are the last coordinates, one per workload in their order
    n = len(coordinates(core))
    longest = np.repeat(search.box[1][None, n - late.size :], len(points), axis=0)
    # the callers' box, which other problems share, stays
    upper = upper.copy()
    upper[:, n - late.size :] += np.where(late, math.log(FURTHEST), 0.0)
    own, may = loose.copy(), np.asarray([loose[rows].all() for rows in several], dtype=bool)
    for rows in several:
        # they move by the one coordinate of their limit below; loosened by themselves they would part
        own[rows] = False
    beside = np.zeros((len(points), len(several)))
    box = np.hstack([lower, beside]), np.hstack([upper, beside + np.where(may, MOST, 0.0)])
    strict_or_one = np.append(own, np.ones(len(several), dtype=bool))
    found = cheapest_relaxations(eqx.Partial(loosened_logs, core), (data, longest), *box, strict_or_one, WIDTH)
    return _of_rows(found, n, loose.size, several)


def _of_rows(found: Loosened, n: int, n_rows: int, several: list[list[int]]) -> Loosened:
    """A loosening of every row from one of every limit, and designs of their `n` coordinates alone."""
    # a copy, since arrays that come from a device may be read-only
    each = np.array(found.loosening)
    for k, rows in enumerate(several):
        each[:, rows] = each[:, [n_rows + k]]
    kept = found.z[:, :n], each[:, :n_rows], found.multipliers[:, :n_rows]
    return eqx.tree_at(lambda f: (f.z, f.loosening, f.multipliers), found, kept)


def with_fractions(search: Search, points: list[tuple[int, Plans]], loose: Bool[np.ndarray, " m"]) -> list[Broken]:
    """The least relaxation of each choice under its plans in the box of the search, counts broken."""
    lower, upper = (np.repeat(b[None], len(points), axis=0) for b in search.box)
    found = relaxed(search, points, lower, upper, loose)
    each = zip(points, np.asarray(found.z), total(found).tolist(), strict=True)
    return [Broken(i, plans, z, t) for (i, plans), z, t in each]


def late_plans(search: Search, loose: Bool[np.ndarray, " m"]) -> list[tuple[int, Plans]]:
    """Choices with the plans that are fastest on the chips that miss promises and limits least; none without a promise.

    The search for the best design finds none of them: where no plan is in time, it has no reason to change any.
    """
    if not promised(search).any():
        return []
    space = search.space
    problems = list(itertools.product(range(n_choices(search)), range(len(space.classes))))

    def solve(active: list[int], plans: list[Plans], _: dict[int, Broken]) -> list[Broken]:
        return with_fractions(search, [(problems[i][0], p) for i, p in zip(active, plans, strict=True)], loose)

    def price(which: list[int], found: list[Broken]) -> list[Plans]:
        choices, plans = [b.choice_index for b in found], [b.plan_index for b in found]
        data = batch_of(space, choices, plans)
        # the fastest plan is asked for, however late it is
        data = dataclasses.replace(data, deadline_s=np.full_like(data.deadline_s, np.inf))
        z, structures = np.stack([b.z for b in found]), space.structure_of_choice[choices]
        among = [space.classes[problems[i][1]] for i in which]
        return fastest_plans(search.core, z, data, structures, space.demands, plans, among)

    start = [first_plans(search, i, k) for i, k in problems]
    best = alternate(start, solve, price, lambda b: b.total)
    return list(dict.fromkeys((b.choice_index, b.plan_index) for b in best))
