"""Pareto fronts of a study over two to four metrics: each point certified, the union over discrete choices.

Two metrics: the first is minimised under caps on the second. Intervals are refined where tangents and chord leave the
front most uncertain, and a choice is left out where its tangents prove that it cannot win. More metrics: rays from the
ideal point in evenly spread directions. Read more: [miettinen1999]; [das1998] for the directions.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from ..core.counts import check_count
from ..core.errors import SpecError
from ..core.frames import page
from ..core.pareto import is_unbeaten, is_worth_showing
from ..lowering.plan import plan_text
from ..optimize.pricing import SAME
from ..optimize.solution import SMALLEST_PRICE
from ..study.convex import coordinates
from ..study.limits import full_name
from ..study.metrics import ECONOMIC, METRICS, OF_WORKLOADS
from ..study.study import Study
from .ray import LATE, Point, Rays, Row, blank_of_points

FIRST = 10
"""Points that are spread evenly, with all choices, before choices are left out."""
ROUND_FRAC = 0.25
"""Share of the points added in one round of refinement."""
MARGIN = 0.01
"""A choice is left out only if it is proved worse by more than this: its plans may not be the best yet [log units]."""
LEAST_WEIGHT = 1e-3
"""Smallest weight of a metric on a ray, so that caps keep an interior."""
TIE = 6
"""Decimals of log metrics in which two designs are told apart."""
INSET = 1e-3
"""The very end of a front has no interior: the first cap lies this share of the range inside."""
NEAR = 0.05
"""Share of the distance between even points within which two are one to who reads them."""
GAP = 1e-5
"""Largest gap of a point that is called certified [log units]."""


@dataclasses.dataclass(frozen=True)
class Front:
    """The best trade-offs between metrics under a study's limits."""

    study: Study
    metrics: tuple[str, ...]
    """What trades against each other; all are minimised."""
    points: tuple[Point, ...]
    """Non-dominated points, by the first metric."""
    values: np.ndarray
    """Their metrics, canonical units, shape (points, metrics)."""
    prices: np.ndarray
    """d log first metric / d log each other metric along the front, shape (points, metrics); first column 0.

    Not a number where the first metric does not pace the point.
    """
    cloud: np.ndarray
    """Metrics of every other design solved on the way, shape (designs, metrics)."""
    rays: Rays
    """The problems behind the points."""
    missing: dict[str, int]
    """Why there are fewer points than were asked for: number of problems by reason."""
    whole: bool = False
    """Whether cores and stacks are whole; if not, a point is a bound on what can be built."""

    @property
    def knee(self) -> int:
        """Position of the knee: nearest to the ideal in all metrics together, in log units scaled to the range."""
        logs = np.log(self.values)
        low, high = logs.min(axis=0), logs.max(axis=0)
        unit = (logs - low) / np.where(high > low, high - low, 1.0)
        return int(np.argmin(unit.sum(axis=1)))

    @property
    def worst_gap(self) -> float:
        """Largest relative distance of a point from its bound."""
        return max((float(np.expm1(p.optimum.gap)) for p in self.points), default=math.nan)

    def hypervolume(self, reference: tuple[float, ...] | None = None) -> float:
        """Volume dominated by the front below `reference` (by default its worst values), as a share of the box."""
        top = self.values.max(axis=0) if reference is None else np.asarray(reference)
        return hypervolume(self.values, self.values.min(axis=0), top)

    def frame(self) -> pd.DataFrame:
        """One row per point: metrics, prices, choice, plans, free numbers, blank silicon, gap; canonical units."""
        space, names = self.rays.space, coordinates(self.rays.core)
        rows = []
        blanks = blank_of_points(self.rays, self.points)
        for p, values, prices, blank in zip(self.points, self.values, self.prices, blanks, strict=True):
            numbers = dict(zip(names, np.exp(p.optimum.z[:-1]).tolist(), strict=True)) | {"blank_mm2": float(blank)}
            plans = {
                f"plan:{w}": plan_text(space.plans[i][k])
                for i, (w, k) in enumerate(zip(self.study.workloads, p.plan_index, strict=True))
            }
            priced = {f"price:{m}": float(x) for m, x in zip(self.metrics[1:], prices[1:], strict=True)}
            choice = self.study.choices[p.choice_index].written()
            gap = float(np.expm1(p.optimum.gap))
            rows.append(
                {**dict(zip(self.metrics, values, strict=True)), **priced, **choice, **plans, **numbers, "gap": gap}
            )
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        table, chosen = self.frame(), ("node", "hbm", "link", "n_dies", "pe_array", "system")
        return page(self.study.name, table.filter(items=[*self.metrics, *(c for c in chosen if c in table)]))

    def changes(self) -> list[str]:
        """What changes most from each point to the next: choice, plans, or the two numbers that move most."""
        return [_change(self, a, b) for a, b in itertools.pairwise(self.points)]


