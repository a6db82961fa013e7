"""What to loosen when no design meets all limits: the least change of the user's limits, then of anything but laws."""

from __future__ import annotations

import math

import numpy as np

from ..study.convex import Kind
from ..study.design import steps
from .elastic import Loosened, cheapest_relaxations
from .search import WIDTH, Candidate, Search
from .solution import Relaxation
from .space import element

TRIED = 4
"""Choices, those that need the least, whose neighbouring whole counts are relaxed too."""
SMALLEST = 1e-4
"""Relaxations below this share are rounding."""
FURTHEST = 64.0
"""How far beyond a box what can be built is looked for."""


def relaxations(search: Search, candidates: list[Candidate]) -> tuple[Relaxation, ...]:
    """The least loosening found that gives a design with whole counts; none where no loosening of limits helps.

    Args:
        search: the study, searched.
        candidates: best of every choice.
    """
    if missing := without_steps(search):
        return missing
    core = search.core
    user = np.asarray([r.kind is Kind.USER for r in core.rows()])
    if not user.any():
        return ()
    points = [(c, z) for c, z in _broken(search, candidates, user)[:TRIED]]
    fixed = [(c, v) for c, z in points for v in search.around(c.choice_index, z)]
    if not fixed:
        return ()
    found = _relaxed(search, [c for c, _ in fixed], *search.fixed_boxes([v for _, v in fixed]), user)
    totals = np.where(found.converged, found.total, np.inf)
    if not np.isfinite(totals).any():
        return ()
    return _named(search, element(found, int(np.argmin(totals))))


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
    return cheapest_relaxations(search.core.model, data, lower, upper, user, WIDTH)


def _named(search: Search, found: Loosened) -> tuple[Relaxation, ...]:
    """The limits that must move, and how far."""
    out = []
    for k, limit in enumerate(search.space.study.limits):
        loosen = float(np.exp(max(found.loosening[i] for i in search.core.rows_of(k))))
        if loosen > 1 + SMALLEST:
            needed = limit.value * loosen if limit.sense == "at_most" else limit.value / loosen
            out.append(Relaxation(limit.metric, limit.value, needed, limit.sense))
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
