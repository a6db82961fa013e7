"""Search: discrete choices and plans outside, certified convex solves inside, all choices in one `vmap`."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import FloatLike
from ..lowering.step_demand import StepDemand
from ..physics.evaluate import limited_s
from ..study.design import INTEGERS, with_free
from ..study.terms import Core, Data
from .interior import Optimum, solve_convex
from .space import Space, element

MAX_ROUNDS = 6
"""Rounds of pricing plans and solving chips; in practice two or three settle."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One solved discrete point."""

    choice_index: int
    """Position in `study.choices`."""
    plan_index: tuple[int, ...]
    """Position of each workload's plan in `space.plans`."""
    optimum: Optimum
    """Solved convex core."""

    @property
    def log_goal(self) -> float:
        """Log objective; infinite when no design meets the limits."""
        return float(self.optimum.objective) if bool(self.optimum.feasible) else float("inf")


def bounds(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Log bounds of every coordinate of the convex core, shape (n,) each.

    Supply and die area are bounded by every node's product limits and the reticle; step times lie within a
    factor 1,000 of the baseline's.
    """
    tech = space.without_plans.tech
    low_V, high_V = float(np.min(tech.node.minimum_V)), float(np.max(tech.node.maximum_V))
    reticle = float(np.max(tech.package.reticle_mm2))
    free = [(f.lower, f.upper) for f in space.study.free]
    deadlines = zip(space.baselines, space.study.deadlines_s, strict=True)
    times = [(min(seconds, deadline) / SPAN, min(seconds * SPAN, deadline)) for (_, seconds), deadline in deadlines]
    box = np.log(np.asarray([*free, (low_V, high_V), (reticle / SPAN, reticle), *times]))
    return box[:, 0], box[:, 1]


SPAN = 1e3
"""Widest ratio considered for step times and die areas; wide enough never to bind."""


Batch: TypeAlias = Array | np.ndarray
"""Rows of log coordinates, one per problem."""


@partial(jax.jit, static_argnums=0)
def solve_all(core: Core, data: Data, lower: Batch, upper: Batch, start: Batch) -> Optimum:
    """Optimum of every problem along the leading axis of `data`, boxes and starts."""
    return jax.vmap(partial(solve_convex, core.logs))(data, lower, upper, start)


@partial(jax.jit, static_argnums=0)
def priced_s(core: Core, z: FloatLike, data: Data, demands: tuple[StepDemand, ...]) -> list[FloatLike]:
    """Throttled time per token of every plan of every workload on each design, shape (designs, plans) per workload.

    The power limit is the study's, if it has one; a plan that does not fit in memory, or misses the deadline, takes
    forever.
    """
    power = next((i for i, (metric, _) in enumerate(core.limits) if metric == "power_W"), None)

    def seconds(z_: FloatLike, data_: Data, d: StepDemand, deadline_s: FloatLike) -> FloatLike:
        x = core.positive(z_)
        chip = with_free(data_.chip, {n: x[n] for n in core.free})
        limit = data_.limits[power] if power is not None else jnp.asarray(jnp.inf)
        fits = d.memory_B <= data_.usable_frac * chip.hbm_capacity_B * (1 + 1e-9)
        taken = limited_s(d, chip, data_.tech, data_.calibration, x["supply_V"], x["die_mm2"], limit)
        return jnp.where(fits & (taken <= deadline_s * (1 + 1e-9)), taken / d.tokens, jnp.inf)

    per_plan = jax.vmap(seconds, in_axes=(None, None, 0, None))
    return [jax.vmap(per_plan)(z, data, d, data.deadline_s[:, w]) for w, d in enumerate(demands)]


@dataclasses.dataclass
class Search:
    """Alternates pricing of all plans at the current chips with solves of all chips, many starts at once."""

    space: Space
    """Study, lowered."""
    progress: Callable[[str], None] = lambda _: None
    """Told what happens, one line per round."""
    seen: dict[tuple[int, tuple[int, ...]], Candidate] = dataclasses.field(default_factory=dict)
    """Every discrete point solved so far, by choice and plans."""

    @cached_property
    def core(self) -> Core:
        """Convex core of the study."""
        return self.space.study.core()

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Log bounds of the coordinates."""
        return bounds(self.space)

    @cached_property
    def demands(self) -> tuple[StepDemand, ...]:
        """Demands of all plans for every choice: leading axes (choices, plans), one per workload."""
        return tuple(jax.tree.map(lambda x: x[self.space.array_of_choice], d) for d in self.space.demands)

    def data(self, points: list[tuple[int, ...]]) -> Data:
        """Coefficients of every choice under the given plans, stacked."""
        return self.space.batch(range(len(points)), points)

    def solve(self, points: list[tuple[int, ...]]) -> list[Candidate]:
        """Solve every choice under the given plans; points seen before are not counted again."""
        n = len(points)
        lower, upper = (np.broadcast_to(b, (n, b.size)) for b in self.box)
        batch = jax.tree.map(np.asarray, solve_all(self.core, self.data(points), lower, upper, (lower + upper) / 2))
        found = [Candidate(i, p, element(batch, i)) for i, p in enumerate(points)]
        self.seen.update({(c.choice_index, c.plan_index): c for c in found})
        return found

    def price(self, candidates: list[Candidate]) -> list[tuple[int, ...]]:
        """Fastest plan of every workload at each candidate's chip (one candidate per choice, in order)."""
        z = np.stack([c.optimum.z for c in candidates])
        seconds = priced_s(self.core, z, self.data([c.plan_index for c in candidates]), self.demands)
        host = [np.asarray(s) for s in seconds]
        return [
            tuple(int(np.argmin(s[i])) if np.isfinite(s[i]).any() else c.plan_index[w] for w, s in enumerate(host))
            for i, c in enumerate(candidates)
        ]

    def alternate(self, points: list[tuple[int, ...]]) -> None:
        """Solve and price in turn from `points` until no choice sees a new plan."""
        for round_ in range(MAX_ROUNDS):
            found = self.solve(points)
            feasible = sum(c.log_goal < np.inf for c in found)
            self.progress(f"round {round_ + 1}: {feasible} of {len(found)} feasible, best {self.best_goal():.4f}")
            priced = self.price(found)
            fresh = [(i, p) not in self.seen for i, p in enumerate(priced)]
            if not any(fresh):
                return
            points = [p if new else old for p, new, old in zip(priced, fresh, points, strict=True)]

    def best_goal(self) -> float:
        """Smallest goal so far, infinite if nothing is feasible."""
        return float(np.exp(min((c.log_goal for c in self.seen.values()), default=np.inf)))

    def run(self) -> list[Candidate]:
        """Best candidate of every choice, best choice first.

        Starts from the baseline's best plans; then every plan that won anywhere is tried on every choice.
        """
        n = len(self.space.study.choices)
        start = tuple(
            candidates.index(plan) for candidates, (plan, _) in zip(self.space.plans, self.space.baselines, strict=True)
        )
        self.alternate([start] * n)
        winners = {c.plan_index for c in self.leaders()}
        for plans_ in winners:
            if any((i, plans_) not in self.seen for i in range(n)):
                self.solve([plans_] * n)
        self.progress(f"{len(winners)} plans crossed with {n} choices: best {self.best_goal():.4f}")
        return sorted(self.leaders(), key=lambda c: c.log_goal)

    def leaders(self) -> list[Candidate]:
        """Best candidate of every choice so far, in the order of choices."""
        n = len(self.space.study.choices)
        groups = [[c for c in self.seen.values() if c.choice_index == i] for i in range(n)]
        return [min(g, key=lambda c: c.log_goal) for g in groups]

    @cached_property
    def integer_places(self) -> list[int]:
        """Positions of the counts among the coordinates."""
        names = self.core.variables()
        return [names.index(x) for x in INTEGERS if x in self.core.free]

    def fixed_boxes(self, values: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """The box once per entry of `values`, with the counts fixed to it (an empty box fixes a coordinate)."""
        lower, upper = (np.repeat(b[None], len(values), axis=0) for b in self.box)
        lower[:, self.integer_places] = upper[:, self.integer_places] = np.asarray(values).reshape(len(values), -1)
        return lower, upper

    def rounded(self, candidates: list[Candidate]) -> Candidate | None:
        """The best design with integer cores and stacks near `candidates` (best first), or None if none is feasible.

        Each count goes up or down to a multiple of the dies and the rest is solved again; as many candidates are
        tried as fit in one batch of the search's size, so nothing is compiled anew.
        """
        points = [(c, v) for c in candidates if c.log_goal < np.inf for v in self.neighbours(c)]
        n = len(self.space.study.choices)
        found: list[Candidate] = []
        for begin in range(0, min(len(points), max(n, 2 ** len(self.integer_places))), n):
            some = points[begin : begin + n]
            padded = some + [some[0]] * (n - len(some))
            lower, upper = self.fixed_boxes([values for _, values in padded])
            start = np.clip(np.stack([c.optimum.z for c, _ in padded]), lower, upper)
            data = self.space.batch([c.choice_index for c, _ in padded], [c.plan_index for c, _ in padded])
            solved = jax.tree.map(np.asarray, solve_all(self.core, data, lower, upper, start))
            found += [dataclasses.replace(c, optimum=element(solved, i)) for i, (c, _) in enumerate(some)]
        best = min(found, key=lambda c: c.log_goal, default=None)
        return best if best is not None and best.log_goal < np.inf else None

    def neighbours(self, candidate: Candidate) -> list[tuple[float, ...]]:
        """Logs of the multiples of the dies on both sides of each count, inside the box; nearest combination first."""
        n_dies = self.space.study.choices[candidate.choice_index].n_dies
        z, places = candidate.optimum.z, self.integer_places
        options = []
        for i in places:
            below = max(math.floor(float(np.exp(z[i])) / n_dies + 1e-9), 1)
            logs = [math.log(k * n_dies) for k in (below, below + 1)]
            options.append([v for v in logs if self.box[0][i] - 1e-9 <= v <= self.box[1][i] + 1e-9])
        near = itertools.product(*options)
        return sorted(near, key=lambda v: sum(abs(x - float(z[i])) for x, i in zip(v, places, strict=True)))