MOST_POINTS = 100_000
"""Points of the largest front: some hours."""


def front(
    study: Study,
    metrics: tuple[str, ...] = ("delivered_time", "package_cost_USD"),
    n: int = 100,
    *,
    rays: Rays | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Front:
    """The Pareto front of a study over some metrics.

    Args:
        study: limits, free numbers and choices; its own goal is not used.
        metrics: two to four names of `METRICS` in canonical form, to be minimised; an upper limit of the study on one
            of them is the end of the front, and nothing slower than the baseline is looked for.
        n: points to solve for; a little fewer may be left after dominated ones are dropped.
        rays: problems solved earlier, of the same study and metrics, with the deadline of new ones.
        progress: told what happens, one line at a time.

    Raises:
        SpecError: metrics that are unknown, repeated, too few or too many, or that need a workload; n below 2; time
            that was up before any design was found.
    """
    names = checked_metrics(study, metrics)
    check_count("points of a front", n, 2, MOST_POINTS)
    rays = rays or Rays(study, names)
    anchors = _anchors(rays, progress)
    if rays.deadline.over(LATE):
        return collect(rays, n)
    if len(names) == 2:
        _sweep(rays, anchors, n, progress)
    else:
        _fan(rays, anchors, n, progress)
    return collect(rays, n)


def checked_metrics(study: Study, metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Canonical names of metrics, economic ones as means over workloads; SpecError where they make no front."""
    names = tuple(full_name(m, tuple(METRICS), "metric") for m in metrics)
    names = tuple(f"mean_{m}" if m in ECONOMIC else m for m in names)
    if not 2 <= len(set(names)) == len(names) <= 4:
        raise SpecError(f"metrics {', '.join(metrics)}: give two to four different ones")
    needing = [m for m in names if m in OF_WORKLOADS]
    if needing and not study.workloads:
        raise SpecError(f"metric {needing[0]} needs at least one workload")
    return names


def _anchors(rays: Rays, progress: Callable[[str], None]) -> np.ndarray:
    """Metrics at the best point of each metric, shape (metrics, metrics); SpecError if no design meets the limits."""
    k, rows = len(rays.metrics), []
    for j in range(k):
        caps = tuple(1.0 if i == j else c for i, c in enumerate(rays.widest))
        weights = tuple(float(i == j) for i in range(k))
        rows.append([(c, caps, weights) for c in range(len(rays.study.choices))])
    points = rays.solve([r for of_choice in zip(*rows, strict=True) for r in of_choice])
    found = []
    for group in rows:
        best = min((rays.solved[r] for r in group if r in rays.solved), key=lambda p: p.slack)
        if math.isinf(best.slack):
            if len(points) < k * len(group):
                raise SpecError(f"study {rays.study.name}: time was up before a design was found; give more --seconds")
            raise SpecError(f"study {rays.study.name}: no design meets its limits; `dse optimize` says what to loosen")
        found.append(best.values)
    progress(f"ends of the front found, {len(points)} problems")
    return np.asarray(found)


def _sweep(rays: Rays, anchors: np.ndarray, n: int, progress: Callable[[str], None]) -> None:
    """Caps on the second metric: a few, evenly spread, then more where the front is least certain."""
    low, high = math.log(anchors[1, 1]), math.log(anchors[0, 1])
    caps = np.linspace(low, high, min(FIRST, n))
    caps[0] += INSET * (high - low)
    every = range(len(rays.study.choices))
    _solve(rays, [_capped(k, c) for c in caps for k in every])
    while len(best := _best_by_cap(rays)) < n and not rays.deadline.over(LATE):
        known = sorted(best)
        scores = [_uncertainty(best[a], best[b]) for a, b in itertools.pairwise(known)]
        room = min(max(math.ceil(ROUND_FRAC * n), 1), n - len(known))
        widest = [i for i in np.argsort(scores)[::-1][:room] if scores[i] > 0.0]
        rows = [_capped(k, (known[i] + known[i + 1]) / 2) for i in widest for k in every]
        rows = promising(rays, rows)
        if not rows:
            return
        _solve(rays, rows)
        progress(f"{len(_best_by_cap(rays))} of {n} points, {len(rays.solved)} problems")


def _capped(choice: int, log_cap: float) -> Row:
    return choice, (1.0, math.exp(log_cap)), (1.0, 0.0)


def _fan(rays: Rays, anchors: np.ndarray, n: int, progress: Callable[[str], None]) -> None:
    """Rays from the ideal point in evenly spread directions: a few, then all, for every choice that may win."""
    ideal = np.diag(anchors)
    width = np.log(anchors.max(axis=0) / ideal)
    width = np.where(width > 0.0, width, 1.0)
    caps = tuple(float(x) for x in ideal)
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
    """Solve rows, each from the nearest solved row of its choice."""
    starts: dict[Row, Point] = {}
    near: dict[int, list[Point]] = {}
    for p in rays.solved.values():
        if math.isfinite(p.slack):
            near.setdefault(p.choice_index, []).append(p)
    for r in rows:
        if r[0] in near:
            starts[r] = min(near[r[0]], key=lambda p: _distance(p, r))
    rays.solve(rows, starts)


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
    met = [p for p in rays.solved.values() if math.isfinite(p.slack)]
    never = [p for p in rays.solved.values() if float(p.optimum.violation_bound) > 0.0]
    lam = -np.asarray([p.prices for p in met])
    bound = np.asarray([float(p.optimum.lower_bound) for p in met]) + (lam * np.log([p.caps for p in met])).sum(axis=1)
    logs, choice = np.log([p.values for p in met]), np.asarray([p.choice_index for p in met])
    kept = []
    for row in rows:
        if any(p.choice_index == row[0] and _harder(row, p) for p in never):
            continue
        caps, w = np.log(row[1]), np.asarray(row[2])
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
    """Area between chord and tangents of neighbours: a convex front lies inside [log units squared].

    With slopes m_a and m_b and chord slope m over a width w, the triangle's area is
    w^2 (m - m_a)(m_b - m) / (2 (m_b - m_a)).
    """
    width = math.log(b.caps[1] / a.caps[1])
    chord = (b.slack - a.slack) / width
    left, right = chord - a.prices[1], b.prices[1] - chord
    if left <= 0.0 or right <= 0.0:  # another choice or plan took over: no triangle, as uncertain as the drop
        return width * abs(b.slack - a.slack) / 2
    return width**2 * left * right / (2.0 * (left + right))


def spread_directions(k: int, n: int) -> np.ndarray:
    """At least `n` evenly spread directions of a simplex, shape (directions, k).

    Source: [das1998] section 3: all multiples of 1/p that sum to 1, p the least that gives enough.
    """
    p = 1
    while math.comb(p + k - 1, k - 1) < n:
        p += 1
    parts = [c for c in itertools.product(range(p + 1), repeat=k) if sum(c) == p]
    return np.asarray(parts, dtype=float) / p


def collect(rays: Rays, n: int | None = None) -> Front:
    """The non-dominated points of everything solved for `n` points, and the rest as a cloud."""
    every = list(rays.solved.values())
    found = front_of(rays, every, n)
    lost = missing(every, found.points)
    short = (n or 0) - len(found.points) - sum(lost.values())
    why = LATE if rays.deadline.undone else STRAIGHT
    return dataclasses.replace(found, missing={**lost, **({why: short} if short > 0 else {})})


def front_of(rays: Rays, every: list[Point], n: int | None = None, *, whole: bool = False) -> Front:
    """The non-dominated and certified among some points, and the rest as a cloud.

    Of points closer to each other than `NEAR` of the way between `n` even ones, one is shown.
    """
    solved = [p for p in every if math.isfinite(p.slack)]
    values = np.asarray([p.values for p in solved]).reshape(len(solved), len(rays.metrics))
    certified = np.asarray([float(p.optimum.gap) <= GAP for p in solved], dtype=bool)
    best = is_unbeaten(np.exp(np.round(np.log(values), TIE))) & certified
    best[best] = is_worth_showing(np.log(values[best]), NEAR / n if n else 0.0)
    order = sorted(np.flatnonzero(best), key=lambda i: tuple(values[i]))
    points = tuple(solved[i] for i in order)
    prices = np.asarray([p.prices for p in points]).reshape(len(points), len(rays.metrics))
    first = np.where(prices[:, :1] < -LEAST_WEIGHT, prices[:, :1], np.nan)
    relative = -prices / first
    relative[:, 0] = 0.0
    relative[np.abs(relative) < SMALLEST_PRICE] = 0.0  # what the solver leaves where a cap is slack
    return Front(rays.study, rays.metrics, points, values[order], relative, values[~best], rays, {}, whole)


NO_DESIGN = "no design meets the cap"
UNCERTAIN = "not certified"
BEATEN = "the design of another point, beaten by it or hardly better"
STRAIGHT = "nothing left to find between neighbours"
"""Reasons why a problem is no point of a front."""


def missing(every: list[Point], shown: tuple[Point, ...]) -> dict[str, int]:
    """Problems of all choices together (one cap, one direction) that gave no point, by reason."""
    groups: dict[tuple[tuple[float, ...], tuple[float, ...]], list[Point]] = {}
    for p in every:
        groups.setdefault((p.caps, p.weights), []).append(p)
    kept, found = {id(p) for p in shown}, {NO_DESIGN: 0, UNCERTAIN: 0, BEATEN: 0}
    for points in groups.values():
        if any(id(p) in kept for p in points):
            continue
        best = min(points, key=lambda p: p.slack)
        certified = float(best.optimum.gap) <= GAP
        found[NO_DESIGN if math.isinf(best.slack) else BEATEN if certified else UNCERTAIN] += 1
    return {reason: k for reason, k in found.items() if k}


def hypervolume(values: np.ndarray, ideal: np.ndarray, reference: np.ndarray) -> float:
    """Share of the box between `ideal` and `reference` that rows dominate, on linear axes."""
    unit = (values - ideal) / (reference - ideal)
    import moocore

    return float(moocore.hypervolume(unit, ref=np.ones(values.shape[1])))


def _change(f: Front, a: Point, b: Point) -> str:
    space = f.rays.space
    parts = []
    if a.choice_index != b.choice_index:
        old, new = (dataclasses.asdict(f.study.choices[p.choice_index]) for p in (a, b))
        parts += [f"{k} {old[k]} -> {new[k]}" for k in old if old[k] != new[k]]
    for i, w in enumerate(f.study.workloads):
        if a.plan_index[i] != b.plan_index[i]:
            parts.append(f"plan of {w}: {plan_text(space.plans[i][b.plan_index[i]])}")
    moved = (b.optimum.z - a.optimum.z)[: len(f.rays.core.free)]
    for i in np.argsort(-np.abs(moved))[:2]:
        parts.append(f"{f.rays.core.free[i]} x{math.exp(float(moved[i])):.3g}")
    return "; ".join(parts)
