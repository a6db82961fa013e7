"""Newton's step on the barrier of a convex problem in a unit box, and lower bounds from one gradient of a Lagrangian.

Read more: [nocedal2006] section 12.9 for bounds, chapter 19 for the barrier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core.types import Scalar, Vector
from .aim import Aim, aimed_slope_of

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


def bounds_from(
    f: Array, g: Array, slope_f: Array, slope_g: Array, lam: Array, to_lower: Array, to_upper: Array
) -> DualBounds:
    """Weak-duality bounds from values and slopes at any point, valid for any multipliers, sharp at an optimum.

        L(z) = f(z) + lam . g(z),  d(h) = h(z) + sum_i min(h'_i (lower_i - z_i), h'_i (upper_i - z_i))
        min f >= d(L),  min max_j g_j >= d(lam . g) / sum(lam)
    `to_lower` and `to_upper` are the ways to the corners of the box, `slope_g` the gradient of `lam . g`.
    Source: [nocedal2006] section 12.9; [boyd2007tutorial] for log-log models. Assumes: f, g are convex on the box.
    """

    # a convex function lies above its tangent plane, and a plane over a box is least at one of its corners
    def lowest(slope: Array) -> Array:
        return jnp.sum(jnp.minimum(slope * to_lower, slope * to_upper))

    objective = f + lam @ g + lowest(slope_f + slope_g)
    # sum_j lam_j g_j is at most sum(lam) times the largest g_j, for any lam of at least 0
    violation = (lam @ g + lowest(slope_g)) / jnp.maximum(jnp.sum(lam), jnp.finfo(float).tiny)
    return DualBounds(objective, violation, slope_f + slope_g)


ROUNDING = 1e-12
"""Excess over a limit that is rounding of logs [log units]: exp(log 8) is not 8. Less of it proves nothing either."""
NUDGE = 1e-6
"""Difference, as a share of the box, by which exact gradients become curvature, to about 1e-6."""


class Settings(eqx.Module):
    """How far and how fast the barrier falls; the defaults suit log-log convex models in float64."""

    max_iterations: int = eqx.field(static=True, default=80)
    barrier_start: float = 1.0
    """Barrier weight mu of the first iteration [log objective]."""
    barrier_end: float = 1e-9
    """Barrier weight at which the solve ends; the gap is about `(m + 2 n)` times this."""
    centring: float = 3.0
    """Residual, in multiples of mu, below which the barrier falls; small is slower and more robust."""
    tolerance: float = 1e-7
    """Largest entry of the KKT residual at the end."""
    gap_tolerance: float = 1e-6
    """Largest `objective - lower_bound` that counts as converged."""
    penalty: Limits | float = 1e4
    """Price of exceeding a limit by one log unit, one for all or of each; dearer limits count as infeasible."""
    margin: float = 1e-10
    """The solver aims at `g <= -margin`, so that the answer is strictly inside its limits."""


DEFAULTS = Settings()


class Problem(eqx.Module):
    """One convex problem: a model, its data and a box (a variable with equal bounds is fixed)."""

    fun: Model
    data: Any
    lower: Vector
    upper: Vector
    loose: Bool[Array, " m"]
    """Limits that may be exceeded; if there are any, the goal does not count."""
    too_much: Scalar | float = np.inf
    """Objective from which on no more than the proof that there is none below is wanted."""
    aim: Aim | None = None
    """Where given there is one limit more; it has room and proves nothing where the model's objective is asked for."""

    @property
    def relaxes(self) -> Bool[Array, ""]:
        """Whether the least excess is asked for instead of the goal."""
        return jnp.any(self.loose)

    @property
    def width(self) -> Array:
        """Width of the box along each coordinate."""
        return jnp.asarray(self.upper - self.lower)

    def place(self, unit: Array) -> Array:
        """The point of the box at `unit` coordinates, each 0 to 1."""
        return jnp.asarray(self.lower + self.width * unit)


class Iterate(eqx.Module):
    """Unit-box point, slack and excess of each limit, multipliers of limits and bounds, barrier weight."""

    unit: Array
    slack: Array
    excess: Array
    lam: Array
    low: Array
    high: Array
    mu: Array


class Local(eqx.Module):
    """Values and derivatives of the model at a point; gradients are exact and per unit of `z`."""

    f: Array
    g: Array
    slope_f: Array
    slope_g: Array
    jac: Array
    """Limits' Jacobian in unit coordinates, by differences."""
    hess: Array
    """Hessian of `f + lam . g` in unit coordinates, by differences of gradients."""


def local(problem: Problem, unit: Array, lam: Array) -> Local:
    """Value, slopes, limits' Jacobian and Lagrangian Hessian: the only place where a solve evaluates the model."""
    z, width = problem.place(unit), problem.width
    fun, counts = lambda x: problem.fun(x, problem.data), jnp.where(problem.relaxes, 0.0, 1.0)
    # one slope per evaluation: of the goal alone, then of the whole Lagrangian, there and around. Curvature only
    # steers the steps, so that differences do; bounds take the exact gradients.
    steps = jnp.concatenate([jnp.zeros((2, unit.shape[0])), NUDGE * jnp.diag(width)])
    is_whole = jnp.arange(len(steps)) > 0

    def one(step: Array, whole: Array) -> tuple[Array, Array, Array, Array]:
        (f, g), slope = aimed_slope_of(problem.aim, fun, z + step, counts, jnp.where(whole, lam, 0.0))
        return jnp.where(problem.relaxes, 0.0, f), g, slope, width * slope

    f, g, slope, per_unit = jax.vmap(one)(steps, is_whole)
    hess, jac = ((x[2:] - x[1:2]) / NUDGE for x in (per_unit, g))
    return Local(f[0], g[0], slope[0], slope[1] - slope[0], jac.T, 0.5 * (hess + hess.T))


