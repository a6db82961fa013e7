"""Plans of a search: those that are kept, and which are fastest at the chips that are solved.

Kept are the fastest on the baseline and on larger chips, in every system that designs may use. Solving for the chip and
choosing the fastest plan at it take turns, until no plan improves.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..core.program import compiled
from ..core.types import FloatLike, stack_records
from ..evaluation.host import plan_steps_s
from ..hardware.chip import Chip
from ..lowering.plan import Plan
from ..lowering.plan_keys import ORDERS
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape
from ..physics.calibration import Calibration
from ..physics.evaluate import chip_technology, limited_s
from ..physics.residency import ahead_frac
from ..study.convex import ConvexCore, Data, cooled_times, named_numbers, power_cap_W
from ..study.design import with_free
from ..study.study import Study
from ..workload.transformer import Workload
from .batch import in_batches
from .deadline import Deadline
from .ground import Ground, Structure, candidates, is_own, on_structures

KEPT = 48
"""Plans kept per workload and probe chip."""
UNLIMITED = 1e3
"""Factor that takes a power limit out of play."""
PROBES = ((1.0, 1.0, 1.0, 1.0), (3.0, 4.0, 2.0, 2.0), (8.0, 4.0, 2.0, 4.0), (8.0, 8.0, 4.0, 1.0))
"""Growth of cores, HBM bandwidth, HBM capacity and scale-up links of the chips at which plans are ranked."""


def kept_plans(study: Study, ground: Ground) -> list[list[Plan]]:
    """Plans of each workload worth pricing: the fastest `KEPT` on the baseline and on each grown `PROBES` chip.

    All are kept of a model in service or of a free batch, whose fastest have the smallest batches.
    """
    kept = []
    for w, (every, (own, _)) in enumerate(zip(candidates(ground), ground.baselines, strict=True)):
        # the baseline's best plan begins every search, even where no system of a design admits it
        every = every if own in every else [own, *every]
        if not isinstance(ground.workloads[w], Workload):
            kept.append(every)
            continue
        winners = {own, *(p for name in study.system_names for p in _winners(study, ground, w, name))}
        names = {dataclasses.replace(p, order=o) for p in winners for o in orders(study)}
        # a plan that wins in one order competes in all: which order is best depends on the SRAM still to be chosen
        kept.append([p for p in every if p in winners or p in names])
    return kept


def distinct(plans: list[Plan], demands: StepDemand, own: Plan) -> list[int]:
    """Positions of the baseline's own plan in every order, and of plans that ask for more than another name does."""
    # with fused attention, say, selective recomputation is none: solved twice, it would find nothing new
    n = len(plans)
    rows = np.concatenate([np.moveaxis(np.asarray(x), 1, 0).reshape(n, -1) for x in jax.tree.leaves(demands)], axis=1)
    is_own = [dataclasses.replace(p, order=own.order) == own for p in plans]
    first: dict[tuple[str, bytes], int] = {}
    for i in sorted(range(n), key=lambda i: not is_own[i]):
        first.setdefault((plans[i].order, rows[i].tobytes()), i)
    return sorted({*first.values(), *np.flatnonzero(is_own).tolist()})


def _winners(study: Study, ground: Ground, w: int, name: str) -> list[Plan]:
    """The fastest plans of a workload in one system, on the baseline chip and on larger ones."""
    every, demands = ground.lowered[w]
    stacked = stack_records(demands)
    if not is_own(study, name):
        every = list(ground.valid[name][w])
        there = Structure(array_shape(ground.chip.core.tensor), name)
        stacked = on_structures(ground, [there], w, every)[0]
    tech, found = chip_technology(ground.chip), []
    for chip in probes(ground.chip):
        seconds = np.asarray(plan_steps_s(stacked, chip, tech, ground.calibrations[w]))
        # infinite: it does not fit on this chip, and may on a larger one
        found += [every[int(i)] for i in np.argsort(seconds)[:KEPT] if np.isfinite(seconds[i])]
    return found


def probes(base: Chip) -> list[Chip]:
    """Chips at which plans are ranked: the baseline, and larger ones without a power limit."""
    return [
        dataclasses.replace(
            base,
            n_cores=base.n_cores * cores,
            hbm_bandwidth_Bps=base.hbm_bandwidth_Bps * hbm,
            hbm_capacity_B=base.hbm_capacity_B * capacity,
            scaleup_bandwidth_per_dir_Bps=base.scaleup_bandwidth_per_dir_Bps * links,
            power_limit_W=base.power_limit_W * UNLIMITED,
        )
        for cores, hbm, capacity, links in PROBES
    ]


def orders(study: Study) -> tuple[str, ...]:
    """Orders of a block's operators that are tried."""
    return ORDERS if study.streams else ORDERS[:1]


def classes_of(study: Study, plans: list[list[Plan]]) -> list[list[np.ndarray]]:
    """For each combination of orders, searched by itself: whether each kept plan of each workload has that order."""
    combined = itertools.product(orders(study), repeat=len(plans))
    return [[np.asarray([p.order == o for p in kept]) for kept, o in zip(plans, c, strict=True)] for c in combined]


