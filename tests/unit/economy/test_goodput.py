"""Goodput: Daly's complete model by hand, its first order, its limits, spares, and the walker's verdict."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from dse.economy.reliability import (
    first_order_goodput_frac,
    n_spare_units,
    provision,
    repeats,
    slowdown,
    sparing,
)
from dse.optimize.curvature import curvature

f = jnp.asarray
rates = st.floats(1e-9, 1e-3)
times = st.floats(0.1, 1000.0)


def test_llama_3_by_hand():
    """M = 3.09 h = 11,124 s, w = 20 s, R = 600 s: tau = sqrt(2 x 20 x 11,124) = 667 s.

    e^(600/11124) = 1.05542; e^(687.05/11124) - 1 = 0.063710; x 11,124 / 667.05 = 1.06246; together 1.12134,
    so 89.2 % of the time is useful. First order: 1 - 6.0 % - 5.4 % = 88.6 %.
    """
    rate = 1 / 11_124
    exact = 1 / float(slowdown(f(rate), f(20.0), f(600.0)))
    assert exact == pytest.approx(1 / 1.12134, abs=2e-5)
    tau = math.sqrt(2 * 20 * 11_124)
    first = float(first_order_goodput_frac(f(tau), f(rate), f(20.0), f(600.0)))
    # (1 - (600 + 333.5) / 11,124) / (1 + 20 / 667) = 0.91608 / 1.02998 = 0.8894
    assert first == pytest.approx(0.8894, abs=1e-4)


def printed(interval, rate, write, restart):
    m = 1 / rate
    return m * math.exp(restart / m) * math.expm1((interval + write) / m) / interval


@given(rates, times, times)
def test_against_the_formula_as_printed(rate, write, restart):
    """M e^(R/M) (e^((tau + w)/M) - 1) / tau, where it does not overflow."""
    young = math.sqrt(2 * write / rate)
    assert float(slowdown(f(rate), f(write), f(restart))) == pytest.approx(
        printed(young, rate, write, restart), rel=1e-9
    )


@given(rates, times, times, st.floats(0.2, 5.0))
def test_young_is_near_the_best_interval(rate, write, restart, factor):
    """Another interval is better by a few per cent of the overhead at most, while w is well below M."""
    if write * rate < 0.02:
        tau = math.sqrt(2 * write / rate)
        other = printed(tau * factor, rate, write, restart)
        young = float(slowdown(f(rate), f(write), f(restart)))
        assert young - 1 <= (other - 1) * 1.1 + 1e-12


@given(rates, times, times, st.floats(1.001, 3.0))
def test_more_failures_longer_writes_and_restarts_never_help(rate, write, restart, growth):
    base = float(slowdown(f(rate), f(write), f(restart)))
    assert base >= 1
    for more in ((rate * growth, write, restart), (rate, write * growth, restart), (rate, write, restart * growth)):
        assert float(slowdown(*map(f, more))) > base


def test_limits():
    """No failures: nothing lost. Nothing to save: only restarts. Exact, with finite gradients."""
    assert float(slowdown(f(0.0), f(20.0), f(600.0))) == 1.0
    assert float(slowdown(f(1e-4), f(0.0), f(600.0))) == pytest.approx(math.exp(0.06))
    slope = jax.grad(lambda rate: slowdown(rate, f(0.0), f(600.0)))(f(1e-4))
    assert float(slope) == pytest.approx(600 * math.exp(0.06))
    assert float(provision(f(0.0), f(64.0), f(1000.0))) == 1.0
    assert float(n_spare_units(f(0.0), f(1000.0), f(86_400.0), sparing(f(0.999)))) == 0.0


@given(st.floats(1e-6, 3.0))
def test_series_is_expm1_over_x(x):
    assert float(repeats(f(x))) == pytest.approx(math.expm1(x) / x, rel=1e-12)


def test_gradient_is_the_finite_difference():
    at, step = 1e-4, 1e-9
    grad = float(jax.grad(lambda x: slowdown(x, f(20.0), f(600.0)))(f(at)))
    ends = [float(slowdown(f(at + s), f(20.0), f(600.0))) for s in (step, -step)]
    assert grad == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_spares_by_hand():
    """16,384 chips, 1e-5 hardware failures per hour, one day of repair: 3.93 in repair. 99.9 % is z = 3.09, so that
    3.93 + 3.09 x 1.983 + (9.55 - 1)/6 x 3.93^(1/8) = 3.93 + 6.13 + 1.69 = 11.75 units.

    A host of 8 each: 94 chips, 0.57 %; a block of 64 each: 752 chips, 4.6 %.
    """
    units = float(n_spare_units(f(1e-5 / 3600), f(16_384.0), f(86_400.0), sparing(f(0.999))))
    assert units == pytest.approx(11.75, abs=0.01)
    assert float(provision(f(units), f(8.0), f(16_384.0))) == pytest.approx(1.00574, abs=1e-5)
    assert float(provision(f(units), f(64.0), f(16_384.0))) == pytest.approx(1.0459, abs=1e-4)


@pytest.mark.parametrize("covered", [0.98, 0.999, 0.9999])
@pytest.mark.parametrize("n_units", [64, 1024])
def test_spares_are_those_of_the_binomial(n_units, covered):
    """The least whole number of spares that those in repair exceed in 1 - A of the time, by the exact distribution.

    By hand: 64 blocks, each in repair with 1.5 %: 0.96 in the mean, and P(X > 4) = 0.28 %, P(X > 5) = 0.05 %: five.
    """
    assert binom.ppf(0.999, 64, 0.015) == 5.0
    for down in (1e-5, 1e-4, 1e-3, 0.005, 0.015):
        mean = n_units * -math.log1p(-down)
        ours = float(n_spare_units(f(mean), f(1.0), f(1.0), sparing(f(covered))))
        assert abs(ours - binom.ppf(covered, n_units, down)) < 1.3, (down, ours)


def test_membership_is_proved():
    x = {"rate": np.asarray(1.0), "write": np.asarray(1.0)}
    fn = lambda v, c: slowdown(v["rate"], v["write"], c["restart"])  # noqa: E731
    (verdict,) = curvature(fn, x, {"restart": np.asarray(600.0)})
    assert verdict.is_convex, str(verdict)
    fn = lambda v, c: provision(n_spare_units(v["rate"], c["n"], c["t"], c["z"]), c["b"], c["n"])  # noqa: E731
    (verdict,) = curvature(fn, x, {k: np.asarray(2.0) for k in ("n", "t", "b")} | {"z": sparing(f(0.999))})
    assert verdict.is_convex, str(verdict)
    # the first-order form subtracts, and is rightly refused
    (verdict,) = curvature(lambda v, c: first_order_goodput_frac(f(1.0), v["rate"], v["write"], f(1.0)), x, {})
    assert not verdict.is_convex
