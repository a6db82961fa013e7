"""Prices of limits: their Lagrange multipliers at the continuous optimum, beside their values at the design."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.types import Vector
from ..study.convex import AHEAD, MEMORY, TIMES, Kind, coordinates, ratio_rows, rows_of_limit
from ..study.metrics import State, metric_of
from .search import Candidate, Search


@dataclasses.dataclass(frozen=True)
class LimitReport:
    """One limit at the design: value, margin and price (Lagrange multiplier)."""

    name: str
    sense: str
    value: float
    """Value at the design in canonical units; over several workloads, the one nearest to the limit."""
    limit: float
    """Limit of the study, canonical unit."""
    price: float
    """d log goal / d log limit at the continuous optimum; negative if loosening an upper limit improves the goal."""
    price_per_unit: float
    """d goal / d limit in the goal's unit per canonical unit of the limit."""
    kind: Kind = Kind.USER
    """Origin of the limit: the user, the technology, or the bound of a free number."""

    @property
    def margin(self) -> float:
        """Slack as a fraction of the limit: zero if it binds, negative if violated."""
        # turned for a floor, so that more room is a larger number on either side
        gap = 1 - self.value / self.limit
        return gap if self.sense == "at_most" else -gap

    @property
    def binds(self) -> bool:
        """Whether the limit binds: its margin is at most `TIGHT`."""
        return self.margin <= TIGHT

    @property
    def misses(self) -> bool:
        """Whether the chip as built breaks a limit of the user's, beyond rounding."""
        return self.kind is Kind.USER and self.margin < -TIGHT

    def gain_frac(self, moved: float) -> float:
        """First-order improvement of the goal if the limit is loosened by `moved`, as a fraction of the goal."""
        # to first order: the price is per log of the limit, and d log x = dx / x
        return abs(self.price) * moved / self.limit


TIGHT = 1e-4
"""A limit with a smaller margin binds."""
SMALLEST_PRICE = 1e-4
"""Smaller prices are not reported."""
SLACK, SLACK_PRICE = 0.1, 0.05
"""A limit with more margin than this is shown only if its price exceeds the second number."""


def is_priced(price_frac: float, margin_frac: float) -> bool:
    """Whether the price of a limit is worth showing beside its margin, both as shares."""
    return abs(price_frac) >= (SLACK_PRICE if margin_frac > SLACK else SMALLEST_PRICE)


def limit_reports(search: Search, best: Candidate, continuous: Candidate, state: State) -> tuple[LimitReport, ...]:
    """Value of every limit at the design, and its price at the continuous optimum, summed over workloads.

    Promised latencies follow, then technology limits and memory, as fractions of their limits, and binding bounds of
    free numbers.
    """
    core, goal = search.core, float(np.exp(continuous.log_goal))
    # values of the whole design, prices of the continuous one: a price is a slope, which whole counts have none of
    multipliers, ratios = continuous.optimum.multipliers, np.exp(best.optimum.limits)
    reports = []
    for k, limit in enumerate(search.space.study.limits):
        value = metric_of(core.own, limit.metric)(state)
        ends = [float(v) for v in value] if isinstance(value, list) else [float(value)]
        # a limit holds for every workload, so that the nearest to it, or beyond, is the one to tell
        worst = max(ends) if limit.sense == "at_most" else min(ends)
        price = limit_price(search, k, multipliers)
        unit = goal * price / limit.value
        reports.append(LimitReport(limit.metric, limit.sense, worst, limit.value, price, unit, Kind.USER))
    reports += _promise_reports(search, continuous, goal, state)
    for i, row in enumerate(ratio_rows(core)):
        if row.kind is Kind.TECHNOLOGY or row.what in (MEMORY, AHEAD):
            # a ratio is limited to 1: loosening it by a log unit gains its multiplier
            price, name = -float(multipliers[i]), f"{row.what} of {row.workload}" if row.workload else row.what
            reports.append(LimitReport(name, "at_most", float(ratios[i]), 1.0, price, goal * price, row.kind))
    return (*reports, *_bound_reports(search, continuous, goal))


def limit_price(search: Search, k: int, multipliers: Vector) -> float:
    """Price of limit `k`: d log goal / d log limit, from the Lagrange multipliers of a continuous optimum."""
    sense = search.space.study.limits[k].sense
    return float(sum(multipliers[i] for i in rows_of_limit(search.core, k))) * (-1.0 if sense == "at_most" else 1.0)


def _promise_reports(search: Search, continuous: Candidate, goal: float, state: State) -> list[LimitReport]:
    """Every promised latency: the user's limit too, though the solver knows it as the upper bound of a step time."""
    out, first = [], len(coordinates(search.core)) - len(state.loads)
    for i, (load, promised_s) in enumerate(zip(state.loads, search.space.study.deadlines_s, strict=True)):
        if np.isfinite(promised_s):
            name, price = f"{TIMES}{search.core.workloads[i]}", -float(continuous.optimum.upper_multipliers[first + i])
            unit = goal * price / promised_s
            out.append(LimitReport(name, "at_most", float(load.step_s), promised_s, price, unit, Kind.USER))
    return out


def _bound_reports(search: Search, continuous: Candidate, goal: float) -> list[LimitReport]:
    """Binding bounds of free numbers, which the user may not have intended."""
    lower, upper = (np.exp(b) for b in search.box)
    o, out = continuous.optimum, []
    for i, name in enumerate(coordinates(search.core)):
        value, promised = float(np.exp(o.z[i])), name.startswith(TIMES)
        for sense, bound, price in (
            ("at_least", float(lower[i]), float(o.lower_multipliers[i])),
            ("at_most", float(upper[i]), -float(o.upper_multipliers[i])),
        ):
            # the upper end of a step time is a promise, which has a row already; without one it is too far to bind
            if abs(price) > SMALLEST_PRICE and not (promised and sense == "at_most"):
                out.append(LimitReport(name, sense, value, bound, price, goal * price / bound, Kind.BOUND))
    return out
