"""Pipelines: depth 1 changes nothing, deeper ones by hand, convex in logs, and what a chip gains by one."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dse.hardware.presets import chip
from dse.physics.evaluate import chip_technology, silicon
from dse.physics.full_load import full_load_power_W
from dse.physics.pipeline import cycle_ratio, datapath_ratio


def test_ratios_by_hand():
    # twice the stages: 0.9 / 2 + 0.1 of the cycle; 2^1.1 = 2.1435 of the registers, a quarter of the datapath
    assert float(cycle_ratio(np.float64(1))) == 1.0 == float(datapath_ratio(np.float64(1)))
    assert float(cycle_ratio(np.float64(2.0))) == pytest.approx(0.55)
    assert float(datapath_ratio(np.float64(2.0))) == pytest.approx(0.75 + 0.25 * 2.143547)
    assert float(cycle_ratio(np.float64(1e9))) == pytest.approx(0.1)  # registers alone


@pytest.mark.parametrize("ratio", [cycle_ratio, datapath_ratio])
def test_ratios_are_convex_in_logs(ratio):
    a, b = np.random.default_rng(0).uniform(-1, 1, (2, 1000))
    middle, ends = np.log(ratio(np.exp((a + b) / 2))), (np.log(ratio(np.exp(a))) + np.log(ratio(np.exp(b)))) / 2
    assert (middle <= ends + 1e-12).all() and (middle < ends - 1e-6).any()


def test_a_deeper_pipeline_needs_less_supply_and_more_silicon():
    """Half as many stages again give A100's clock at less supply; at the same supply datapaths burn and cover more."""
    shallow = chip("a100-40")
    deep = dataclasses.replace(shallow, pipeline_depth=jnp.asarray(1.5))
    tech = chip_technology(shallow)
    before, after = silicon(shallow, tech), silicon(deep, tech)
    assert float(after.supply_V) < float(before.supply_V)
    assert float(after.area.tensor_mm2 / before.area.tensor_mm2) == pytest.approx(0.75 + 0.25 * 1.5**1.1)
    assert float(after.area.sram_mm2) == float(before.area.sram_mm2)
    load = [full_load_power_W(c, tech, "bf16", before.area, before.die_mm2, before.supply_V) for c in (shallow, deep)]
    assert float(load[1]["tensor"] / load[0]["tensor"]) == pytest.approx(0.75 + 0.25 * 1.5**1.1)
    assert float(load[1]["hbm"]) == float(load[0]["hbm"])
