"""`front`: Pareto fronts of a study over two to four metrics; each point is certified, over all discrete choices.

Two metrics: epsilon-constraints, refined where tangents and chords leave the largest gap; choices proved not to win
are skipped. More metrics: rays from the ideal point [miettinen1999], [das1998].
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
from ..core.pareto import is_end, is_unbeaten, is_worth_showing
from ..core.takes import takes
from ..lowering.plan import plan_text
from ..optimize.prices import SMALLEST_PRICE
from ..study.convex import coordinates
from ..study.limits import full_name
from ..study.metrics import ECONOMIC, METRICS, OF_WORKLOADS
from ..study.study import Study
from .front_problems import INSET, LEAST_WEIGHT, anchors_of, cross, fan, sweep
from .ray import LATE, Point, Rays, blank_of_points

TIE = 6
"""Decimals of log metrics in which two designs must differ to count as different."""
NEAR = 0.05
"""Points closer than this share of the even spacing are shown as one."""
GAP = 1e-5
"""Largest optimality gap of a certified point [log units]."""


@dataclasses.dataclass(frozen=True)
class Front:
    """Pareto front of a study: non-dominated designs, trade-off prices, and dominated designs as a cloud."""

    study: Study
    metrics: tuple[str, ...]
    """Canonical names of the metrics; all are minimised."""
    points: tuple[Point, ...]
    """Non-dominated points, sorted by the first metric."""
    values: np.ndarray
    """Metrics of the points, canonical units, shape (points, metrics)."""
    prices: np.ndarray
    """Trade-off d log first metric / d log each other, shape (points, metrics); NaN if the first does not bind."""
    cloud: np.ndarray
    """Metrics of all other solved designs, shape (designs, metrics)."""
    rays: Rays
    missing: dict[str, int]
    """Number of problems without a point, by reason."""
    whole: bool = False
    """Whether counts of cores and stacks are whole; if not, a point is a bound on designs that can be built."""
    room: np.ndarray | None = None
    """Of whole counts, how much less of one metric any design may have with no more of the others, shape (points,);
    infinite where nothing was proved; None if not asked."""

    @property
    def knee(self) -> int:
        """Index of the knee: the point with the least sum of log metrics, each scaled to its range."""
        logs = np.log(self.values)
        low, high = logs.min(axis=0), logs.max(axis=0)
        unit = (logs - low) / np.where(high > low, high - low, 1.0)
        # scaled to its range, a metric that spans a decade does not decide against one that spans a tenth
        return int(np.argmin(unit.sum(axis=1)))

    @property
    def worst_gap(self) -> float:
        """Largest relative optimality gap of a point."""
        return max((float(np.expm1(p.optimum.gap)) for p in self.points), default=math.nan)

    def hypervolume(self, reference: tuple[float, ...] | None = None) -> float:
        """Dominated hypervolume below `reference` (default: worst values of the front), as a share of the box."""
        top = self.values.max(axis=0) if reference is None else np.asarray(reference)
        return hypervolume(self.values, self.values.min(axis=0), top)

    def frame(self) -> pd.DataFrame:
        """One row per point: metrics, prices, choice, plans, free numbers, blank silicon, gap; in canonical units."""
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
        table = pd.DataFrame(rows)
        return table if self.room is None else table.assign(room=self.room)

    def _repr_html_(self) -> str:
        table, chosen = self.frame(), ("node", "hbm", "link", "n_dies", "pe_array", "fp8_rate", "system")
        return page(self.study.name, table.filter(items=[*self.metrics, *(c for c in chosen if c in table)]))

    def changes(self) -> list[str]:
        """Main changes from each point to the next: choice, plans, and the two free numbers that change most."""
        return [_change(self, a, b) for a, b in itertools.pairwise(self.points)]


MOST_POINTS = 100_000
"""Most points of a front: some hours."""


@takes(study=Study)
def front(
    study: Study,
    metrics: tuple[str, ...] = ("delivered_time", "package_cost_USD"),
    n: int = 100,
    *,
    rays: Rays | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Front:
    """The Pareto front of a study over two to four `metrics`, about `n` points; the study's goal is not used.

    Counts are continuous. The front ends at the study's upper limits and at the baseline's speed. `rays`: problems of
    the same study and metrics solved earlier, with the deadline for new ones; `progress` receives text.
    SpecError: metrics repeated, too few or many, or without a needed workload; n below 2; no design found in time.
    """
    names = checked_metrics(study, metrics)
    check_count("points of a front", n, 2, MOST_POINTS)
    rays = rays or Rays(study, names)
    anchors = anchors_of(rays, progress)
    if rays.deadline.over(LATE):
        return collect(rays, n)
    if len(names) == 2:
        sweep(rays, anchors, n, progress)
    else:
        fan(rays, anchors, n, progress)
    cross(rays)
    return collect(rays, n)


def checked_metrics(study: Study, metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Canonical names of metrics, economic ones as means over workloads; SpecError as `front`."""
    names = tuple(full_name(m, tuple(METRICS), "metric") for m in metrics)
    # one number per design is traded; of several workloads that is their mean
    names = tuple(f"mean_{m}" if m in ECONOMIC else m for m in names)
    if not 2 <= len(set(names)) == len(names) <= 4:
        raise SpecError(f"metrics {', '.join(metrics)}: give two to four different ones")
    needing = [m for m in names if m in OF_WORKLOADS]
    if needing and not study.workloads:
        raise SpecError(f"metric {needing[0]} needs at least one workload")
    return names


