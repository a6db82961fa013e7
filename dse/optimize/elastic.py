"""The least relaxation of limits that makes a convex problem feasible, and what that proves.

It minimises the sum of relaxations in log units (an l1 norm), so that few limits move. Read more: [nocedal2006] 17.2.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core.types import Scalar, Vector
from .batch import solve_batch
from .interior import Limits, Model, Optimum


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
    multipliers: Limits
    """Multiplier of each limit: how fast the total falls when that limit alone is loosened, at most 1; 0 for limits
    that stand in no other's way."""
    converged: Bool[Array | np.ndarray, ""]
    """Whether this is the cheapest; False if the limits that may not be relaxed conflict by themselves."""


def _loosened(o: Optimum, may_relax: Bool[Array | np.ndarray, " m"]) -> Loosened:
    """Relaxation from an optimum with limits that may be exceeded."""
    # what the point itself exceeds, and not the solver's own excess variables, which are as good as its tolerance
    loosening = jnp.where(may_relax, jnp.maximum(o.limits, 0.0), 0.0)
    return Loosened(loosening, jnp.sum(loosening), o.lower_bound, o.z, o.multipliers, o.converged)


def cheapest_relaxations(
    fun: Model,
    data: Any,
    lower: Float[np.ndarray, "b n"],
    upper: Float[np.ndarray, "b n"],
    may_relax: Bool[Array | np.ndarray, " m"],
    size: int,
) -> Loosened:
    """The least total loosening that makes each of many problems of one model (leading axis) feasible, as host arrays.

        min sum_i u_i  subject to  g_i(z) <= u_i (relaxable i),  g_i(z) <= 0 (the rest),  lower <= z <= upper
    with no u_i negative; `may_relax` is True for budgets, False for laws. Limits that need not move do not.
    Source: [nocedal2006] eq. 17.26 to 17.28, [boyd2007tutorial] section 7 (feasibility analysis).
    Assumes: g is smooth and convex on the box.
    """
    o = solve_batch(fun, data, lower, upper, (lower + upper) / 2, loose=may_relax, size=size)
    return jax.device_get(jax.vmap(lambda one: _loosened(one, may_relax))(o))


def least_violations(
    fun: Model, data: Any, lower: Float[np.ndarray, "b n"], upper: Float[np.ndarray, "b n"], n_limits: int, size: int
) -> np.ndarray:
    """Lower bound on the total violation over each box [log units]; more than `ROUNDING` proves infeasibility."""
    # laws too: the question is whether anything fits at all, not what may give way
    every = np.ones(n_limits, dtype=bool)
    return np.asarray(cheapest_relaxations(fun, data, lower, upper, every, size).lower_bound)
