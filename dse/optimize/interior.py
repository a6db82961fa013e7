"""Smooth convex problems in a box, solved by a primal-dual interior point that `jax.vmap` can batch.

All shapes are fixed and every branch is a `where`, so a thousand problems that differ only in their data are one
compiled program. The answer carries its own proof: a lower bound on the optimum by weak duality, or a lower bound
on the violation if no design can meet the limits. Read more: [nocedal2006] chapter 19; [boyd2007tutorial].
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ..core.types import FloatLike, Scalar, Vector
from .duality import Limits, Model, dual_bounds


class Settings(eqx.Module):
    """How far and how fast the barrier falls; the defaults suit log-log convex models in float64."""

    max_iterations: int = eqx.field(static=True, default=80)
    """Newton steps before giving up."""

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

    penalty: float = 1e4
    """Price of exceeding a limit by one log unit; dearer limits count as infeasible."""

    margin: float = 1e-10
    """The solver aims at `g <= -margin`, so that the answer is strictly inside its limits."""


DEFAULTS = Settings()


class Optimum(eqx.Module):
    """An optimum, its multipliers and its proof."""

    z: Vector
    """Best point found, in the coordinates of `lower` and `upper`."""

    multipliers: Limits
    """Multiplier of each limit: d objective / d limit, the price of one log unit of tightening."""

    lower_multipliers: Vector
    """Multiplier of each lower bound."""

    upper_multipliers: Vector
    """Multiplier of each upper bound."""

    objective: Scalar
    """`f(z)`."""

    limits: Limits
    """`g(z)`, negative where the limit is met with room."""

    lower_bound: Scalar
    """No point of the box that meets the limits has a lower objective (if f and g are convex)."""

    violation_bound: Scalar
    """Every point of the box violates some limit by at least this; positive proves infeasibility."""

    kkt_residual: Scalar
    """Largest entry of the optimality residual, bounds scaled to a unit box."""

    n_iterations: Int[Array, ""]
    """Newton steps taken."""

    converged: Bool[Array, ""]
    """Feasible, residual and gap within tolerance."""

    feasible: Bool[Array, ""]
    """Every limit is met."""

    @property
    def gap(self) -> FloatLike:
        """`objective - lower_bound`: for a log objective, the relative distance to the best possible."""
        return self.objective - self.lower_bound


class Problem(eqx.Module):
    """One convex problem: a model, its data and a box (a variable with equal bounds is fixed)."""

    fun: Model
    data: Any
    lower: Vector
    upper: Vector

    def place(self, unit: Array) -> Array:
        """The point of the box at `unit` coordinates, each 0 to 1."""
        return jnp.asarray(self.lower + (self.upper - self.lower) * unit)

    def __call__(self, unit: Array) -> tuple[Array, Array]:
        """Objective and limits at `unit` coordinates."""
        return self.fun(self.place(unit), self.data)


class _State(eqx.Module):
    """The iterate: unit-box point, slack and excess of each limit, multipliers of limits and bounds, barrier."""

    unit: Array
    slack: Array
    excess: Array
    lam: Array
    low: Array
    high: Array
    mu: Array
    n_iterations: Array
    stop: Array


class _Local(eqx.Module):
    """Values and derivatives of the model at an iterate."""

    f: Array
    g: Array
    grad: Array
    jac: Array
    hess: Array


def _local(problem: Problem, unit: Array, lam: Array) -> _Local:
    """Value, gradient, limits' Jacobian and Lagrangian Hessian, in one forward pass over the reverse one."""

    def first_order(x: Array):
        (f, g), pull = jax.vjp(problem, x)
        (slope,) = pull((jnp.ones_like(f), lam))
        return (f, g, slope), (f, g)

    (grad, jac, hess), (f, g) = jax.jacfwd(first_order, has_aux=True)(unit)
    return _Local(f, g, grad, jac, hess)


