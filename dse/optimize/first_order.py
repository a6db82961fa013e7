"""Adam with multiplier ascent for the same convex problems, an independent check of the interior-point solver.

Bounds by a sigmoid, limits by an augmented Lagrangian. Read more: [platt1987]; [nocedal2006] section 17.4;
[kingma2015adam].
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..core.types import Scalar, Vector
from .newton import Limits, Model

ROUNDS = 20
"""Multiplier updates."""
CURVATURE_START, CURVATURE_END = 10.0, 300.0
RATE_START, RATE_END = 0.1, 1e-4
EDGE = 1e-4
"""How far inside the unit box the start is kept: the sigmoid is flat outside."""


class FirstOrderResult(eqx.Module):
    """Where multiplier ascent ended."""

    z: Vector
    objective: Scalar
    violation: Scalar
    """Largest limit, or 0 if all are met."""
    multipliers: Limits


def solve_first_order(
    fun: Model, data: Any, lower: Vector, upper: Vector, start: Vector, *, steps: int = 4000
) -> FirstOrderResult:
    """A point of a box that minimises a function within limits, by gradients; it counts if its violation is small.

        min_y f + sum_j (max(lam_j + rho g_j, 0)^2 - lam_j^2) / (2 rho),  z = lower + (upper - lower) sigmoid(y)
        lam_j <- max(lam_j + rho g_j, 0)  after every round
    Source: [nocedal2006] algorithm 17.4 and eq. 17.65; [platt1987] for multiplier ascent; [kingma2015adam].
    Assumes: `fun` is finite in the box; multipliers are within a few times `CURVATURE_END`.
    """
    width = upper - lower
    share = jnp.clip((start - lower) / jnp.where(width > 0.0, width, 1.0), EDGE, 1.0 - EDGE)
    # equal rounds: multipliers move between them alone
    per_round = max(steps // ROUNDS, 1)
    adam = optax.scale_by_adam()

    def place(y: Array) -> Array:
        return jnp.asarray(lower + width * jax.nn.sigmoid(y))

    def lagrangian(y: Array, lam: Array, rho: Array) -> Array:
        f, g = fun(place(y), data)
        # its slope is continuous where a limit begins to count, at g = -lam / rho: Adam meets no kink
        return f + jnp.sum(jnp.maximum(lam + rho * g, 0.0) ** 2 - lam**2) / (2.0 * rho)

    def ascend(carry: tuple[Array, Array], schedule: tuple[Array, Array]):
        (y, lam), (rho, rate) = carry, schedule

        def descend(carry: tuple[Array, Any], decay: Array):
            y, memory = carry
            slope = jax.grad(lagrangian)(y, lam, rho)
            with jax.numpy_dtype_promotion("standard"):  # optax raises a float to its integer step count
                way, memory = adam.update(slope, memory)
            return (y - rate * decay * jnp.asarray(way), memory), None

        decays = jnp.asarray(optax.cosine_decay_schedule(1.0, per_round, 0.01)(jnp.arange(per_round, dtype=float)))
        (y, _), _ = jax.lax.scan(descend, (y, adam.init(y)), decays)
        _, g = fun(place(y), data)
        # with these multipliers the plain Lagrangian has the slope that the augmented one has here
        return (y, jnp.maximum(lam + rho * g, 0.0)), None

    # gentle first, so that multipliers find their size before limits get stiff; then small steps, where they are
    rhos = jnp.geomspace(CURVATURE_START, CURVATURE_END, ROUNDS)
    rates = jnp.geomspace(RATE_START, RATE_END, ROUNDS)
    y = jax.scipy.special.logit(share)
    _, g = fun(place(y), data)
    (y, lam), _ = jax.lax.scan(ascend, (y, jnp.zeros_like(g)), (rhos, rates))
    z = place(y)
    f, g = fun(z, data)
    return FirstOrderResult(z, f, jnp.max(jnp.maximum(g, 0.0), initial=0.0), lam)
