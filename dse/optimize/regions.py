"""Regions (nodes) of branch and bound: initial regions, boxes, relaxations, and branching."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from ..study.convex import model_of, ratio_rows
from .batch import WIDTH
from .counts import steps_of_choice
from .dominance import worth_a_proof
from .elastic import least_violations
from .hull import PlanTable
from .incumbent import Region
from .interior import Optimum
from .search import Search
from .space import valid_in
from .tables import Tables, data_of_rows, hull_rows, solve_rows

WHOLE = 1e-6
"""Distance to a whole number, or to the hull's step time, that counts as none [relative]."""
FLAT = 0.05
"""What moving a stepped number costs, per log unit: an optimum is flat, so that plans are told apart first."""
DEAR, SMALL = 1.0, 1e-6
"""Cost of a coefficient beyond which all are alike, and a rise of a hull below which all are [log units]."""
TOGETHER = 1e-4
"""What choices bounded by one solve may lose by it [log units]; more loosens every bound below."""


def roots(tables: Tables) -> Iterator[Region]:
    """One region per structure and combination of orders, with all its plans, counts and buys but those never best."""
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


def relaxed(tables: Tables, regions: list[Region]) -> tuple[list[np.ndarray], Optimum]:
    """Rows of the hulls and optima of the relaxations of all regions."""
    choices = [r.choice for r in regions]
    rows = hull_rows(tables, choices, [r.groups for r in regions])
    return rows, solve_rows(tables, choices, rows, *boxes(tables.search, regions))


def violates(tables: Tables, regions: list[Region], rows: list[np.ndarray], optima: Optimum) -> np.ndarray:
    """Regions in which some limit is proved broken everywhere, by a solve or by the least sum of violations."""
    proved = np.asarray(optima.violation_bound) > 0.0
    open_ = np.flatnonzero(~proved & ~np.asarray(optima.feasible))
    if open_.size:
        box = [b[open_] for b in boxes(tables.search, regions)]
        data = data_of_rows(tables, [regions[i].choice for i in open_], [r[open_] for r in rows])
        core = tables.search.core
        proved[open_] = least_violations(model_of(core), data, *box, n_limits=len(ratio_rows(core)), size=WIDTH) > 0.0
    return proved


def children(search: Search, region: Region, z: np.ndarray, costs: list[np.ndarray]) -> Iterator[Region]:
    """Two halves of a region: of the group whose hull undercuts it most, or of a more broken number; or none."""
    missing = [float(c.sum(axis=1).min()) if len(c) > 1 else 0.0 for c in costs]
    values = [float(z[place]) for place in search.integer_places]
    every = steps_of_choice(search, region.choice)
    broken = [float(np.min(np.abs(logs - v))) for logs, v in zip(every, values, strict=True)]
    worst = max(broken, default=0.0)
    decided = max(len(g) for g in region.groups) == 1
    if worst > WHOLE and (decided or FLAT * worst > max(missing)):
        k = int(np.argmax(broken))
        low, high = region.counts[k]
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
