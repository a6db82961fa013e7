"""Primal-dual interior-point solver for smooth convex problems in a box, batched by `jax.vmap`.

Shapes are fixed and branches are `where`, so many problems are one compiled program. The result includes a proof: a
lower bound on the optimum, or on the violation. Read more: [nocedal2006] chapter 19; [boyd2007tutorial].
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from ..core.types import FloatLike, Scalar, Vector
from .aim import Aim, proving
from .newton import (
    DEFAULTS,
    ROUNDING,
    Iterate,
    Limits,
    Local,
    Model,
    Problem,
    Settings,
    bounds_from,
    direction,
    local,
    longest,
    merit,
    merit_slope,
    residuals,
)

N_TRIALS = 8
"""Steps tried along one direction, each `SHORTER` of the one before; the last is taken as it is."""
SHORTER = 0.4
"""Less than a half, so that eight trials span a factor of 600."""
ARMIJO_FRAC = 1e-4
"""Share of the predicted fall that a step must reach, the usual one [nocedal2006] section 3.1: nearly any fall."""
STALL = 1e-11
"""Rise of the merit, relative, that counts as none: its terms are rounded by less, all together."""
KEEP_FRAC = 0.99
"""Share of the way to a boundary that a step may go; closer still as the barrier falls, so that the end is fast."""
WITHIN = 1e8
"""How far multipliers of bounds may leave `mu / distance`: farther away steps stall, and closer ones need no help."""
BARRIER_FRAC, BARRIER_POWER = 0.2, 1.5
"""How the barrier falls: by a factor at first, then faster and faster [nocedal2006] section 19.3."""
LAST_FRAC = 0.1
"""Residual at the end over `tolerance`: what is reported, without the barrier, is rounded a little more."""
LAST_PRODUCTS = 10.0
"""Largest complementarity product at the end over `barrier_end`."""
INSET = 0.01
"""How far inside the unit box a start is kept: on a bound the barrier has no value."""


class Optimum(eqx.Module):
    """An optimum, its multipliers and its proof."""

    z: Vector
    """Best point found, in the coordinates of `lower` and `upper`."""
    multipliers: Limits
    """Multiplier of each limit: d objective / d limit, the price of one log unit of tightening."""
    lower_multipliers: Vector
    upper_multipliers: Vector
    objective: Scalar
    """`f(z)`; the sum of excesses where limits may be exceeded."""
    limits: Limits
    """`g(z)`, negative where the limit is met with room."""
    lower_bound: Scalar
    """No point of the box that meets the limits has a lower objective (if f and g are convex)."""
    violation_bound: Scalar
    """Every point of the box violates some limit by at least this; see `impossible`."""
    kkt_residual: Scalar
    """Largest entry of the optimality residual, bounds scaled to a unit box."""
    n_iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    feasible: Bool[Array, ""]
    """Every limit is met that may not be exceeded."""

    @property
    def impossible(self) -> Bool[Array | np.ndarray, "..."] | np.bool_:
        """Whether it is proved that no point of the box meets the limits."""
        return self.violation_bound > ROUNDING

    @property
    def gap(self) -> FloatLike:
        """`objective - lower_bound`: for a log objective, the relative distance to the best possible."""
        return self.objective - self.lower_bound


class _Search(eqx.Module):
    """The last iterate taken, what is known there, and the step being tried from it."""

    here: Iterate
    at: Local
    way: Iterate
    step: Array
    dual_step: Array
    merit: Array
    slope: Array
    rho: Array
    n_tried: Array
    n_iterations: Array
    stop: Array


def _land(c: _Search, at: Local, settings: Settings) -> Iterate:
    """The iterate at the end of the step tried, kept positive: slacks `max(u - g, mu / rho)` minimise the merit."""
    here, way = c.here, c.way
    # primal and dual steps have lengths of their own: one that is near its boundary does not hold up the other
    unit, excess = here.unit + c.step * way.unit, here.excess + c.step * way.excess
    slack = jnp.maximum(excess - at.g - settings.margin, here.mu / c.rho)

    def safe(multiplier: Array, change: Array, distance: Array) -> Array:
        centred = here.mu / distance
        return jnp.clip(multiplier + c.dual_step * change, centred / WITHIN, centred * WITHIN)

    low, high = safe(here.low, way.low, unit), safe(here.high, way.high, 1.0 - unit)
    return Iterate(unit, slack, excess, here.lam + c.dual_step * way.lam, low, high, here.mu)


def _judge(problem: Problem, it: Iterate, at: Local, settings: Settings) -> tuple[Iterate, Array]:
    """The iterate with its barrier lowered if this one is solved, and whether all is solved or proved impossible."""
    error, products = residuals(it, at.g, problem.width * (at.slope_f + at.slope_g), settings)
    # each barrier problem is solved only roughly, to a few times mu: the next one moves its solution by as much anyway
    solved = jnp.maximum(error, jnp.max(jnp.abs(products - it.mu))) <= settings.centring * it.mu
    # far away the barrier falls by a fixed factor, near the end faster and faster [nocedal2006] section 19.3
    lower = jnp.maximum(jnp.minimum(BARRIER_FRAC * it.mu, it.mu**BARRIER_POWER), settings.barrier_end)
    finished = (error <= LAST_FRAC * settings.tolerance) & (jnp.max(products) <= LAST_PRODUCTS * settings.barrier_end)
    # a limit that is missed by more than rounding is never an end; a model that is not finite is, with no answer
    finished = (finished & jnp.all((at.g <= ROUNDING) | problem.loose)) | jnp.isinf(error)
    # where the box is proved to miss its limits, going on would only raise the price of the excess
    proved = _bounds(problem, it, at)
    finished |= (~problem.relaxes & (proved.violation > settings.margin)) | (proved.objective >= problem.too_much)
    return eqx.tree_at(lambda x: x.mu, it, jnp.where(solved & ~finished, lower, it.mu)), finished


def _bounds(problem: Problem, it: Iterate, at: Local):
    width, lam = problem.width, proving(problem.aim, it.lam)
    return bounds_from(at.f, at.g, at.slope_f, at.slope_g, lam, -width * it.unit, width * (1.0 - it.unit))


def _aim(problem: Problem, c: _Search, it: Iterate, at: Local, settings: Settings) -> _Search:
    """The search at an iterate just taken: a Newton direction and the longest step that keeps all numbers positive."""
    it, finished = _judge(problem, it, at, settings)
    width, nu = problem.width, settings.penalty
    way = direction(it, at, width, settings)
    fraction = jnp.maximum(KEEP_FRAC, 1.0 - it.mu)
    primal = [(it.unit, way.unit), (1.0 - it.unit, -way.unit), (it.slack, way.slack), (it.excess, way.excess)]
    dual = [(it.lam, way.lam), (nu - it.lam, -way.lam), (it.low, way.low), (it.high, way.high)]
    steps = longest(primal, fraction), longest(dual, fraction)
    # the merit is exact, its minimum that of the problem, where missed limits cost more than every multiplier
    rho = 1.0 + 2.0 * jnp.max(jnp.maximum(it.lam, it.lam + way.lam), initial=0.0)
    slope = merit_slope(at, it, way, width, rho, settings)
    # the step begins anew at every iterate, and so does the count of trials: both are part of what `vmap` carries
    return _Search(
        it, at, way, *steps, merit(at, it, rho, settings), slope, rho, jnp.asarray(0), c.n_iterations + 1, finished
    )


def _advance(problem: Problem, c: _Search, settings: Settings) -> _Search:
    """Evaluate the model at the step being tried; take it and aim anew, or try a shorter one."""
    lam = c.here.lam + c.dual_step * c.way.lam
    at = local(problem, c.here.unit + c.step * c.way.unit, lam)
    # slacks at the end of the step follow from the limits found there, so that a poor prediction of them costs nothing
    there = _land(c, at, settings)
    # the last term: near the end a step gains less than the merit is rounded by. A poor step that is taken costs time,
    # never truth, since bounds hold at any point and for any multipliers.
    enough = c.merit + ARMIJO_FRAC * c.step * c.slope + STALL * (1.0 + jnp.abs(c.merit))
    taken = (merit(at, there, c.rho, settings) <= enough) | (c.n_tried + 1 >= N_TRIALS)
    shorter = eqx.tree_at(lambda x: (x.step, x.n_tried), c, (SHORTER * c.step, c.n_tried + 1))
    # both branches are computed and one is kept: under `vmap` every problem is in its own phase of one program
    return jax.tree.map(lambda new, old: jnp.where(taken, new, old), _aim(problem, c, there, at, settings), shorter)


def solve_convex(
    fun: Model,
    data: Any,
    lower: Vector,
    upper: Vector,
    start: Vector,
    loose: Bool[Array | np.ndarray, " m"] | None = None,
    too_much: Scalar | float = np.inf,
    aim: Aim | None = None,
    *,
    settings: Settings = DEFAULTS,
) -> Optimum:
    """The point of a box that minimises a convex function within convex limits, with prices and proof.

        min f(z)  subject to  g(z) <= 0,  lower <= z <= upper
    A primal-dual interior point with exact gradients, whose differences give curvature. Limits may be exceeded at a
    steep price, so an impossible problem ends with a proof: not `converged`, a positive `violation_bound`; limits that
    miss each other by less than about 1 % may need `cheapest_relaxations`. `fun` gives log objective and log limits at
    `(z, data)`. Where limits are `loose` the sum of their excesses is minimised instead of `f`, by the same program.
    Once no point is proved to have an objective below `too_much` the solve ends as it is, its bound at least that.
    With an `aim` a straight line is minimised in place of `f`, which has a limit then, by the same program as without.
    Source: [nocedal2006] chapter 19 (algorithm 19.2) and eq. 17.26; [boyd2007tutorial] for models in log variables.
    Assumes: `fun` is smooth and finite in the box; convex, for the bounds and for global optimality.
    Valid for: `jax.vmap` over any argument but `fun`; not differentiable (use the multipliers instead).
    """
    limits = jax.eval_shape(lambda z: fun(z, data)[1], start)
    loose = jnp.zeros(limits.shape, dtype=bool) if loose is None else jnp.asarray(loose)
    loose = loose if aim is None else jnp.append(loose, False)
    # at a price of 1 an excess is its own cost, and the goal is left out: the same program minimises their sum
    settings = eqx.tree_at(lambda s: s.penalty, settings, jnp.where(loose, 1.0, settings.penalty))
    problem = Problem(fun, data, lower, upper, loose, too_much, aim)
    # a fixed coordinate (no width) has gradient zero per unit box and stays where its bounds are
    width = problem.width
    unit = jnp.clip((start - lower) / jnp.where(width > 0.0, width, 1.0), INSET, 1.0 - INSET)
    first = _standing(problem, jnp.where(width > 0.0, unit, 0.5), settings)
    end = jax.lax.while_loop(
        lambda c: ~c.stop & (c.n_iterations < settings.max_iterations), lambda c: _advance(problem, c, settings), first
    )
    return _report(problem, end, settings)


def _standing(problem: Problem, unit: Array, settings: Settings) -> _Search:
    """A search that has not evaluated anything yet: its first trial is a step of length 0, always taken."""
    n = unit.shape[0]
    # multipliers and excesses stand on the central path of the first barrier, so that no product starts far from mu
    free, held, one = jnp.zeros(n), jnp.zeros(problem.loose.shape), jnp.ones(())
    mu = settings.barrier_start * one
    lam = jnp.minimum(mu, 0.5 * settings.penalty)
    here = Iterate(unit, 1.0 + held, mu / (settings.penalty - lam), lam, mu / unit, mu / (1.0 - unit), mu)
    way = Iterate(free, held, held, held, free, free, mu)
    at = Local(0.0 * one, held, free, free, jnp.zeros((held.shape[0], n)), jnp.zeros((n, n)))
    none = 0.0 * one
    return _Search(here, at, way, none, none, jnp.inf * one, none, one, jnp.asarray(0), jnp.asarray(-1), none > 0.0)


def _report(problem: Problem, end: _Search, settings: Settings) -> Optimum:
    """The optimum at the last iterate, bound multipliers per unit of `z`."""
    it, at, width = end.here, end.at, problem.width
    bounds = _bounds(problem, it, at)
    error, products = residuals(it, at.g, width * jnp.asarray(bounds.slope), settings)
    residual = jnp.maximum(error, jnp.max(products))
    free, per_unit = width > 0.0, 1.0 / jnp.where(width > 0.0, width, 1.0)
    # a coordinate that is fixed has no bound to push against: the slope itself is what moving it would gain
    low = jnp.where(free, it.low * per_unit, jnp.maximum(bounds.slope, 0.0))
    high = jnp.where(free, it.high * per_unit, jnp.maximum(-bounds.slope, 0.0))
    # the objective of a relaxation is what the limits are exceeded by at the point itself, not the slack variables' sum
    excess = jnp.sum(jnp.where(problem.loose, jnp.maximum(at.g, 0.0), 0.0))
    objective, feasible = at.f + excess, jnp.all((at.g <= ROUNDING) | problem.loose)
    converged = feasible & (objective - bounds.objective <= settings.gap_tolerance) & (residual <= settings.tolerance)
    own = slice(at.g.shape[0] - (problem.aim is not None))  # the last limit is the aim's, and no row of the model
    answer = (objective, at.g[own], bounds.objective, bounds.violation, residual, end.n_iterations, converged, feasible)
    return Optimum(problem.place(it.unit), it.lam[own], low, high, *answer)
