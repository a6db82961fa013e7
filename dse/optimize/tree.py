"""Branch and bound over everything discrete at once: choices, plans and what can be built of cores, stacks and SRAM.

A region is one discrete choice, a group of plans per workload and a range of each stepped number. Its convex relaxation
(the hull of every group, stepped numbers continuous) bounds all designs inside from below; pricing all plans at the
relaxed chip and rounding gives designs from above. A batch of open regions is solved in one `vmap`. Stopped any time,
the answer is the best design so far and a gap that holds for all designs. Read more: [land1960].
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial

import jax
import numpy as np

from ..core.errors import SpecError
from ..lowering.step_demand import StepDemand
from ..study.convex import ConvexCore, Data
from .batch import in_batches, solve_batch
from .hull import PlanTable, plan_tables
from .interior import Optimum
from .search import Candidate, Search, priced_s
from .space import element

BATCH = 128
"""Regions solved at once."""
PRICED = 8
"""Regions of a batch, those of least bound, at whose chips all plans are priced."""
WHOLE = 1e-6
"""Distance to a whole number, or to the hull's step time, that counts as none [relative]."""

AGAINST = 1e-6
"""Slope of a Lagrangian against the sign of a coefficient that is rounding [log units]."""


@dataclasses.dataclass(frozen=True)
class Region:
    """One box of the discrete space."""

    choice: int
    """Position in `study.choices`."""
    groups: tuple[np.ndarray, ...]
    """Plans of each workload, positions in its table."""
    counts: tuple[tuple[int, int], ...]
    """First and last step of each stepped number; see `Search.steps`."""
    bound: float
    """No design inside has a smaller log goal."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a search stands."""

    seconds: float
    """Since it began."""
    n_nodes: int
    """Regions solved."""
    n_open: int
    """Regions that may still hold a better design."""
    best: float
    """Goal of the best design so far."""
    bound: float
    """No design at all has a smaller goal."""

    @property
    def gap(self) -> float:
        """Best over bound, minus 1."""
        return self.best / self.bound - 1.0 if self.bound > 0 else math.inf


@dataclasses.dataclass(frozen=True)
class Proof:
    """The best design of a study with whole counts and best plans, and how much better any other could be."""

    best: Candidate | None
    """Best design, its plans as positions in the tables; None when there is none."""
    log: tuple[Progress, ...]
    """Progress after every batch; the last entry is the result."""
    tables: tuple[PlanTable, ...]
    """Plans of every workload."""
    finished: bool
    """Whether the asked gap was reached (or infeasibility proved), rather than time used up."""

    @property
    def gap(self) -> float:
        """Best design over the bound on all designs, minus 1."""
        return self.log[-1].gap


@partial(jax.jit, static_argnums=0)
def plan_slopes(core: ConvexCore, data: Data, z: jax.Array, multipliers: jax.Array) -> tuple[StepDemand, ...]:
    """Slope of each Lagrangian by every coefficient of its demands, in the shapes of `data.demands`."""

    def lagrangian(demands: tuple[StepDemand, ...], data_: Data, z_: jax.Array, lam: jax.Array) -> jax.Array:
        f, g = core.logs(z_, dataclasses.replace(data_, demands=demands))
        return f + lam @ g

    return jax.vmap(jax.grad(lagrangian))(data.demands, data, z, multipliers)


