"""The smooth maximum: bounds, limits, homogeneity and gradients, corners included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.core.smooth import overlapped, p_norm_max

POWERS = (1.0, 2.0, 3.0, 4.0, 8.0, 10.0, 16.0, 32.0)
times = st.floats(1e-6, 1e3)
maybe_zero = st.one_of(st.just(0.0), times)


def test_pythagoras():
    """3 and 4 under p = 2 give 5."""
    assert float(p_norm_max(jnp.asarray([3.0, 4.0]), 2.0)) == pytest.approx(5.0, rel=1e-15)


def test_p_one_is_the_sum_and_a_large_p_nearly_the_maximum():
    x = jnp.asarray([1.0, 2.0, 4.0])
    assert float(p_norm_max(x, 1.0)) == 7.0
    # (1 + 2^-32 + 4^-32)^(1/32) - 1 is below 1e-11
    assert float(p_norm_max(x, 32.0)) == pytest.approx(4.0, rel=1e-10)


def test_k_equal_terms_give_the_stated_bound():
    """Five equal terms: 5^(1/8) = exp(1.6094 / 8) = 1.2228 times each."""
    assert float(p_norm_max(jnp.ones(5), 8.0)) == pytest.approx(1.2228, abs=5e-5)
    assert float(p_norm_max(jnp.ones(5), 10.0)) == pytest.approx(5**0.1, rel=1e-14)


@given(st.lists(maybe_zero, min_size=1, max_size=6), times, st.sampled_from(POWERS))
def test_between_maximum_and_bound(others, first, p):
    x = np.asarray([first, *others])
    y = float(p_norm_max(jnp.asarray(x), p))
    assert x.max() * (1 - 1e-12) <= y <= x.size ** (1 / p) * x.max() * (1 + 1e-12)


@given(times, times, times, st.floats(1e-3, 1e3), st.sampled_from(POWERS))
def test_homogeneous_so_no_unit_leaks_in(a, b, c, scale, p):
    x = jnp.asarray([a, b, c])
    assert float(p_norm_max(scale * x, p)) == pytest.approx(scale * float(p_norm_max(x, p)), rel=1e-12)


@given(times, times, st.sampled_from(POWERS[1:]))
def test_repeated_squares_equal_plain_powers(a, b, p):
    """Powers of two take another path through the code; the textbook form is the check."""
    assert float(p_norm_max(jnp.asarray([a, b]), p)) == pytest.approx((a**p + b**p) ** (1 / p), rel=1e-12)


@pytest.mark.parametrize("p", [2.0, 3.0, 8.0, 16.0, jnp.asarray(8.0)])
def test_nothing_to_do_takes_no_time_and_has_no_slope(p):
    """Before: an infinite slope of the root times a zero slope of the power, NaN."""
    nothing = jnp.zeros(5)
    assert 0.0 <= float(p_norm_max(nothing, p)) < 1e-18
    assert np.asarray(jax.grad(lambda v: p_norm_max(v, p))(nothing)).tolist() == [0.0] * 5


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("x", [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1e-9, 1e3, 0.0], [1e-6, 1e-6, 1e-6]])
def test_gradient_is_finite_and_its_parts_weigh_one(x, p):
    """Euler: x . grad = value for a homogeneous function; zeros and ties are the corners."""
    x = jnp.asarray(x)
    gradient = jax.grad(lambda v: p_norm_max(v, p))(x)
    assert np.isfinite(gradient).all() and (gradient >= 0).all()
    assert float(x @ gradient) == pytest.approx(float(p_norm_max(x, p)), rel=1e-9)


def test_microseconds_do_not_underflow():
    """1 us to the 32nd power is 1e-192, still a normal float64."""
    assert float(p_norm_max(jnp.asarray([1e-6, 1e-7]), 32.0)) == pytest.approx(1e-6, rel=1e-9)


def test_last_axis_is_reduced_and_the_rest_kept():
    x = np.random.default_rng(0).uniform(0.1, 10, (3, 4, 5))
    y = p_norm_max(jnp.asarray(x), 8.0)
    assert y.shape == (3, 4)
    assert float(y[2, 1]) == pytest.approx(float(p_norm_max(jnp.asarray(x[2, 1]), 8.0)), rel=1e-15)


def test_overlap_by_hand():
    """10 s of work and 4 s of traffic, p = 2: sum 14, norm sqrt(116) = 10.770; a quarter hidden leaves 13.193 s."""
    args = (jnp.asarray(10.0), jnp.asarray(4.0))
    assert float(overlapped(*args, 0.0, 2.0)) == 14.0
    assert float(overlapped(*args, 1.0, 2.0)) == pytest.approx(10.770, abs=1e-3)
    assert float(overlapped(*args, 0.25, 2.0)) == pytest.approx(0.75 * 14 + 0.25 * 116**0.5)


@given(times, maybe_zero, st.floats(0, 1), st.sampled_from(POWERS))
def test_overlap_lies_between_work_and_sum(work, other, eta, p):
    t = float(overlapped(jnp.asarray(work), jnp.asarray(other), eta, p))
    assert max(work, other) * (1 - 1e-12) <= t <= (work + other) * (1 + 1e-12)
    assert float(overlapped(jnp.asarray(work), jnp.asarray(0.0), eta, p)) == pytest.approx(work, rel=1e-12)
