"""Smooth maximum: the p-norm, between the maximum and the sum; homogeneous and log-log convex."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .types import FloatLike

SMALLEST = 1e-30
"""Replaces zero before a logarithm; far below any time or number of bytes."""


LEAST_POWER = float(np.finfo(float).tiny)
"""Least sum of powers of which a root is taken, the smallest normal number: the slope of a root at zero is infinite."""


def p_norm_max(x: Float[Array, "... k"], p: float | Array) -> Float[Array, "..."]:
    """Smooth maximum of `x`, shape `(..., k)`, over its last axis: its p-norm, in the unit of `x`.

        (sum_i x_i^p)^(1/p),  max(x) <= result <= k^(1/p) max(x)
    `p >= 1`: 1 is the sum (no overlap), `p -> inf` the maximum (perfect overlap); powers of two are fastest. A JAX
    array as exponent is computed through logarithms, with a finite gradient at zero entries.
    Assumes: `x >= 0`. Where all is zero the gradient is 0 and the result below 1e-18 for p up to 16: an operator may
    have nothing to do.
    Valid for: p up to about 32 with times of microseconds, whose powers then still fit in float64.
    """
    if isinstance(p, jax.Array):
        # x^p with p unknown has a NaN slope at x = 0, from log 0 times 0
        return jnp.exp(jax.nn.logsumexp(p * jnp.log(jnp.maximum(x, SMALLEST)), axis=-1) / p)
    if p >= 1 and p == 2 ** round(math.log2(p)):
        n_squares = round(math.log2(p))  # a square is one multiplication, a power a logarithm and an exponential
        for _ in range(n_squares):
            x = jnp.square(x)
        total = jnp.maximum(jnp.sum(x, axis=-1), LEAST_POWER)
        for _ in range(n_squares):
            total = jnp.sqrt(total)
        return total
    return jnp.maximum(jnp.sum(x**p, axis=-1), LEAST_POWER) ** (1.0 / p)


def overlapped(work_s: FloatLike, other_s: FloatLike, overlap_frac: FloatLike | float, p: float | Array) -> FloatLike:
    """Time [s] of two streams of work, a and b, of which a share eta can overlap; `p` as in `p_norm_max`.

    t = (1 - eta) (a + b) + eta p_norm(a, b);  with b = 0 it is a exactly
    """
    both = p_norm_max(jnp.stack(jnp.broadcast_arrays(work_s, other_s), axis=-1), p)
    return (1.0 - overlap_frac) * (work_s + other_s) + overlap_frac * both
