"""Fronts of designs that can be built: every point of a front solved again with the counts around it."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import numpy as np

from ..optimize.batch import solve_batch
from ..optimize.search import Search
from ..optimize.space import element
from .front import Front, front_of
from .ray import BATCH, Point, along_ray


def buildable(found: Front) -> Front:
    """The front with whole cores and stacks: the best combination of neighbouring counts at every point.

    Choice and plans of each point are held. Each point is certified for its own counts; that no other counts are better
    is not proved: the front with fractions is the bound, and `dse optimize` proves a single point.
    """
    rays = found.rays
    search = Search(rays.space)
    tries = [(p, v) for p in found.points for v in search.around(p.choice_index, np.asarray(p.optimum.z[:-1]))]
    if not tries or not search.integer_places:
        return found
    lower, upper = (np.repeat(b[None], len(tries), axis=0) for b in rays.box)
    counts = np.asarray([v for _, v in tries])
    lower[:, search.integer_places] = upper[:, search.integer_places] = counts
    data = rays.data([(p.choice_index, p.caps, p.weights) for p, _ in tries], [p.plan_index for p, _ in tries])
    start = np.clip(np.stack([p.optimum.z for p, _ in tries]), lower, upper)
    solved = solve_batch(eqx.Partial(along_ray, rays.core), data, lower, upper, start, size=BATCH)
    points: list[Point] = []
    for i, (p, _) in enumerate(tries):
        points.append(rays.point((p.choice_index, p.caps, p.weights), p.plan_index, element(solved, i)))
    whole = front_of(rays, points, whole=True)
    lost = len(found.points) - len(whole.points)
    met = {id(p) for (p, _), q in zip(tries, points, strict=True) if math.isfinite(q.slack)}
    stuck = len(found.points) - len(met)
    reasons = {
        "no whole counts nearby meet the cap": stuck,
        "same counts as another point, or beaten by it": lost - stuck,
    }
    return dataclasses.replace(whole, missing={**found.missing, **{k: n for k, n in reasons.items() if n > 0}})
