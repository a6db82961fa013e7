"""What to loosen when no design meets all limits: the least change of the user's limits, then of bounds too."""

from __future__ import annotations

import math
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.errors import SpecError
from ..core.types import FloatLike, Vector
from ..study.convex import ConvexCore, Data, Kind
from ..study.design import STEPPED, steps
from .elastic import Loosened, cheapest_relaxations
from .search import Candidate, Search
from .solution import Relaxation
from .space import element

TRIED = 4
"""Choices, those that need the least, whose neighbouring whole counts are relaxed too."""
SMALLEST = 1e-4
"""Relaxations below this share are rounding."""
FURTHEST = 64.0
"""How far beyond a box what can be built is looked for."""


def relaxations(search: Search, candidates: list[Candidate]) -> tuple[Relaxation, ...]:
    """The least loosening found that gives a design with whole counts.

    Of limits alone where that helps, else of limits and bounds of free numbers together. None where laws, memory or
    deadlines stand in the way whatever is moved by up to `FURTHEST`.

    Args:
        search: the study, searched.
        candidates: best of every choice.
    """
    user = np.asarray([r.kind is Kind.USER for r in search.core.rows()])
    missing = without_steps(search)
    found = _limits_alone(search, candidates, user) if user.any() and not missing else ()
    return found or _with_bounds(search, candidates, user) or missing


def _limits_alone(search: Search, candidates: list[Candidate], user: np.ndarray) -> tuple[Relaxation, ...]:
    """The least loosening of limits; none where that does not help."""
    points = [(c, z) for c, z in _broken(search, candidates, user)[:TRIED]]
    fixed = [(c, v) for c, z in points for v in search.around(c.choice_index, z)]
    if not fixed:
        return ()
    found = _relaxed(search, [c for c, _ in fixed], *search.fixed_boxes([v for _, v in fixed]), user)
    best = _least(found)
    return () if best is None else _named(search, element(found, best))


def _least(found: Loosened) -> int | None:
    """Position of the least loosening; None where there is none."""
    totals = np.where(found.converged, found.total, np.inf)
    return int(np.argmin(totals)) if np.isfinite(totals).any() else None


def _broken(search: Search, candidates: list[Candidate], user: np.ndarray) -> list[tuple[Candidate, np.ndarray]]:
    """Choices with the chip that needs the least loosening, counts broken, those that need the least first."""
    able = [(c, np.asarray(c.optimum.z)) for c in candidates if c.log_goal < np.inf]
    if able:
        return able
    lower, upper = (np.repeat(b[None], len(candidates), axis=0) for b in search.box)
    found = _relaxed(search, candidates, lower, upper, user)
    totals = np.where(found.converged, found.total, np.inf)
    return [(candidates[i], np.asarray(found.z[i])) for i in np.argsort(totals) if np.isfinite(totals[i])]


def _relaxed(
    search: Search, candidates: list[Candidate], lower: np.ndarray, upper: np.ndarray, user: np.ndarray
) -> Loosened:
    """The cheapest loosening of each candidate in its box, its plans held."""
    data = search.space.batch([c.choice_index for c in candidates], [c.plan_index for c in candidates])
    return cheapest_relaxations(search.core.model, data, lower, upper, user)


def _named(search: Search, found: Loosened) -> tuple[Relaxation, ...]:
    """The limits that must move, and how far."""
    out = []
    for k, limit in enumerate(search.space.study.limits):
        loosen = float(np.exp(max(found.loosening[i] for i in search.core.rows_of(k))))
        if loosen > 1 + SMALLEST:
            needed = limit.value * loosen if limit.sense == "at_most" else limit.value / loosen
            out.append(Relaxation(limit.metric, limit.value, needed, limit.sense))
    return tuple(out)


Bounded: TypeAlias = tuple[Data, Vector, Vector]
"""A choice's coefficients, and logs of the least and most of its free numbers."""


