"""Problems of a Pareto front and their order: first evenly spread, then where the front is least certain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection
from typing import TypeAlias

import numpy as np

from ..core.apart import Done
from ..core.errors import SpecError
from ..optimize.descent import local_search
from ..optimize.pricing import SAME, Plans
from ..optimize.space import leanest
from ..study.metrics import DELIVERED, SPEEDUPS
from .ray import LATE, Point, Rays, Row, improve

FIRST = 10
"""Points that are spread evenly, with all choices, before choices are left out."""
ROUND_FRAC = 0.25
"""Share of the points added in one round of refinement."""
MARGIN = 0.01
"""A choice is left out only if it is proved worse by more than this: its plans may not be the best yet [log units]."""
LEAST_WEIGHT = 1e-3
"""Smallest weight of a metric on a ray, so that caps keep an interior."""
BESIDE, PASSES = 4, 2
"""Nearest problems whose choices and plans are tried, and how often, so that what wins can spread."""
INSET = 1e-5
"""The very end of a front has no interior: a cap lies this far inside [log units]."""

Problem: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""Caps and weights: a problem of every choice."""


def anchors_of(rays: Rays, progress: Callable[[str], None]) -> np.ndarray:
    """Metrics at the best point of each metric, shape (metrics, metrics); SpecError if no design meets the limits.

    Of the designs with the least of a metric it is one that others do not beat in the rest.
    """
    k, rows = len(rays.metrics), []
    for j in range(k):
        caps = tuple(1.0 if i == j else c for i, c in enumerate(rays.widest))
        weights = tuple(float(i == j) for i in range(k))
        rows.append([(c, caps, weights) for c in range(len(rays.study.choices))])
    # choice by choice: where time ends early, some choices have all of their ends, rather than all one of theirs
    points = rays.solve([r for of_choice in zip(*rows, strict=True) for r in of_choice])
    cross(rays, {(caps, weights) for (_, caps, weights), *_ in rows})
    # per metric the best over all choices, whatever its own plans: the box of the front
    found = []
    for group in rows:
        best = min((rays.solved[r] for r in group if r in rays.solved), key=lambda p: p.slack)
        if math.isinf(best.slack):
            if len(points) < k * len(group):
                raise SpecError(f"study {rays.study.name}: time was up before a design was found; give more --seconds")
            slow = " and is no slower than the baseline, which a front over delivered_time asks" * (
                DELIVERED in rays.metrics
            )
            told = f"no design meets its limits{slow}; `dse optimize` says what to loosen"
            raise SpecError(f"study {rays.study.name}: {told}")
        found.append(_end(rays, best))
    progress(f"ends of the front found, {len(points)} problems")
    return np.asarray(found)


def _end(rays: Rays, best: Point) -> tuple[float, ...]:
    """Metrics at one end: other plans tried in place of the best, then the other metrics made as small as they get."""
    row = best.choice_index, best.caps, best.weights

    def solve(_: Point, near: list[tuple[int, Plans]]) -> Point:
        if not rays.deadline.over(LATE):
            improve(rays, [(row, plans) for _, plans in near])
        return rays.solved[row]

    best = local_search(rays.space, best, solve, lambda p: p.slack)
    # the least of a metric is met by many designs where some number does not matter to it: the solver ends among them
    caps = tuple(v * math.exp(INSET) if w else v for v, w in zip(best.values, best.weights, strict=True))
    lean = (best.choice_index, caps, tuple(1.0 - w for w in best.weights))
    least = [p for p in rays.solve([lean], {lean: best}) if math.isfinite(p.slack)]
    if not least:  # time is up
        return best.values
    each = zip(best.values, least[0].values, best.weights, strict=True)
    return tuple(mine if w else other for mine, other, w in each)


