"""Search: discrete choices and plans outside, certified convex solves inside, all choices in one `vmap`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import SpecError
from ..core.types import FloatLike
from ..lowering.plan import Plan
from ..lowering.step_demand import StepDemand
from ..physics.calibration import Calibration
from ..physics.evaluate import limited_s
from ..physics.residency import ahead_frac
from ..study.convex import ConvexCore, Data, chip_at
from ..study.design import STEPPED, steps, with_free
from ..study.metrics import metric_of
from .batch import in_batches, solve_batch
from .deadline import Deadline
from .interior import Optimum
from .space import Space, element

MAX_ROUNDS = 6
"""Rounds of pricing plans and solving chips; in practice two or three settle."""
FITS = 1e-6
"""Excess over the room in SRAM that is rounding: a solved chip has just enough."""
WIDTH = 64
"""Problems solved side by side, in search and proof alike: one program."""
PRICED = 8
"""Chips at which all plans are priced at once, in a proof."""
SAME = 1e-9
"""Changes of a goal below this are rounding [log units]."""

Plans: TypeAlias = tuple[int, ...]
"""Plan of each workload, position in `space.plans`."""
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One solved discrete point."""

    choice_index: int
    """Position in `study.choices`."""
    plan_index: Plans
    """Position of each workload's plan in `space.plans`."""
    optimum: Optimum
    """Solved convex core."""

    @property
    def log_goal(self) -> float:
        """Log objective; infinite when no design meets the limits."""
        return float(self.optimum.objective) if bool(self.optimum.feasible) else float("inf")