def collect(rays: Rays, n: int | None = None) -> Front:
    """The front of everything solved so far, with reasons for missing points."""
    every = list(rays.solved.values())
    found = front_of(rays, every, n)
    lost = missing(every, found.points)
    short = (n or 0) - len(found.points) - sum(lost.values())
    why = LATE if rays.deadline.undone else STRAIGHT
    return dataclasses.replace(found, missing={**lost, **({why: short} if short > 0 else {})})


def front_of(rays: Rays, every: list[Point], n: int | None = None, *, whole: bool = False) -> Front:
    """Non-dominated certified points, thinned by `NEAR`; all others become the cloud."""
    solved = [p for p in every if math.isfinite(p.slack)]
    values = np.asarray([p.values for p in solved]).reshape(len(solved), len(rays.metrics))
    certified = np.asarray([float(p.optimum.gap) <= GAP for p in solved], dtype=bool)
    # two that differ by the solver's rounding alone must not both count, nor beat each other in turn
    best = is_unbeaten(np.exp(np.round(np.log(values), TIE))) & certified
    # thinned after the filter: a neighbour that is beaten must not hide one that is not
    logs = np.log(values[best])
    # a front that stops short of the least of a metric would say that there is no less
    best[best] = is_worth_showing(logs, NEAR / n if n else 0.0) | is_end(logs, 2 * INSET)
    order = sorted(np.flatnonzero(best), key=lambda i: tuple(values[i]))
    points = tuple(solved[i] for i in order)
    prices = np.asarray([p.prices for p in points]).reshape(len(points), len(rays.metrics))
    # along the front ds = sum_j price_j dlog cap_j = 0, so that dlog first / dlog other = -price_other / price_first
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
    """Number of problems (one cap or direction, all choices together) without a point, by reason."""
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
    """Share of the box between `ideal` and `reference` dominated by the rows, on linear axes."""
    unit = (values - ideal) / np.where(reference > ideal, reference - ideal, 1.0)
    # here, as in `core.pareto`: its C library is slow to load
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
    # supply, die and step times follow from the free numbers
    moved = (b.optimum.z - a.optimum.z)[: len(f.rays.core.free)]
    for i in np.argsort(-np.abs(moved))[:2]:
        parts.append(f"{f.rays.core.free[i]} x{math.exp(float(moved[i])):.3g}")
    return "; ".join(parts)
