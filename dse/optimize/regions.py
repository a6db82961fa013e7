"""Regions (nodes) of branch and bound: boxes, relaxations and branching; and the incumbent, the best design so far."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..study.convex import model_of, ratio_rows
from .batch import WIDTH
from .counts import fixed_boxes, neighbours, steps_of_choice
from .descent import wants_less
from .elastic import least_violations
from .hull import PlanTable, worth_a_proof
from .interior import Optimum
from .newton import ROUNDING
from .search import Candidate, Search
from .space import element, valid_in
from .tables import Tables, data_of_rows, hull_rows, plan_rows, plan_seconds, solve_rows, solve_whole


@dataclasses.dataclass(frozen=True)
class Region:
    """One box of the discrete space."""

    groups: tuple[np.ndarray, ...]
    """Plans of each workload, positions in its table; last, choices that only buy differently, in `study.choices`."""
    counts: tuple[tuple[int, int], ...]
    bound: float
    """No design inside has a smaller log goal."""
    notes: tuple[int, ...] = ()
    """What was noted of it and of all that contained it, for trees under other limits."""

    @property
    def choice(self) -> int:
        """The first of the choices: the others differ from it in what they buy alone."""
        return int(self.groups[-1][0])

    @property
    def single(self) -> bool:
        """Whether nothing is left to choose: one choice, one plan per workload, every count fixed."""
        return all(len(g) == 1 for g in self.groups) and all(low == high for low, high in self.counts)


@dataclasses.dataclass
class Incumbent:
    """The best design so far, counts whole, and how better ones are looked for."""

    tables: Tables
    best: Candidate | None = None
    seen: set[tuple[Any, ...]] = dataclasses.field(default_factory=set)
    """Choices, plans and ranges of the counts solved already."""

    @property
    def log_goal(self) -> float:
        """Log goal of the best design; infinite without one."""
        return math.inf if self.best is None else self.best.log_goal

    def take(self, regions: list[Region], optima: Optimum) -> None:
        """Keep the optima of regions that hold a single design: one plan per workload, every count fixed."""
        for i, region in enumerate(regions):
            if region.single and bool(optima.feasible[i]):
                self._keep(Candidate(region.choice, tuple(int(g[0]) for g in region.groups[:-1]), element(optima, i)))

    def improve(self, choices: list[int], z: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Primal heuristic: the fastest plans at chips `z`, log coordinates (b, n), solved in boxes and rounded."""
        if not choices:
            return
        # every plan is timed on the chip of a design, so that it does not matter whose demands its data hold: the first
        own = [(c, *(0 for _ in self.tables.of_workloads)) for c in choices]
        seconds = plan_seconds(self.tables, choices, plan_rows(self.tables, own), z)
        counts = self.tables.search.integer_places
        fresh = []
        for i, choice in enumerate(choices):
            if all(np.isfinite(s[i]).any() for s in seconds):
                point = (choice, *(int(np.argmin(s[i])) for s in seconds))
                # with the box of the counts, since the same plans in a smaller region round to other neighbours
                key = (point, tuple(lower[i, counts]), tuple(upper[i, counts]))
                fresh += [(i, point)] if key not in self.seen else []
                self.seen.add(key)
        if fresh:
            rows = [i for i, _ in fresh]
            self._round(self._continuous([p for _, p in fresh], lower[rows], upper[rows]))

    def _keep(self, design: Candidate) -> None:
        if design.log_goal < self.log_goal:
            self.best = design

    def _continuous(self, points: list[tuple[int, ...]], lower: np.ndarray, upper: np.ndarray) -> list[Candidate]:
        """Optima of single plans in boxes of their own that could beat the best."""
        solved = solve_whole(self.tables, (lower, upper), points, self.log_goal)
        found = [Candidate(p[0], p[1:], element(solved, i)) for i, p in enumerate(points)]
        return [c for c in found if c.log_goal < self.log_goal]

    def _round(self, candidates: list[Candidate]) -> None:
        search = self.tables.search
        tries = [(c, v) for c in candidates for v in neighbours(search, c)]
        if not tries:
            return
        points = [(c.choice_index, *c.plan_index) for c, _ in tries]
        solved = solve_whole(self.tables, fixed_boxes(search, [v for _, v in tries]), points, self.log_goal)
        for i, (c, _) in enumerate(tries):
            self._keep(dataclasses.replace(c, optimum=element(solved, i)))


WHOLE = 1e-6
"""Distance to a whole number, or to the hull's step time, that counts as none [relative]."""
FLAT = 0.05
"""What moving a stepped number costs, per log unit: an optimum is flat, so that plans are told apart first."""
DEAR, SMALL = 1.0, 1e-6
"""Cost of a coefficient beyond which all are alike, and a rise of a hull below which all are [log units]."""
TOGETHER = 1e-4
"""What choices bounded by one solve may lose by it [log units]; more loosens every bound below."""


