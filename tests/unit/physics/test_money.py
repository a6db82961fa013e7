"""Yield and cost by hand: the published example, dies per wafer, and what a larger die costs."""

import dataclasses
import math

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.hardware.presets import chip
from dse.physics.money import bond_loss, die_cost_USD, inverse_yield, package_cost, total_USD
from dse.technology.presets import node_names, technology


@pytest.fixture
def actuary():
    """N5 as in [feng2022actuary]: D0 0.11 per cm2, clustering 10, no harvesting, 16,988 USD a wafer."""
    t = technology("N5", "HBM3", "PCIe5")
    package = dataclasses.replace(t.package, yield_clustering=10.0, critical_area_frac=1.0)
    return dataclasses.replace(
        t,
        package=package,
        node=dataclasses.replace(t.node, defect_density_per_mm2=0.11 / 100, wafer_price_USD=16_988.0),
    )


def test_a_reticle_sized_die_at_n5_yields_42_percent(actuary):
    """814 mm2: (1 + 8.14 x 0.11 / 10)^-10 = 1.08954^-10 = 0.424."""
    assert 1 / float(inverse_yield(jnp.asarray(814.0), actuary)) == pytest.approx(0.424, abs=5e-4)


def test_harvesting_rescues_the_rest(actuary):
    """With a fifth of the area critical: (1 + 8.14 x 0.2 x 0.11 / 10)^-10 = 0.837, as GPUs sold with spare SMs."""
    t = dataclasses.replace(actuary, package=dataclasses.replace(actuary.package, critical_area_frac=0.2))
    assert 1 / float(inverse_yield(jnp.asarray(814.0), t)) == pytest.approx(0.837, abs=1e-3)


def test_dies_per_wafer(actuary):
    """814 mm2, about 28.5 x 28.5 mm: 60 to 63 whole dies on a 300 mm wafer with 5 mm edge; ours 60.3."""
    p = actuary.package
    per_wafer = float(p.wafer_usable_mm2) / (814 * (1 + float(p.saw_loss_frac)))
    assert 58 <= per_wafer <= 64


def test_die_cost_by_hand(actuary):
    """16,988 USD / 60.3 dies / 0.424 = 664 USD."""
    assert float(die_cost_USD(jnp.asarray(814.0), actuary)) == pytest.approx(16_988 / 60.3 / 0.424, rel=3e-3)


@given(st.floats(1.0, 858.0), st.floats(1.01, 4.0), st.sampled_from(node_names()))
def test_cost_grows_faster_than_area(area, growth, node):
    t = technology(node, "HBM3", "PCIe5")
    small, large = (float(die_cost_USD(jnp.asarray(a), t)) for a in (area, area * growth))
    assert large > growth * small


@given(st.floats(1.0, 3000.0), st.floats(0.5, 50.0), st.floats(0.0, 1.0))
def test_yield_lies_between_poisson_and_one(area, clustering, critical):
    """Clustering only helps: 1 <= 1/Y <= exp(A c D0)."""
    t = technology("N5", "HBM3", "PCIe5")
    package = dataclasses.replace(t.package, yield_clustering=clustering, critical_area_frac=critical)
    t = dataclasses.replace(t, package=package)
    y = float(inverse_yield(jnp.asarray(area), t))
    assert 1 <= y <= math.exp(area * critical * float(t.node.defect_density_per_mm2)) * (1 + 1e-12)


def test_package_by_hand():
    """2 dies of 500 mm2, 8 stacks of 24 GiB, 0.4 and 0.03 USD/mm2, bonds at 0.99, test 700 USD.

    Interposer 1.1 x (1,000 + 8 x 121) = 2,164.8 mm2: 930.9 USD. HBM 206.2 GB x 17 USD/GB = 3,505 USD.
    Ten bonds: 1 / 0.99^10 - 1 = 10.57 % of all that stands on the interposer is lost.
    """
    t = technology("N5", "HBM3", "PCIe5")
    package = dataclasses.replace(
        t.package, interposer_margin=1.1, interposer_USD_per_mm2=0.4, substrate_USD_per_mm2=0.03, bond_yield_frac=0.99,
        test_assembly_USD=700.0,
    )  # fmt: skip
    memory = dataclasses.replace(t.memory, footprint_mm2=121.0, price_USD_per_B=17e-9)
    t = dataclasses.replace(t, package=package, memory=memory)
    c = dataclasses.replace(chip("trainium3"), n_dies=2.0, n_stacks=8.0, hbm_capacity_B=8 * 24 * 2.0**30)
    m = package_cost(c, jnp.asarray(500.0), bond_loss(t), t)
    assert float(m.package_USD) == pytest.approx(930.9, abs=0.1)
    assert float(m.hbm_USD) == pytest.approx(3505, abs=1)
    assert float(m.dies_USD) == pytest.approx(2 * float(die_cost_USD(jnp.asarray(500.0), t)))
    before = float(m.dies_USD + m.hbm_USD + m.package_USD)
    assert float(m.loss_USD) == pytest.approx(0.1057 * before, rel=1e-3)
    assert float(total_USD(m)) == pytest.approx(before * 1.1057 + 700, rel=1e-4)


def test_memory_on_the_board_is_not_lost_with_a_bond():
    """MTIA v2: one die bonded at 99.8 %, of 16 LPDDR5 channels beside the package none: 0.2 % of die and package.

    Before: 17 bonds that also cost the 512 USD of memory, 24 USD.
    """
    c = chip("mtia-v2")
    t = technology(c.node, c.hbm, c.link, package=c.package)
    money = package_cost(c, jnp.asarray(421.0), bond_loss(t), t)
    assert float(money.loss_USD) == pytest.approx((1 / 0.998 - 1) * float(money.dies_USD + money.package_USD))


def test_perfect_bonds_lose_nothing():
    t = technology("N5", "HBM3", "PCIe5")
    assert float(package_cost(chip("h100"), jnp.asarray(814.0), jnp.asarray(0.0), t).loss_USD) == 0.0
