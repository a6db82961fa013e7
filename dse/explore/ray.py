"""Points of a Pareto front as one family of convex problems, solved in one `vmap`.

Every metric has a cap and a weight: the slack `s` in `log metric_j - log cap_j <= w_j s` is minimised, which gives
epsilon-constraints (one weight of 1) or rays from the caps (Chebyshev, Pascoletti-Serafini). All are log-log convex, so
each point has its own bound. Read more: [miettinen1999] sections 3.2 and 3.4; [eichfelder2008] for rays.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeAlias

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..core.program import meanwhile
from ..optimize.batch import prepare_batch, solve_batch
from ..optimize.blank import blanks_mm2
from ..optimize.box import bounds
from ..optimize.deadline import Deadline
from ..optimize.interior import Optimum
from ..optimize.pricing import SAME, Plans, alternate, fastest_plans
from ..optimize.space import Space, batch_of, element, form_of, own_plans, prepare_prices, space_of
from ..study.convex import ConvexCore, Data, allowed_frac, coordinates, core_logs, ratio_rows, rows_of_limit
from ..study.metrics import DELIVERED, OWNED, Limit
from ..study.resolved import owner_of
from ..study.study import Study

BATCH = 128
"""Problems solved at once: one size, so that nothing compiles anew."""
SLACK = 40.0
"""Largest |s|, in log units: never binds."""
LATE = "points for which there was no time"
TOUCH = 1e-6
"""Room at limits beside a cap of the same value [relative]."""
FREE_CAP = 1e30
"""Cap of a metric that nothing limits, canonical unit."""


class RayData(eqx.Module):
    """Coefficients of one choice, and the weight of the slack in every row."""

    data: Data
    """The convex core's coefficients; `data.limits` holds the caps."""
    weights: Float[Array | np.ndarray, "*batch m"]
    """How much each row gives way per unit of slack."""


Row: TypeAlias = tuple[int, tuple[float, ...], tuple[float, ...]]
"""Choice, caps and weights of the metrics: one problem."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One solved problem."""

    choice_index: int
    plan_index: Plans
    """Plan of each workload, position in `space.plans`."""
    caps: tuple[float, ...]
    """Caps of the metrics, canonical units."""
    weights: tuple[float, ...]
    optimum: Optimum
    """Solved core, the slack last among its coordinates."""
    slack: float
    """Log of how far beyond the caps the point lies, per weight; infinite if no design meets the other limits."""
    values: tuple[float, ...]
    """Metrics, canonical units; the largest over workloads for power."""
    prices: tuple[float, ...]
    """d slack / d log cap of each metric, at most 0."""


def along_ray(core: ConvexCore, z: Array, ray: RayData) -> tuple[Array, Array]:
    """Slack, and log ratios with the slack taken off."""
    _, g = core_logs(core, z[:-1], ray.data)
    # linear in the slack, so that rows stay convex in both, and one bound holds for chip and slack together
    return z[-1], g - ray.weights * z[-1]


def _prepare(study: Study) -> None:
    core = study.core()
    ray = RayData(form_of(study), np.zeros(len(ratio_rows(core))))
    prepare_batch(eqx.Partial(along_ray, core), ray, len(coordinates(core)) + 1)


