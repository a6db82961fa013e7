"""All reported numbers of a design as one traced function of its free numbers, as for a solved study."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..core.types import FloatLike, Vector
from ..evaluation.breakdown import PARTS
from ..evaluation.host import plan_steps_s
from ..hardware.chip import Chip, peak_FLOPps, pool_B
from ..lowering.step_demand import StepDemand
from ..optimize.blank import blank_mm2
from ..optimize.pricing import priced_s
from ..physics.calibration import Calibration
from ..physics.evaluate import Evaluation, Silicon, evaluate_demand, silicon
from ..physics.full_load import full_load_power_W
from ..physics.power import work_W
from ..physics.step import op_traffic_B
from ..study.convex import WORK, ConvexCore, Data, cools, coordinates, power_cap_W, ratio_rows, separate
from ..study.design import with_free
from ..study.metrics import HOTTEST, METRICS, OF_WORKLOADS, OWNED, Load, State, upkeep_of
from ..study.rows import AHEAD, MEMORY, Kind

LIMITS = ("compute_s", "tile_s", "hbm_s", "vector_s", "dma_s")
"""Limits of an operator, as `OpTimes` names them; starting it is one more."""
PRECISIONS = ("bf16", "fp8", "fp4")
"""Precisions whose peaks are drawn as roofs."""


class Work(eqx.Module):
    """One workload on the chip at hand."""

    step_s: FloatLike
    unthrottled_s: FloatLike
    """Step time without a limit on the mean power."""
    power_W: FloatLike
    hottest_W: FloatLike
    """Package power while the hottest operator runs."""
    tokens_per_s: FloatLike
    mfu_frac: FloatLike
    memory_B: FloatLike
    speedup_frac: FloatLike
    """Baseline's time per token over this chip's."""
    parts_s: FloatLike
    """Where the step goes, in the order of `PARTS`, then what the power limit adds."""
    energy_W: FloatLike
    """Mean power by block, in the order of `Energy`, then static; delivery losses left out."""
    op_run_s: FloatLike
    op_step_s: FloatLike
    op_traffic_B: FloatLike
    op_bound: Any
    """Which of `LIMITS` would take longest alone; one more where starting takes longer."""


class Reading(eqx.Module):
    """The chip at hand, under one plan per workload."""

    works: list[Work]
    """In the order of the study."""
    metrics: dict[str, Any]
    """Every metric that the study can name, as `METRICS` gives it."""
    limits: list[Any]
    """Value of each user limit; over workloads the one nearest to it."""
    ratios: list[Any]
    """What technology and memory must keep at most 1, in the order of `technology_rows`."""
    area_mm2: FloatLike
    """Silicon by block, in the order of `Area`, then die bought for its edge or as blank silicon."""
    cost_USD: FloatLike
    """Cost of the package by part, in the order of `Money`."""
    load_W: FloatLike
    """Full load in FP8 by part, in the order of `full_load_power_W`."""
    peak_FLOPps: FloatLike
    """Matrix peaks, in the order of `PRECISIONS`."""
    static_W: FloatLike
    blank_mm2: FloatLike
    """Silicon of a die that holds nothing: what was asked for, or what limits on watts by area, or on area, ask for."""


def named_metrics(core: ConvexCore, owned: bool, services: bool) -> tuple[str, ...]:
    """Metrics that a study can name: those of owners where it has one, the fleet's where models are in service."""
    skipped = () if owned else OWNED
    without = ("served_time",) if not services else ()
    needs = OF_WORKLOADS if not core.workloads else ()
    return tuple(n for n in METRICS if n not in (*skipped, *without, *needs))


def technology_rows(core: ConvexCore, built: bool = False) -> list[tuple[int, str]]:
    """Position and label of the convex core's rows of technology and memory; not the shoreline of a `built` chip."""
    kept = (MEMORY, AHEAD)
    shown = [(i, r) for i, r in enumerate(ratio_rows(core)) if r.kind is Kind.TECHNOLOGY or r.what in kept]
    return [(i, r.label) for i, r in shown if not (built and r.what == "shoreline")]


