"""Infeasibility as an answer: the cheapest way to loosen the limits until a design exists.

The sum of the loosenings is minimised, in log units, so few limits move and each number is a factor. The result is a
convex problem of the same kind, solved by the same core. Read more: [nocedal2006] section 17.2 (elastic mode).
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core.types import Scalar, Vector
from .batch import in_batches
from .interior import DEFAULTS, Limits, Model, Settings, solve_convex

LARGEST_FACTOR = 1e4
"""No limit is loosened by more than this factor."""

SMALLEST_PRICE = 1e-6
"""Multiplier below which a limit does not take part in a conflict."""

SIDE_BY_SIDE = 16
"""Relaxations solved at once."""


class Loosened(eqx.Module):
    """The cheapest loosening."""

    loosening: Limits
    """Log factor by which each limit must be loosened; 0 where it may stay."""

    total: Scalar
    """Sum of the loosenings."""

    lower_bound: Scalar
    """No loosening has a smaller sum; positive proves that the limits as given cannot all be met."""

    z: Vector
    """A design that meets the loosened limits."""

    conflicts: Bool[Array | np.ndarray, " m"]
    """Limits that stand in each other's way: those with a positive multiplier."""

    multipliers: Limits
    """Multiplier of each limit: how fast the total falls when that limit alone is loosened, at most 1."""

    converged: Bool[Array | np.ndarray, ""]
    """Whether this is the cheapest; False if the limits that may not be relaxed conflict by themselves."""


def cheapest_relaxation(
    fun: Model,
    data: Any,
    lower: Vector,
    upper: Vector,
    start: Vector,
    may_relax: Bool[Array | np.ndarray, " m"],
    *,
    settings: Settings = DEFAULTS,
) -> Loosened:
    """The least total loosening of limits that makes a convex problem feasible.

        min sum_i u_i  subject to  g_i(z) <= u_i (relaxable i),  g_i(z) <= 0 (the rest),  lower <= z <= upper

    with u_i between 0 and log 1e4. A sum of absolute values is sparse: limits that need not move do not.

    Source: [nocedal2006] eq. 17.26 to 17.28, [boyd2007tutorial] section 7 (feasibility analysis).
    Assumes: g is smooth and convex on the box.

    Args:
        fun: returns log objective and log limits at `(z, data)`; the objective is not used.
        data: whatever `fun` reads.
        lower: lower bounds of z.
        upper: upper bounds of z.
        start: where to begin.
        may_relax: True for limits that may be loosened (budgets), False for laws.
        settings: tolerances and barrier schedule.

    Returns:
        Loosening per limit [log factor], its total and the conflicting limits.
    """
    n, m = start.shape[0], may_relax.shape[0]
    relaxable = jnp.asarray(may_relax).astype(float)

    def elastic(point: Array, data: Any) -> tuple[Array, Array]:
        z, u = point[:n], point[n:]
        _, g = fun(z, data)
        return jnp.sum(u), g - relaxable * u

    widest = jnp.full((m,), math.log(LARGEST_FACTOR))
    bounds = jnp.concatenate([lower, jnp.zeros(m)]), jnp.concatenate([upper, widest])
    o = solve_convex(elastic, data, *bounds, jnp.concatenate([start, 0.1 * widest]), settings=settings)
    loosening = relaxable * o.z[n:]
    conflicts = o.multipliers > SMALLEST_PRICE
    return Loosened(loosening, o.objective, o.lower_bound, o.z[:n], conflicts, o.multipliers, o.converged)


def cheapest_relaxations(
    fun: Model,
    data: Any,
    lower: Float[np.ndarray, "b n"],
    upper: Float[np.ndarray, "b n"],
    may_relax: Bool[Array | np.ndarray, " m"],
) -> Loosened:
    """The cheapest loosening of many problems of one model (leading axis), as host arrays.

    Args:
        fun: the model; one that compares equal compiles once.
        data: its data, batched.
        lower: lower bounds of each problem.
        upper: upper bounds of each problem.
        may_relax: as in `cheapest_relaxation`, shared.
    """
    return in_batches(lambda d, low, high: _relax(fun, d, low, high, may_relax), (data, lower, upper), SIDE_BY_SIDE)


@eqx.filter_jit
def _relax(fun: Model, data: Any, lower: Array, upper: Array, may_relax: Array | np.ndarray) -> Loosened:
    one = lambda d, low, high: cheapest_relaxation(fun, d, low, high, (low + high) / 2, may_relax)  # noqa: E731
    return jax.vmap(one)(data, lower, upper)


def least_violations(
    fun: Model, data: Any, lower: Float[np.ndarray, "b n"], upper: Float[np.ndarray, "b n"]
) -> np.ndarray:
    """No point of each box breaks its limits by less than this in all [log units]; positive proves infeasibility."""
    m = jax.eval_shape(fun, lower[0], jax.tree.map(lambda x: x[0], data))[1].shape[0]
    return np.asarray(cheapest_relaxations(fun, data, lower, upper, np.ones(m, dtype=bool)).lower_bound)