@dataclasses.dataclass
class Rays:
    """Problems of a front: a study with rays over several metrics in place of its goal."""

    study: Study
    metrics: tuple[str, ...]
    solved: dict[Row, Point] = dataclasses.field(default_factory=dict)
    """Best point of every problem so far."""
    tell: Callable[[list[Point]], None] = lambda _: None
    """Called with every batch of finished points."""
    deadline: Deadline = dataclasses.field(default_factory=Deadline)
    """Time limit, checked between batches, so that a saved run can be resumed."""

    @cached_property
    def space(self) -> Space:
        """The study of `asked`, lowered."""
        space = space_of(asked(self), _prepare)
        meanwhile(lambda: prepare_prices(space, space.demands))
        return space

    @cached_property
    def widest(self) -> tuple[float, ...]:
        """Largest value of each metric that the study allows; a design is to be no slower than the baseline."""
        caps = []
        for m in self.metrics:
            mine = [x.value for x in self.study.limits if x.metric == m and x.sense == "at_most"]
            # a front over time ends at the baseline: what is slower trades away more than anybody has today
            # 1: delivered time is in units of the baseline's
            caps.append(min([*mine, 1.0 if m == DELIVERED else FREE_CAP]))
        return tuple(caps)

    @cached_property
    def core(self) -> ConvexCore:
        """Convex core with the metrics as rows."""
        return self.space.study.core()

    @cached_property
    def metric_rows(self) -> list[list[int]]:
        """Rows of each metric; one per workload for power."""
        n, k = len(self.core.limits), len(self.metrics)
        return [rows_of_limit(self.core, i) for i in range(n - k, n)]

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Log bounds of the coordinates, the slack last."""
        lower, upper = bounds(self.space)
        return np.append(lower, -SLACK), np.append(upper, SLACK)

    def point(self, row: Row, plans: Plans, o: Optimum) -> Point:
        """A solved problem with its metrics and their prices."""
        choice, caps, weights = row
        s = float(o.z[-1])
        g, lam = np.asarray(o.limits), np.asarray(o.multipliers)
        # a row is log(metric / cap / room) - w s, so that this undoes it
        worst = [
            float(g[places].max()) + math.log(allowed_frac(m, "at_most"))
            for m, places in zip(self.metrics, self.metric_rows, strict=True)
        ]
        values = tuple(c * math.exp(w * s + x) for c, w, x in zip(caps, weights, worst, strict=True))
        # rows of one metric share its cap, so that their prices add up
        prices = tuple(-float(lam[places].sum()) for places in self.metric_rows)
        # infinite: it then loses every comparison by slack
        return Point(choice, plans, caps, weights, o, s if bool(o.feasible) else math.inf, values, prices)

    def data(self, rows: list[Row], plans: list[Plans]) -> RayData:
        """Coefficients of problems under given plans, leading axis over problems."""
        base = batch_of(self.space, [r[0] for r in rows], plans)
        # a copy, whose last columns are overwritten
        limits, k = np.array(base.limits), len(self.metrics)
        limits[:, -k:] = [caps for _, caps, _ in rows]
        weights = np.zeros((len(rows), len(ratio_rows(self.core))))
        for j, places in enumerate(self.metric_rows):
            weights[:, places] = np.asarray([w[j] for _, _, w in rows])[:, None]
        return RayData(dataclasses.replace(base, limits=limits), weights)

    def solve(self, rows: list[Row], starts: dict[Row, Point] | None = None) -> list[Point]:
        """Best point of every problem, by solves and pricing of plans in turn; of the first where time is up."""
        fresh = [r for r in dict.fromkeys(rows) if r not in self.solved]
        for begin in range(0, len(fresh), BATCH):
            if self.solved and self.deadline.over(LATE):
                break
            self._alternate(fresh[begin : begin + BATCH], starts or {})
        return [self.solved[r] for r in rows if r in self.solved]

    def _alternate(self, rows: list[Row], starts: dict[Row, Point]) -> None:
        middle = (self.box[0] + self.box[1]) / 2
        plans = [starts[r].plan_index if r in starts else own_plans(self.space) for r in rows]

        def solve(which: list[int], plans_: list[Plans], best: dict[int, Point]) -> list[Point]:
            some = [rows[i] for i in which]
            # the last round's chip, else a neighbour's; the middle of the box is strictly inside, and nothing more
            known = [best.get(i) or starts.get(rows[i]) for i in which]
            z = np.stack([middle if p is None else p.optimum.z for p in known])
            model = eqx.Partial(along_ray, self.core)
            found = solve_batch(model, self.data(some, plans_), *self.box, z, size=BATCH)
            return [self.point(r, p, element(found, i)) for i, (r, p) in enumerate(zip(some, plans_, strict=True))]

        best = alternate(plans, solve, self._price, lambda p: p.slack)
        self.solved.update(zip(rows, best, strict=True))
        self.tell(best)

    def _price(self, _: list[int], points: list[Point]) -> list[Plans]:
        """Fastest plan of every workload at each point's chip."""
        plans = [p.plan_index for p in points]
        # a point's own metrics as caps: a cap on power then throttles every plan as the chip itself was
        data = self.data([(p.choice_index, p.values, p.weights) for p in points], plans).data
        structures = self.space.structure_of_choice[[p.choice_index for p in points]]
        z = np.stack([p.optimum.z[:-1] for p in points])
        return fastest_plans(self.core, z, data, structures, self.space.demands, plans)


def asked(rays: Rays) -> Study:
    """The study with one limit per metric behind its own limits."""
    # an upper limit on an axis is where the front ends (`widest`): two rows on one metric would split its price
    own = tuple(x for x in rays.study.limits if x.metric not in rays.metrics or x.sense != "at_most")
    extra = tuple(Limit(m, "at_most", FREE_CAP) for m in rays.metrics)
    # a ray leads beyond what is allowed, and so do whole counts; with room, so that a cap there has the price alone
    each = zip(rays.metrics, rays.widest, strict=True)
    own += tuple(Limit(m, "at_most", most * (1 + TOUCH)) for m, most in each if most < FREE_CAP)
    owner = rays.study.owner
    if owner is None and any(m in OWNED for m in rays.metrics):
        # cost of ownership needs somebody who pays for power and halls; a study without one gets the default
        owner = owner_of(rays.study.baseline)
    return dataclasses.replace(rays.study, limits=(*own, *extra), owner=owner)


def improve(rays: Rays, tries: Sequence[tuple[Row, Plans]]) -> None:
    """Solve problems under given plans, and keep what is better than the point that there is; until time is up."""
    middle = (rays.box[0] + rays.box[1]) / 2
    for begin in range(0, len(tries), BATCH):
        if rays.deadline.over("choices and plans that won beside a point"):
            return
        rows, plans = (list(x) for x in zip(*tries[begin : begin + BATCH], strict=True))
        known = [rays.solved.get(r) for r in rows]
        z = np.stack([middle if p is None else p.optimum.z for p in known])
        found = solve_batch(eqx.Partial(along_ray, rays.core), rays.data(rows, plans), *rays.box, z, size=BATCH)
        better = []
        for i, (r, p) in enumerate(zip(rows, plans, strict=True)):
            point = rays.point(r, p, element(found, i))
            # the same problem may stand in a batch under several plans: the least of all is kept
            if r not in rays.solved or point.slack < rays.solved[r].slack - SAME:
                rays.solved[r] = point
                better.append(point)
        if better:
            rays.tell(better)


def blank_of_points(rays: Rays, points: Sequence[Point]) -> np.ndarray:
    """Blank silicon of a die of every point [mm2], shape (points,): what limits, and heat where it is traded, ask."""
    if not points:
        return np.zeros(0)
    rows = [(p.choice_index, p.values, p.weights) for p in points]
    data = rays.data(rows, [p.plan_index for p in points]).data
    return np.asarray(blanks_mm2(rays.core, np.stack([p.optimum.z[:-1] for p in points]), data))
