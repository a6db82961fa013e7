"""Compiled evaluation shared by all workloads and chips: static names removed, operators and plans padded."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core.program import compiled, is_traced
from ..core.types import FloatLike, unnamed
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..physics.calibration import Calibration, as_argument
from ..physics.evaluate import Evaluation, evaluate_demand, fits_memory
from ..technology.presets import Technology

OPERATORS = 32
"""Operators are padded to a multiple of this: a rank runs ten to thirty."""
PLANS = 512
"""Plans evaluated in one `vmap`."""


def evaluated(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, cooled_W: FloatLike | None = None
) -> Evaluation:
    """`evaluate_demand` of one demand, as NumPy arrays; when called under a JAX transformation, it is traced."""
    if is_traced((d, chip, tech, c, cooled_W)):
        return _evaluated(d, chip, tech, c, cooled_W)
    # no cooling is a limit of infinite power, whose shortest times are 0: one program serves both
    limit = np.asarray(np.inf if cooled_W is None else cooled_W)
    found = jax.device_get(_evaluated(*_plain(d, chip, tech, c), limit))
    n = np.shape(d.ops.runs)[-1]
    return eqx.tree_at(lambda e: e.step.ops, found, jax.tree.map(lambda x: x[:n], found.step.ops))


_evaluated = compiled(evaluate_demand)


def prepare_evaluated(d: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> None:
    """Compile the program of `evaluated` ahead, for arguments of these shapes."""
    _evaluated.prepare(*_plain(d, chip, tech, c), np.asarray(np.inf))


def plan_steps_s(demands: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> FloatLike:
    """Throttled step time [s] of each demand (leading axis) on one chip; inf if it exceeds HBM or prefetch SRAM."""
    if is_traced((demands, chip, tech, c)):
        return _plan_steps_s(demands, chip, tech, c)
    # in batches of one size: a program per number of plans would be compiled for every study
    every, *rest = _plain(demands, chip, tech, c)
    n = len(every.tokens)
    # the last batch repeats its last plan: one shape is one program
    rows = [np.minimum(np.arange(first, first + PLANS), n - 1) for first in range(0, n, PLANS)]
    found = [_plan_steps_s(jax.tree.map(lambda x, i=i: x[i], every), *rest) for i in rows]
    return np.concatenate([np.asarray(s) for s in found])[:n]


@compiled
def _plan_steps_s(demands: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> FloatLike:
    def one(d: StepDemand) -> FloatLike:
        return jnp.where(fits_memory(d, chip), evaluate_demand(d, chip, tech, c).step_s, jnp.inf)

    return jax.vmap(one)(demands)


def _plain(d: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> tuple[Any, ...]:
    """Arguments in the one form that is compiled: NumPy arrays, without static names, operators padded."""
    return jax.tree.map(np.asarray, (_filled(d), *unnamed((chip, tech)), as_argument(c)))


def _filled(d: StepDemand) -> StepDemand:
    """`d` padded to a multiple of `OPERATORS` with copies of its last operator that run zero times; sums stay equal."""
    n = np.shape(d.ops.runs)[-1]
    # copies of an operator, not zeros: 0/0 of an operator without time would be NaN, at zero runs too
    places = np.minimum(np.arange(-(-n // OPERATORS) * OPERATORS), n - 1)
    ops = jax.tree.map(lambda x: np.asarray(x)[..., places], eqx.tree_at(lambda o: o.macs, d.ops, np.zeros(n)))
    runs = np.where(np.arange(len(places)) < n, ops.runs, 0.0)
    macs = np.asarray(d.ops.macs)[..., places, :]
    return eqx.tree_at(lambda x: x.ops, d, eqx.tree_at(lambda o: (o.runs, o.macs), ops, (runs, macs)))