@dataclasses.dataclass
class Tables:
    """All plans of a study as rows of coefficients, and the convex problems that they make."""

    search: Search
    """The study with its convex core."""

    @cached_property
    def of_workloads(self) -> tuple[PlanTable, ...]:
        """Plans of each workload."""
        return plan_tables(self.search.space)

    def arrays(self, choices: list[int]) -> np.ndarray:
        """Position of the PE array of each choice."""
        return self.search.space.array_of_choice[np.asarray(choices)]

    def rows(self, points: list[tuple[int, ...]]) -> list[np.ndarray]:
        """Rows of choices under single plans: each point is a choice and a plan per workload."""
        arrays = self.arrays([p[0] for p in points])
        return [t.rows[arrays, [p[1 + w] for p in points]] for w, t in enumerate(self.of_workloads)]

    def data(self, choices: list[int], rows: list[np.ndarray]) -> Data:
        """Coefficients of choices with given rows of demands, one array of rows per workload."""
        demands = tuple(t.demands(r) for t, r in zip(self.of_workloads, rows, strict=True))
        base = jax.tree.map(lambda x: x[np.asarray(choices)], self.search.space.without_plans)
        return dataclasses.replace(base, demands=demands)

    def solve(self, choices: list[int], rows: list[np.ndarray], lower: np.ndarray, upper: np.ndarray) -> Optimum:
        """Optima of any number of problems."""
        data = self.data(choices, rows)
        return solve_batch(self.search.core.model, data, lower, upper, (lower + upper) / 2, size=BATCH)

    def seconds(self, choices: list[int], rows: list[np.ndarray], z: np.ndarray) -> list[np.ndarray]:
        """Time per token of every plan of every workload at given designs."""
        arrays = self.arrays(choices)
        every = tuple(t.demands(t.rows[arrays]) for t in self.of_workloads)
        return in_batches(partial(priced_s, self.search.core), (z, self.data(choices, rows), every), PRICED)

    def slopes(self, choices: list[int], rows: list[np.ndarray], optima: Optimum) -> list[np.ndarray]:
        """Slope of each Lagrangian by the rows: what one unit more of a coefficient costs, at least 0.

        Raises:
            SpecError: a slope is negative, so a hull bounds nothing: a limit asks for more of what plans spend.
        """
        args = (self.data(choices, rows), optima.z, optima.multipliers)
        found = in_batches(partial(plan_slopes, self.search.core), args, BATCH)
        slopes = [t.flat(s) * t.signs for t, s in zip(self.of_workloads, found, strict=True)]
        for slope, row in zip(slopes, rows, strict=True):
            if np.any(slope * np.abs(row) < -AGAINST):
                raise SpecError(
                    "no proof over plans: a limit asks for at least some of what a plan spends (power, cost)"
                )
        return slopes


@dataclasses.dataclass
class Incumbent:
    """The best design so far, counts whole, and how better ones are looked for."""

    tables: Tables
    """Plans and problems."""
    best: Candidate | None = None
    """The design, its plans as positions in the tables."""
    seen: set[tuple[int, ...]] = dataclasses.field(default_factory=set)
    """Choices and plans solved already."""

    @property
    def log_goal(self) -> float:
        """Log goal of the best design; infinite without one."""
        return math.inf if self.best is None else self.best.log_goal

    def improve(self, regions: list[Region], rows: list[np.ndarray], optima: Optimum) -> None:
        """Price all plans at the relaxed chips, solve with the fastest, round: perhaps a better design."""
        some = regions[:PRICED]
        choices = [r.choice for r in some]
        seconds = self.tables.seconds(choices, [r[: len(some)] for r in rows], np.asarray(optima.z[: len(some)]))
        fresh: dict[tuple[int, ...], None] = {}
        for i, choice in enumerate(choices):
            if bool(optima.feasible[i]) and all(np.isfinite(s[i]).any() for s in seconds):
                fresh[(choice, *(int(np.argmin(s[i])) for s in seconds))] = None
        points = [p for p in fresh if p not in self.seen]
        self.seen.update(points)
        if points:
            self._round(self._continuous(points))

    def _continuous(self, points: list[tuple[int, ...]]) -> list[Candidate]:
        """Continuous optima of single plans that could beat the best."""
        lower, upper = (np.repeat(b[None], len(points), axis=0) for b in self.tables.search.box)
        solved = self.tables.solve([p[0] for p in points], self.tables.rows(points), lower, upper)
        found = [Candidate(p[0], p[1:], element(solved, i)) for i, p in enumerate(points)]
        return [c for c in found if c.log_goal < self.log_goal]

    def _round(self, candidates: list[Candidate]) -> None:
        """Try the whole numbers around every candidate."""
        search = self.tables.search
        tries = [(c, v) for c in candidates for v in search.neighbours(c)]
        if not tries:
            return
        lower, upper = search.fixed_boxes([v for _, v in tries])
        points = [(c.choice_index, *c.plan_index) for c, _ in tries]
        solved = self.tables.solve([p[0] for p in points], self.tables.rows(points), lower, upper)
        for i, (c, _) in enumerate(tries):
            whole = dataclasses.replace(c, optimum=element(solved, i))
            if whole.log_goal < self.log_goal:
                self.best = whole