def sweep(rays: Rays, anchors: np.ndarray, n: int, progress: Callable[[str], None]) -> None:
    """Caps on the second metric: a few, evenly spread, then more where the front is least certain."""
    low, high = math.log(anchors[1, 1]), math.log(anchors[0, 1])
    caps = np.linspace(low, high, min(FIRST, n))
    caps[0] += min(INSET, high - low)  # the least of the second metric is met by one design alone
    every = range(len(rays.study.choices))
    _solve(rays, [_capped(k, c) for c in caps for k in every])
    while len(best := _best_by_cap(rays)) < n and not rays.deadline.over(LATE):
        known = sorted(best)
        scores = [_uncertainty(best[a], best[b]) for a, b in itertools.pairwise(known)]
        # not all at once: a new point tells where the next are needed; nor one by one: a batch solves faster
        room = min(max(math.ceil(ROUND_FRAC * n), 1), n - len(known))
        widest = [i for i in np.argsort(scores)[::-1][:room] if scores[i] > 0.0]
        # halfway in logs: wherever the two tangents meet, what is uncertain is cut in two
        rows = [_capped(k, (known[i] + known[i + 1]) / 2) for i in widest for k in every]
        rows = promising(rays, rows)
        if not rows:
            return
        _solve(rays, rows)
        progress(Done(len(_best_by_cap(rays)), n, f"points, {len(rays.solved)} problems"))


def _capped(choice: int, log_cap: float) -> Row:
    return choice, (1.0, math.exp(log_cap)), (1.0, 0.0)


def fan(rays: Rays, anchors: np.ndarray, n: int, progress: Callable[[str], None]) -> None:
    """Rays from the ideal point in evenly spread directions: a few, then all, for every choice that may win."""
    # its corner is met by no design, so that every ray crosses the front
    ideal = np.diag(anchors)
    width = np.log(anchors.max(axis=0) / ideal)
    width = np.where(width > 0.0, width, 1.0)
    caps = tuple(float(x) for x in ideal)
    # a few first: their multipliers prove of many choices that they cannot win in the other directions
    for size in (min(FIRST, n), n):
        directions = spread_directions(len(rays.metrics), size)
        for part in np.array_split(directions, math.ceil(len(directions) / FIRST)):
            if rays.deadline.over(LATE):
                return
            weights = [tuple(float(x) for x in np.maximum(d, LEAST_WEIGHT) * width) for d in part]
            rows = [(k, caps, w) for w in weights for k in range(len(rays.study.choices))]
            _solve(rays, promising(rays, rows))
            progress(f"{size} directions: {len(rays.solved)} problems")


def _solve(rays: Rays, rows: list[Row]) -> None:
    starts: dict[Row, Point] = {}
    near: dict[int, list[Point]] = {}
    for p in rays.solved.values():
        if math.isfinite(p.slack):
            near.setdefault(p.choice_index, []).append(p)
    for r in rows:
        if r[0] in near:
            # a neighbour's optimum is nearly feasible, which spares most of the first phase
            starts[r] = min(near[r[0]], key=lambda p: _distance(p, r))
    rays.solve(rows, starts)


def cross(rays: Rays, ends: Collection[Problem] = ()) -> None:
    """Solve every problem under choices and plans that won beside it, and under the leanest plans.

    Plans and chips improve in turn, which can settle where neither alone gets better. A plan that won beside is a way
    out, and so is the leanest where more than time counts, since the fastest plans fill memory. Of `ends`, where given,
    those of every choice are tried, and no other problems.
    """
    lean = [] if set(rays.metrics) <= set(SPEEDUPS) else leanest(rays.space)
    for _ in range(PASSES):
        best: dict[Problem, Point] = {}
        for (_, caps, weights), p in rays.solved.items():
            if ends and (caps, weights) not in ends:
                continue
            if (caps, weights) not in best or p.slack < best[caps, weights].slack:
                best[caps, weights] = p
        tries: dict[tuple[Row, Plans], None] = {}
        for (caps, weights), p in best.items():
            row = (p.choice_index, caps, weights)
            others = sorted((q for q in best.values() if math.isfinite(q.slack)), key=lambda q, r=row: _distance(q, r))
            ways = [(q.choice_index, q.plan_index) for q in others[: BESIDE + 1]]
            ways += [(i, plans) for i, plans in lean if ends or i == p.choice_index]
            tries |= dict.fromkeys(((i, caps, weights), plans) for i, plans in ways)
        improve(rays, [(r, plans) for r, plans in tries if r not in rays.solved or rays.solved[r].plan_index != plans])


