"""Branch and bound over all discrete variables: choices, plans, and the steps of cores, stacks and SRAM.

The convex relaxation of a region is a lower bound for all its designs; rounding the relaxed chip with its fastest plans
gives upper bounds. When stopped, the result is the best design so far and a gap. Read more: [land1960].
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .batch import WIDTH
from .counts import steps_of_choice
from .deadline import Deadline
from .hull import PlanTable
from .interior import Optimum
from .pricing import PRICED
from .regions import Incumbent, Region, boxes, children, relaxed, roots, violates
from .search import Candidate, Search
from .tables import HullError, Tables, hull_costs, row_slopes


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a search stands."""

    seconds: float
    n_nodes: int
    n_open: int
    """Regions that may still hold a better design."""
    best: float
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
    log: tuple[Progress, ...]
    """Progress after every batch; the last entry is the result."""
    tables: tuple[PlanTable, ...]
    finished: bool
    """Whether the asked gap was reached (or infeasibility proved), rather than time used up."""
    stopped: bool = False
    """Whether Ctrl-C ended it."""

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
    gap: float
    deadline: Deadline
    tell: Callable[[Progress], None] = lambda _: None
    """Called with the progress after every batch."""
    open: list[tuple[float, int, Region]] = dataclasses.field(default_factory=list)
    """Heap of regions by bound."""
    closed_bound: float = math.inf
    """Least bound of the regions given up because the best design is close enough."""
    log: list[Progress] = dataclasses.field(default_factory=list)
    may_stop: bool = False
    """Whether Ctrl-C ends the search with the best design so far, where there is one, instead of being raised."""
    begin: Sequence[Region] | None = None
    """Where another tree of the same study under other limits ended, bounds as of these limits; else at the roots."""
    note: Callable[[Optimum, np.ndarray], Sequence[int]] | None = None
    """Notes the relaxations of a batch and which are proved empty; where it does, `left` is kept for the next tree."""
    left: list[Region] = dataclasses.field(default_factory=list)
    """Regions that are closed or empty here, and may not be under other limits."""
    broken: bool = False
    """Whether a hull bounded nothing, so that no bound of this tree is one."""

    def __post_init__(self) -> None:
        self.incumbent = Incumbent(self.tables)

    def run(self, chips: Sequence[Candidate] = ()) -> Proof:
        """Branch until the gap is closed or time is up; plans are priced at `chips`, solved designs, first."""
        try:
            proves, stopped = self._run(chips), False
        except KeyboardInterrupt:
            if not self.may_stop or self.incumbent.best is None:
                raise
            proves, stopped = False, True
            self._tell_stopped()
        tables, done = self.tables.of_workloads, proves and self.closes(self._bound())
        return Proof(self.incumbent.best, tuple(self.log), tables, done, stopped)

    def _run(self, chips: Sequence[Candidate]) -> bool:
        """The search itself; whether its bounds prove anything."""
        self.incumbent.improve(
            [c.choice_index for c in chips],
            np.asarray([c.optimum.z for c in chips]),
            *(np.repeat(b[None], len(chips), axis=0) for b in self.tables.search.box),
        )
        # regions do not compare: of equal bounds the older one comes first
        ties = itertools.count()
        for region in roots(self.tables) if self.begin is None else self.begin:
            heapq.heappush(self.open, (region.bound, next(ties), region))
        n_regions, proves = 0, True
        while batch := self._pop():
            n_regions += len(batch)
            try:
                for child in self._step(batch):
                    heapq.heappush(self.open, (child.bound, next(ties), child))
            # bounds told before rest on hulls as well, so that none of them is used any more
            except HullError:
                proves, self.broken = False, True
            # asked after the batch, whose parts are in the heap: the bound then covers all that is left
            up = self.deadline.over()
            self._tell(self.deadline.spent_s, n_regions, proves)
            if up or not proves:
                break
        # a first design may close every root before a batch is solved, and `end` needs an entry
        if not self.log:
            self._tell(0.0, 0, proves)
        return proves

    def _tell_stopped(self) -> None:
        """Progress with the best design: regions of a batch left midway are in no heap, so the last bound stands."""
        last = self.log[-1] if self.log else Progress(0.0, 0, len(self.open), math.inf, 0.0)
        self.log.append(dataclasses.replace(last, best=math.exp(self.incumbent.log_goal)))

    def _tell(self, seconds: float, n_regions: int, proves: bool) -> None:
        best, bound = (math.exp(x) for x in (self.incumbent.log_goal, self._bound() if proves else -math.inf))
        self.log.append(Progress(seconds, n_regions, len(self.open), best, bound))
        self.tell(self.log[-1])

    def _step(self, batch: list[Region]) -> Iterator[Region]:
        """Relax regions, look for designs near the best of them, and branch."""
        rows, optima = relaxed(self.tables, batch, self.incumbent.log_goal)
        self.incumbent.take(batch, optima)
        # regions come by their bounds: the first are those that a new best design must beat
        some = [i for i in range(min(len(batch), PRICED)) if bool(optima.feasible[i])]
        near = [batch[i] for i in some]
        self.incumbent.improve([r.choice for r in near], np.asarray(optima.z)[some], *boxes(self.tables.search, near))
        yield from self._branch(batch, rows, optima)

    def closes(self, bound: float) -> bool:
        """Whether a region of this bound holds nothing better by more than the gap."""
        # best / bound <= 1 + gap, in logs
        return bound >= self.incumbent.log_goal - math.log1p(self.gap)

    def _bound(self) -> float:
        # regions given up within the gap may hold a better design still, so that their bound counts on
        return min(self.incumbent.log_goal, self.closed_bound, min((b for b, _, _ in self.open), default=math.inf))

    def _pop(self) -> list[Region]:
        """The open regions of least bound, those that cannot hold anything better left out."""
        batch: list[Region] = []
        while self.open and len(batch) < WIDTH:
            bound, _, region = heapq.heappop(self.open)
            if self.closes(bound):
                _close(self, region, bound)
            else:
                batch.append(region)
        return batch

    def _branch(self, regions: list[Region], rows: list[np.ndarray], optima: Optimum) -> Iterator[Region]:
        search = self.tables.search
        slopes = row_slopes(self.tables, [r.choice for r in regions], rows, optima)
        violated = violates(self.tables, regions, rows, optima, self.incumbent.log_goal)
        if self.note is not None:
            each = zip(regions, self.note(optima, violated), strict=True)
            regions = [dataclasses.replace(r, notes=(*r.notes, n)) for r, n in each]
        for i, region in enumerate(regions):
            # proved empty: the bound may rise
            if violated[i]:
                _close(self, region)
                continue
            # what bounds the parent bounds its parts; a solve that failed (NaN) takes nothing of that away
            bound = float(np.fmax(region.bound, optima.lower_bound[i]))
            if self.closes(bound):
                _close(self, region, bound)
                continue
            costs = hull_costs(self.tables, region.choice, region.groups, [r[i] for r in rows], [x[i] for x in slopes])
            parts = list(children(search, dataclasses.replace(region, bound=bound), np.asarray(optima.z[i]), costs))
            if not parts:  # one design, neither solved nor proved impossible: it may be as good as its bound
                _close(self, region, bound)
            yield from parts


def _close(tree: Tree, region: Region, bound: float = math.inf) -> None:
    """Give a region up, which holds nothing below a bound."""
    tree.closed_bound = min(tree.closed_bound, bound)
    if tree.note is not None:
        tree.left.append(region)


def n_designs(search: Search, proof: Proof) -> float:
    """Choices times plans of every workload times whole counts inside the box."""
    plans, total = math.prod(t.n_valid for t in proof.tables), 0.0
    for i in range(len(search.space.study.choices)):
        total += plans * math.prod(len(logs) for logs in steps_of_choice(search, i))
    return total


def progress_text(p: Progress, limit_s: float = math.inf) -> str:
    """One line: time, nodes, best so far, bound, gap, and how much longer it may take within its limit."""
    gap = f"gap {100 * p.gap:.2f} %" if math.isfinite(p.gap) else "no design yet"
    work = f"{p.seconds:.0f} s of proof, {p.n_nodes} groups, {p.n_open} open"
    left = f", at most {max(limit_s - p.seconds, 0.0):.0f} s left" if math.isfinite(limit_s) else ""
    return f"{work}, best {p.best:.5g}, bound {p.bound:.5g}, {gap}{left}"