@dataclasses.dataclass
class Tree:
    """Best-first branch and bound on one study."""

    tables: Tables
    """The study with all its plans."""
    gap: float
    """Relative gap at which to stop."""
    seconds: float
    """Time after which to stop."""
    tell: Callable[[Progress], None] = lambda _: None
    """Told where the search stands after every batch."""
    open: list[tuple[float, int, Region]] = dataclasses.field(default_factory=list)
    """Heap of regions by bound."""
    closed_bound: float = math.inf
    """Least bound of the regions given up because the best design is close enough."""
    log: list[Progress] = dataclasses.field(default_factory=list)
    """Progress after every batch."""

    def __post_init__(self) -> None:
        """Start without a design."""
        self.incumbent = Incumbent(self.tables)

    def run(self) -> Proof:
        """Branch until the gap is closed or time is up."""
        begin, ties, n_regions = time.monotonic(), itertools.count(), 0
        for region in roots(self.tables):
            heapq.heappush(self.open, (region.bound, next(ties), region))
        while self.open and (not self.log or time.monotonic() - begin < self.seconds):
            batch = self._pop()
            if not batch:
                break
            rows, optima = self._relax(batch)
            n_regions += len(batch)
            self.incumbent.improve(batch, rows, optima)
            for child in self._branch(batch, rows, optima):
                heapq.heappush(self.open, (child.bound, next(ties), child))
            best, bound = math.exp(self.incumbent.log_goal), math.exp(self._bound())
            self.log.append(Progress(time.monotonic() - begin, n_regions, len(self.open), best, bound))
            self.tell(self.log[-1])
        return Proof(self.incumbent.best, tuple(self.log), self.tables.of_workloads, self.closes(self._bound()))

    def closes(self, bound: float) -> bool:
        """Whether a region of this bound holds nothing better by more than the gap."""
        return bound >= self.incumbent.log_goal - math.log1p(self.gap)

    def _bound(self) -> float:
        """Log goal that no design can beat."""
        return min(self.incumbent.log_goal, self.closed_bound, min((b for b, _, _ in self.open), default=math.inf))

    def _pop(self) -> list[Region]:
        """The open regions of least bound, those that cannot hold anything better left out."""
        batch: list[Region] = []
        while self.open and len(batch) < BATCH:
            bound, _, region = heapq.heappop(self.open)
            if self.closes(bound):
                self.closed_bound = min(self.closed_bound, bound)
            else:
                batch.append(region)
        return batch

    def _relax(self, regions: list[Region]) -> tuple[list[np.ndarray], Optimum]:
        """Rows of the hulls and optima of the relaxations of all regions."""
        choices = [r.choice for r in regions]
        arrays = self.tables.arrays(choices)
        rows = [t.hulls(arrays, [r.groups[w] for r in regions]) for w, t in enumerate(self.tables.of_workloads)]
        return rows, self.tables.solve(choices, rows, *boxes(self.tables.search, regions))

    def _branch(self, regions: list[Region], rows: list[np.ndarray], optima: Optimum) -> Iterator[Region]:
        """Children of every region that may hold something better."""
        choices = [r.choice for r in regions]
        arrays, slopes = self.tables.arrays(choices), self.tables.slopes(choices, rows, optima)
        for i, region in enumerate(regions):
            if float(optima.violation_bound[i]) > 0.0:
                continue
            bound = float(np.fmax(region.bound, optima.lower_bound[i]))
            if self.closes(bound):
                self.closed_bound = min(self.closed_bound, bound)
                continue
            costs = [
                leaf_costs(t, (t.rows[arrays[i], g] - rows[w][i]) * slopes[w][i])
                for w, (t, g) in enumerate(zip(self.tables.of_workloads, region.groups, strict=True))
            ]
            yield from self._children(dataclasses.replace(region, bound=bound), np.asarray(optima.z[i]), costs)

    def _children(self, region: Region, z: np.ndarray, costs: list[np.ndarray]) -> Iterator[Region]:
        """Two halves of a region: of the group of plans whose hull undercuts them most, else of a stepped number."""
        search = self.tables.search
        missing = [float(c.sum(axis=1).min()) if len(c) > 1 else 0.0 for c in costs]
        w = int(np.argmax(missing))
        values = [float(z[place]) for place in search.integer_places]
        every = search.steps(region.choice)
        broken = [float(np.min(np.abs(logs - v))) for logs, v in zip(every, values, strict=True)]
        if missing[w] <= max(WHOLE, 0.1 * math.log1p(self.gap)) and max(broken, default=0.0) > WHOLE:
            k = int(np.argmax(broken))
            low, high = region.counts[k]
            cut = min(max(int(np.searchsorted(every[k], values[k])) - 1, low), high - 1)
            for part in ((low, cut), (cut + 1, high)):
                counts = tuple(part if j == k else c for j, c in enumerate(region.counts))
                yield dataclasses.replace(region, counts=counts)
        elif max(len(g) for g in region.groups) > 1:
            w = w if len(costs[w]) > 1 else int(np.argmax([len(c) for c in costs]))
            for half in halves(costs[w]):
                groups = tuple(g[half] if j == w else g for j, g in enumerate(region.groups))
                yield dataclasses.replace(region, groups=groups)
        else:
            self.closed_bound = min(self.closed_bound, region.bound)


