"""Waits and peaks by hand, in the units of the books."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from dse.core.counts import n_peak
from dse.serving.steady import mean_wait_s, n_accepted_tokens, settling_s, wait_quantile_s


def f(x: float):
    return jnp.asarray(x, dtype=float)


def test_mean_wait_of_constant_and_exponential_service():
    """rho = 0.8, S = 10 ms. M/D/1: 0.8 x 10 / (2 x 0.2) = 20 ms; M/M/1: rho S / (1 - rho) = 40 ms."""
    assert float(mean_wait_s(f(0.010), f(0.0), f(0.8))) == pytest.approx(0.020)
    assert float(mean_wait_s(f(0.010), f(1.0), f(0.8))) == pytest.approx(0.040)


def test_no_wait_at_no_load_and_no_end_at_full_load():
    assert float(mean_wait_s(f(0.010), f(0.0), f(0.0))) == 0.0
    assert float(wait_quantile_s(f(0.010), f(0.0), f(0.0), f(0.95))) == 0.0
    for load in (1.0, 1.2):
        assert math.isinf(float(mean_wait_s(f(0.010), f(0.0), f(load))))
        assert math.isinf(float(wait_quantile_s(f(0.010), f(0.0), f(load), f(0.95))))


def test_a_queue_settles_the_slower_the_fuller():
    """rho = 0.81, S = 10 ms: 10 / (1 - 0.9)^2 = 1 s; at no load one service; never from full load on."""
    assert float(settling_s(f(0.010), f(0.81))) == pytest.approx(1.0)
    assert float(settling_s(f(0.010), f(0.0))) == pytest.approx(0.010)
    assert math.isinf(float(settling_s(f(0.010), f(1.0))))


def test_quantile_is_exact_for_exponential_service():
    """M/M/1: P(wait > w) = rho exp(-(1 - rho) w / S). At rho = 0.8, S = 10 ms, 5 %: 50 ms x ln 16 = 138.6 ms."""
    w = float(wait_quantile_s(f(0.010), f(1.0), f(0.8), f(0.95)))
    assert w == pytest.approx(0.050 * math.log(16))
    assert 0.8 * math.exp(-0.2 * w / 0.010) == pytest.approx(0.05)


def test_quantile_of_constant_service_against_a_simulated_queue():
    """The exponential tail of M/D/1 at rho = 0.8 against Lindley's recursion, 400,000 customers."""
    rng = np.random.default_rng(3)
    gaps, service, waits, w = rng.exponential(1.0 / 0.8, 400_000), 1.0, [], 0.0
    for gap in gaps:
        waits.append(w)
        w = max(w + service - gap, 0.0)
    for q in (0.9, 0.95, 0.99):
        assert float(wait_quantile_s(f(service), f(0.0), f(0.8), f(q))) == pytest.approx(np.quantile(waits, q), rel=0.1)


def test_peak_of_a_poisson_number():
    """Mean 100: 95 % stay below 100 + 1.645 x 10 = 116.4; the exact quantile of Poisson(100) is 117."""
    assert float(n_peak(f(100.0), ndtri(0.95))) == pytest.approx(116.45, abs=0.01)
    draws = np.random.default_rng(0).poisson(100, 100_000)
    assert float(n_peak(f(100.0), ndtri(0.95))) == pytest.approx(np.quantile(draws, 0.95), abs=1.5)
    assert float(n_peak(f(100.0), ndtri(0.5))) == pytest.approx(100.0)


def test_accepted_tokens():
    """a = 0.8, g = 4: (1 - 0.8^5) / 0.2 = 3.3616. Nothing drafted or nothing accepted is plain decoding."""
    assert float(n_accepted_tokens(f(0.8), 4)) == pytest.approx(3.3616)
    assert float(n_accepted_tokens(f(0.8), 0)) == 1.0
    assert float(n_accepted_tokens(f(0.0), 7)) == 1.0
    assert float(n_accepted_tokens(f(1.0), 4)) == 5.0


@given(st.floats(0.01, 0.98), st.floats(0.0, 3.0), st.floats(0.51, 0.99))
def test_waits_grow_with_load_and_have_a_finite_gradient(load, cv2, q):
    for wait in (
        lambda x: mean_wait_s(f(0.02), f(cv2), x),
        lambda x: wait_quantile_s(f(0.02), f(cv2), x, f(q)),
    ):
        slope = float(jax.grad(wait)(f(load)))
        assert slope >= 0 and math.isfinite(slope)


@pytest.mark.parametrize("load", [1.0 - 1e-15, 1.0, 1.0 + 1e-15])
def test_a_load_that_rounds_to_one_has_no_steady_state(load):
    """Little's law can return 1 to the last digit, less or more by rounding alone: the queue grows without end."""
    assert np.isinf(float(mean_wait_s(f(1.0), f(0.0), f(load)))) and np.isinf(
        float(wait_quantile_s(f(1.0), f(0.0), f(load), f(0.95)))
    )
    assert np.isfinite(float(wait_quantile_s(f(1.0), f(0.0), f(1.0 - 1e-6), f(0.95))))