def bounded_logs(core: ConvexCore, z: FloatLike, bounded: Bounded) -> tuple[Array, Array]:
    """Log goal, and log limits followed by how far each free number is above and below its bounds."""
    data, least, most = bounded
    goal, limits = core.logs(z, data)
    free = jnp.asarray(z)[: len(core.free)]
    return goal, jnp.concatenate([limits, free - most, least - free])


def _with_bounds(search: Search, candidates: list[Candidate], user: np.ndarray) -> tuple[Relaxation, ...]:
    """The least loosening of limits and bounds together; none where that does not help."""
    box = [b[: len(search.core.free)] for b in search.box]
    may = np.append(user, np.ones(2 * len(box[0]), dtype=bool))
    model = eqx.Partial(bounded_logs, search.core)

    def relaxed(some: list[Candidate], values: list[tuple[float, ...]]) -> Loosened:
        low, high = (np.repeat(b[None], len(some), axis=0) for b in search.box)
        low[:, : len(box[0])] -= math.log(FURTHEST)
        high[:, : len(box[0])] += math.log(FURTHEST)
        if values:
            low[:, search.integer_places] = high[:, search.integer_places] = np.asarray(values)
        data = search.space.batch([c.choice_index for c in some], [c.plan_index for c in some])
        bounded = (data, *(np.repeat(b[None], len(some), axis=0) for b in box))
        return cheapest_relaxations(model, bounded, low, high, may)

    broken = relaxed(candidates, [])
    able = [i for i in np.argsort(broken.total) if broken.converged[i]][:TRIED]
    fixed = [(candidates[i], v) for i in able for v in _around(search, candidates[i], np.asarray(broken.z[i]))]
    if not fixed:
        return ()
    found = relaxed([c for c, _ in fixed], [v for _, v in fixed])
    best = _least(found)
    return () if best is None else (*_named(search, element(found, best)), *_outside(search, element(found, best)))


def _around(search: Search, candidate: Candidate, z: np.ndarray) -> list[tuple[float, ...]]:
    """As `Search.around`, of what can be built beyond the bounds too; nothing where those are too far apart to look."""
    names, n_dies = search.core.variables(), search.space.study.choices[candidate.choice_index].n_dies
    values = [(names[i], math.exp(float(z[i]))) for i in search.integer_places]
    try:
        every = [np.log(steps(n, n_dies, v / FURTHEST, v * FURTHEST)) for n, v in values]
    except SpecError:
        return []
    return search.around(candidate.choice_index, z, every)


def _outside(search: Search, found: Loosened) -> tuple[Relaxation, ...]:
    """The bounds that must move, and how far."""
    m, n, out = len(search.core.rows()), len(search.core.free), []
    beyond = np.exp(np.asarray(found.loosening)[m:])
    for k, f in enumerate(search.space.study.free):
        for sense, bound, by in (("at_most", f.upper, beyond[k]), ("at_least", f.lower, beyond[n + k])):
            if by > 1 + SMALLEST:
                whole = round(math.exp(float(found.z[k])))
                needed = float(bound * by if sense == "at_most" else bound / by)
                out.append(Relaxation(f.name, float(bound), float(whole) if f.name in STEPPED else needed, sense))
    return tuple(out)


def without_steps(search: Search) -> tuple[Relaxation, ...]:
    """The least widening of boxes that gives every stepped number of some choice one that can be built; often none."""
    found = []
    for i, choice in enumerate(search.space.study.choices):
        needed = []
        for place, logs in zip(search.integer_places, search.steps(i), strict=True):
            if not len(logs):
                name, (low, high) = search.core.variables()[place], (float(np.exp(b[place])) for b in search.box)
                near = steps(name, choice.n_dies, low / FURTHEST, high * FURTHEST)
                up = [Relaxation(name, high, float(x), "at_most") for x in near[near > high][:1]]
                down = [Relaxation(name, low, float(x), "at_least") for x in near[near < low][-1:]]
                needed.append(min(up + down, key=factor))
        found.append(tuple(needed))
    return min(found, key=lambda moves: sum(map(factor, moves)))


def factor(r: Relaxation) -> float:
    """How far a limit moves [log units]."""
    return abs(math.log(r.needed / r.limit))