def roots(tables: Tables) -> Iterator[Region]:
    """One region per choice and combination of orders, with all their plans and counts."""
    each = [groups_by_order(t) for t in tables.of_workloads]
    for i in range(len(tables.search.space.study.choices)):
        ends = [(0, len(logs) - 1) for logs in tables.search.steps(i)]
        if all(last >= 0 for _, last in ends):
            yield from (Region(i, groups, tuple(ends), -math.inf) for groups in itertools.product(*each))


def groups_by_order(table: PlanTable) -> list[np.ndarray]:
    """Positions of the plans of each order: a hull of streamed and other plans would move no bytes at all."""
    orders = np.asarray([p.order for p in table.plans])
    return [np.flatnonzero(orders == o) for o in dict.fromkeys(orders)]


def boxes(search: Search, regions: list[Region]) -> tuple[np.ndarray, np.ndarray]:
    """Log bounds of every region, shape (regions, n) each."""
    lower, upper = (np.repeat(b[None], len(regions), axis=0) for b in search.box)
    for row, region in enumerate(regions):
        each = zip(search.integer_places, search.steps(region.choice), region.counts, strict=True)
        for place, logs, (first, last) in each:
            lower[row, place], upper[row, place] = logs[first], logs[last]
    return lower, upper


def leaf_costs(table: PlanTable, costs: np.ndarray) -> np.ndarray:
    """Costs of plans summed over the entries of each leaf, shape (plans, leaves)."""
    starts = np.cumsum([0, *(int(np.prod(s)) for s in table.shapes[:-1])])
    return np.add.reduceat(costs, starts, axis=1)


def halves(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheaper and the dearer half of a group, by the leaf whose cost tells its plans apart best; both non-empty."""
    spread = np.minimum(costs, 1.0)
    column = costs[:, int(np.argmax(np.abs(spread - np.median(spread, axis=0)).sum(axis=0)))]
    order = np.argsort(column, kind="stable")
    cut = len(order) // 2
    middle = column[order[cut]]
    dearer = column > middle if np.any(column > middle) else column >= middle
    if not dearer.any() or dearer.all():
        dearer = np.isin(np.arange(len(column)), order[cut:])
    return np.flatnonzero(~dearer), np.flatnonzero(dearer)
