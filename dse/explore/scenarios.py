"""Robust convex program of one discrete choice over many scenarios, by constraint generation.

Free numbers are shared by all scenarios; scenarios that the design violates are added until none is violated.
Read more: [mutapcic2009].
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.program import compiled
from ..core.types import FloatLike
from ..optimize.box import SPAN
from ..optimize.counts import around
from ..optimize.interior import Optimum, solve_convex
from ..optimize.search import Candidate, Search
from ..study.convex import ConvexCore, Data, coordinates, core_logs
from .built import outcome
from .samples import Samples
from .unknowns import Draw

SLOTS = 12
"""Scenarios in the convex program."""
ROUNDS = 16
"""Solves of one design before the last is taken."""
RESELECTIONS = 3
"""Times the scenarios to keep are chosen anew at the design, for a share below all."""
CLOSE = 1e-4
"""Log goal by which a scenario may exceed the program's bound without being added."""
MORE = "solves that could better the design to build"
"""What is left out where time is up."""


@dataclasses.dataclass(frozen=True)
class Design:
    """Shared numbers and what they reach."""

    shared: Float[np.ndarray, " f"]
    """Logs of the free numbers."""
    log_goal: float
    """Log goal met in the share of samples asked for; infinite if the limits are not."""


@dataclasses.dataclass
class Program:
    """The convex program of one discrete choice over scenarios."""

    search: Search
    candidate: Candidate
    drawn: Draw
    n_solves: int = 0

    def __post_init__(self) -> None:
        c, samples = self.candidate, Samples(self.search, self.drawn)
        self.data = samples.data(c.choice_index, c.plan_index)
        self.box = samples.box(c.choice_index)

    def log_goals(self, shared: np.ndarray) -> np.ndarray:
        """Log goal of a design as built in every sample, infinite where it breaks a limit."""
        goal, excess = (np.asarray(x) for x in _outcomes(self.search.core, shared, self.data))
        return np.where(excess <= 0, np.log(goal), np.inf)

    def crowd(self, designs: np.ndarray, spare: int) -> tuple[np.ndarray, np.ndarray]:
        """The best of many designs and its log goals: the one with the least goal when `spare` samples may fail."""
        goal, excess = (np.asarray(x) for x in _crowd(self.search.core, designs, self.data))
        logs = np.where(excess <= 0, np.log(goal), np.inf)
        reached = np.sort(logs, axis=1)[:, self.drawn.n - spare - 1]
        # where none reaches the share, the one that fails in fewest samples
        order = np.lexsort((reached, np.where(np.isinf(reached), np.isinf(logs).sum(axis=1), 0)))
        return designs[order[0]], logs[order[0]]

    def rounded_alone(self, shared: np.ndarray, designs: np.ndarray, spare: int) -> Design:
        """A design with whole counts and nothing else changed, found by the compiled program that took `designs`."""
        places = self.search.integer_places
        built = np.repeat(shared[None], len(designs), axis=0)
        if places:
            # as many rows as `designs` had, neighbours repeated: another number of rows would compile anew
            near = np.asarray(around(self.search, self.candidate.choice_index, shared))
            if not len(near):
                return Design(shared, math.inf)
            built[:, places] = near[np.arange(len(built)) % len(near)]
        best, logs = self.crowd(built, spare)
        return Design(best, float(np.sort(logs)[self.drawn.n - spare - 1]))

    def best(self, known: np.ndarray, spare: int, fixed: np.ndarray | None) -> Design:
        """The best design if `spare` samples may fail, by alternation: drop the worst, solve, rank all again."""
        best = Design(np.zeros(len(self.search.core.free)), math.inf)
        for _ in range(RESELECTIONS if spare else 1):
            # which samples may fail is a choice of many: the worst at the last design do, and are ranked anew after it
            keep = np.sort(np.argsort(known, kind="stable")[: self.drawn.n - spare])
            shared = self.cut(keep, known, fixed)
            known = self.log_goals(shared)
            reached = float(np.sort(known)[self.drawn.n - spare - 1])
            gained = best.log_goal - reached
            best = Design(shared, reached) if reached < best.log_goal else best
            if gained < CLOSE:
                break
        return best

    def most_met_frac(self, own: np.ndarray) -> float:
        """Share of samples that the best design for all but those without one of their own (`own` infinite) serves."""
        alone = int(np.isinf(own).sum())
        if alone == own.size:
            return 0.0
        keep = np.flatnonzero(np.isfinite(own))
        return float(np.isfinite(self.log_goals(self.cut(keep, np.log(own), None))).mean())

    def cut(self, keep: np.ndarray, known: np.ndarray, fixed: np.ndarray | None) -> np.ndarray:
        """Log free numbers, shape (f,), feasible for all of `keep`: violated scenarios are added until none is."""
        # the hardest sample first: often it alone decides, and few are added
        active = [int(keep[np.argmax(known[keep])])]
        shared = np.zeros(len(self.search.core.free))
        for _ in range(ROUNDS):
            o = self.solve(active, fixed)
            shared, bound = np.asarray(o.z[: shared.size]), float(o.z[-1])
            goal, excess = (np.asarray(x)[keep] for x in _outcomes(self.search.core, shared, self.data))
            # one that breaks a limit is worse than any that is merely slow
            misses = np.maximum(np.log(goal) - bound - CLOSE, np.where(excess > 0, 1.0 + excess, 0.0))
            worst = int(keep[np.argmax(misses)])
            if misses.max() <= 0 or worst in active or self.search.deadline.over(MORE):
                break
            active = [*active, worst][-SLOTS:]  # one shape: what was added first makes room
        return shared

    def solve(self, active: list[int], fixed: np.ndarray | None) -> Optimum:
        """Optimum over the active scenarios, padded to `SLOTS` with the last one."""
        n_free = len(self.search.core.free)
        rows = np.asarray([*active, *[active[-1]] * (SLOTS - len(active))])
        data = jax.tree.map(lambda x: np.asarray(x)[rows], self.data)
        low, high = (b[:n_free].copy() for b in self.search.box)
        if fixed is not None:
            places = self.search.integer_places
            low[places] = high[places] = fixed
        own = [b[rows, n_free:].ravel() for b in self.box]
        # the bound on the goal is a coordinate, which needs a box as all others do
        middle = float(self.candidate.optimum.objective)
        bounds = [
            np.concatenate([shared, own[i], [middle + sign * math.log(SPAN)]])
            for i, (shared, sign) in enumerate(((low, -1), (high, 1)))
        ]
        start = (bounds[0] + bounds[1]) / 2
        start[:n_free] = np.clip(self.candidate.optimum.z[:n_free], low, high)
        self.n_solves += 1
        return jax.device_get(_solve(self.search.core, data, *bounds, start))

    def rounded(self, design: Design, spare: int) -> Design:
        """The design with cores, stacks and SRAM that can be built: the best of the neighbours."""
        places = self.search.integer_places
        if np.isinf(design.log_goal) or not places:
            return design
        tried = []
        for counts in around(self.search, self.candidate.choice_index, design.shared):
            if tried and self.search.deadline.over(MORE):
                break
            shared = design.shared.copy()
            shared[places] = counts
            tried.append(self.best(self.log_goals(shared), spare, np.asarray(counts)))
        # bounds may hold whole counts of another choice's dies alone: of this one nothing can be built
        return min(tried, key=lambda d: d.log_goal, default=Design(design.shared, math.inf))


