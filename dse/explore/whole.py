"""Fronts of designs that can be built: every point of a front solved again with the counts around it."""

from __future__ import annotations

import dataclasses
import math
from typing import TypeAlias

import equinox as eqx
import numpy as np

from ..optimize.batch import solve_batch
from ..optimize.counts import around
from ..optimize.search import search_of
from ..optimize.space import element
from .front import Front, front_of
from .ray import BATCH, Point, Rays, along_ray

Try: TypeAlias = tuple[Point, tuple[float, ...]]
"""A point and logs of the counts to hold it at."""


def buildable(found: Front) -> Front:
    """The front with whole cores and stacks: the best neighbouring counts at every point, of its choice and plans.

    Each point is certified for its own counts, not that no others are better. Without time, the last are left out.
    """
    rays = found.rays
    search = search_of(rays.space)
    tries = [(p, v) for p in found.points for v in around(search, p.choice_index, np.asarray(p.optimum.z[:-1]))]
    if not tries or not search.integer_places:
        return found
    points: list[Point] = []
    for first in range(0, len(tries), BATCH):
        if first and rays.deadline.over(LATE):
            break
        points += _solved(rays, search.integer_places, tries[first : first + BATCH])
    tried = len({id(p) for p, _ in tries[: len(points)]})
    met = {id(p) for (p, _), q in zip(tries, points, strict=False) if math.isfinite(q.slack)}
    whole = front_of(rays, points, len(found.points), whole=True)
    stuck = tried - len(met)
    reasons = {
        "no whole counts nearby meet the cap": stuck,
        "same counts as another point, beaten by it or hardly better": tried - len(whole.points) - stuck,
        LATE: len(found.points) - tried,
    }
    return dataclasses.replace(whole, missing={**found.missing, **{k: n for k, n in reasons.items() if n > 0}})


LATE = "points with fractions that there was no time to round"
"""Why a front of whole counts has fewer points."""


def _solved(rays: Rays, places: list[int], tries: list[Try]) -> list[Point]:
    lower, upper = (np.repeat(b[None], len(tries), axis=0) for b in rays.box)
    lower[:, places] = upper[:, places] = np.asarray([v for _, v in tries])
    data = rays.data([(p.choice_index, p.caps, p.weights) for p, _ in tries], [p.plan_index for p, _ in tries])
    start = np.clip(np.stack([p.optimum.z for p, _ in tries]), lower, upper)
    solved = solve_batch(eqx.Partial(along_ray, rays.core), data, lower, upper, start, size=BATCH)
    return [
        rays.point((p.choice_index, p.caps, p.weights), p.plan_index, element(solved, i))
        for i, (p, _) in enumerate(tries)
    ]
