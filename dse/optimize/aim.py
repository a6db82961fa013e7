"""An aim of a solve: a straight line in place of the model's objective, which becomes a limit; one program for both."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool


class Aim(eqx.Module):
    """What is minimised, `direction . z`, and how large the model's objective may be; axes of a batch in front."""

    direction: Array | np.ndarray
    """Shape (..., n); all 0 where the model's own objective is asked for."""
    most: Array | np.ndarray
    """Largest objective of the model, shape (...); infinite in that case."""

    @property
    def is_own(self) -> Bool[Array, "..."]:
        """Whether the model's own objective is asked for."""
        return jnp.isinf(self.most)


def no_aim(n_batch: int, n: int) -> Aim:
    """Of problems with `n` coordinates whose model's own objective is asked for, leading axis over them."""
    return Aim(np.zeros((n_batch, n)), np.full(n_batch, np.inf))


def slope_of(
    fun: Callable[[Array], tuple[Array, Array]], z: Array, counts: Array, lam: Array
) -> tuple[tuple[Array, Array], Array]:
    """Objective and limits at z, and the gradient of `counts` times the objective plus `lam . limits`."""
    # one reverse pass for any number of limits: their gradients are wanted as this sum only
    (f, g), pull = jax.vjp(fun, z)
    (slope,) = pull((counts * jnp.ones_like(f), lam))
    return (f, g), slope


def aimed_slope_of(
    aim: Aim | None, fun: Callable[[Array], tuple[Array, Array]], z: Array, counts: Array, lam: Array
) -> tuple[tuple[Array, Array], Array]:
    """As `slope_of`, with the model's objective as last limit, which has room where that objective is asked for."""
    if aim is None:
        return slope_of(fun, z, counts, lam)
    (f, g), slope = slope_of(fun, z, jnp.where(aim.is_own, counts, lam[-1]), lam[:-1])
    g = jnp.append(g, jnp.where(aim.is_own, -1.0, f - aim.most))
    return (jnp.where(aim.is_own, f, aim.direction @ z), g), slope + aim.direction


def proving(aim: Aim | None, lam: Array) -> Array:
    """Multipliers for a bound, from which a limit that stands for none must take nothing."""
    return lam if aim is None else lam.at[-1].set(jnp.where(aim.is_own, 0.0, lam[-1]))