def chip_of(core: ConvexCore, x: Vector, data: Data, built: bool = False) -> Chip:
    """The chip with its free numbers at `x`, which throttles at the study's power limit.

    A design's die-to-die links grow with its memory, and its blank silicon as its limits ask; those `built` stay.
    """
    chip = with_free(data.chip, dict(zip(core.free, x, strict=True)))
    chip = dataclasses.replace(chip, power_limit_W=power_cap_W(core, data))
    if built:
        return dataclasses.replace(chip, die_to_die_bandwidth_Bps=data.chip.die_to_die_bandwidth_Bps)
    least = blank_mm2(core.limits, data.limits, chip, data.tech)
    return dataclasses.replace(chip, blank_mm2=jnp.maximum(data.chip.blank_mm2, least))


def reading(core: ConvexCore, names: tuple[str, ...], x: Vector, data: Data, built: bool = False) -> Reading:
    """Everything shown of a design, by the functions that `optimize` reports a solved one with; compiles once."""
    chip = chip_of(core, x, data, built)
    s = silicon(chip, data.tech)
    allowed = power_cap_W(core, data, HOTTEST) if cools(core) else None
    each = list(zip(data.demands, data.calibrations, strict=True))
    found = [evaluate_demand(d, chip, data.tech, c, allowed) for d, c in each]
    before = [data.baseline_s[i] * d.tokens / data.n_baseline_tokens[i] for i, d in enumerate(data.demands)]
    state = _state(core, chip, data, s, found, before)
    metrics = {n: METRICS[n](state) for n in names}
    ratios = separate(core, _coordinates(core, x, data, s, [e.step_s for e in found]), data)[1:]
    blocks = _stacked(s.area)
    # a die holds its blocks: less than nothing is rounding
    empty = jnp.maximum(chip.n_dies * s.die_mm2 - jnp.sum(blocks), 0.0)
    load = full_load_power_W(chip, data.tech, "fp8", s.area, s.die_mm2, s.supply_V)
    return Reading(
        works=[
            _work(d, chip, c, e, b, s.static_W) for (d, c), e, b in zip(each, found, before, strict=True)
        ],
        metrics=metrics,
        limits=[_nearest(METRICS[metric](state), sense) for metric, sense in core.limits],
        ratios=[ratios[i] for i, _ in technology_rows(core, built)],
        area_mm2=jnp.concatenate([blocks, empty[None]]),
        cost_USD=_stacked(s.money),
        load_W=jnp.stack([jnp.asarray(v) for v in load.values()]),
        peak_FLOPps=jnp.stack([jnp.asarray(peak_FLOPps(chip, p)) for p in PRECISIONS]),
        static_W=s.static_W,
        blank_mm2=jnp.asarray(chip.blank_mm2, dtype=float),
    )  # fmt: skip


def _state(
    core: ConvexCore, chip: Chip, data: Data, s: Silicon, found: list[Evaluation], before: list[FloatLike]
) -> State:
    loads = [
        Load(e.step_s, e.power_W, b, d.tokens / data.n_chips[i], data.traffic_frac[i], e.hottest_W)
        for i, (d, e, b) in enumerate(zip(data.demands, found, before, strict=True))
    ]
    upkeeps = upkeep_of(chip, data.tech, s.money, s.die_mm2, data.economy, data.jobs, loads)
    return State(chip, data.tech, s.area, s.money, s.die_mm2, s.supply_V, loads, upkeeps, core.shares)


