"""Branch and bound over everything discrete at once: choices, plans and whole numbers of cores and stacks.

A node is one discrete choice, a group of plans per workload and a range of each count. Its convex relaxation (the hull
of every group, counts continuous) bounds all designs inside from below; pricing all plans at the relaxed chip and
rounding gives designs from above. A batch of open nodes is solved in one `vmap`. Stopped at any time, the answer is the
best design so far and a gap that holds for all designs. Read more: [land1960].
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
import jax.numpy as jnp
import numpy as np

from ..lowering.demand import StepDemand
from ..study.terms import Core, Data
from .hull import PlanTable, plan_tables
from .interior import Optimum
from .search import Batch, Candidate, Search, priced_s, solve_all
from .space import element

BATCH = 128
"""Nodes solved at once."""
PRICED = 8
"""Nodes of a batch, those of least bound, at whose chips all plans are priced."""
WHOLE = 1e-6
"""Distance to a whole number, or to the hull's step time, that counts as none [relative]."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One box of the discrete space."""

    choice: int
    """Position in `study.choices`."""
    groups: tuple[np.ndarray, ...]
    """Plans of each workload, positions in its table."""
    counts: tuple[tuple[int, int], ...]
    """Least and most of each count, in dies."""
    bound: float
    """No design inside has a smaller log goal."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a search stands."""

    seconds: float
    """Since it began."""
    n_nodes: int
    """Nodes solved."""
    n_open: int
    """Nodes that may still hold a better design."""
    best: float
    """Goal of the best design so far."""
    bound: float
    """No design at all has a smaller goal."""

    @property
    def gap(self) -> float:
        """Best over bound, minus 1."""
        return self.best / self.bound - 1.0


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
def plan_slopes(core: Core, data: Data, z: Batch, multipliers: Batch) -> tuple[StepDemand, ...]:
    """Slope of each Lagrangian by every coefficient of its demands, in the shapes of `data.demands`."""

    def lagrangian(demands: tuple[StepDemand, ...], data_: Data, z_: jax.Array, lam: jax.Array) -> jax.Array:
        f, g = core.logs(z_, dataclasses.replace(data_, demands=demands))
        return f + lam @ g

    return jax.vmap(jax.grad(lagrangian))(data.demands, data, jnp.asarray(z), jnp.asarray(multipliers))


