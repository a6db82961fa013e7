"""Infeasible studies: the least relaxation of limits and promises that admits a design with whole counts.

Of the choices and plans that a search knows, by the convex problems of `elastic` and a local search over counts.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from ..study.convex import TIMES, Kind, ratio_rows, rows_of_limit
from .counts import around, beside, fixed_boxes
from .descent import local_search, swapped
from .elastic import Loosened
from .pricing import Plans
from .promises import Broken, late_plans, relaxed, total, with_fractions
from .search import Candidate, Search
from .solution import Relaxation
from .space import element, leanest

BEGUN = 16
"""Choices and plans, those that need the least, whose neighbouring whole counts are relaxed too."""
TRIED = 4
"""Of these the best, whose counts go on downhill."""
WALKED = 4096
"""Whole counts after which to stop: a walk from the neighbours of a broken optimum takes a tenth to a third of that."""
MOST = 128
"""Choices and plans of the search that are relaxed with broken counts, beside one or more of every choice."""
SMALLEST = 1e-4
"""Relaxations below this share are rounding."""
DOWNHILL = 1e-6
"""A step to neighbouring counts that saves less leads nowhere; steps of lanes save less than `SMALLEST` each."""
Counts = tuple[float, ...]
"""Logs of what can be built of each stepped number."""


@dataclasses.dataclass(frozen=True)
class Way:
    """A relaxation of several limits."""

    total: float
    """Sum of all changes [log units]."""
    moves: tuple[Relaxation, ...]


NONE = Way(math.inf, ())


def broken(search: Search, candidates: list[Candidate], loose: Bool[np.ndarray, " m"]) -> list[Broken]:
    """Least relaxation of each choice with plans for continuous counts, smallest first."""
    # where fractions do meet the limits, only whole counts do not: nothing is broken yet, and the way begins at 0
    if able := [c for c in candidates if c.log_goal < np.inf]:
        lean = dict(leanest(search.space))
        each = [(c.choice_index, plans, c.optimum.z) for c in able for plans in (c.plan_index, lean[c.choice_index])]
        return [Broken(i, plans, np.asarray(z), 0.0) for i, plans, z in each]
    own = [(c.choice_index, c.plan_index) for c in candidates]
    # every choice is asked, since any may need the least; of other plans that were seen, only so many
    every = dict.fromkeys([*own, *late_plans(search, loose), *leanest(search.space)])
    known: dict[tuple[int, Plans], Broken] = {}

    def solve(_: Broken | None, points: list[tuple[int, Plans]]) -> Broken:
        fresh = [p for p in points if p not in known]
        known.update(zip(fresh, with_fractions(search, fresh, loose) if fresh else (), strict=True))
        return min(known.values(), key=lambda b: b.total)

    first = solve(None, list({**every, **dict.fromkeys(itertools.islice(search.seen, MOST))}))
    # the search changed plans for the goal, and none for what is missed
    local_search(search.space, first, solve, lambda b: b.total, DOWNHILL)
    return sorted(known.values(), key=lambda b: b.total)


def way(search: Search, known: Sequence[Broken], loose: Bool[np.ndarray, " m"]) -> Way:
    """The least loosening of the rows in `loose` with a whole-count design: local search from counts near `known`.

    The sum is convex in the logs of counts: steps change one count at a time, or several where none alone helps. Where
    counts are settled, other plans of one workload at a time are tried with them.
    """
    # whole counts are among the fractions: where no loosening helps those, none helps these
    able = _begun([b for b in known if math.isfinite(b.total)])
    least: dict[Broken, tuple[float, Counts, Loosened]] = {}
    tried: set[tuple[Broken, Counts]] = set()
    varied: set[Broken] = set()
    fresh = [(b, v) for b in able for v in around(search, b.choice_index, b.z)]
    while fresh and len(tried) < WALKED:
        tried.update(fresh)
        points = [(b.choice_index, b.plan_index) for b, _ in fresh]
        found = relaxed(search, points, *fixed_boxes(search, [v for _, v in fresh]), loose)
        for k, (t, (b, v)) in enumerate(zip(total(found).tolist(), fresh, strict=True)):
            # a gain within rounding would lead along a flat valley for ever
            if t < (least[b][0] - DOWNHILL if b in least else math.inf):
                least[b] = t, v, element(found, k)
        go_on = sorted(least, key=lambda b: least[b][0])[:TRIED]
        fresh = [(b, v) for b in go_on for v in _onward(search, b, least[b][1], tried)]
        if go_on and not fresh and (b := go_on[0]) not in varied:
            varied.add(b)
            others = swapped(search.space, b.choice_index, b.plan_index)
            fresh = [(dataclasses.replace(b, plan_index=plans), least[b][1]) for _, plans in others]
    if not least:
        return NONE
    best = min(least.values(), key=lambda x: x[0])
    return Way(best[0], named(search, best[2]))


def _begun(known: Sequence[Broken]) -> list[Broken]:
    """Those that need the least, and of as many other choices the best: whole counts may rule one choice out."""
    first = list(known[:BEGUN])
    others: dict[int, Broken] = {}
    for b in known[BEGUN:]:
        if all(b.choice_index != x.choice_index for x in first):
            others.setdefault(b.choice_index, b)
    return first + list(others.values())[:BEGUN]


def _onward(search: Search, b: Broken, values: Counts, tried: set[tuple[Broken, Counts]]) -> list[Counts]:
    near = [v for v in beside(search, b.choice_index, values) if (b, v) not in tried]
    # of n numbers 3^n - 1 neighbours are beside a point: those of one step come first, the others where none helps
    single = [v for v in near if sum(x != y for x, y in zip(v, values, strict=True)) == 1]
    return single or near


def named(search: Search, found: Loosened) -> tuple[Relaxation, ...]:
    """The limits that must move, and how far; rows that are not the user's as shares of what is allowed."""
    out = []
    for k, limit in enumerate(search.space.study.limits):
        # one value holds for all workloads: the row that misses it most decides
        loosen = float(np.exp(max(found.loosening[i] for i in rows_of_limit(search.core, k))))
        if loosen > 1 + SMALLEST:
            needed = limit.value * loosen if limit.sense == "at_most" else limit.value / loosen
            out.append(Relaxation(limit.metric, limit.value, needed, limit.sense))
    rows, loosening = ratio_rows(search.core), np.asarray(found.loosening)
    for row, more in zip(rows, loosening[: len(rows)], strict=True):
        if row.kind is not Kind.USER and more > SMALLEST:
            name = f"{row.what} of {row.workload}" if row.workload else row.what
            out.append(Relaxation(name, 1.0, math.exp(more)))
    for w, later in enumerate(loosening[len(rows) :].tolist()):
        if later > SMALLEST:
            asked_s = search.space.study.deadlines_s[w]
            out.append(Relaxation(f"{TIMES}{search.core.workloads[w]}", asked_s, asked_s * math.exp(later)))
    return tuple(out)
