"""The interior point against hand calculations, closed-form multipliers, finite differences and a DGP solver."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.optimize.aim import slope_of
from dse.optimize.batch import solve_batch
from dse.optimize.interior import Settings, solve_convex
from dse.optimize.newton import bounds_from

compiled = eqx.filter_jit(solve_convex)
FAR = jnp.full(2, jnp.log(100.0))


def solve(fun, lower, upper, data=None, start=None):
    lower, upper = jnp.asarray(lower, float), jnp.asarray(upper, float)
    start = (lower + upper) / 2 if start is None else start
    return compiled(fun, data, lower, upper, start)


def total_at_least(z, data):
    """min x + y subject to x y >= c, in logs."""
    return jnp.logaddexp(z[0], z[1]), jnp.stack([data - z[0] - z[1]])


def test_sum_of_two_with_product_one():
    # x + y >= 2 sqrt(x y) = 2 at x = y = 1. In logs f = log 2 + c/2 for x y >= e^c, so the multiplier is 1/2.
    o = solve(total_at_least, -FAR, FAR, data=jnp.zeros(()))
    assert bool(o.converged)
    assert float(o.objective) == pytest.approx(np.log(2.0), abs=1e-8)
    assert np.asarray(o.z) == pytest.approx([0.0, 0.0], abs=1e-4)
    assert float(o.multipliers[0]) == pytest.approx(0.5, abs=1e-6)
    assert float(o.lower_bound) <= np.log(2.0)
    assert float(o.gap) <= 1e-6
    assert bool(jnp.all(o.limits < 0.0))


def test_a_solve_ends_once_its_optimum_is_proved_to_be_too_much():
    # the optimum is log 2 = 0.693, as above: 0.6 is proved to be out of reach on the way, 0.7 is not
    solved = [
        compiled(total_at_least, jnp.zeros(()), -FAR, FAR, jnp.ones(2), None, most) for most in (0.6, 0.7, jnp.inf)
    ]
    early, late, full = solved
    assert 0.6 <= float(early.lower_bound) <= np.log(2.0) <= float(early.objective)
    assert int(early.n_iterations) < int(full.n_iterations) and not bool(early.converged)
    assert float(late.objective) == float(full.objective) and bool(late.converged)


def test_monomial_at_its_bound():
    # min x^2 / y on 1 <= x <= 4, 1/2 <= y <= 8: at x = 1, y = 8; prices are the exponents 2 and 1.
    o = solve(lambda z, _: (2 * z[0] - z[1], jnp.zeros(0)), np.log([1.0, 0.5]), np.log([4.0, 8.0]))
    assert bool(o.converged)
    assert float(o.objective) == pytest.approx(-np.log(8.0), abs=1e-7)
    assert np.asarray(o.lower_multipliers) == pytest.approx([2.0, 0.0], abs=1e-6)
    assert np.asarray(o.upper_multipliers) == pytest.approx([0.0, 1.0], abs=1e-6)


def test_weighted_means_give_the_multipliers():
    # max x^a y^b with x + y <= 1: x = a/(a+b); the price of the budget is a + b (the goal is homogeneous).
    a, b = 0.3, 0.9
    o = solve(lambda z, _: (-a * z[0] - b * z[1], jnp.logaddexp(z[0], z[1])[None]), -FAR, FAR)
    assert bool(o.converged)
    assert np.exp(np.asarray(o.z)) == pytest.approx([0.25, 0.75], abs=1e-5)
    assert float(o.multipliers[0]) == pytest.approx(a + b, abs=1e-6)


def test_box_of_volume_needs_least_wall():
    # min 2(hw + hd) + wd with hwd = 1 (>=): h = 2^(-2/3), w = d = 2^(1/3), wall 3 * 4^(1/3); price 2/3 by scaling.
    def wall(z, _):
        h, w, d = z
        return jnp.log(2 * jnp.exp(h) * (jnp.exp(w) + jnp.exp(d)) + jnp.exp(w + d)), -jnp.sum(z)[None]

    o = solve(wall, [-5.0, -5, -5], [5.0, 5, 5])
    assert np.exp(float(o.objective)) == pytest.approx(3 * 4 ** (1 / 3), rel=1e-7)
    assert np.exp(np.asarray(o.z)) == pytest.approx([2 ** (-2 / 3), 2 ** (1 / 3), 2 ** (1 / 3)], abs=1e-4)
    assert float(o.multipliers[0]) == pytest.approx(2 / 3, abs=1e-6)


def test_equal_bounds_fix_a_variable_and_price_it():
    # y fixed at 4: x = 1/4 from x y >= 1, f = log(4.25); raising log y by e: (4 - 1/4) / 4.25 per unit.
    o = solve(total_at_least, [-5.0, np.log(4.0)], [5.0, np.log(4.0)], data=jnp.zeros(()))
    assert bool(o.converged)
    assert float(o.objective) == pytest.approx(np.log(4.25), abs=1e-7)
    assert float(o.lower_multipliers[1]) == pytest.approx(3.75 / 4.25, abs=1e-5)
    assert float(o.upper_multipliers[1]) == pytest.approx(0.0, abs=1e-9)


def test_start_outside_the_box_is_moved_inside():
    o = solve(total_at_least, -FAR, FAR, data=jnp.zeros(()), start=jnp.asarray([50.0, -50.0]))
    assert bool(o.converged)
    assert float(o.objective) == pytest.approx(np.log(2.0), abs=1e-8)


def test_impossible_limits_are_proved_impossible():
    # x y >= e^20 cannot hold with x, y <= e^4.6: some limit is missed by 20 - 9.21 in logs everywhere.
    o = solve(total_at_least, -FAR, FAR, data=jnp.asarray(20.0))
    assert not bool(o.converged)
    assert not bool(o.feasible)
    assert 0.0 < float(o.violation_bound) <= 20.0 - 2 * np.log(100.0) + 1e-9


def test_model_that_is_not_finite_ends_at_once():
    o = solve(lambda z, _: (jnp.sum(z) * jnp.nan, z[:1]), -FAR, FAR)
    assert not bool(o.converged)
    assert int(o.n_iterations) <= 1


def test_concave_stretches_do_not_break_the_solver():
    # -cos is concave beyond pi/2; started there, the shifted factor still leads down to 0.
    o = solve(
        lambda z, _: (-jnp.cos(z[0]) + z[1] ** 2, jnp.zeros(0)), [-1.0, -1], [2.8, 1], start=jnp.asarray([2.5, 0.5])
    )
    assert np.asarray(o.z) == pytest.approx([0.0, 0.0], abs=1e-3)


def test_lower_bound_holds_from_poor_multipliers(chip):
    best = solve(chip.fun, chip.lower, chip.upper, data=chip.data())
    rng = np.random.default_rng(1)
    for scale in (0.0, 0.1, 1.0, 10.0):
        lam = jnp.asarray(scale * np.abs(rng.standard_normal(best.multipliers.shape)))
        z = chip.lower + jnp.asarray(rng.random(12)) * (chip.upper - chip.lower)
        (f, g), slope_f = slope_of(lambda z: chip.fun(z, chip.data()), z, jnp.ones(()), jnp.zeros_like(lam))
        _, slope_g = slope_of(lambda z: chip.fun(z, chip.data()), z, jnp.zeros(()), lam)
        bounds = bounds_from(f, g, slope_f, slope_g, lam, chip.lower - z, chip.upper - z)
        assert float(bounds.objective) <= float(best.objective)
        assert float(bounds.violation) <= 0.0


def test_chips_converge_strictly_feasible_with_proof(chip):
    o = solve_batch(chip.fun, chip.data(256), chip.lower, chip.upper, chip.start, size=8)
    assert np.mean(o.converged) >= 0.995
    assert np.all(o.limits[o.converged] < 0.0)
    assert np.all(o.gap[o.converged] <= 1e-6)
    assert np.all(o.gap >= -1e-12)
    assert np.all(o.multipliers >= 0.0)


def test_batch_equals_loop(chip):
    data = chip.data(13)  # one full chunk and one padded
    batch = solve_batch(chip.fun, data, chip.lower, chip.upper, chip.start, size=8)
    for i in range(13):
        one = solve(chip.fun, chip.lower, chip.upper, data=jax.tree.map(lambda x, i=i: x[i], data), start=chip.start)
        assert float(one.objective) == pytest.approx(float(batch.objective[i]), abs=1e-8)
        assert np.asarray(one.multipliers) == pytest.approx(batch.multipliers[i], abs=1e-5)


def test_batch_accepts_a_box_per_problem(chip):
    data = chip.data(8)
    upper = np.broadcast_to(np.asarray(chip.upper), (8, 12)).copy()
    upper[1, 0] = np.log(2.0)
    o = solve_batch(chip.fun, data, chip.lower, upper, chip.start)
    assert np.all(o.converged)
    assert o.z[1, 0] <= np.log(2.0)


def test_batch_without_one_axis_is_refused(chip):
    with pytest.raises(SpecError, match="leading axis"):
        solve_batch(chip.fun, chip.data(), chip.lower, chip.upper, chip.start)


def test_multipliers_are_prices(chip):
    # d log time / d log budget by re-solving with budgets 0.1 % apart.
    step, n = 1e-3, 4
    budget = np.asarray(chip.data()["budget"])
    moved = np.exp(step * np.concatenate([np.eye(n), -np.eye(n)])) * budget
    data = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (2 * n, *x.shape)), chip.data()) | {"budget": moved}
    o = solve_batch(chip.fun, data, chip.lower, chip.upper, chip.start)
    centre = solve(chip.fun, chip.lower, chip.upper, data=chip.data())
    slope = (o.objective[:n] - o.objective[n:]) / (2 * step)
    assert np.all(o.converged)
    assert -slope == pytest.approx(np.asarray(centre.multipliers[:n]), abs=1e-4)


def test_iterations_are_bounded():
    o = solve_convex(total_at_least, jnp.zeros(()), -FAR, FAR, jnp.ones(2), settings=Settings(3))
    assert int(o.n_iterations) == 3
    assert not bool(o.converged)


def gp(x, y, s, p_norm):
    """Objective and three limits of a generalized geometric program, for arrays and for cvxpy expressions."""
    time = p_norm(3.0 / x, 2.0 / (y * s**0.5)) + 0.4 / s
    area = 2.0 * x + 1.5 * y + s
    return time, [area / 6.0, (x * y + 0.3 * s**2) / 3.0, (1.0 + area / 4.0) ** 3 * x / 20.0]


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_a_dgp_solver_on_optimum_and_duals():
    cp = pytest.importorskip("cvxpy")
    v = cp.Variable(3, pos=True)
    time, ratios = gp(v[0], v[1], v[2], lambda a, b: (a**8 + b**8) ** (1 / 8))
    limits = [r <= 1.0 for r in ratios]
    oracle = cp.Problem(cp.Minimize(time), [*limits, v >= 0.05, v <= 20.0])
    oracle.solve(gp=True, solver="CLARABEL")

    def fun(z, _):
        f, g = gp(*jnp.exp(z), lambda a, b: (a**8 + b**8) ** (1 / 8))
        return jnp.log(f), jnp.log(jnp.stack(g))

    o = solve(fun, np.log([0.05] * 3), np.log([20.0] * 3))
    assert bool(o.converged)
    assert float(o.objective) == pytest.approx(np.log(oracle.value), abs=1e-6)
    assert np.asarray(o.multipliers) == pytest.approx([float(c.dual_value) for c in limits], abs=1e-4)
