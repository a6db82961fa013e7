"""Laws of random geometric programs: bounds hold, answers are feasible or proved impossible, batches equal loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dse.optimize.aim import slope_of
from dse.optimize.interior import solve_convex
from dse.optimize.newton import bounds_from

N, M, TERMS = 4, 3, 3
LOWER, UPPER = jnp.full(N, -3.0), jnp.full(N, 3.0)
EXPONENTS = st.one_of(st.just(0.0), st.integers(-2, 2).map(float), st.floats(-3, 3))


def program(z, data):
    """A posynomial objective and posynomial limits."""
    sums = jax.nn.logsumexp(data["exponents"] @ z + data["logs"], axis=1)
    return sums[0], sums[1:]


def programs():
    exponents = arrays(float, (M + 1, TERMS, N), elements=EXPONENTS)
    logs = arrays(float, (M + 1, TERMS), elements=st.floats(-4, 2))
    return st.fixed_dictionaries({"exponents": exponents, "logs": logs})


@jax.jit
def solve(data, lower=LOWER, upper=UPPER):
    return solve_convex(program, data, lower, upper, (lower + upper) / 2)


def check(data, o):
    feasible = bool(o.feasible)
    if feasible:
        assert float(o.objective) >= float(o.lower_bound) - 1e-9
        assert bool(o.converged), (float(o.kkt_residual), float(o.gap))
        assert float(o.violation_bound) <= 1e-9
    else:  # proved, or so close to the edge (1 %) that neither was shown
        assert float(o.violation_bound) > 0.0 or float(jnp.max(o.limits)) < 0.01
    assert bool(jnp.all((o.z >= LOWER) & (o.z <= UPPER)))


@given(programs())
def test_solved_with_proof_or_proved_impossible(data):
    check(data, solve(data))


@given(programs(), arrays(float, (N,), elements=st.floats(-3, 3)), arrays(float, (M,), elements=st.floats(0, 5)))
def test_bounds_hold_from_any_point_and_any_multipliers(data, z, lam):
    o = solve(data)
    (f, g), slope_f = slope_of(lambda z: program(z, data), jnp.asarray(z), jnp.ones(()), jnp.zeros(M))
    _, slope_g = slope_of(lambda z: program(z, data), jnp.asarray(z), jnp.zeros(()), jnp.asarray(lam))
    bounds = bounds_from(f, g, slope_f, slope_g, jnp.asarray(lam), LOWER - z, UPPER - z)
    if bool(o.feasible):
        assert float(bounds.objective) <= float(o.objective) + 1e-7
        assert float(bounds.violation) <= 1e-9


@given(programs(), arrays(float, (N,), elements=st.floats(-3, 3)))
def test_no_point_that_meets_the_limits_is_better(data, z):
    o = solve(data)
    f, g = program(jnp.asarray(z), data)
    if bool(jnp.all(g <= 0.0)):
        assert float(f) >= float(o.lower_bound) - 1e-9
        assert float(o.violation_bound) <= 1e-9


@given(programs(), arrays(bool, (N,)))
def test_fixed_variables_stay_and_never_help(data, fixed):
    lower, upper = jnp.where(fixed, 0.5, LOWER), jnp.where(fixed, 0.5, UPPER)
    o, free = solve(data, lower, upper), solve(data)
    assert np.asarray(o.z)[fixed] == pytest.approx(0.5)
    if bool(o.feasible):
        assert bool(o.converged)
        assert float(o.objective) >= float(free.objective) - 1e-6


@given(st.lists(programs(), min_size=3, max_size=3))
def test_vmap_equals_loop(several):
    stacked = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *several)
    batch = solve_all(stacked)
    for i, data in enumerate(several):
        one = solve(data)
        assert bool(one.feasible) == bool(batch.feasible[i])
        if bool(one.feasible):
            assert float(one.objective) == pytest.approx(float(batch.objective[i]), abs=1e-6)


solve_all = jax.jit(jax.vmap(solve))