def roots(tables: Tables) -> Iterator[Region]:
    """Root regions: one per structure and combination of orders, with all plans and counts that are not dominated."""
    space = tables.search.space
    for choices in worth_a_proof(space, tables.bought):
        i = int(choices[0])
        each = [groups_by_order(t, valid_in(space, w, t.plans, i)) for w, t in enumerate(tables.of_workloads)]
        ends = [(0, len(logs) - 1) for logs in steps_of_choice(tables.search, i)]
        # a count without a whole number between its bounds: nothing can be built, and nothing is left to prove
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


def relaxed(tables: Tables, regions: list[Region], too_much: float = math.inf) -> tuple[list[np.ndarray], Optimum]:
    """Rows of the hulls and optima of the relaxations of all regions, as far as they may be below `too_much`."""
    choices = [r.choice for r in regions]
    rows = hull_rows(tables, choices, [r.groups for r in regions])
    # a solve that ends early prices limits that do not bind, and a floor's price proves nothing for a hull
    too_much = too_much if wants_less(tables.search) else math.inf
    return rows, solve_rows(tables, choices, rows, *boxes(tables.search, regions), too_much)


def violates(
    tables: Tables, regions: list[Region], rows: list[np.ndarray], optima: Optimum, too_much: float = math.inf
) -> np.ndarray:
    """Regions in which some limit is proved broken everywhere, by a solve or by the least sum of violations.

    Not asked of those that are proved to hold nothing below `too_much`.
    """
    # the first solve weighs limits against the goal, whose slope blurs a small violation; the second has no goal
    proved = np.array(optima.impossible)
    open_ = np.flatnonzero(~proved & ~np.asarray(optima.feasible) & ~(np.asarray(optima.lower_bound) >= too_much))
    if open_.size:
        box = [b[open_] for b in boxes(tables.search, regions)]
        data = data_of_rows(tables, [regions[i].choice for i in open_], [r[open_] for r in rows])
        core = tables.search.core
        least = least_violations(model_of(core), data, *box, n_limits=len(ratio_rows(core)), size=WIDTH)
        proved[open_] = least > ROUNDING
    return proved


def children(search: Search, region: Region, z: np.ndarray, costs: list[np.ndarray]) -> Iterator[Region]:
    """Branches of a region: its loosest hull or most fractional number is split; none for a single design."""
    missing = [float(c.sum(axis=1).min()) if len(c) > 1 else 0.0 for c in costs]
    values = [float(z[place]) for place in search.integer_places]
    every = steps_of_choice(search, region.choice)
    broken = [float(np.min(np.abs(logs - v))) for logs, v in zip(every, values, strict=True)]
    worst = max(broken, default=0.0)
    decided = max(len(g) for g in region.groups) == 1
    # plans are told apart first where their hull costs more than the fraction does: it loosens all bounds below
    if worst > WHOLE and (decided or FLAT * worst > max(missing)):
        k = int(np.argmax(broken))
        low, high = region.counts[k]
        # the optimum lies between two steps and is cut off from both parts; each keeps at least one step
        cut = min(max(int(np.searchsorted(every[k], values[k])) - 1, low), high - 1)
        yield from _with_counts(region, k, (low, cut), (cut + 1, high))
    elif not decided:
        # what is bought together must cost next to nothing: its hull would loosen every bound below
        w = len(missing) - 1 if missing[-1] > TOGETHER else int(np.argmax(missing))
        w = w if len(costs[w]) > 1 else int(np.argmax([len(c) for c in costs]))
        for half in halves(costs[w]):
            groups = tuple(g[half] if j == w else g for j, g in enumerate(region.groups))
            yield dataclasses.replace(region, groups=groups)
    elif not region.single:
        # all counts are whole already, so that halves would keep the optimum in one of them: it gets a part of its own
        k = int(np.argmax([high - low for low, high in region.counts]))
        low, high = region.counts[k]
        at = min(max(int(np.argmin(np.abs(every[k] - values[k]))), low), high)
        sides = ((at, at), (low, at - 1), (at + 1, high))
        yield from _with_counts(region, k, *(s for s in sides if s[0] <= s[1]))


def _with_counts(region: Region, k: int, *parts: tuple[int, int]) -> Iterator[Region]:
    for part in parts:
        yield dataclasses.replace(region, counts=(*region.counts[:k], part, *region.counts[k + 1 :]))


def halves(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of a group, cut where the hulls of both rise most. Source: [achterberg2007] section 5.1."""
    # beyond `DEAR` a plan is out anyway: one of a hundred times the memory must not decide how the rest is split
    capped = np.minimum(costs, DEAR)
    best, found = -1.0, (np.arange(len(costs) // 2), np.arange(len(costs) // 2, len(costs)))
    for column in capped.T:
        order = np.argsort(column, kind="stable")
        # a cut between equal costs would tell nothing apart
        changes = np.flatnonzero(np.diff(column[order]) > 0.0) + 1
        if not changes.size:
            continue
        cut = int(changes[np.argmin(np.abs(changes - len(order) / 2))])
        parts = order[:cut], order[cut:]
        # a product, since both halves must rise: else one of them is as loose as the whole was
        score = math.prod(max(float(capped[p].min(axis=0).sum()), SMALL) for p in parts)
        if score > best:
            best, found = score, parts
    return np.sort(found[0]), np.sort(found[1])
