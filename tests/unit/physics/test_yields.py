"""Yield laws, harvesting and dies per wafer by hand, and their limits."""

import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from dse.physics.yields import (
    Harvest,
    good_frac,
    harvested_frac,
    n_dies_per_wafer,
    tail_frac,
)

f = jnp.asarray

UNCLUSTERED = 1e9


@pytest.mark.parametrize(
    ("clustering", "expected"),
    [
        # 8.14 cm2 x 0.11 per cm2 = 0.8954 defects, hardly clustered: exp(-0.8954) = 0.408
        (UNCLUSTERED, 0.408),
        # (1 + 0.8954 / 10)^-10 = 1.08954^-10 = 0.424
        (10.0, 0.424),
        # (1 + 0.8954 / 3)^-3 = 1.29847^-3 = 0.457
        (3.0, 0.457),
    ],
)
def test_a_reticle_sized_die_at_n5(clustering, expected):
    assert float(good_frac(f(814.0), f(0.11 / 100), f(clustering))) == pytest.approx(expected, abs=5e-4)


@given(st.floats(1.0, 858.0), st.floats(1e-4, 0.01), st.floats(0.5, 50.0))
def test_clustering_keeps_its_order_and_limit(area, defects, clustering):
    """Independent defects, exp(-A D), leave the fewest dies; clustering to infinity is that law."""
    independent = math.exp(-area * defects)
    assert independent <= float(good_frac(f(area), f(defects), f(clustering))) + 1e-12 < 1
    assert float(good_frac(f(area), f(defects), f(UNCLUSTERED))) == pytest.approx(independent, rel=1e-5)


@given(st.floats(0.5, 0.9999), st.integers(1, 200), st.integers(0, 30))
def test_tail_is_the_binomial_sum(unit, n, spare):
    """The incomplete beta against scipy's sum over 0 to s bad units."""
    if spare < n:
        assert float(tail_frac(f(unit), f(float(n)), f(float(spare)))) == pytest.approx(
            binom.cdf(spare, n, 1 - unit), abs=1e-9
        )


def test_tail_by_hand():
    """Two units, one spare, y = 0.9: 0.81 + 2 x 0.9 x 0.1 = 0.99. No spare: 0.81."""
    assert float(tail_frac(f(0.9), f(2.0), f(1.0))) == pytest.approx(0.99)
    assert float(tail_frac(f(0.9), f(2.0), f(0.0))) == pytest.approx(0.81)


def test_harvesting_by_hand():
    """100 mm2 at 0.002 per mm2, unclustered; half the die is two units with one spare.

    Fixed half: exp(-0.1) = 0.90484. Unit of 25 mm2: y = exp(-0.05) = 0.95123; at most one bad of two:
    y^2 + 2 y (1 - y) = 0.90484 + 0.09278 = 0.99762. Together 0.90268. Without spares exp(-0.2) = 0.81873.
    """
    law, group = f(UNCLUSTERED), Harvest(2.0, 1.0, 0.5)
    assert float(harvested_frac(law, f(100.0), f(0.002), (group,))) == pytest.approx(0.90268, abs=2e-5)
    assert float(harvested_frac(law, f(100.0), f(0.002), ())) == pytest.approx(0.81873, abs=1e-5)
    none = Harvest(2.0, 0.0, 0.5)
    assert float(harvested_frac(law, f(100.0), f(0.002), (none,))) == pytest.approx(0.81873, abs=1e-5)


@given(st.floats(1.0, 10.0), st.floats(0.5, 8.0))
def test_more_spares_never_yield_less(spare, more):
    """Fractional spares too, with a gradient."""
    law = f(10.0)

    def good(s):
        return harvested_frac(law, f(814.0), f(0.001), (Harvest(144.0, s, 0.58),))

    assert float(good(f(spare + more))) >= float(good(f(spare))) - 1e-12
    slope = jax.grad(lambda d: harvested_frac(law, f(814.0), d, (Harvest(144.0, spare, 0.58),)))(f(0.001))
    assert float(slope) < 0


def test_dies_per_wafer_by_hand():
    """814 mm2, s = 0.2 mm: A' = 814 + 0.4 x 28.531 + 0.04 = 825.45 mm2.

    pi 145^2 / 825.45 = 66,052 / 825.45 = 80.02; pi 290 / sqrt(1650.9) = 911.06 / 40.631 = 22.42; 57.6 dies.
    """
    assert float(n_dies_per_wafer(f(814.0), f(150.0), f(5.0), f(0.2))) == pytest.approx(57.6, abs=0.05)
    assert math.isclose(float(n_dies_per_wafer(f(400.0), f(150.0), f(5.0), f(0.2))), 130.0, abs_tol=0.1)
