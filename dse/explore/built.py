"""A chip from its free numbers alone: the lowest supply voltage, die area and step times that the limits allow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.types import FloatLike
from ..hardware.chip import Chip
from ..optimize.blank import spread_mm2
from ..physics.area import block_areas
from ..physics.evaluate import limited_s
from ..physics.pipeline import cycle_ratio
from ..physics.power import static_W, voltage_limit, work_W
from ..study.convex import WORK, ConvexCore, Data, cooled_times, cools, power_cap_W, separate
from ..study.design import with_free
from ..study.metrics import HOTTEST, chip_state

ROUNDS = 60
"""Rounds of the fixed point of the supply; each shrinks the error by more than the exponent of the V-f law."""
ROOM = 1e-9
"""Excess of a ratio over 1 that is rounding."""


def least_supply_V(chip: Chip, data: Data) -> FloatLike:
    """Lowest supply at which the pipeline reaches the chip's clock; at least the node's minimum."""
    node, clock_Hz = data.tech.node, chip.clock_Hz * cycle_ratio(chip.pipeline_depth)

    # a fixed number of rounds, for reverse derivatives and batches: a loop with a test has neither
    def better(_: FloatLike, v: Array) -> Array:
        return jnp.asarray(v * voltage_limit(clock_Hz, v, chip.nominal_clock_Hz, node, data.overdrive_V))

    # a supply that is too low has a ratio above 1 and grows, one that is too high falls
    settled = jax.lax.fori_loop(0, ROUNDS, better, jnp.asarray(node.nominal_V, dtype=float))
    return jnp.maximum(settled * (1.0 + ROOM), node.minimum_V)


def least_die_mm2(core: ConvexCore, chip: Chip, supply_V: FloatLike, data: Data) -> FloatLike:
    """Smallest die that holds its blocks, whose edge holds its interfaces, and on which its full load may spread."""
    s = chip_state(chip, data.tech)
    # a hair more than its blocks, or rounding would call a die that fits too small
    least = dataclasses.replace(s, die_mm2=jnp.asarray(s.die_mm2) * (1.0 + ROOM), supply_V=supply_V)
    return spread_mm2(core.limits, data.limits, least)


def as_built(core: ConvexCore, free: Mapping[str, FloatLike], data: Data) -> dict[str, FloatLike]:
    """All coordinates of the convex core for a chip with the free numbers `free`: least supply, die and step times.

        t = max(T, E / (P_max / (1 + loss) - P_static))
    with P_max the study's power limit, if any; infinite if static power exceeds it.
    """
    chip = with_free(data.chip, {n: free[n] for n in core.free})
    # in this order: supply follows from the clock alone, the die from watts at that supply, times from both
    volt = least_supply_V(chip, data)
    die = least_die_mm2(core, chip, volt, data)
    x = {**{n: free[n] for n in core.free}, "supply_V": volt, "die_mm2": die}
    if cools(core):
        static = static_W(chip, data.tech, block_areas(chip, data.tech), volt)
        x[WORK] = work_W(power_cap_W(core, data, HOTTEST), static, data.tech)
    for name, d, c in zip(core.workloads, data.demands, data.calibrations, strict=True):
        allowed = cooled_times(core, d, chip, x, data, c)
        x[f"step_s:{name}"] = limited_s(d, chip, data.tech, c, volt, die, power_cap_W(core, data), allowed)
    return x


def outcome(core: ConvexCore, free: Mapping[str, FloatLike], data: Data) -> tuple[FloatLike, FloatLike]:
    """Goal of a chip as built [its unit] and its largest ratio over 1: a limit, a law, or the node's highest supply.

    `data` are coefficients of one choice under one plan per workload; the chip works if the excess is at most 0.
    """
    x = as_built(core, free, data)
    goal, *ratios = separate(core, x, data)
    # in the convex program the box keeps the supply below its highest; here nothing else does
    worst = jnp.maximum(jnp.max(jnp.stack(ratios)), x["supply_V"] / data.tech.node.maximum_V)
    return goal, jnp.where(jnp.isfinite(goal), worst - 1.0 - 10.0 * ROOM, jnp.inf)