def _solve_positive(matrix: Array, rhs: Array) -> Array:
    """`matrix^-1 rhs` by Cholesky; an indefinite matrix is first shifted by its Gershgorin radii."""
    scale = jax.lax.rsqrt(jnp.maximum(jnp.abs(jnp.diagonal(matrix)), 1e-30))
    scaled = matrix * scale[:, None] * scale[None, :] + 1e-13 * jnp.eye(rhs.shape[0])
    indefinite = jnp.isnan(jnp.linalg.cholesky(scaled)[-1, -1])
    shift = jnp.where(indefinite, 0.1 + jnp.sum(jnp.abs(scaled), axis=1), 0.0)
    factor = jnp.linalg.cholesky(scaled + jnp.diag(shift))
    return scale * jax.scipy.linalg.cho_solve((factor, True), scale * rhs)


def _direction(state: _State, at: _Local, settings: Settings) -> _State:
    """Newton direction of the barrier problem, everything but the point eliminated.

        g - u + s = 0,  s lam = mu,  u (nu - lam) = mu
        (H + low/t + high/(1-t) + J' D J) dt = -(f' + J' (lam + D c) - mu/t + mu/(1-t))
        D = 1 / (s/lam + u/(nu - lam)),  c = g + mu/lam - mu/(nu - lam)

    with s the slack, u the excess charged at `settings.penalty` nu, t the unit point.

    Source: [nocedal2006] eq. 19.12 to 19.16, with the elastic variables of eq. 17.26.
    """
    t, s, u, lam, mu = state.unit, state.slack, state.excess, state.lam, state.mu
    spare = settings.penalty - lam
    stiffness = 1.0 / (s / lam + u / spare)
    aim = at.g + settings.margin + mu / lam - mu / spare
    matrix = at.hess + at.jac.T @ (stiffness[:, None] * at.jac) + jnp.diag(state.low / t + state.high / (1.0 - t))
    slope = at.grad + at.jac.T @ (lam + stiffness * aim) - mu / t + mu / (1.0 - t)
    unit = -_solve_positive(matrix, slope)
    dlam = stiffness * (at.jac @ unit + aim)
    slack = mu / lam - s - s / lam * dlam
    excess = mu / spare - u + u / spare * dlam
    low = mu / t - state.low - state.low / t * unit
    high = mu / (1.0 - t) - state.high + state.high / (1.0 - t) * unit
    return _State(unit, slack, excess, dlam, low, high, mu, state.n_iterations, state.stop)


def _longest(pairs: list[tuple[Array, Array]], fraction: Array) -> Array:
    """Longest step, at most 1, that keeps a `fraction` of the distance of every positive number to zero."""
    limits = [jnp.where(d < 0.0, -fraction * x / jnp.where(d < 0.0, d, -1.0), 1.0) for x, d in pairs]
    return jnp.minimum(1.0, jnp.min(jnp.concatenate(limits)))


def _line_search(problem: Problem, state: _State, at: _Local, way: _State, longest: Array, settings: Settings):
    """The largest of eight trial steps that reduces the merit enough, and the slacks there.

        phi = f + nu sum u - mu sum log (s u t (1 - t)) + rho |g - u + s|_1,  s = max(u - g, mu / rho)

    Of all slacks this one minimises phi, so the curvature of limits far from binding never shortens a step.

    Source: [nocedal2006] eq. 19.26 to 19.29; rho exceeds the largest multiplier, which makes phi exact.
    """
    rho = 1.0 + 2.0 * jnp.max(jnp.maximum(state.lam, state.lam + way.lam), initial=0.0)
    t, s, u, mu, nu = state.unit, state.slack, state.excess, state.mu, settings.penalty

    def miss(g: Array, s: Array, u: Array) -> Array:
        return jnp.sum(jnp.abs(g + settings.margin + s - u))

    def merit(f: Array, g: Array, t: Array, s: Array, u: Array) -> Array:
        barrier = jnp.sum(jnp.log(s) + jnp.log(u)) + jnp.sum(jnp.log(t) + jnp.log1p(-t))
        return f + nu * jnp.sum(u) - mu * barrier + rho * miss(g, s, u)

    def trial(step: Array) -> tuple[Array, Array]:
        f, g = problem(t + step * way.unit)
        excess = u + step * way.excess
        slack = jnp.maximum(excess - g - settings.margin, mu / rho)
        return merit(f, g, t + step * way.unit, slack, excess), slack

    start = merit(at.f, at.g, t, s, u)
    slope = (at.grad - mu / t + mu / (1.0 - t)) @ way.unit + (nu - mu / u) @ way.excess - (mu / s) @ way.slack
    slope = jnp.minimum(slope - rho * miss(at.g, s, u), 0.0)
    steps = longest * 0.4 ** jnp.arange(8.0)
    merits, slacks = jax.vmap(trial)(steps)
    good = merits <= start + 1e-4 * steps * slope + 1e-11 * (1.0 + jnp.abs(start))
    pick = jnp.where(jnp.any(good), jnp.argmax(good), steps.shape[0] - 1)
    return steps[pick], slacks[pick]


