"""Proofs of a front that can be built: branch and bound over all choices, plans and whole counts at every point."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import equinox as eqx
import numpy as np

from ..core.apart import Done
from ..core.text import percent
from ..optimize.deadline import Deadline
from ..optimize.search import Candidate, search_of
from ..optimize.solve import GAP_FRAC
from ..optimize.space import Space, at_limits, relative, with_plans
from ..optimize.tables import Tables, tables_of
from ..optimize.tree import Proof, Tree
from ..study.metrics import PER_WORKLOAD
from .front import Front, front_of
from .points import solved_with_counts
from .ray import FREE_CAP, TOUCH, Point, Rays

UNPROVED = "proofs of points that there was no time to finish"
BEATEN_WHOLE = "beaten by what a proof found for another point, or hardly better"
LEAST_S = 1e-3
"""Time that a proof has at least: a limit must be positive."""


def proved(found: Front, tell: Callable[[str], None] = lambda _: None, gap_frac: float = GAP_FRAC) -> Front:
    """A front of whole counts with, per point, how much less of one metric any design has that has no more of the rest.

    Points that a proof beats give way to what it found. The time left is shared: what is unfinished has a wider gap.
    """
    rays = found.rays
    least = next(j for j, m in enumerate(rays.metrics) if m not in PER_WORKLOAD)
    space = relative(rays.space, dataclasses.replace(rays.space.study, goal=rays.metrics[least]))
    tables, n = tables_of(search_of(space)), len(found.points)
    points, room = list(found.points), np.full(n, math.inf)
    for i, p in enumerate(found.points):
        if rays.deadline.over(UNPROVED):
            break
        share_s = (rays.deadline.limit_s - rays.deadline.spent_s) / (n - i)
        proof = _proof(tables, space, p, least, gap_frac, Deadline(max(share_s, LEAST_S)))
        points[i], room[i] = _beaten(rays, tables, p, proof, least), max(proof.end.gap, 0.0)
        if not proof.finished and UNPROVED not in rays.deadline.undone:
            rays.deadline.undone.append(UNPROVED)
        tell(Done(i + 1, n, f"points: a proof to {percent(room[i])}"))
    whole = front_of(rays, points, n, whole=True)
    of_point = {id(p): gap for p, gap in zip(points, room.tolist(), strict=True)}
    kept = np.asarray([of_point[id(p)] for p in whole.points])
    lost = {BEATEN_WHOLE: n - len(kept)} if len(kept) < n else {}
    return dataclasses.replace(whole, missing={**found.missing, **lost}, room=kept)


def _proof(tables: Tables, space: Space, p: Point, least: int, gap_frac: float, deadline: Deadline) -> Proof:
    """Branch and bound for the least of one metric with no more of the others than a point has."""
    caps = np.asarray([x.value for x in space.study.limits])
    # the limits of a front's metrics stand behind those of its study
    own = np.asarray(p.values) * (1 + TOUCH)
    own[least] = FREE_CAP
    caps[-len(own) :] = own
    held = dataclasses.replace(tables, search=search_of(at_limits(space, caps)))
    tree = Tree(held, gap_frac, deadline)
    # a ray has one coordinate more than a design: how far it reaches
    here = eqx.tree_at(
        lambda o: (o.z, o.objective), p.optimum, (p.optimum.z[:-1], np.asarray(math.log(p.values[least])))
    )
    tree.incumbent.best = Candidate(p.choice_index, p.plan_index, here)
    return tree.run([tree.incumbent.best])


def _beaten(rays: Rays, tables: Tables, p: Point, proof: Proof, least: int) -> Point:
    """What a proof found in place of a point; the point where nothing is better."""
    best = proof.best
    if best is None or best.log_goal >= math.log(p.values[least]) - TOUCH:
        return p
    plans = tuple(t.plans[k] for t, k in zip(tables.of_workloads, best.plan_index, strict=True))
    rays.space = with_plans(rays.space, plans)
    index = tuple(kept.index(plan) for kept, plan in zip(rays.space.plans, plans, strict=True))
    caps = tuple(v * (1 + TOUCH) for v in p.values)
    weights = tuple(float(j == least) for j in range(len(caps)))
    z = np.asarray(best.optimum.z)
    start = eqx.tree_at(lambda o: o.z, best.optimum, np.append(z, 0.0))
    moved = dataclasses.replace(
        p, choice_index=best.choice_index, plan_index=index, caps=caps, weights=weights, optimum=start
    )
    places = tables.search.integer_places
    (better,) = solved_with_counts(rays, places, [(moved, tuple(float(z[i]) for i in places))])
    return better if better.values[least] < p.values[least] and math.isfinite(better.slack) else p
