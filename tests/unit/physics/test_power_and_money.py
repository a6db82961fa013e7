"""Power, yield and cost against hand calculations and published examples."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from dse.hardware.presets import chip
from dse.physics.money import bond_loss, die_cost_USD, inverse_yield, package_cost, total_USD
from dse.physics.power import foreign_frac, supply_V, throttled_s, voltage_limit
from dse.technology.presets import node, technology


@pytest.fixture
def tech():
    return technology("N5", "HBM3", "PCIe5")


def with_yield(tech, alpha, critical, defects_per_cm2):
    package = dataclasses.replace(tech.package, yield_clustering=alpha, critical_area_frac=critical)
    return dataclasses.replace(
        tech, package=package, node=dataclasses.replace(tech.node, defect_density_per_mm2=defects_per_cm2 / 100)
    )


@pytest.mark.parametrize(
    # N5 at D0 = 0.11 /cm2, clustering 10: 400 mm2 yields 0.650 and 814 mm2 yields 0.424 (Chiplet Actuary parameters)
    ("die_mm2", "good_frac"),
    [(400.0, 0.650), (814.0, 0.424)],
)
def test_negative_binomial_yield(tech, die_mm2, good_frac):
    t = with_yield(tech, 10.0, 1.0, 0.11)
    assert 1 / float(inverse_yield(jnp.asarray(die_mm2), t)) == pytest.approx(good_frac, abs=1e-3)


def test_no_defects_no_loss(tech):
    assert float(inverse_yield(jnp.asarray(800.0), with_yield(tech, 10.0, 1.0, 0.0))) == 1.0


def test_large_clustering_tends_to_poisson(tech):
    """1/Y -> exp(A D0) = exp(8 cm2 x 0.1 /cm2) as clustering vanishes."""
    t = with_yield(tech, 1e6, 1.0, 0.1)
    assert float(inverse_yield(jnp.asarray(800.0), t)) == pytest.approx(math.exp(0.8), rel=1e-5)


def test_die_cost_by_hand(tech):
    """Wafer price x area x (1 + saw loss) / usable wafer area, no defects."""
    t = with_yield(tech, 10.0, 1.0, 0.0)
    p = t.package
    by_hand = float(t.node.wafer_price_USD) * 500 * (1 + float(p.saw_loss_frac)) / float(p.wafer_usable_mm2)
    assert float(die_cost_USD(jnp.asarray(500.0), t)) == pytest.approx(by_hand)


def test_die_cost_grows_faster_than_area(tech):
    small, large = (float(die_cost_USD(jnp.asarray(a), tech)) for a in (400.0, 800.0))
    assert large > 2 * small


def test_dies_per_wafer_match_the_packing_formula(tech):
    """pi (R - e)^2 / A' - pi (2R - 2e) / sqrt(2 A'), R 150, e 5, scribe 0.2 mm, within 6 % from 400 to 850 mm2."""
    p = tech.package
    for area in (400.0, 600.0, 850.0):
        sawn = area + 0.4 * math.sqrt(area) + 0.04
        formula = math.pi * 145**2 / sawn - math.pi * 290 / math.sqrt(2 * sawn)
        ours = float(p.wafer_usable_mm2) / (area * (1 + float(p.saw_loss_frac)))
        assert ours == pytest.approx(formula, rel=0.06)


def test_bonding_loss_is_the_power_of_the_yield(tech):
    """Nine parts at 0.985: 1 / 0.985^9 - 1 = 14.6 % of everything on the interposer is lost."""
    c = dataclasses.replace(chip("b200"), n_dies=1.0, n_stacks=8.0)
    m = package_cost(c, jnp.asarray(800.0), bond_loss(tech), tech)
    before = float(m.dies_USD + m.hbm_USD + m.package_USD)
    y = float(tech.package.bond_yield_frac)
    assert float(m.loss_USD) / before == pytest.approx(y**-9 - 1, rel=1e-9)
    assert float(total_USD(m)) == pytest.approx(before + float(m.test_USD) + float(m.loss_USD))


def test_supply_solves_the_alpha_power_law():
    """f = k (V - Vth)^a / V with k from the nominal point, checked by plugging the answer back in."""
    n = dataclasses.replace(node("N3P"), minimum_V=0.5)
    v = float(supply_V(jnp.asarray(2.4e9), jnp.asarray(2.974e9), n))
    vn, vth, a = float(n.nominal_V), float(n.threshold_V), float(n.alpha)
    k = 2.974e9 * vn / (vn - vth) ** a
    assert k * (v - vth) ** a / v == pytest.approx(2.4e9, rel=1e-9)
    assert v < vn
    assert float(supply_V(jnp.asarray(2.4e9), jnp.asarray(2.974e9), node("N3P"))) == float(node("N3P").minimum_V) > v


def test_nvidia_5nm_points_lie_on_the_curve():
    """152 MHz at 0.46 V and 1,760 MHz at 1.05 V: a ratio of 11.58 with Vth 0.408 V and alpha 1.3."""
    n = dataclasses.replace(node("N5"), threshold_V=0.408, alpha=1.3, nominal_V=1.05, minimum_V=0.3, maximum_V=1.3)
    ratio = voltage_limit(jnp.asarray(152e6), jnp.asarray(0.46), jnp.asarray(1.76e9), n, jnp.asarray(1.05 - 0.408))
    assert float(ratio) == pytest.approx(1.0, abs=2e-3)


def test_throttled_step_draws_exactly_the_limit(tech):
    """500 J per step, 100 W static, 1,100 W with 10 % lost: 1,000 W delivered leave 900 W, so 0.5556 s."""
    t = dataclasses.replace(tech, package=dataclasses.replace(tech.package, voltage_loss_frac=0.1))
    args = (jnp.asarray(500.0), jnp.asarray(100.0))
    slow = float(throttled_s(jnp.asarray(0.1), *args, jnp.asarray(1100.0), t))
    assert slow == pytest.approx(500 / 900)
    assert (500 / slow + 100) * 1.1 == pytest.approx(1100.0)
    assert float(throttled_s(jnp.asarray(2.0), *args, jnp.asarray(1100.0), t)) == 2.0
    assert np.isinf(float(throttled_s(jnp.asarray(2.0), *args, jnp.asarray(50.0), t)))


@pytest.mark.parametrize(("n_dies", "share"), [(1.0, 0.0), (2.0, 0.5), (4.0, 0.75)])
def test_evenly_spread_memory_crosses_dies(n_dies, share):
    assert float(foreign_frac(jnp.asarray(n_dies))) == share
