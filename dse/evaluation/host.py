"""One program for every workload, calibration and chip of a kind: names blanked, operators and plans filled up."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core.program import compiled, is_traced
from ..core.types import FloatLike, unnamed
from ..hardware.chip import Chip
from ..lowering.headroom import prefetch_frac
from ..lowering.step_demand import StepDemand
from ..physics.calibration import Calibration, as_argument
from ..physics.evaluate import Evaluation, evaluate_demand, fits_memory
from ..physics.residency import ahead_frac
from ..technology.presets import Technology

OPERATORS = 32
"""Operators come in multiples of this: a rank runs ten to thirty."""
PLANS = 512
"""Plans evaluated side by side."""


def evaluated(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, cooled_W: FloatLike | None = None
) -> Evaluation:
    """`evaluate_demand` of one demand, as host arrays; inside a gradient or another program, traced into it."""
    if is_traced((d, chip, tech, c, cooled_W)):
        return _evaluated(d, chip, tech, c, cooled_W)
    limit = np.asarray(np.inf if cooled_W is None else cooled_W)
    found = jax.device_get(_evaluated(*_plain(d, chip, tech, c), limit))
    n = np.shape(d.ops.runs)[-1]
    return eqx.tree_at(lambda e: e.step.ops, found, jax.tree.map(lambda x: x[:n], found.step.ops))


_evaluated = compiled(evaluate_demand)


def prepare_evaluated(d: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> None:
    """Make the program of `evaluated` for demands, chips and calibrations like these."""
    _evaluated.prepare(*_plain(d, chip, tech, c), np.asarray(np.inf))


def plan_steps_s(demands: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> FloatLike:
    """Throttled step time of every demand (leading axis) on one chip, inf where it does not fit in memory or SRAM."""
    if is_traced((demands, chip, tech, c)):
        return _plan_steps_s(demands, chip, tech, c)
    every, *rest = _plain(demands, chip, tech, c)
    n = len(every.tokens)
    rows = [np.minimum(np.arange(first, first + PLANS), n - 1) for first in range(0, n, PLANS)]
    found = [_plan_steps_s(jax.tree.map(lambda x, i=i: x[i], every), *rest) for i in rows]
    return np.concatenate([np.asarray(s) for s in found])[:n]


@compiled
def _plan_steps_s(demands: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> FloatLike:
    def one(d: StepDemand) -> FloatLike:
        fits = fits_memory(d, chip) & (ahead_frac(d, chip, jnp.asarray(prefetch_frac())) <= 1.0)
        return jnp.where(fits, evaluate_demand(d, chip, tech, c).step_s, jnp.inf)

    return jax.vmap(one)(demands)


def _plain(d: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> tuple[Any, ...]:
    """Arguments in the one form that is compiled: host arrays, without names, operators filled up."""
    return jax.tree.map(np.asarray, (_filled(d), *unnamed((chip, tech)), as_argument(c)))


def _filled(d: StepDemand) -> StepDemand:
    """`d` with its last operator repeated, and never run, up to a multiple of `OPERATORS`: every sum stays as it is."""
    n = np.shape(d.ops.runs)[-1]
    places = np.minimum(np.arange(-(-n // OPERATORS) * OPERATORS), n - 1)
    ops = jax.tree.map(lambda x: np.asarray(x)[..., places], eqx.tree_at(lambda o: o.macs, d.ops, np.zeros(n)))
    runs = np.where(np.arange(len(places)) < n, ops.runs, 0.0)
    macs = np.asarray(d.ops.macs)[..., places, :]
    return eqx.tree_at(lambda x: x.ops, d, eqx.tree_at(lambda o: (o.runs, o.macs), ops, (runs, macs)))
