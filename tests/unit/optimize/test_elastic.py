"""Infeasible problems: the known cheapest loosening, found and priced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.optimize.elastic import cheapest_relaxations

BOX = np.full(2, -10.0), np.full(2, 10.0)


def relax(fun, may_relax, data=None, box=BOX):
    """The cheapest loosening of one problem."""
    lower, upper = (np.asarray(x)[None] for x in box)
    data = jax.tree.map(lambda x: np.asarray(x)[None], data)
    found = cheapest_relaxations(fun, data, lower, upper, np.asarray(may_relax), 1)
    return jax.tree.map(lambda x: x[0], found)


def pinched(z, data):
    """x >= e^3, x <= e, and y <= e^5: the first two miss each other by 2 in logs."""
    return jnp.sum(z), jnp.stack([3.0 - z[0], z[0] - 1.0, z[1] - 5.0])


def test_the_only_relaxable_limit_takes_all():
    # x >= e^3 is a law, so x <= e must loosen by 2.
    r = relax(pinched, [False, True, True])
    assert bool(r.converged)
    assert np.asarray(r.loosening) == pytest.approx([0.0, 2.0, 0.0], abs=1e-6)
    assert float(r.total) == pytest.approx(2.0, abs=1e-6)
    assert float(r.lower_bound) == pytest.approx(2.0, abs=1e-5)
    assert list(np.asarray(r.multipliers) > 1e-6) == [True, True, False]
    assert float(r.z[0]) == pytest.approx(3.0, abs=1e-6)


def test_the_cheaper_limit_is_loosened():
    # x >= e^3; x <= e^1 or x^3 <= e^3 twice the same wish, of which the cube would cost three times as much:
    # both need z = 3, so loosening (2, 6); relaxing only the demand x >= e^3 by 2 meets both.
    def fun(z, _):
        return z[0], jnp.stack([3.0 - z[0], z[0] - 1.0, 3.0 * (z[0] - 1.0)])

    r = relax(fun, [True, True, True])
    assert np.asarray(r.loosening) == pytest.approx([2.0, 0.0, 0.0], abs=1e-5)
    assert float(r.multipliers[0]) == pytest.approx(1.0, abs=1e-5)


def test_a_feasible_problem_needs_nothing():
    r = relax(lambda z, _: (z[0], jnp.stack([z[0] - 1.0, -1.0 - z[0]])), [True, True])
    assert bool(r.converged)
    assert float(r.total) == pytest.approx(0.0, abs=1e-6)
    assert float(r.lower_bound) <= 0.0


def test_conflicting_laws_are_reported_as_hopeless():
    r = relax(pinched, [False, False, True])
    assert not bool(r.converged)
    assert float(r.loosening[0]) == float(r.loosening[1]) == 0.0


def test_starved_chip_says_how_much_power_it_needs(chip):
    # Loosening the power budget by exactly the answer makes the chip feasible; a little less does not.
    data = chip.data()
    starved = data | {"budget": data["budget"] * jnp.asarray([1.0, 0.003, 1.0, 0.2])}
    r = relax(chip.fun, [False, True, False, False, False, False, False], starved, (chip.lower, chip.upper))
    assert bool(r.converged)
    assert float(r.loosening[1]) > 0.1
    _, g = chip.fun(r.z, starved)
    assert float(jnp.max(g - r.loosening)) <= 0.0
    assert float(r.lower_bound) == pytest.approx(float(r.total), abs=1e-5)


def test_batches():
    fun = lambda z, d: (jnp.sum(z), jnp.stack([d - z[0], z[0] - 1.0]))  # noqa: E731
    lower, upper = (np.tile(x, (3, 1)) for x in BOX)
    r = cheapest_relaxations(fun, np.asarray([0.0, 2.0, 4.0]), lower, upper, np.asarray([False, True]), 2)
    assert np.asarray(r.total) == pytest.approx([0.0, 1.0, 3.0], abs=1e-5)