MAX_ROUNDS = 6
"""Rounds of pricing plans and solving chips; in practice two or three settle."""
FITS = 1e-6
"""Excess over the room in SRAM that is rounding: a solved chip has just enough."""
SAME = 1e-9
"""Changes of a goal below this are rounding [log units]."""
PRICED = 8
"""Chips at which one core prices all plans at once: one size, so that nothing compiles anew."""
Plans: TypeAlias = tuple[int, ...]
"""Plan of each workload, position in `space.plans`."""
T = TypeVar("T")


@compiled
def priced_s(core: ConvexCore, z: FloatLike, data: Data, demands: tuple[StepDemand, ...]) -> list[FloatLike]:
    """Throttled time per token of every plan of every workload on each design, shape (designs, plans) per workload.

    A plan that does not fit in memory or in SRAM, or misses the deadline, takes forever.
    """

    def seconds(z_: FloatLike, data_: Data, d: StepDemand, c: Calibration, deadline_s: FloatLike) -> FloatLike:
        x = named_numbers(core, z_)
        chip = with_free(data_.chip, {n: x[n] for n in core.free})
        allowed = cooled_times(core, d, chip, x, data_, c)
        # a solved chip has just the memory and the time of its own plan, which must not fail by rounding
        fits = d.memory_B <= data_.usable_frac * chip.hbm_capacity_B * (1 + 1e-9)
        fits &= ahead_frac(d, chip, data_.prefetch_frac) <= 1 + FITS
        taken = limited_s(d, chip, data_.tech, c, x["supply_V"], x["die_mm2"], power_cap_W(core, data_), allowed)
        # per token, since plans of a batch that is chosen make different numbers of them
        return jnp.where(fits & (taken <= deadline_s * (1 + 1e-9)), taken / d.tokens, jnp.inf)

    per_plan = jax.vmap(jax.vmap(seconds, in_axes=(None, None, 0, None, None)))
    each = zip(demands, data.calibrations, strict=True)
    # workload by workload: their tables have different numbers of plans
    return [per_plan(z, data, d, c, data.deadline_s[:, w]) for w, (d, c) in enumerate(each)]


@compiled
def priced_on_s(
    core: ConvexCore, z: FloatLike, data: Data, structures: Int[Array | np.ndarray, " n"], every: tuple[StepDemand, ...]
) -> list[FloatLike]:  # fmt: skip
    """`priced_s` with the demands of all structures, leading axes (structures, plans), and each design's position."""
    return priced_s(core, z, data, jax.tree.map(lambda x: x[structures], every))


def prepare_pricing(core: ConvexCore, data: Data, every: tuple[StepDemand, ...], n: int) -> None:
    """Make the program of `fastest_plans` for `n` coordinates and data of the form of `data`, of one design."""
    rows = jax.tree.map(lambda x: np.broadcast_to(x, (PRICED, *np.shape(x))), data)
    priced_on_s.prepare(core, np.zeros((PRICED, n)), rows, np.zeros(PRICED, dtype=int), every=every)


def fastest_plans(
    core: ConvexCore, z: np.ndarray, data: Data, structures: np.ndarray, every: tuple[StepDemand, ...],
    present: Sequence[Plans], among: Sequence[Sequence[np.ndarray]] = (),
) -> list[Plans]:  # fmt: skip
    """Fastest plan of every workload on each design, of those in `among` if given; the present one where none fits."""
    seconds = in_batches(partial(priced_on_s, core, every=every), (z, data, structures), PRICED)
    if among:
        seconds = [np.where([masks[w] for masks in among], s, np.inf) for w, s in enumerate(seconds)]
    return [
        tuple(int(np.argmin(s[i])) if np.isfinite(s[i]).any() else p[w] for w, s in enumerate(seconds))
        for i, p in enumerate(present)
    ]


def alternate(
    start: Sequence[Plans],
    solve: Callable[[list[int], list[Plans], dict[int, T]], list[T]],
    price: Callable[[list[int], list[T]], list[Plans]],
    goal: Callable[[T], float],
    deadline: Deadline | None = None,
) -> list[T]:
    """Best answer of every problem: solves and pricing of all plans in turn, until none sees a new plan."""
    plans, best, tried = list(start), {}, set()
    for _ in range(MAX_ROUNDS):
        active = [i for i, p in enumerate(plans) if (i, p) not in tried]
        if not active:
            break
        # never before the first solves: there must be an answer, however little the time
        if best and deadline is not None and deadline.over(f"plans of {len(active)} problems may not be the fastest"):
            break
        tried.update((i, plans[i]) for i in active)
        better = []  # where the best answer stays, so do the plans that are fastest there, which were tried
        for i, found in zip(active, solve(active, [plans[i] for i in active], best), strict=True):
            if i not in best or goal(found) < goal(best[i]) - SAME:
                best[i] = found
                better.append(i)
        for i, p in zip(better, price(better, [best[i] for i in better]) if better else (), strict=True):
            plans[i] = p
    return [best[i] for i in range(len(plans))]
