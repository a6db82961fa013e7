"""Lower bounds over a box from one gradient of a convex Lagrangian. Read more: [nocedal2006] section 12.9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.types import Scalar, Vector

Limits: TypeAlias = Float[Array | np.ndarray, " m"]
Model: TypeAlias = Callable[[Array, Any], tuple[Array, Array]]
"""`fun(z, data) -> (f, g)`: log objective (scalar) and log limits (m,), met when `g <= 0`."""


class DualBounds(eqx.Module):
    """What one gradient of the Lagrangian proves about the whole box."""

    objective: Scalar
    """No point that meets the limits has a lower objective."""
    violation: Scalar
    """No point has a smaller largest limit; positive proves that the limits cannot all be met."""
    slope: Vector
    """Gradient of the Lagrangian at the point, per unit of `z`."""


def slope_of(
    fun: Callable[[Array], tuple[Array, Array]], z: Array, counts: Array, lam: Array
) -> tuple[tuple[Array, Array], Array]:
    """Objective and limits at z, and the gradient of `counts` times the objective plus `lam . limits`."""
    (f, g), pull = jax.vjp(fun, z)
    (slope,) = pull((counts * jnp.ones_like(f), lam))
    return (f, g), slope


def bounds_from(
    f: Array, g: Array, slope_f: Array, slope_g: Array, lam: Array, to_lower: Array, to_upper: Array
) -> DualBounds:
    """Weak-duality bounds from values and slopes at any point, valid for any multipliers, sharp at an optimum.

        L(z) = f(z) + lam . g(z),  d(h) = h(z) + sum_i min(h'_i (lower_i - z_i), h'_i (upper_i - z_i))
        min f >= d(L),  min max_j g_j >= d(lam . g) / sum(lam)
    `to_lower` and `to_upper` are the ways to the corners of the box, `slope_g` the gradient of `lam . g`.
    Source: [nocedal2006] section 12.9; [boyd2007tutorial] for log-log models. Assumes: f, g are convex on the box.
    """

    def lowest(slope: Array) -> Array:
        return jnp.sum(jnp.minimum(slope * to_lower, slope * to_upper))

    objective = f + lam @ g + lowest(slope_f + slope_g)
    violation = (lam @ g + lowest(slope_g)) / jnp.maximum(jnp.sum(lam), jnp.finfo(float).tiny)
    return DualBounds(objective, violation, slope_f + slope_g)