def _residuals(state: _State, g: Array, slope: Array, settings: Settings) -> tuple[Array, Array]:
    """Largest stationarity or feasibility residual (infinite if the model is not finite), complementarity products.

    `slope` is the gradient of the Lagrangian in unit coordinates.
    """
    dual = slope - state.low + state.high
    primal = g + settings.margin + state.slack - state.excess
    spare = settings.penalty - state.lam
    products = [state.slack * state.lam, state.excess * spare, state.unit * state.low, (1.0 - state.unit) * state.high]
    error = jnp.max(jnp.abs(jnp.concatenate([dual, primal])))
    return jnp.where(jnp.isfinite(jnp.sum(primal) + jnp.sum(dual)), error, jnp.inf), jnp.concatenate(products)


def _least_violation(unit: Array, lam: Array, at: _Local) -> Array:
    """Lower bound on the largest limit anywhere in the unit box (see `dual_bounds`)."""
    slope = at.jac.T @ lam
    return (lam @ at.g + jnp.sum(jnp.minimum(-slope * unit, slope * (1.0 - unit)))) / jnp.sum(lam)


def _advance(problem: Problem, state: _State, settings: Settings) -> _State:
    """One Newton step: lower the barrier if this one is solved, then move, or stop if all is solved."""
    at = _local(problem, state.unit, state.lam)
    error, products = _residuals(state, at.g, at.grad + at.jac.T @ state.lam, settings)
    solved = jnp.maximum(error, jnp.max(jnp.abs(products - state.mu))) <= settings.centring * state.mu
    lower = jnp.maximum(jnp.minimum(0.2 * state.mu, state.mu**1.5), settings.barrier_end)
    mu = jnp.where(solved, lower, state.mu)
    finished = (error <= 0.1 * settings.tolerance) & (jnp.max(products) <= 10.0 * settings.barrier_end)
    finished = (finished & jnp.all(at.g <= 0.0)) | jnp.isinf(error)
    finished = finished | (_least_violation(state.unit, state.lam, at) > settings.margin)
    state = eqx.tree_at(lambda x: x.mu, state, mu)
    moved = _move(problem, state, at, settings)
    kept = eqx.tree_at(lambda x: x.stop, state, finished)
    return jax.tree.map(lambda new, old: jnp.where(finished, old, new), moved, kept)


