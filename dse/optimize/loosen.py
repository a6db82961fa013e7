"""Infeasible problems: the least relaxation of the limits that makes a design feasible.

Of convex problems it minimises the sum of relaxations in log units (an l1 norm), so that few limits move; of known
choices and plans it admits a design with whole counts. Read more: [nocedal2006] 17.2.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core.types import Scalar, Vector
from ..study.convex import Kind, model_of, ratio_rows, rows_of_limit
from .batch import WIDTH, solve_batch
from .counts import around, beside, fixed_boxes
from .interior import Limits, Model, Optimum
from .pricing import Plans
from .search import Candidate, Search, n_choices
from .solution import Relaxation
from .space import batch_of, element, every_plan


class Loosened(eqx.Module):
    """The cheapest loosening."""

    loosening: Limits
    """Log factor by which each limit must be loosened; 0 where it may stay."""
    total: Scalar
    """Sum of the loosenings."""
    lower_bound: Scalar
    """No loosening has a smaller sum; positive proves that the limits as given cannot all be met."""
    z: Vector
    """A design that meets the loosened limits."""
    multipliers: Limits
    """Multiplier of each limit: how fast the total falls when that limit alone is loosened, at most 1; 0 for limits
    that stand in no other's way."""
    converged: Bool[Array | np.ndarray, ""]
    """Whether this is the cheapest; False if the limits that may not be relaxed conflict by themselves."""


def _loosened(o: Optimum, may_relax: Bool[Array | np.ndarray, " m"]) -> Loosened:
    """Relaxation from an optimum with limits that may be exceeded."""
    loosening = jnp.where(may_relax, jnp.maximum(o.limits, 0.0), 0.0)
    return Loosened(loosening, jnp.sum(loosening), o.lower_bound, o.z, o.multipliers, o.converged)


def cheapest_relaxations(
    fun: Model,
    data: Any,
    lower: Float[np.ndarray, "b n"],
    upper: Float[np.ndarray, "b n"],
    may_relax: Bool[Array | np.ndarray, " m"],
    size: int,
) -> Loosened:
    """The least total loosening that makes each of many problems of one model (leading axis) feasible, as host arrays.

        min sum_i u_i  subject to  g_i(z) <= u_i (relaxable i),  g_i(z) <= 0 (the rest),  lower <= z <= upper
    with no u_i negative; `may_relax` is True for budgets, False for laws. Limits that need not move do not.
    Source: [nocedal2006] eq. 17.26 to 17.28, [boyd2007tutorial] section 7 (feasibility analysis).
    Assumes: g is smooth and convex on the box.
    """
    o = solve_batch(fun, data, lower, upper, (lower + upper) / 2, loose=may_relax, size=size)
    return jax.device_get(jax.vmap(lambda one: _loosened(one, may_relax))(o))


def least_violations(
    fun: Model, data: Any, lower: Float[np.ndarray, "b n"], upper: Float[np.ndarray, "b n"], n_limits: int, size: int
) -> np.ndarray:
    """Lower bound on the total violation over each box [log units]; more than `ROUNDING` proves infeasibility."""
    every = np.ones(n_limits, dtype=bool)
    return np.asarray(cheapest_relaxations(fun, data, lower, upper, every, size).lower_bound)


BEGUN = 16
"""Choices and plans, those that need the least, whose neighbouring whole counts are relaxed too."""
TRIED = 4
"""Of these the best, whose counts go on downhill."""
WALKED = 4096
"""Whole counts after which to stop: a walk from the neighbours of a broken optimum takes a tenth to a third of that."""
MOST = 128
"""Choices and plans that are relaxed with broken counts."""
SMALLEST = 1e-4
"""Relaxations below this share are rounding."""
DOWNHILL = 1e-6
"""A step to neighbouring counts that saves less leads nowhere; steps of lanes save less than `SMALLEST` each."""
Counts = tuple[float, ...]
"""Logs of what can be built of each stepped number."""


@dataclasses.dataclass(frozen=True, eq=False)
class Broken:
    """A choice with plans and its least relaxation for continuous counts."""

    choice: int
    plans: Plans
    z: Float[np.ndarray, " n"]
    """The chip that needs the least."""
    total: float
    """Sum of the loosenings [log units]; infinite where none of those allowed is enough."""


@dataclasses.dataclass(frozen=True)
class Way:
    """A relaxation of several limits."""

    total: float
    """Sum of all changes [log units]."""
    moves: tuple[Relaxation, ...]


NONE = Way(math.inf, ())