@dataclasses.dataclass
class Tree:
    """Best-first branch and bound on one study."""

    search: Search
    """The study with its convex core."""
    gap: float
    """Relative gap at which to stop."""
    seconds: float
    """Time after which to stop."""
    tell: Callable[[Progress], None] = lambda _: None
    """Told where the search stands after every batch."""
    open: list[tuple[float, int, Node]] = dataclasses.field(default_factory=list)
    """Heap of nodes by bound."""
    best: Candidate | None = None
    """Best design so far, counts whole."""
    closed_bound: float = math.inf
    """Least bound of the nodes given up because the best design is close enough."""
    log: list[Progress] = dataclasses.field(default_factory=list)
    """Progress after every batch."""

    @cached_property
    def tables(self) -> tuple[PlanTable, ...]:
        """All plans of every workload."""
        return plan_tables(self.search.space)

    def run(self) -> Proof:
        """Branch until the gap is closed or time is up."""
        begin, ties, n_nodes = time.monotonic(), itertools.count(), 0
        seen: set[tuple[int, ...]] = set()
        for node in self._roots():
            heapq.heappush(self.open, (node.bound, next(ties), node))
        while self.open and (not self.log or time.monotonic() - begin < self.seconds):
            batch = self._pop()
            if not batch:
                break
            data, optima = self._relax(batch)
            n_nodes += len(batch)
            self._improve(batch, data, optima, seen)
            for child in self._branch(batch, data, optima):
                heapq.heappush(self.open, (child.bound, next(ties), child))
            self.log.append(self._progress(time.monotonic() - begin, n_nodes))
            self.tell(self.log[-1])
        return Proof(self.best, tuple(self.log), self.tables, self.closes(self._bound()))

    @property
    def best_log(self) -> float:
        """Log goal of the best design so far."""
        return math.inf if self.best is None else self.best.log_goal

    def closes(self, bound: float) -> bool:
        """Whether a node of this bound holds nothing better by more than the gap."""
        return bound >= self.best_log - math.log1p(self.gap)

    def _bound(self) -> float:
        """Log goal that no design can beat."""
        return min(self.best_log, self.closed_bound, min((b for b, _, _ in self.open), default=math.inf))

    def _progress(self, seconds: float, n_nodes: int) -> Progress:
        return Progress(seconds, n_nodes, len(self.open), math.exp(self.best_log), math.exp(self._bound()))

    def _roots(self) -> Iterator[Node]:
        """One node per choice with all its plans and counts."""
        groups = tuple(np.arange(len(t.plans)) for t in self.tables)
        for i, choice in enumerate(self.search.space.study.choices):
            counts = whole_counts(self.search, choice.n_dies)
            if all(low <= high for low, high in counts):
                yield Node(i, groups, tuple(counts), -math.inf)

    def _pop(self) -> list[Node]:
        """The open nodes of least bound, those that cannot hold anything better left out."""
        batch: list[Node] = []
        while self.open and len(batch) < BATCH:
            bound, _, node = heapq.heappop(self.open)
            if self.closes(bound):
                self.closed_bound = min(self.closed_bound, bound)
            else:
                batch.append(node)
        return batch

    def _boxes(self, nodes: list[Node]) -> tuple[np.ndarray, np.ndarray]:
        """Log bounds of every node, shape (nodes, n) each."""
        lower, upper = (np.repeat(b[None], len(nodes), axis=0) for b in self.search.box)
        for row, node in enumerate(nodes):
            dies = self.search.space.study.choices[node.choice].n_dies
            for place, (low, high) in zip(self.search.integer_places, node.counts, strict=True):
                lower[row, place] = max(lower[row, place], math.log(low * dies))
                upper[row, place] = min(upper[row, place], math.log(high * dies))
                if low == high:
                    lower[row, place] = upper[row, place] = math.log(low * dies)
        return lower, upper

    def _data(self, choices: list[int], rows: list[np.ndarray]) -> Data:
        """Coefficients of choices with given rows of demands, one array of rows per workload."""
        demands = tuple(t.demands(r) for t, r in zip(self.tables, rows, strict=True))
        base = jax.tree.map(lambda x: x[np.asarray(choices)], self.search.space.without_plans)
        return dataclasses.replace(base, demands=demands)

    def _arrays(self, choices: list[int]) -> np.ndarray:
        return self.search.space.array_of_choice[np.asarray(choices)]

    def _solve(self, choices: list[int], rows: list[np.ndarray], lower: np.ndarray, upper: np.ndarray) -> Optimum:
        """Optima of any number of problems, in batches of one size so that nothing compiles anew."""
        parts = []
        for begin in range(0, len(choices), BATCH):
            take = np.minimum(np.arange(begin, begin + BATCH), len(choices) - 1)
            data = self._data([choices[i] for i in take], [r[take] for r in rows])
            low, high = lower[take], upper[take]
            parts.append(jax.tree.map(np.asarray, solve_all(self.search.core, data, low, high, (low + high) / 2)))
        return jax.tree.map(lambda *x: np.concatenate(x)[: len(choices)], *parts)

    def _relax(self, nodes: list[Node]) -> tuple[list[np.ndarray], Optimum]:
        """Rows of the hulls and optima of the relaxations of all nodes."""
        choices = [n.choice for n in nodes]
        arrays = self._arrays(choices)
        rows = [t.hulls(arrays, [n.groups[w] for n in nodes]) for w, t in enumerate(self.tables)]
        return rows, self._solve(choices, rows, *self._boxes(nodes))

    def _improve(self, nodes: list[Node], rows: list[np.ndarray], optima: Optimum, seen: set[tuple[int, ...]]) -> None:
        """Price all plans at the relaxed chips, solve with the fastest, round: perhaps a better design."""
        fresh: dict[tuple[int, ...], None] = {}
        take = np.minimum(np.arange(PRICED), len(nodes) - 1)
        choices = [nodes[i].choice for i in take]
        data = self._data(choices, [r[take] for r in rows])
        every = tuple(t.demands(t.rows[self._arrays(choices)]) for t in self.tables)
        seconds = [np.asarray(s) for s in priced_s(self.search.core, optima.z[take], data, every)]
        for i, node in enumerate(nodes[:PRICED]):
            if bool(optima.feasible[i]) and all(np.isfinite(s[i]).any() for s in seconds):
                fresh[(node.choice, *(int(np.argmin(s[i])) for s in seconds))] = None
        points = [p for p in fresh if p not in seen]
        seen.update(points)
        if points:
            self._round(self._candidates(points))

    def _rows(self, points: list[tuple[int, ...]]) -> list[np.ndarray]:
        arrays = self._arrays([p[0] for p in points])
        return [t.rows[arrays, [p[1 + w] for p in points]] for w, t in enumerate(self.tables)]

    def _candidates(self, points: list[tuple[int, ...]]) -> list[Candidate]:
        """Continuous optima of single plans that could beat the best."""
        lower, upper = (np.repeat(b[None], len(points), axis=0) for b in self.search.box)
        solved = self._solve([p[0] for p in points], self._rows(points), lower, upper)
        found = [Candidate(p[0], p[1:], element(solved, i)) for i, p in enumerate(points)]
        return [c for c in found if c.log_goal < self.best_log]

    def _round(self, candidates: list[Candidate]) -> None:
        """Try the whole numbers around every candidate."""
        tries = [(c, v) for c in candidates for v in self.search.neighbours(c)]
        if not tries:
            return
        lower, upper = self.search.fixed_boxes([v for _, v in tries])
        points = [(c.choice_index, *c.plan_index) for c, _ in tries]
        solved = self._solve([p[0] for p in points], self._rows(points), lower, upper)
        for i, (c, _) in enumerate(tries):
            whole = dataclasses.replace(c, optimum=element(solved, i))
            if whole.log_goal < self.best_log:
                self.best = whole

    def _branch(self, nodes: list[Node], rows: list[np.ndarray], optima: Optimum) -> Iterator[Node]:
        """Children of every node that may hold something better."""
        take = np.minimum(np.arange(BATCH), len(nodes) - 1)
        data = self._data([nodes[i].choice for i in take], [r[take] for r in rows])
        slopes = plan_slopes(self.search.core, data, optima.z[take], optima.multipliers[take])
        flat = [t.flat(s) * t.signs for t, s in zip(self.tables, slopes, strict=True)]
        for i, node in enumerate(nodes):
            if float(optima.violation_bound[i]) > 0.0:
                continue
            bound = float(np.fmax(node.bound, optima.lower_bound[i]))
            if self.closes(bound):
                self.closed_bound = min(self.closed_bound, bound)
                continue
            array = int(self._arrays([node.choice])[0])
            costs = [
                leaf_costs(t, (t.rows[array, g] - rows[w][i]) * flat[w][i])
                for w, (t, g) in enumerate(zip(self.tables, node.groups, strict=True))
            ]
            yield from self._children(dataclasses.replace(node, bound=bound), np.asarray(optima.z[i]), costs)

    def _children(self, node: Node, z: np.ndarray, costs: list[np.ndarray]) -> Iterator[Node]:
        """Two halves of a node: of the group of plans whose hull undercuts them most, else of a broken count."""
        missing = [float(c.sum(axis=1).min()) if len(c) > 1 else 0.0 for c in costs]
        w = int(np.argmax(missing))
        dies = self.search.space.study.choices[node.choice].n_dies
        values = [math.exp(float(z[place])) / dies for place in self.search.integer_places]
        broken = [abs(v - round(v)) / v for v in values]
        if missing[w] <= max(WHOLE, 0.1 * math.log1p(self.gap)) and max(broken, default=0.0) > WHOLE:
            k = int(np.argmax(broken))
            low, high = node.counts[k]
            cut = min(max(math.floor(values[k]), low), high - 1)
            for part in ((low, cut), (cut + 1, high)):
                counts = tuple(part if j == k else c for j, c in enumerate(node.counts))
                yield dataclasses.replace(node, counts=counts)
        elif max(len(g) for g in node.groups) > 1:
            w = w if len(costs[w]) > 1 else int(np.argmax([len(c) for c in costs]))
            for half in halves(costs[w]):
                groups = tuple(g[half] if j == w else g for j, g in enumerate(node.groups))
                yield dataclasses.replace(node, groups=groups)
        else:
            self.closed_bound = min(self.closed_bound, node.bound)


def whole_counts(search: Search, n_dies: int) -> list[tuple[int, int]]:
    """Least and most of each count inside the box, in dies; empty where the first exceeds the second."""
    ends = [[math.exp(float(b[place])) / n_dies for b in search.box] for place in search.integer_places]
    return [(max(math.ceil(low - WHOLE), 1), math.floor(high + WHOLE)) for low, high in ends]


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