def _move(problem: Problem, state: _State, at: _Local, settings: Settings) -> _State:
    """The iterate after a Newton step, kept positive."""
    way = _direction(state, at, settings)
    mu, nu = state.mu, settings.penalty
    fraction = jnp.maximum(0.99, 1.0 - mu)
    t, s, u, lam = state.unit, state.slack, state.excess, state.lam
    longest = _longest([(t, way.unit), (1.0 - t, -way.unit), (s, way.slack), (u, way.excess)], fraction)
    dual = [(lam, way.lam), (nu - lam, -way.lam), (state.low, way.low), (state.high, way.high)]
    longest_dual = _longest(dual, fraction)
    step, slack = _line_search(problem, state, at, way, longest, settings)
    unit, excess = t + step * way.unit, u + step * way.excess

    def safe(multiplier: Array, change: Array, distance: Array) -> Array:
        centred = mu / distance
        return jnp.clip(multiplier + longest_dual * change, 1e-8 * centred, 1e8 * centred)

    lam = lam + longest_dual * way.lam
    low, high = safe(state.low, way.low, unit), safe(state.high, way.high, 1.0 - unit)
    return _State(unit, slack, excess, lam, low, high, mu, state.n_iterations + 1, state.stop)


def solve_convex(
    fun: Model, data: Any, lower: Vector, upper: Vector, start: Vector, *, settings: Settings = DEFAULTS
) -> Optimum:
    """The point of a box that minimises a convex function within convex limits, with prices and proof.

        min f(z)  subject to  g(z) <= 0,  lower <= z <= upper

    A primal-dual interior point with exact Hessians. Every limit may be exceeded at a steep price, so the Newton
    system always has a solution and an impossible problem ends with a proof instead of a breakdown.

    Source: [nocedal2006] chapter 19 (algorithm 19.2) and eq. 17.26; [boyd2007tutorial] for models in log variables.
    Assumes: `fun` is smooth and finite in the box; convex, for the bounds and for global optimality.
    Valid for: `jax.vmap` over any argument but `fun`; not differentiable (use the multipliers instead).

    Args:
        fun: returns log objective and log limits at `(z, data)`.
        data: whatever `fun` reads.
        lower: lower bounds; equal to `upper` where a variable is fixed.
        upper: upper bounds.
        start: where to begin, moved into the box if outside.
        settings: tolerances and barrier schedule.

    Returns:
        The optimum. Not `converged` with a positive `violation_bound` means proven infeasible; limits that miss each
        other by less than about 1 % may stay unproven here and need `cheapest_relaxation`.
    """
    problem = Problem(fun, data, lower, upper)
    width = upper - lower
    unit = jnp.clip((start - lower) / jnp.where(width > 0.0, width, 1.0), 0.01, 0.99)
    unit = jnp.where(width > 0.0, unit, 0.5)
    _, g = problem(unit)
    slack = jnp.maximum(-g, 1.0)
    mu = jnp.asarray(settings.barrier_start, dtype=float)
    lam = mu / slack
    excess = mu / (settings.penalty - lam)
    state = _State(unit, slack, excess, lam, mu / unit, mu / (1.0 - unit), mu, jnp.asarray(0), jnp.asarray(False))
    state = jax.lax.while_loop(
        lambda x: ~x.stop & (x.n_iterations < settings.max_iterations),
        lambda x: _advance(problem, x, settings),
        state,
    )
    return _report(problem, state, settings)


def _report(problem: Problem, state: _State, settings: Settings) -> Optimum:
    """The optimum at the last iterate, bound multipliers per unit of `z`."""
    z, lam, width = problem.place(state.unit), state.lam, problem.upper - problem.lower
    f, g = problem(state.unit)
    bounds = dual_bounds(problem.fun, problem.data, problem.lower, problem.upper, z, lam)
    error, products = _residuals(state, g, jnp.asarray(width * bounds.slope), settings)
    residual = jnp.maximum(error, jnp.max(products))
    free, per_unit = width > 0.0, 1.0 / jnp.where(width > 0.0, width, 1.0)
    low = jnp.where(free, state.low * per_unit, jnp.maximum(bounds.slope, 0.0))
    high = jnp.where(free, state.high * per_unit, jnp.maximum(-bounds.slope, 0.0))
    feasible = jnp.all(g <= 0.0)
    close = f - bounds.objective <= settings.gap_tolerance
    converged = feasible & close & (residual <= settings.tolerance)
    answer = (f, g, bounds.objective, bounds.violation, residual, state.n_iterations, converged, feasible)
    return Optimum(z, lam, low, high, *answer)
