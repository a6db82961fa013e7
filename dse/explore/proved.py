"""Proofs of a front that can be built: branch and bound over all choices, plans and whole counts at every point."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import numpy as np

from ..core.apart import Done
from ..core.program import meanwhile
from ..optimize.deadline import Deadline
from ..optimize.interior import Optimum
from ..optimize.regions import Region, roots
from ..optimize.search import Candidate, search_of
from ..optimize.solve import GAP_FRAC
from ..optimize.space import at_limits, prepare_solver, relative, with_plans
from ..optimize.tables import Tables, tables_of
from ..optimize.tree import Proof, Tree
from ..study.convex import rows_of_limit
from ..study.metrics import HEAT, HOTTEST, PER_WORKLOAD, POWER
from .front import Front, front_of
from .points import solved_with_counts
from .ray import FREE_CAP, TOUCH, Point, Rays, asked

UNPROVED = "proofs of points that there was no time to finish"
BEATEN_WHOLE = "beaten by what a proof found for another point, or hardly better"
LEAST_S = 1e-3
"""Time that a proof has at least: a limit must be positive."""


FIXED_IN_MODEL = (POWER, HOTTEST, HEAT)
"""Metrics whose caps the model itself reads, to throttle or for blank silicon: a price says nothing of looser ones."""


@dataclasses.dataclass
class Ledger:
    """What relaxations prove of their regions under any caps of the metrics.

        log goal >= bound + prices . (logs of its caps - logs of the caps asked)
    Source: [nocedal2006] section 12.9, weak duality: a cap enters every Lagrangian by its log alone.
    """

    rows: list[list[int]]
    """Rows of the cap of each metric."""
    fixed: np.ndarray
    """Metrics whose bounds hold for no looser caps, shape (metrics,)."""
    logs: np.ndarray = dataclasses.field(init=False)
    """Logs of the caps of the tree at hand, shape (metrics,)."""
    bounds: list[float] = dataclasses.field(default_factory=list)
    """Log goals; infinite where a region is empty, and so it is under tighter caps."""
    prices: list[np.ndarray] = dataclasses.field(default_factory=list)
    at: list[np.ndarray] = dataclasses.field(default_factory=list)
    """Logs of the caps of each."""

    def note(self, optima: Optimum, empty: np.ndarray) -> range:
        """Keep what a batch of relaxations proves; their numbers."""
        lam = np.asarray(optima.multipliers)
        prices = np.stack([lam[:, r].sum(axis=1) for r in self.rows], axis=1)
        bounds = np.where(empty, math.inf, np.nan_to_num(np.asarray(optima.lower_bound), nan=-math.inf))
        first = len(self.bounds)
        self.bounds += bounds.tolist()
        self.prices += list(np.where(self.fixed | empty[:, None], 0.0, prices))
        self.at += [self.logs] * len(bounds)
        return range(first, len(self.bounds))

    def log_goals(self, regions: Sequence[Region], logs: np.ndarray) -> np.ndarray:
        """Bounds on the log goals of regions under other caps, shape (regions,)."""
        bounds = np.full(len(self.bounds) + 1, -math.inf)
        if self.bounds:
            known, prices, looser = np.asarray(self.bounds), np.stack(self.prices), np.stack(self.at) - logs
            within = (looser >= 0.0) | ~(self.fixed | np.isinf(known)[:, None])
            bounds[:-1] = np.where(within.all(axis=1), known + (prices * looser).sum(axis=1), -math.inf)
        # the last bounds nothing, and stands for regions of which nothing is known
        places = [(-1, *r.notes) for r in regions]
        starts = np.cumsum([0, *(len(p) for p in places[:-1])])
        return np.maximum.reduceat(bounds[np.concatenate(places)], starts) if places else bounds[:0]


@dataclasses.dataclass
class Grove:
    """One tree for all points of a front: where one point's proof ends, the next begins."""

    tables: Tables
    least: int
    """The metric that is minimised under caps on the others."""
    ledger: Ledger
    leaves: list[Region]

    def caps(self, p: Point) -> np.ndarray:
        """Caps of the metrics that a design must meet to beat a point."""
        own = np.asarray(p.values) * (1 + TOUCH)
        own[self.least] = FREE_CAP
        return own

    def log_goals(self, p: Point) -> np.ndarray:
        """What is known of every leaf under the caps of a point."""
        return self.ledger.log_goals(self.leaves, np.log(self.caps(p)))

    def proof(self, p: Point, gap_frac: float, deadline: Deadline) -> Proof:
        """Branch and bound for the least of one metric with no more of the others than a point has."""
        space, own = self.tables.search.space, self.caps(p)
        caps = np.asarray([x.value for x in space.study.limits])
        # the limits of a front's metrics stand behind those of its study
        caps[-len(own) :] = own
        held = dataclasses.replace(self.tables, search=search_of(at_limits(space, caps)))
        begin = [dataclasses.replace(r, bound=b) for r, b in zip(self.leaves, self.log_goals(p).tolist(), strict=True)]
        self.ledger.logs = np.log(own)
        tree = Tree(held, gap_frac, deadline, begin=begin, note=self.ledger.note)
        # a ray has one coordinate more than a design: how far it reaches
        here = eqx.tree_at(
            lambda o: (o.z, o.objective), p.optimum, (p.optimum.z[:-1], np.asarray(math.log(p.values[self.least])))
        )
        tree.incumbent.best = Candidate(p.choice_index, p.plan_index, here)
        proof = tree.run([tree.incumbent.best])
        self.leaves = [*tree.left, *(r for _, _, r in tree.open)]
        if tree.broken:  # where one hull bounds nothing the others are in doubt, and the batch at hand is lost
            self.leaves = [dataclasses.replace(r, notes=()) for r in roots(self.tables)]
        return proof

    def gap(self, p: Point) -> float:
        """How much less of the metric a design may have that is no worse than a point in the others."""
        bound = float(self.log_goals(p).min(initial=math.inf))
        return math.inf if bound == -math.inf else max(math.expm1(math.log(p.values[self.least]) - bound), 0.0)


