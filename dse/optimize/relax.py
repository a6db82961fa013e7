"""Relaxations of an infeasible study: the least change of user limits and bounds, or else of technology limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..study.convex import Kind, coordinates, ratio_rows
from ..study.design import steps
from .counts import steps_of_choice
from .loosen import Broken, broken, way
from .search import Candidate, Search, in_box, n_choices
from .solution import Relaxation
from .widen import FURTHEST, widened_way

DIE = "die_mm2"
"""The coordinate whose box has room for twice the reticle, and for more where that is loosened."""
STEP = "step"
"""The row that makes a step as long as it takes, which nobody can loosen."""


def relaxations(search: Search, candidates: list[Candidate]) -> tuple[Relaxation, ...]:
    """The least loosening found that gives a design with whole counts, of what the user set, or else of what is no law.

    User limits come first, or the bound of one free number; then memory, reticle and shoreline, as shares of what is
    allowed. Choices and plans are those that the search has seen and the plans that need the least memory.
    """
    if missing := without_steps(search):
        beside = relaxations(in_box(search, moved(search, missing)), candidates)
        again = {r.name for r in beside}  # a bound moved one way is not needed where the other is moved too
        return (*(r for r in missing if r.name not in again), *beside)
    user = np.asarray([r.kind is Kind.USER for r in ratio_rows(search.core)])
    known = broken(search, candidates, user)
    counted = known if len(buildable(search)) == n_choices(search) else built(search, candidates, user)
    found = min(way(search, counted, user), widened_way(search, known, user), key=lambda w: w.total)
    if not math.isfinite(found.total):
        lawful = np.asarray([r.kind is not Kind.LAW and r.what != STEP for r in ratio_rows(search.core)])
        reticle = math.exp(search.box[1][coordinates(search.core).index(DIE)])
        roomy = in_box(search, moved(search, [Relaxation(DIE, reticle, reticle * FURTHEST)]))
        found = way(roomy, built(roomy, candidates, lawful), lawful)
    return found.moves


def buildable(search: Search) -> set[int]:
    """Choices that have whole counts in the box."""
    return {i for i in range(n_choices(search)) if all(map(len, steps_of_choice(search, i)))}


def built(search: Search, candidates: list[Candidate], loose: np.ndarray) -> list[Broken]:
    """`broken` of choices with whole counts in the box: five stacks on two dies must not hide what one needs."""
    able = buildable(search)
    known = broken(search, [c for c in candidates if c.choice_index in able], loose)
    return [b for b in known if b.choice in able]


def without_steps(search: Search) -> tuple[Relaxation, ...]:
    """The least widening of boxes that gives every stepped number of some choice one that can be built; often none."""
    found = []
    for i, choice in enumerate(search.space.study.choices):
        needed = []
        for place, logs in zip(search.integer_places, steps_of_choice(search, i), strict=True):
            if not len(logs):
                name, (low, high) = coordinates(search.core)[place], (float(np.exp(b[place])) for b in search.box)
                near = steps(name, choice.n_dies, low / FURTHEST, high * FURTHEST)
                up = [Relaxation(name, high, float(x), "at_most") for x in near[near > high][:1]]
                down = [Relaxation(name, low, float(x), "at_least") for x in near[near < low][-1:]]
                needed.append(min(up + down, key=factor))
        found.append(tuple(needed))
    return min(found, key=lambda moves: sum(map(factor, moves)))


def moved(search: Search, bounds: Sequence[Relaxation]) -> tuple[np.ndarray, np.ndarray]:
    """The box with bounds of free numbers moved."""
    lower, upper = (b.copy() for b in search.box)
    for r in bounds:
        (upper if r.sense == "at_most" else lower)[coordinates(search.core).index(r.name)] = math.log(r.needed)
    return lower, upper


def factor(r: Relaxation) -> float:
    """How far a limit moves [log units]."""
    return abs(math.log(r.needed / r.limit))