def broken(search: Search, candidates: list[Candidate], loose: Bool[np.ndarray, " m"]) -> list[Broken]:
    """Least relaxation of each choice with plans for continuous counts, smallest first."""
    # where fractions do meet the limits, only whole counts do not: nothing is broken yet, and the way begins at 0
    if able := [c for c in candidates if c.log_goal < np.inf]:
        lean = dict(leanest(search))
        each = [(c.choice_index, plans, c.optimum.z) for c in able for plans in (c.plan_index, lean[c.choice_index])]
        return [Broken(i, plans, np.asarray(z), 0.0) for i, plans, z in each]
    own = [(c.choice_index, c.plan_index) for c in candidates]
    points = list(dict.fromkeys([*own, *leanest(search), *search.seen]))[:MOST]
    lower, upper = (np.repeat(b[None], len(points), axis=0) for b in search.box)
    found = relaxed(search, points, lower, upper, loose)
    each = zip(points, np.asarray(found.z), total(found), strict=True)
    return sorted((Broken(i, plans, z, float(t)) for (i, plans), z, t in each), key=lambda b: b.total)


def leanest(search: Search) -> list[tuple[int, Plans]]:
    """Every choice with the plans that need the least memory of a chip."""
    choices = range(n_choices(search))
    each = [np.argmin(np.asarray(d.memory_B), axis=1) for d in every_plan(search.space, list(choices))]
    return [(i, tuple(int(best[i]) for best in each)) for i in choices]


def way(search: Search, known: Sequence[Broken], loose: Bool[np.ndarray, " m"]) -> Way:
    """The least loosening of the rows in `loose` with a whole-count design: local search from counts near `known`.

    The sum is convex in the logs of counts: steps change one count at a time, or several where none alone helps.
    """
    able = [b for b in known[:BEGUN] if math.isfinite(b.total)]
    least: dict[Broken, tuple[float, Counts, Loosened]] = {}
    tried: set[tuple[Broken, Counts]] = set()
    fresh = [(b, v) for b in able for v in around(search, b.choice, b.z)]
    while fresh and len(tried) < WALKED:
        tried.update(fresh)
        points = [(b.choice, b.plans) for b, _ in fresh]
        found = relaxed(search, points, *fixed_boxes(search, [v for _, v in fresh]), loose)
        for k, (t, (b, v)) in enumerate(zip(total(found).tolist(), fresh, strict=True)):
            if t < (least[b][0] - DOWNHILL if b in least else math.inf):
                least[b] = t, v, element(found, k)
        go_on = sorted(least, key=lambda b: least[b][0])[:TRIED]
        fresh = [(b, v) for b in go_on for v in _onward(search, b, least[b][1], tried)]
    if not least:
        return NONE
    best = min(least.values(), key=lambda x: x[0])
    return Way(best[0], named(search, best[2]))


def _onward(search: Search, b: Broken, values: Counts, tried: set[tuple[Broken, Counts]]) -> list[Counts]:
    near = [v for v in beside(search, b.choice, values) if (b, v) not in tried]
    # of n numbers 3^n - 1 neighbours are beside a point: those of one step come first, the others where none helps
    single = [v for v in near if sum(x != y for x, y in zip(v, values, strict=True)) == 1]
    return single or near


def total(found: Loosened) -> Float[np.ndarray, " b"]:
    """Sums of loosenings, infinite where what may be loosened is not enough."""
    return np.where(found.converged, found.total, np.inf)


def relaxed(
    search: Search, points: Sequence[tuple[int, Plans]], lower: np.ndarray, upper: np.ndarray, loose: np.ndarray
) -> Loosened:
    """The cheapest loosening of each choice under its plans, in its box."""
    data = batch_of(search.space, [i for i, _ in points], [p for _, p in points])
    return cheapest_relaxations(model_of(search.core), data, lower, upper, loose, WIDTH)


def named(search: Search, found: Loosened) -> tuple[Relaxation, ...]:
    """The limits that must move, and how far; rows that are not the user's as shares of what is allowed."""
    out = []
    for k, limit in enumerate(search.space.study.limits):
        # one value holds for all workloads: the row that misses it most decides
        loosen = float(np.exp(max(found.loosening[i] for i in rows_of_limit(search.core, k))))
        if loosen > 1 + SMALLEST:
            needed = limit.value * loosen if limit.sense == "at_most" else limit.value / loosen
            out.append(Relaxation(limit.metric, limit.value, needed, limit.sense))
    for row, loosening in zip(ratio_rows(search.core), np.asarray(found.loosening), strict=True):
        if row.kind is not Kind.USER and loosening > SMALLEST:
            name = f"{row.what} of {row.workload}" if row.workload else row.what
            out.append(Relaxation(name, 1.0, math.exp(loosening)))
    return tuple(out)