def prepare_proofs(rays: Rays) -> None:
    """Make the program that bounds regions, while the front is found."""
    goal = rays.metrics[_least(rays)]
    meanwhile(lambda: prepare_solver(dataclasses.replace(asked(rays), goal=goal)))


def _least(rays: Rays) -> int:
    return next(j for j, m in enumerate(rays.metrics) if m not in PER_WORKLOAD)


def grove_of(rays: Rays) -> Grove:
    """A tree that nothing is proved in yet."""
    least = _least(rays)
    space = relative(rays.space, dataclasses.replace(rays.space.study, goal=rays.metrics[least]))
    tables = tables_of(search_of(space))
    core, n = tables.search.core, len(rays.metrics)
    rows = [rows_of_limit(core, len(core.limits) - n + j) for j in range(n)]
    fixed = np.asarray([m in FIXED_IN_MODEL for m in rays.metrics])
    return Grove(tables, least, Ledger(rows, fixed), list(roots(tables)))


def proved(found: Front, tell: Callable[[str], None] = lambda _: None, gap_frac: float = GAP_FRAC) -> Front:
    """A front of whole counts with, per point, how much less of one metric any design has that has no more of the rest.

    Points that a proof beats give way to what it found. The time left is shared: what is unfinished has a wider gap.
    """
    rays, points, n = found.rays, list(found.points), len(found.points)
    grove, open_ = grove_of(rays), list(range(n))
    # what one proof leaves is open to all, so that those that ran out of time once may need little more
    while open_ and not rays.deadline.over(UNPROVED):
        late = []
        for k, i in enumerate(open_):
            if rays.deadline.over(UNPROVED):
                break
            share_s = (rays.deadline.limit_s - rays.deadline.spent_s) / (len(open_) - k)
            deadline = Deadline(max(share_s, LEAST_S))
            proof = grove.proof(points[i], gap_frac, deadline)
            points[i] = _beaten(rays, grove.tables, points[i], proof, grove.least)
            # a proof that stopped before its time was up would stop there again
            late += [i] if not proof.finished and deadline.over() else []
            tell(Done(n - len(open_) + k + 1 - len(late), n, f"points proved, {len(grove.leaves)} groups"))
        open_ = late
    # later proofs bound earlier points too
    rooms = [grove.gap(p) for p in points]
    whole = front_of(rays, points, n, whole=True)
    of_point = {id(p): gap for p, gap in zip(points, rooms, strict=True)}
    kept = np.asarray([of_point[id(p)] for p in whole.points])
    lost = {BEATEN_WHOLE: n - len(kept)} if len(kept) < n else {}
    return dataclasses.replace(whole, missing={**found.missing, **lost}, room=kept)


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