def bounds(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Log bounds of every coordinate of the convex core, shape (n,) each.

    Supply is bounded by every node's product limits; step times and auxiliary powers lie within a factor 1,000 of the
    baseline's. The reticle is a row, so the box leaves room above it: two equal limits would share one price.
    """
    tech = space.without_plans.tech
    low_V, high_V = float(np.min(tech.node.minimum_V)), float(np.max(tech.node.maximum_V))
    reticle = float(np.max(tech.package.reticle_mm2))
    free = [(f.lower, f.upper) for f in space.study.free]
    deadlines = zip(space.baselines, space.study.deadlines_s, strict=True)
    times = [(min(seconds, deadline) / SPAN, min(seconds * SPAN, deadline)) for (_, seconds), deadline in deadlines]
    tdp_W = float(space.study.baseline.chip.power_limit_W)
    powers = [(tdp_W / SPAN, tdp_W * SPAN) for _ in space.study.core().powers]
    box = np.log(np.asarray([*free, (low_V, high_V), (reticle / SPAN, reticle * ROOM), *powers, *times]))
    return box[:, 0], box[:, 1]


SPAN = 1e3
"""Widest ratio considered for step times and die areas; wide enough never to bind."""
ROOM = 2.0
"""How far the box reaches above the reticle: more than any receipt allows, so that its row alone binds."""


@partial(jax.jit, static_argnums=0)
def priced_s(core: ConvexCore, z: FloatLike, data: Data, demands: tuple[StepDemand, ...]) -> list[FloatLike]:
    """Throttled time per token of every plan of every workload on each design, shape (designs, plans) per workload.

    Power limits are the study's, if it has any; a plan that does not fit in memory or in SRAM, or misses the deadline,
    takes forever.
    """

    def seconds(z_: FloatLike, data_: Data, d: StepDemand, c: Calibration, deadline_s: FloatLike) -> FloatLike:
        x = core.positive(z_)
        chip = with_free(data_.chip, {n: x[n] for n in core.free})
        allowed = core.allowed(d, chip, x, data_, c)
        fits = d.memory_B <= data_.usable_frac * chip.hbm_capacity_B * (1 + 1e-9)
        fits &= ahead_frac(d, chip, data_.prefetch_frac) <= 1 + FITS
        taken = limited_s(d, chip, data_.tech, c, x["supply_V"], x["die_mm2"], core.power_cap_W(data_), allowed)
        return jnp.where(fits & (taken <= deadline_s * (1 + 1e-9)), taken / d.tokens, jnp.inf)

    per_plan = jax.vmap(jax.vmap(seconds, in_axes=(None, None, 0, None, None)))
    each = zip(demands, data.calibrations, strict=True)
    return [per_plan(z, data, d, c, data.deadline_s[:, w]) for w, (d, c) in enumerate(each)]


@partial(jax.jit, static_argnums=0)
def priced_on_s(
    core: ConvexCore, z: FloatLike, data: Data, structures: np.ndarray | jax.Array, every: tuple[StepDemand, ...]
) -> list[FloatLike]:  # fmt: skip
    """`priced_s` with the demands of all structures, leading axes (structures, plans), and each design's position."""
    return priced_s(core, z, data, jax.tree.map(lambda x: x[structures], every))


def fastest_plans(
    core: ConvexCore, z: np.ndarray, data: Data, demands: tuple[StepDemand, ...], present: Sequence[Plans], size: int,
    among: Sequence[Sequence[np.ndarray]] = (),
) -> list[Plans]:  # fmt: skip
    """Fastest plan of every workload on each design, of those in `among` if given; the present one where none fits."""
    seconds = in_batches(partial(priced_s, core), (z, data, demands), size)
    if among:
        seconds = [np.where([masks[w] for masks in among], s, np.inf) for w, s in enumerate(seconds)]
    return [
        tuple(int(np.argmin(s[i])) if np.isfinite(s[i]).any() else p[w] for w, s in enumerate(seconds))
        for i, p in enumerate(present)
    ]


def alternate(
    start: Sequence[Plans],
    solve: Callable[[list[int], list[Plans], dict[int, T]], list[T]],
    price: Callable[[list[T]], list[Plans]],
    goal: Callable[[T], float],
    deadline: Deadline | None = None,
) -> list[T]:
    """Best answer of every problem: solves and pricing of all plans in turn, until no problem sees a new plan.

    Args:
        start: plans that each problem begins with.
        solve: answers of problems (by position) under plans, knowing the best answers so far.
        price: fastest plans at the best answer of every problem.
        goal: log of what is to be small.
        deadline: when to stop with the best answers so far, of which every problem has one after the first round.
    """
    plans, best, tried = list(start), {}, set()
    for _ in range(MAX_ROUNDS):
        active = [i for i, p in enumerate(plans) if (i, p) not in tried]
        if not active:
            break
        if best and deadline is not None and deadline.over(f"plans of {len(active)} problems may not be the fastest"):
            break
        tried.update((i, plans[i]) for i in active)
        for i, found in zip(active, solve(active, [plans[i] for i in active], best), strict=True):
            if i not in best or goal(found) < goal(best[i]) - SAME:
                best[i] = found
        plans = price([best[i] for i in range(len(plans))])
    return [best[i] for i in range(len(plans))]


@dataclasses.dataclass
class Search:
    """Alternates pricing of all plans at the current chips with solves of all chips, many starts at once."""

    space: Space
    """Study, lowered."""
    progress: Callable[[str], None] = lambda _: None
    """Told what happens, one line per round."""
    seen: dict[tuple[int, Plans], Candidate] = dataclasses.field(default_factory=dict)
    """Every discrete point solved so far, by choice and plans."""
    deadline: Deadline = dataclasses.field(default_factory=Deadline)
    """When to stop with what is solved."""

    @cached_property
    def core(self) -> ConvexCore:
        """Convex core of the study."""
        return self.space.study.core()

    @property
    def n_choices(self) -> int:
        """Number of discrete choices: the size of every batch, so that nothing compiles anew."""
        return len(self.space.study.choices)

    @cached_property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Log bounds of the coordinates."""
        return bounds(self.space)

    def solve(self, points: Sequence[tuple[int, Plans]]) -> list[Candidate]:
        """Solve choices under plans."""
        data = self.space.batch([i for i, _ in points], [p for _, p in points])
        lower, upper = self.box
        middle, strict = (lower + upper) / 2, self.core.strict
        batch = solve_batch(self.core.model, data, lower, upper, middle, loose=strict, size=WIDTH)
        found = [Candidate(i, p, element(batch, k)) for k, (i, p) in enumerate(points)]
        self.seen.update({(c.choice_index, c.plan_index): c for c in found})
        return found

    def price(self, candidates: list[Candidate], among: Sequence[Sequence[np.ndarray]] = ()) -> list[Plans]:
        """Fastest plan of every workload at each candidate's chip, of those in `among` if given."""
        choices, plans = [c.choice_index for c in candidates], [c.plan_index for c in candidates]
        z = np.stack([c.optimum.z for c in candidates])
        every = self.space.every_plan(choices)
        return fastest_plans(self.core, z, self.space.batch(choices, plans), every, plans, self.n_choices, among)

    def with_plans(self, plans: tuple[Plan, ...]) -> Search:
        """The search with one more plan per workload; what is solved stays solved."""
        return Search(self.space.with_plans(plans), self.progress, dict(self.seen), self.deadline)

    def in_box(self, box: tuple[np.ndarray, np.ndarray]) -> Search:
        """The search in another box, nothing solved there yet."""
        other = Search(self.space, self.progress)
        other.__dict__["box"] = box
        return other

    def best_goal(self) -> float:
        """Smallest goal so far, infinite if nothing is feasible."""
        return float(np.exp(min((c.log_goal for c in self.seen.values()), default=np.inf)))

    def run(self) -> list[Candidate]:
        """Best candidate of every choice, best choice first.

        Starts from the baseline's best plans, in every combination of orders by itself; then every plan that won
        anywhere is tried on every choice.
        """
        self._check_own()
        rounds = itertools.count(1)
        problems = list(itertools.product(range(self.n_choices), range(len(self.space.classes))))
        masks = [self.space.classes[k] for _, k in problems]

        def solve(active: list[int], plans: list[Plans], _: dict[int, Candidate]) -> list[Candidate]:
            found = self.solve([(problems[i][0], p) for i, p in zip(active, plans, strict=True)])
            feasible = sum(c.log_goal < np.inf for c in found)
            self.progress(f"round {next(rounds)}: {feasible} of {len(found)} feasible, best {self.best_goal():.5g}")
            return found

        start = [self.start(i, k) for i, k in problems]
        alternate(start, solve, partial(self.price, among=masks), lambda c: c.log_goal, self.deadline)
        winners = {c.plan_index for c in self.leaders()}
        crossed = [(i, p) for p in winners for i in range(self.n_choices) if (i, p) not in self.seen]
        if crossed and not self.deadline.over(f"{len(crossed)} pairs of choice and plans were not tried"):
            self.solve(crossed)
        self.progress(f"{len(winners)} plans crossed with {self.n_choices} choices: best {self.best_goal():.5g}")
        return sorted(self.leaders(), key=lambda c: c.log_goal)

    def _check_own(self) -> None:
        """Refuse a metric of the user's own that is not positive in the middle of the box, where every solve begins."""
        if not self.core.own:
            return
        x = self.core.positive((self.box[0] + self.box[1]) / 2)
        data = self.space.data(0, self.start(0, 0))
        state, _ = chip_at(self.core, with_free(data.chip, {n: x[n] for n in self.core.free}), x, data)
        for name in (n for n, _ in self.core.own if n in (self.core.goal, *(m for m, _ in self.core.limits))):
            value = metric_of(self.core.own, name)(state)
            if not isinstance(value, list) and not float(value) > 0:
                raise SpecError(
                    f"metrics.{name}: {float(value):.3g} in the middle of all bounds, where the search begins; "
                    "a metric must be positive for every design"
                )

    def start(self, choice_index: int, k: int) -> Plans:
        """The baseline's best plans in the orders of class `k`; where a system forbids one, the first it allows."""
        starts, space = [], self.space
        for w, (kept, own, mask) in enumerate(zip(space.plans, space.own_plans, space.classes[k], strict=True)):
            wanted = kept.index(dataclasses.replace(kept[own], order=kept[int(np.argmax(mask))].order))
            allowed = mask & space.valid(w, kept, choice_index)
            starts.append(wanted if allowed[wanted] or not allowed.any() else int(np.argmax(allowed)))
        return tuple(starts)

    def leaders(self) -> list[Candidate]:
        """Best candidate of every choice so far, in the order of choices."""
        groups = [[c for c in self.seen.values() if c.choice_index == i] for i in range(self.n_choices)]
        return [min(g, key=lambda c: c.log_goal) for g in groups]

    @cached_property
    def integer_places(self) -> list[int]:
        """Positions of the stepped numbers among the coordinates."""
        names = self.core.variables()
        return [names.index(x) for x in STEPPED if x in self.core.free]

    def steps(self, choice_index: int) -> list[np.ndarray]:
        """Logs of what can be built of each stepped number on the dies of a choice, inside the box."""
        n_dies = self.space.study.choices[choice_index].n_dies
        return self._steps_of[n_dies]

    @cached_property
    def _steps_of(self) -> dict[int, list[np.ndarray]]:
        names, (lower, upper) = self.core.variables(), np.exp(self.box)
        return {
            n: [np.log(steps(names[i], n, float(lower[i]), float(upper[i]))) for i in self.integer_places]
            for n in {c.n_dies for c in self.space.study.choices}
        }

    def fixed_boxes(self, values: list[tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """The box once per entry of `values`, with stepped numbers fixed to it (an empty box fixes a coordinate)."""
        lower, upper = (np.repeat(b[None], len(values), axis=0) for b in self.box)
        lower[:, self.integer_places] = upper[:, self.integer_places] = np.asarray(values).reshape(len(values), -1)
        return lower, upper

    def neighbours(self, candidate: Candidate) -> list[tuple[float, ...]]:
        """As `around`, of a candidate."""
        return self.around(candidate.choice_index, np.asarray(candidate.optimum.z))

    def around(self, choice_index: int, z: np.ndarray) -> list[tuple[float, ...]]:
        """Logs of what can be built on both sides of each stepped number of `z`; nearest combination first."""
        places, options = self.integer_places, []
        for i, logs in zip(places, self.steps(choice_index), strict=True):
            above = int(np.searchsorted(logs, float(z[i]) + SAME, side="right"))
            options.append(logs[max(above - 1, 0) : above + 1].tolist())
        near = itertools.product(*options)
        return sorted(near, key=lambda v: sum(abs(x - float(z[i])) for x, i in zip(v, places, strict=True)))
