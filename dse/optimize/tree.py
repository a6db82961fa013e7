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
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..study.convex import model_of, ratio_rows
from .batch import WIDTH
from .counts import steps_of_choice
from .deadline import Deadline
from .dominance import worth_a_proof
from .elastic import least_violations
from .hull import PlanTable
from .incumbent import Incumbent, Region
from .interior import Optimum
from .pricing import PRICED
from .search import Candidate, Search
from .space import valid_in
from .tables import HullError, Tables, data_of_rows, hull_costs, hull_rows, row_slopes, solve_rows

WHOLE = 1e-6
"""Distance to a whole number, or to the hull's step time, that counts as none [relative]."""
FLAT = 0.05
"""What moving a stepped number costs, per log unit: an optimum is flat, so that plans are told apart first."""
DEAR, SMALL = 1.0, 1e-6
"""Cost of a coefficient beyond which all are alike, and a rise of a hull below which all are [log units]."""
TOGETHER = 1e-4
"""What choices bounded by one solve may lose by it [log units]; more loosens every bound below."""


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
        """Best over bound, minus 1; infinite while there is no design or no bound."""
        return self.best / self.bound - 1.0 if math.isfinite(self.best) and self.bound > 0.0 else math.inf


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
    def end(self) -> Progress:
        """Where the search ended."""
        return self.log[-1]

    @property
    def infeasible(self) -> bool:
        """Whether it is proved that no design meets all limits."""
        return self.finished and self.best is None


@dataclasses.dataclass
class Tree:
    """Best-first branch and bound on one study."""

    tables: Tables
    """The study with all its plans."""
    gap: float
    """Relative gap at which to stop."""
    deadline: Deadline
    """When to stop."""
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

    def run(self, chips: Sequence[Candidate] = ()) -> Proof:
        """Branch until the gap is closed or time is up.

        Args:
            chips: solved designs, perhaps with broken counts, at whose chips plans are priced first.
        """
        self.incumbent.improve(
            [c.choice_index for c in chips],
            np.asarray([c.optimum.z for c in chips]),
            *(np.repeat(b[None], len(chips), axis=0) for b in self.tables.search.box),
        )
        ties = itertools.count()
        for region in roots(self.tables):
            heapq.heappush(self.open, (region.bound, next(ties), region))
        n_regions, proves = 0, True
        while batch := self._pop():
            n_regions += len(batch)
            try:
                for child in self._step(batch):
                    heapq.heappush(self.open, (child.bound, next(ties), child))
            except HullError:
                proves = False
            up = self.deadline.over()
            self._tell(self.deadline.spent_s, n_regions, proves)
            if up or not proves:
                break
        if not self.log:
            self._tell(0.0, 0, proves)
        tables, done = self.tables.of_workloads, proves and self.closes(self._bound())
        return Proof(self.incumbent.best, tuple(self.log), tables, done)

    def _tell(self, seconds: float, n_regions: int, proves: bool) -> None:
        best, bound = (math.exp(x) for x in (self.incumbent.log_goal, self._bound() if proves else -math.inf))
        self.log.append(Progress(seconds, n_regions, len(self.open), best, bound))
        self.tell(self.log[-1])

    def _step(self, batch: list[Region]) -> Iterator[Region]:
        """Relax regions, look for designs near the best of them, and branch."""
        rows, optima = self._relax(batch)
        self.incumbent.take(batch, optima)
        some = [i for i in range(min(len(batch), PRICED)) if bool(optima.feasible[i])]
        near = [batch[i] for i in some]
        self.incumbent.improve([r.choice for r in near], np.asarray(optima.z)[some], *boxes(self.tables.search, near))
        yield from self._branch(batch, rows, optima)

    def closes(self, bound: float) -> bool:
        """Whether a region of this bound holds nothing better by more than the gap."""
        return bound >= self.incumbent.log_goal - math.log1p(self.gap)

    def _bound(self) -> float:
        """Log goal that no design can beat."""
        return min(self.incumbent.log_goal, self.closed_bound, min((b for b, _, _ in self.open), default=math.inf))

    def _pop(self) -> list[Region]:
        """The open regions of least bound, those that cannot hold anything better left out."""
        batch: list[Region] = []
        while self.open and len(batch) < WIDTH:
            bound, _, region = heapq.heappop(self.open)
            if self.closes(bound):
                self.closed_bound = min(self.closed_bound, bound)
            else:
                batch.append(region)
        return batch

    def _relax(self, regions: list[Region]) -> tuple[list[np.ndarray], Optimum]:
        """Rows of the hulls and optima of the relaxations of all regions."""
        choices = [r.choice for r in regions]
        rows = hull_rows(self.tables, choices, [r.groups for r in regions])
        return rows, solve_rows(self.tables, choices, rows, *boxes(self.tables.search, regions))

    def _branch(self, regions: list[Region], rows: list[np.ndarray], optima: Optimum) -> Iterator[Region]:
        """Children of every region that may hold something better."""
        choices = [r.choice for r in regions]
        slopes = row_slopes(self.tables, choices, rows, optima)
        violated = self._violated(regions, rows, optima)
        for i, region in enumerate(regions):
            if violated[i]:
                continue
            bound = float(np.fmax(region.bound, optima.lower_bound[i]))
            if self.closes(bound):
                self.closed_bound = min(self.closed_bound, bound)
                continue
            costs = hull_costs(self.tables, region.choice, region.groups, [r[i] for r in rows], [x[i] for x in slopes])
            yield from self._children(dataclasses.replace(region, bound=bound), np.asarray(optima.z[i]), costs)

    def _violated(self, regions: list[Region], rows: list[np.ndarray], optima: Optimum) -> np.ndarray:
        """Regions in which some limit is proved to be broken everywhere.

        Limits that miss each other narrowly leave a solve without an end or a proof; the least sum of violations then
        decides.
        """
        proved = np.asarray(optima.violation_bound) > 0.0
        open_ = np.flatnonzero(~proved & ~np.asarray(optima.feasible))
        if open_.size:
            box = [b[open_] for b in boxes(self.tables.search, regions)]
            data = data_of_rows(self.tables, [regions[i].choice for i in open_], [r[open_] for r in rows])
            core = self.tables.search.core
            proved[open_] = (
                least_violations(model_of(core), data, *box, n_limits=len(ratio_rows(core)), size=WIDTH) > 0.0
            )
        return proved

    def _children(self, region: Region, z: np.ndarray, costs: list[np.ndarray]) -> Iterator[Region]:
        """Two halves of a region: of the group whose hull undercuts it most, or of a stepped number more broken."""
        search = self.tables.search
        missing = [float(c.sum(axis=1).min()) if len(c) > 1 else 0.0 for c in costs]
        # what is bought together must cost next to nothing: its hull would loosen every bound below
        w = len(missing) - 1 if missing[-1] > TOGETHER else int(np.argmax(missing))
        values = [float(z[place]) for place in search.integer_places]
        every = steps_of_choice(search, region.choice)
        broken = [float(np.min(np.abs(logs - v))) for logs, v in zip(every, values, strict=True)]
        worst = max(broken, default=0.0)
        decided = max(len(g) for g in region.groups) == 1
        if worst > WHOLE and (decided or FLAT * worst > max(missing)):
            k = int(np.argmax(broken))
            low, high = region.counts[k]
            cut = min(max(int(np.searchsorted(every[k], values[k])) - 1, low), high - 1)
            for part in ((low, cut), (cut + 1, high)):
                counts = tuple(part if j == k else c for j, c in enumerate(region.counts))
                yield dataclasses.replace(region, counts=counts)
        elif not decided:
            w = w if len(costs[w]) > 1 else int(np.argmax([len(c) for c in costs]))
            for half in halves(costs[w]):
                groups = tuple(g[half] if j == w else g for j, g in enumerate(region.groups))
                yield dataclasses.replace(region, groups=groups)
        elif not region.single:  # whole as it is: that design, and what lies on both sides of it
            k = int(np.argmax([high - low for low, high in region.counts]))
            low, high = region.counts[k]
            at = min(max(int(np.argmin(np.abs(every[k] - values[k]))), low), high)
            for part in ((at, at), (low, at - 1), (at + 1, high)):
                if part[0] <= part[1]:
                    counts = tuple(part if j == k else c for j, c in enumerate(region.counts))
                    yield dataclasses.replace(region, counts=counts)
        else:
            self.closed_bound = min(self.closed_bound, region.bound)