def scenario_program(core: ConvexCore, z: Array, data: Data) -> tuple[Array, Array]:
    """Bound on the log goal, and all limits of all scenarios.

        min tau  subject to  log goal_s(x, y_s) <= tau,  log g_s(x, y_s) <= 0  for every scenario s
    with x the shared free numbers and y_s supply, die and step times of scenario s: convex in (x, y_s). `z` holds x,
    y_s by scenario, tau; the leading axis of `data` are the scenarios. Source: [mutapcic2009] section 2.
    """
    n_free, width = len(core.free), len(coordinates(core)) - len(core.free)
    shared, own, tau = z[:n_free], z[n_free:-1].reshape(-1, width), z[-1]
    goals, ratios = jax.vmap(lambda y, d: core_logs(core, jnp.concatenate([shared, y]), d))(own, data)
    # the largest of convex functions as a bound and rows: a max has no second derivative
    return tau, jnp.concatenate([goals - tau, ratios.ravel()])


@compiled
def _solve(core: ConvexCore, data: Any, lower: Any, upper: Any, start: Any) -> Optimum:
    return solve_convex(partial(scenario_program, core), data, lower, upper, start)


@compiled
def _outcomes(core: ConvexCore, shared: FloatLike, data: Data) -> tuple[FloatLike, FloatLike]:
    free = dict(zip(core.free, jnp.exp(shared), strict=True))
    return jax.vmap(lambda d: outcome(core, free, d))(data)


@compiled
def _crowd(core: ConvexCore, designs: FloatLike, data: Data) -> tuple[FloatLike, FloatLike]:
    """Goal and excess of many designs in every sample, shape (designs, samples)."""
    return jax.lax.map(lambda shared: _outcomes(core, shared, data), designs)
