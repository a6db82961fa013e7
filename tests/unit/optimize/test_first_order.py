"""Adam and multiplier ascent, which share no code with the interior point, reach the same answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.optimize.batch import solve_batch
from dse.optimize.first_order import solve_first_order


def test_sum_of_two_with_product_one():
    # min x + y with x y >= 1: 2, price 1/2.
    def fun(z, _):
        return jnp.logaddexp(z[0], z[1]), -jnp.sum(z)[None]

    r = jax.jit(lambda: solve_first_order(fun, None, jnp.full(2, -3.0), jnp.full(2, 3.0), jnp.asarray([2.0, -2.0])))()
    assert float(r.objective) == pytest.approx(np.log(2.0), abs=1e-5)
    assert float(r.violation) <= 1e-5
    assert float(r.multipliers[0]) == pytest.approx(0.5, abs=1e-3)


def test_agrees_with_the_interior_point(chip):
    data = chip.data(16)
    box = chip.lower, chip.upper, chip.start
    exact = solve_batch(chip.fun, data, *box, size=8)
    rough = jax.jit(jax.vmap(lambda d: solve_first_order(chip.fun, d, *box)))(data)
    assert np.asarray(rough.objective) == pytest.approx(exact.objective, abs=1e-4)
    assert np.asarray(rough.multipliers) == pytest.approx(exact.multipliers, abs=1e-2)
    assert float(jnp.max(rough.violation)) <= 1e-4


def test_fixed_variable_and_no_limits():
    # min (z0 - 1)^2 + z1 with z1 fixed at 2.
    lower, upper = jnp.asarray([-3.0, 2.0]), jnp.asarray([3.0, 2.0])
    fun = lambda z, _: ((z[0] - 1.0) ** 2 + z[1], jnp.zeros(0))  # noqa: E731
    r = solve_first_order(fun, None, lower, upper, lower, steps=2000)
    assert np.asarray(r.z) == pytest.approx([1.0, 2.0], abs=1e-4)
    assert float(r.violation) == 0.0