def _distance(p: Point, row: Row) -> float:
    weights = sum(abs(a - b) for a, b in zip(p.weights, row[2], strict=True))
    return weights + sum(abs(math.log(a / b)) for a, b in zip(p.caps, row[1], strict=True))


def promising(rays: Rays, rows: list[Row]) -> list[Row]:
    """The problems whose choice could have the best point, by what its solved problems prove.

    Multipliers of one problem, scaled so that those of the metrics fit the new weights, bound every other:
        s' >= (bound + sum_j lam_j log(cap_j / cap'_j)) / sum_j lam_j w'_j
    Source: [nocedal2006] section 12.9, weak duality; the slack enters every Lagrangian linearly.
    Assumes: the plans of the solved problems; a margin of `MARGIN` allows for better ones.
    """
    # a price is -lam: d slack / d log cap
    met = [p for p in rays.solved.values() if math.isfinite(p.slack)]
    never = [p for p in rays.solved.values() if bool(p.optimum.impossible)]
    lam = -np.asarray([p.prices for p in met])
    bound = np.asarray([float(p.optimum.lower_bound) for p in met]) + (lam * np.log([p.caps for p in met])).sum(axis=1)
    logs, choice = np.log([p.values for p in met]), np.asarray([p.choice_index for p in met])
    kept = []
    for row in rows:
        if any(p.choice_index == row[0] and _harder(row, p) for p in never):
            continue
        caps, w = np.log(row[1]), np.asarray(row[2])
        # a small sum hardly holds the slack down, and dividing by it would turn rounding into a bound
        room = lam @ w
        of_row = np.where(room > LEAST_WEIGHT, bound - lam @ caps, -np.inf) / np.maximum(room, LEAST_WEIGHT)
        at_least = of_row[choice == row[0]].max(initial=-np.inf)
        over = logs - caps
        slack = np.where(w > 0.0, over / np.where(w > 0.0, w, 1.0), np.where(over > SAME, np.inf, -np.inf))
        if at_least <= slack.max(axis=1).min() + MARGIN:
            kept.append(row)
    return kept


def _harder(row: Row, p: Point) -> bool:
    """Whether a problem allows no more than one that is proved infeasible."""
    return row[2] == p.weights and all(a <= b for a, b, w in zip(row[1], p.caps, p.weights, strict=True) if w == 0.0)


def _best_by_cap(rays: Rays) -> dict[float, Point]:
    """Best point of all choices at every log cap of the second metric that some choice can meet."""
    best: dict[float, Point] = {}
    for (_, caps, weights), p in rays.solved.items():
        if weights == (1.0, 0.0) and caps[1] != rays.widest[1] and math.isfinite(p.slack):
            cap = math.log(caps[1])
            if cap not in best or p.slack < best[cap].slack:
                best[cap] = p
    return best


def _uncertainty(a: Point, b: Point) -> float:
    """Area between chord and tangents of neighbours: a convex front lies inside [log units squared]."""
    width = math.log(b.caps[1] / a.caps[1])
    chord = (b.slack - a.slack) / width
    # slopes of the slack by the log cap: steeper at the left end than the chord, flatter at the right
    left, right = chord - a.prices[1], b.prices[1] - chord
    if left <= 0.0 or right <= 0.0:  # another choice or plan took over: no triangle, as uncertain as the drop
        return width * abs(b.slack - a.slack) / 2
    # they meet at t = width right / (left + right), at a height left t under the chord
    return width**2 * left * right / (2.0 * (left + right))


def spread_directions(k: int, n: int) -> np.ndarray:
    """At least `n` even directions of a simplex, shape (directions, k): multiples of 1/p. Source: [das1998]."""
    # comb(p + k - 1, k - 1) ways to write p as a sum of k parts: the least p that is enough
    p = 1
    while math.comb(p + k - 1, k - 1) < n:
        p += 1
    parts = [c for c in itertools.product(range(p + 1), repeat=k) if sum(c) == p]
    return np.asarray(parts, dtype=float) / p