def _work(d: StepDemand, chip: Chip, c: Calibration, e: Evaluation, before_s: FloatLike, still_W: FloatLike) -> Work:
    times = e.step.ops
    ends = jnp.stack([getattr(times, n) for n in LIMITS])
    launch = jnp.asarray(d.ops.n_launches) * c.launch_s
    parts = [jnp.asarray(getattr(e.step, p)) for p in PARTS]
    return Work(
        step_s=e.step_s,
        unthrottled_s=e.step.total_s,
        power_W=e.power_W,
        hottest_W=e.hottest_W,
        tokens_per_s=e.tokens_per_s,
        mfu_frac=e.mfu_frac,
        memory_B=e.memory_B,
        speedup_frac=before_s / e.step_s,
        parts_s=jnp.stack([*parts, e.step_s - e.step.total_s]),
        energy_W=jnp.concatenate([_stacked(e.energy) / e.step_s, jnp.asarray(still_W)[None]]),
        op_run_s=times.total_s,
        op_step_s=jnp.asarray(d.ops.runs) * d.n_micro * times.total_s,
        op_traffic_B=op_traffic_B(d.ops, pool_B(chip) * c.tile_memory_frac),
        op_bound=jnp.where(launch > jnp.max(ends, axis=0), float(len(LIMITS)), jnp.argmax(ends, axis=0).astype(float)),
    )


def _coordinates(
    core: ConvexCore, x: Vector, data: Data, s: Silicon, steps: Sequence[FloatLike]
) -> dict[str, FloatLike]:
    """All coordinates of the convex core at a chip: nothing bought beyond what it needs."""
    known: dict[str, FloatLike] = dict(zip(core.free, x, strict=True))
    known |= {"supply_V": s.supply_V, "die_mm2": s.die_mm2}
    if cools(core):
        known[WORK] = work_W(power_cap_W(core, data, HOTTEST), s.static_W, data.tech)
    return known | {f"step_s:{w}": t for w, t in zip(core.workloads, steps, strict=True)}


def _stacked(record: eqx.Module) -> FloatLike:
    return jnp.stack([jnp.asarray(v, dtype=float) for v in record.__dict__.values()])


def _nearest(value: Any, sense: str) -> FloatLike:
    """Of a metric with a value per workload, the one nearest to a limit."""
    if not isinstance(value, list):
        return value
    return jnp.max(jnp.stack(value)) if sense == "at_most" else jnp.min(jnp.stack(value))


def fastest_plans(
    core: ConvexCore, x: Vector, data: Data, demands: tuple[StepDemand, ...], built: bool = False
) -> list[FloatLike]:
    """Position of the fastest plan of every workload on a chip, -1 for none; of a `built` one as `evaluate` does."""
    chip = chip_of(core, x, data, built)
    if built:
        each = zip(demands, data.calibrations, strict=True)
        return [_first(plan_steps_s(d, chip, data.tech, c) / jnp.asarray(d.tokens)) for d, c in each]
    ones = [jnp.ones(()) for _ in core.workloads]  # no plan is known yet, and the price of one asks for no step time
    at = _coordinates(core, x, data, silicon(chip, data.tech), ones)
    z = jnp.log(jnp.stack([jnp.asarray(at[n], dtype=float) for n in coordinates(core)]))
    # pricing is batched over designs, and this is one
    one = partial(jax.tree.map, lambda leaf: jnp.asarray(leaf)[None])
    seconds = priced_s(core, z[None], one(data), one(demands))
    return [_first(jnp.asarray(s)[0]) for s in seconds]


def fastest_reading(
    core: ConvexCore, names: tuple[str, ...], x: Vector, data: Data, demands: tuple[StepDemand, ...], present: Any,
    built: bool = False,
) -> tuple[FloatLike, Reading]:  # fmt: skip
    """Fastest plan of every workload (-1 for none), and the reading under those, or `present`, plans: one program."""
    found = [jnp.asarray(i) for i in fastest_plans(core, x, data, demands, built)]
    # where none fits the present plan is read all the same: the page shows what it lacks
    used = [jnp.where(i < 0, p, i) for i, p in zip(found, present, strict=True)]
    chosen = tuple(jax.tree.map(lambda v, i=i: jnp.asarray(v)[i], d) for d, i in zip(demands, used, strict=True))
    plans = jnp.stack(found) if found else jnp.zeros(0, dtype=int)
    return plans, reading(core, names, x, dataclasses.replace(data, demands=chosen), built)


def _first(seconds: Any) -> Any:
    """Position of the least time, -1 where none is finite."""
    return jnp.where(jnp.any(jnp.isfinite(seconds)), jnp.argmin(seconds), -1)