def roots(tables: Tables) -> Iterator[Region]:
    """One region per structure and combination of orders, with all plans that its system allows, and all counts.

    What choices of a structure buy, links and memory, is one more group; what can never be best is left out.
    """
    space = tables.search.space
    for choices in worth_a_proof(space, tables.bought):
        i = int(choices[0])
        each = [groups_by_order(t, valid_in(space, w, t.plans, i)) for w, t in enumerate(tables.of_workloads)]
        ends = [(0, len(logs) - 1) for logs in steps_of_choice(tables.search, i)]
        if all(last >= 0 for _, last in ends):
            yield from (Region((*groups, choices), tuple(ends), -math.inf) for groups in itertools.product(*each))


def groups_by_order(table: PlanTable, valid: np.ndarray) -> list[np.ndarray]:
    """Positions of the valid plans of each order: a hull of streamed and other plans would move no bytes at all."""
    orders = np.asarray([p.order for p in table.plans])
    return [np.flatnonzero((orders == o) & valid) for o in dict.fromkeys(orders[valid])]


def boxes(search: Search, regions: list[Region]) -> tuple[np.ndarray, np.ndarray]:
    """Log bounds of every region, shape (regions, n) each."""
    lower, upper = (np.repeat(b[None], len(regions), axis=0) for b in search.box)
    for row, region in enumerate(regions):
        each = zip(search.integer_places, steps_of_choice(search, region.choice), region.counts, strict=True)
        for place, logs, (first, last) in each:
            lower[row, place], upper[row, place] = logs[first], logs[last]
    return lower, upper


def halves(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of a group, neither empty: cut where the hulls of both rise most, judged by the product of the rises.

    A part that stays as cheap as the whole was not worth a solve, however dear the other gets.

    Source: [achterberg2007] section 5.1 for the product.

    Args:
        costs: what each member costs over the hull of all, by leaf, shape (members, leaves) [log units].
    """
    capped = np.minimum(costs, DEAR)
    best, found = -1.0, (np.arange(len(costs) // 2), np.arange(len(costs) // 2, len(costs)))
    for column in capped.T:
        order = np.argsort(column, kind="stable")
        changes = np.flatnonzero(np.diff(column[order]) > 0.0) + 1
        if not changes.size:
            continue
        cut = int(changes[np.argmin(np.abs(changes - len(order) / 2))])
        parts = order[:cut], order[cut:]
        score = math.prod(max(float(capped[p].min(axis=0).sum()), SMALL) for p in parts)
        if score > best:
            best, found = score, parts
    return np.sort(found[0]), np.sort(found[1])
