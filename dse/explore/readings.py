"""Interpretations of a TDP: the best design at every TDP, under every interpretation ("reading") of it.

A TDP can limit a step's mean power, every single operator, or all engines at full rate: very different chips.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.errors import SpecError
from ..core.program import compiled
from ..core.types import FloatLike
from ..optimize.batch import in_batches
from ..optimize.deadline import Deadline
from ..optimize.descent import first_plans
from ..optimize.pricing import Plans, alternate
from ..optimize.search import Candidate, Search, price_plans, search_of, solved
from ..optimize.space import Space, batch_of, space_of
from ..study.convex import ConvexCore, Data, chip_at, coordinates, named_numbers
from ..study.design import with_free
from ..study.metrics import (
    METRICS,
)
from ..study.study import Study
from .reading_limits import check_speeds, limits_of, opened
from .samples import CHUNK
from .varied import varied

WORDS = {
    "power_W": "mean of a step",
    "hottest_operator_W": "hottest operator",
    "full_load_fp8_W": "all engines at full rate",
}
"""Readings compared, and what the TDP binds in each, in words; see `binds` for what else a limit on it holds."""
READINGS = tuple(WORDS)
"""Readings compared, mildest first."""
COMPETING = 4
"""Choices, the best at the middle TDP under each reading, that compete at every point."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One chip to find."""

    limits: tuple[float, ...]
    choice_index: int
    orders: int
    held: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The best chip of a problem."""

    candidate: Candidate
    quantities: dict[str, float]
    """See `solved_quantities`."""


def solve_problems(search: Search, problems: Sequence[Problem]) -> list[Answer]:
    """Best chip of every problem, plans and chip in turn, all in batches of one compiled shape."""
    masks, limits = [search.space.classes[p.orders] for p in problems], np.asarray([p.limits for p in problems])
    lower, upper = _boxes(search, problems)

    def solve(active: list[int], plans: list[Plans], best: dict[int, Candidate]) -> list[Candidate]:
        points = [(problems[i].choice_index, p) for i, p in zip(active, plans, strict=True)]
        # what cannot beat the best of its own problem is proved so and left, not solved to the end
        known = np.asarray([best[i].log_goal if i in best else np.inf for i in active])
        return solved(search, points, known, limits=limits[active], box=(lower[active], upper[active]))

    price = partial(price_plans, search, among=masks, limits=limits)
    starts = [first_plans(search, p.choice_index, p.orders) for p in problems]
    return _told(search, alternate(starts, solve, price, lambda c: c.log_goal, search.deadline), limits)


def _told(search: Search, best: Sequence[Candidate], limits: np.ndarray) -> list[Answer]:
    """Designs with their numbers, each under its row of `limits`."""
    batch = batch_of(search.space, [c.choice_index for c in best], [c.plan_index for c in best])
    args = np.stack([c.optimum.z for c in best]), dataclasses.replace(batch, limits=limits)
    values = in_batches(partial(solved_quantities, search.core), args, CHUNK)
    return [Answer(c, {n: float(x[i]) for n, x in values.items()}) for i, c in enumerate(best)]


def _best_choices(search: Search, tdp_W: float, progress: Callable[[str], None]) -> list[int]:
    kept: list[int] = []
    for reading in READINGS:
        # one reading is always tried: without a choice there would be no answer at all
        if kept and search.deadline.over(f"choices that do best under {reading}"):
            break
        problems = every_problem(search.space, limits_of(search.space.study, reading, tdp_W))
        progress(f"{reading}: {len(problems)} problems at {tdp_W:g} W")
        found = sorted((a.candidate for a in solve_problems(search, problems)), key=lambda c: c.log_goal)
        # a choice in several orders of its blocks counts once
        kept += list(dict.fromkeys(c.choice_index for c in found if c.log_goal < np.inf))[:COMPETING]
    return kept


def _boxes(search: Search, problems: Sequence[Problem]) -> tuple[np.ndarray, np.ndarray]:
    names = coordinates(search.core)
    lower, upper = (np.repeat(b[None], len(problems), axis=0) for b in search.box)
    for row, problem in enumerate(problems):
        for name, value in problem.held.items():
            # equal ends hold a number: the same program solves whichever are held
            lower[row, names.index(name)] = upper[row, names.index(name)] = math.log(value)
    return lower, upper


QUANTITIES = (
    "n_cores", "clock_Hz", "scratchpad_B", "sram_B", "vector_lanes", "n_stacks", "hbm_bandwidth_Bps", "hbm_capacity_B",
    "scaleup_bandwidth_per_dir_Bps", "die_mm2", "silicon_mm2", "package_cost_USD", "peak_bf16_FLOPps",
    "peak_fp8_FLOPps", "peak_fp4_FLOPps", "full_load_bf16_W", "full_load_fp8_W", "full_load_fp4_W",
)  # fmt: skip
"""Metrics of a design that are told."""


@compiled
def solved_quantities(core: ConvexCore, z: Array, data: Data) -> dict[str, FloatLike]:
    """`QUANTITIES` of solved designs, and speed-up and mean power of each workload; leading axis over designs."""

    def one(z_: Array, data_: Data) -> dict[str, Any]:
        x = named_numbers(core, z_)
        state, _ = chip_at(core, with_free(data_.chip, {n: x[n] for n in core.free}), x, data_)
        found = {name: jnp.asarray(METRICS[name](state)) for name in QUANTITIES}
        for w, load in zip(core.workloads, state.loads, strict=True):
            found |= {f"speedup:{w}": load.baseline_s / load.step_s, f"power_W:{w}": load.power_W}
        return found | {"delivered_speedup": 1.0 / jnp.asarray(METRICS["delivered_time"](state))}

    return jax.vmap(one)(z, data)


def every_problem(space: Space, limits: Sequence[float]) -> list[Problem]:
    """Every choice in every combination of orders, under one set of limits."""
    each = itertools.product(range(len(space.study.choices)), range(len(space.classes)))
    return [Problem(tuple(limits), i, k) for i, k in each]


@dataclasses.dataclass(frozen=True)
class Point:
    """The best design at one TDP under one reading."""

    reading: str
    tdp_W: float
    """What the package is cooled for."""
    speedup: float | None
    """Delivered; None where no design meets all limits."""
    choice: str
    quantities: dict[str, float]


def readings(
    study: Study, tdps_W: Sequence[float], progress: Callable[[str], None] = lambda _: None,
    deadline: Deadline | None = None,
) -> list[Point]:  # fmt: skip
    """The best design at every TDP under every reading, counts continuous; SpecError where there is none at all."""
    if not tdps_W:
        raise SpecError("TDPs: give at least one, in watts")
    check_speeds(study)
    # choices are picked once, in the middle: all of them at every point would take as many times as long
    middle = sorted(tdps_W)[len(tdps_W) // 2]
    search = search_of(space_of(opened(study, middle)), progress, deadline=deadline or Deadline())
    space, kept = search.space, _best_choices(search, middle, progress)
    if not kept:
        raise SpecError(f"study '{study.name}' has no design at {middle:g} W under any reading")
    places = list(itertools.product(READINGS, tdps_W))
    each = list(itertools.product(dict.fromkeys(kept), range(len(space.classes))))
    at_once, found = max(1, TOGETHER // len(each)), []
    for first in range(0, len(places), at_once):
        if found and search.deadline.over(f"{len(places) - first} of {len(places)} points"):
            break
        some = places[first : first + at_once]
        progress(f"{len(some) * len(each)} problems at {len(some)} points")
        problems = [Problem(tuple(limits_of(space.study, *at)), i, k) for at in some for i, k in each]
        answers = [a.candidate for a in solve_problems(search, problems)]
        parts = (answers[k * len(each) : (k + 1) * len(each)] for k in range(len(some)))
        found += [min(part, key=lambda c: c.log_goal) for part in parts]
    places = places[: len(found)]  # those that there was time for
    limits = np.asarray([limits_of(space.study, *at) for at in places])
    told = _told(search, varied(search, found, limits), limits)
    return carried([_point(space.study, *at, answer) for at, answer in zip(places, told, strict=True)])


def carried(points: Sequence[Point]) -> list[Point]:
    """Every point with the fastest design found for it, or for a smaller TDP or a harsher reading."""

    # what meets a harsher reading, or a smaller TDP, meets this one too; the search for plans may have missed it
    def best(p: Point) -> Point:
        harsher = READINGS[READINGS.index(p.reading) :]
        kept = [q for q in points if q.speedup is not None and q.tdp_W <= p.tdp_W and q.reading in harsher]
        return max(kept, key=lambda q: q.speedup or 0.0, default=p)

    return [dataclasses.replace(best(p), reading=p.reading, tdp_W=p.tdp_W) for p in points]


TOGETHER = 4 * CHUNK
"""Problems between two looks at the clock: rounds of plans and chips fill whole batches."""


def _point(study: Study, reading: str, tdp_W: float, best: Answer) -> Point:
    if best.candidate.log_goal == np.inf:
        return Point(reading, tdp_W, None, "", {})
    text = study.choices[best.candidate.choice_index].text()
    return Point(reading, tdp_W, math.exp(-best.candidate.log_goal), text, best.quantities)