def _solve_positive(matrix: Array, rhs: Array) -> Array:
    """`matrix^-1 rhs` by Cholesky; an indefinite matrix is first shifted by its Gershgorin radii."""
    # entries span some 20 decades when the barrier is low: with ones on the diagonal, pivots keep their digits
    scale = jax.lax.rsqrt(jnp.maximum(jnp.abs(jnp.diagonal(matrix)), 1e-30))
    scaled = matrix * scale[:, None] * scale[None, :] + 1e-13 * jnp.eye(rhs.shape[0])
    # of a matrix that is not positive definite JAX makes NaN, and no error
    indefinite = jnp.isnan(jnp.linalg.cholesky(scaled)[-1, -1])
    shift = jnp.where(indefinite, 0.1 + jnp.sum(jnp.abs(scaled), axis=1), 0.0)
    factor = jnp.linalg.cholesky(scaled + jnp.diag(shift))
    return scale * jax.scipy.linalg.cho_solve((factor, True), scale * rhs)


def direction(state: Iterate, at: Local, width: Array, settings: Settings) -> Iterate:
    """Newton direction of the barrier problem, everything but the point eliminated.

        g - u + s = 0,  s lam = mu,  u (nu - lam) = mu
        (H + low/t + high/(1-t) + J' D J) dt = -(f' + J' lam + J' D c - mu/t + mu/(1-t))
        D = 1 / (s/lam + u/(nu - lam)),  c = g + mu/lam - mu/(nu - lam)
    with s the slack, u the excess charged at `settings.penalty` nu, t the unit point.
    Source: [nocedal2006] eq. 19.12 to 19.16, with the elastic variables of eq. 17.26.
    """
    t, s, u, lam, mu = state.unit, state.slack, state.excess, state.lam, state.mu
    spare = settings.penalty - lam  # what an excess costs beyond the multiplier: its own multiplier
    # a limit far from binding (s / lam large) hardly stiffens the system, and one that gives way ever less
    stiffness = 1.0 / (s / lam + u / spare)
    aim = at.g + settings.margin + mu / lam - mu / spare
    matrix = at.hess + at.jac.T @ (stiffness[:, None] * at.jac) + jnp.diag(state.low / t + state.high / (1.0 - t))
    slope = width * (at.slope_f + at.slope_g) + at.jac.T @ (stiffness * aim) - mu / t + mu / (1.0 - t)
    unit = -_solve_positive(matrix, slope)
    dlam = stiffness * (at.jac @ unit + aim)
    slack = mu / lam - s - s / lam * dlam
    excess = mu / spare - u + u / spare * dlam
    low = mu / t - state.low - state.low / t * unit
    high = mu / (1.0 - t) - state.high + state.high / (1.0 - t) * unit
    return Iterate(unit, slack, excess, dlam, low, high, mu)


def longest(pairs: list[tuple[Array, Array]], fraction: Array) -> Array:
    """Longest step, at most 1, that keeps a `fraction` of the distance of every positive number to zero."""
    limits = [jnp.where(d < 0.0, -fraction * x / jnp.where(d < 0.0, d, -1.0), 1.0) for x, d in pairs]
    return jnp.minimum(1.0, jnp.min(jnp.concatenate(limits)))


def merit(at: Local, state: Iterate, rho: Array, settings: Settings) -> Array:
    """What a step must reduce: barrier, excess at its price, and missed limits at `rho`, above all multipliers.

        phi = f + nu sum u - mu sum log (s u t (1 - t)) + rho |g - u + s|_1
    Source: [nocedal2006] eq. 19.26.
    """
    t, s, u = state.unit, state.slack, state.excess
    barrier = jnp.sum(jnp.log(s) + jnp.log(u)) + jnp.sum(jnp.log(t) + jnp.log1p(-t))
    return at.f + jnp.sum(settings.penalty * u) - state.mu * barrier + rho * _missed(at.g, state, settings)


def merit_slope(at: Local, state: Iterate, way: Iterate, width: Array, rho: Array, settings: Settings) -> Array:
    """How fast `merit` falls along a direction; never positive. Source: [nocedal2006] eq. 19.28 and 19.29."""
    t, s, u, mu = state.unit, state.slack, state.excess, state.mu
    slope = (width * at.slope_f - mu / t + mu / (1.0 - t)) @ way.unit
    slope = slope + (settings.penalty - mu / u) @ way.excess - (mu / s) @ way.slack
    # a full step meets the linearised limits, so that the missed part falls at its own size
    return jnp.minimum(slope - rho * _missed(at.g, state, settings), 0.0)


def _missed(g: Array, state: Iterate, settings: Settings) -> Array:
    return jnp.sum(jnp.abs(g + settings.margin + state.slack - state.excess))


def residuals(state: Iterate, g: Array, slope: Array, settings: Settings) -> tuple[Array, Array]:
    """Largest residual in unit coordinates (infinite if the model is not finite), and complementarity products."""
    dual = slope - state.low + state.high
    primal = g + settings.margin + state.slack - state.excess
    spare = settings.penalty - state.lam
    products = [state.slack * state.lam, state.excess * spare, state.unit * state.low, (1.0 - state.unit) * state.high]
    error = jnp.max(jnp.abs(jnp.concatenate([dual, primal])))
    return jnp.where(jnp.isfinite(jnp.sum(primal) + jnp.sum(dual)), error, jnp.inf), jnp.concatenate(products)
