"""Areas by hand: every block of Trainium2, its shoreline, and how blocks grow."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dse.hardware.presets import chip
from dse.physics.area import (
    block_areas,
    die_area_mm2,
    die_edge_mm,
    extra_precisions,
    interposer_mm2,
    pe_area_mm2,
    shoreline_mm,
    total_area_mm2,
)
from dse.technology.node import ByPrecision
from dse.technology.presets import node, node_names, technology


@pytest.fixture
def tech():
    """Round numbers, so that every block is a calculation in the head."""
    t = technology("N5", "HBM3", "PCIe5")
    node = dataclasses.replace(
        t.node, pe_area_mm2=ByPrecision(1e-3, 5e-4, 2e-4, 1e-4), extra_precision_area_frac=0.1, placement_frac=0.5,
        scratchpad_area_mm2_per_B=1e-6, cache_area_mm2_per_B=2e-6, local_sram_area_mm2_per_B=3e-6,
        simd_lane_area_mm2=1e-3, simt_lane_area_mm2=5e-3, core_port_area_mm2=0.25, dma_area_mm2_per_Bps=1e-12,
        product_area_frac=0.25,
    )  # fmt: skip
    package = dataclasses.replace(t.package, noc_area_frac=0.1, misc_area_frac=0.05)
    memory = dataclasses.replace(t.memory, phy_area_mm2=15.0, shoreline_mm=7.0, footprint_mm2=121.0)
    link = dataclasses.replace(t.link, area_mm2_per_Bps=1e-10, shoreline_mm_per_Bps=1e-11)
    d2d = dataclasses.replace(t.die_to_die, area_mm2_per_Bps=2e-12, shoreline_mm_per_Bps=1e-12)
    return dataclasses.replace(t, node=node, package=package, memory=memory, link=link, die_to_die=d2d)


@pytest.fixture
def npu():
    """8 cores of 128 x 128, 1,000 lanes, 16 MB and 2 MB of SRAM, 0.5 TB/s DMA, 4 stacks, 0.6 TB/s links, 2 dies."""
    c = chip("trainium2")
    core = dataclasses.replace(
        c.core, vector_lanes=1000.0, scratchpad_B=16e6, local_sram_B=2e6, dma_bandwidth_Bps=0.5e12
    )
    return dataclasses.replace(
        c, core=core, n_cores=8.0, spare_frac=0.0, n_stacks=4.0, n_dies=2.0,
        scaleup_bandwidth_per_dir_Bps=0.6e12, die_to_die_bandwidth_Bps=1.5e12,
    )  # fmt: skip


def blocks(c, t):
    return {k.removesuffix("_mm2"): float(v) for k, v in block_areas(c, t).__dict__.items()}


def test_blocks_by_hand(npu, tech):
    """PEs: 131,072 x max(.25 x 1e-3, 1 x 5e-4, 2 x 2e-4) x (1 + .1 x 2 further precisions) / .5 = 157.3 mm2."""
    b = blocks(npu, tech)
    assert b["tensor"] == pytest.approx(131_072 * 5e-4 * 1.2 / 0.5)
    assert b["vector"] == pytest.approx(8 * 1000 * 1e-3 / 0.5)
    assert b["control"] == pytest.approx(8 * (0.25 + 0.5) / 0.5)
    assert b["sram"] == pytest.approx(8 * 16.0)
    assert b["local_sram"] == pytest.approx(8 * 6.0)
    assert b["hbm"] == pytest.approx(60.0)
    assert b["link"] == pytest.approx(60.0)
    assert b["die_to_die"] == pytest.approx(3.0)
    inner = sum(b[k] for k in ("tensor", "vector", "control", "sram", "local_sram", "hbm", "link", "die_to_die"))
    assert b["network"] == pytest.approx(0.1 * inner) and b["misc"] == pytest.approx(0.05 * inner)
    assert float(total_area_mm2(block_areas(npu, tech))) == pytest.approx(1.15 * inner)
    assert float(die_area_mm2(npu, tech)) == pytest.approx(1.15 * inner / 2)


def test_spare_cores_cost_area(npu, tech):
    """A quarter more physical cores: tensor, vector, control and SRAM grow by a quarter, PHYs do not."""
    more, base = blocks(dataclasses.replace(npu, spare_frac=0.25), tech), blocks(npu, tech)
    for name in ("tensor", "vector", "control", "sram", "local_sram"):
        assert more[name] == pytest.approx(1.25 * base[name])
    assert (more["hbm"], more["link"], more["die_to_die"]) == (base["hbm"], base["link"], base["die_to_die"])


def test_gpus_pay_for_threads_and_tags(npu, tech):
    """SIMT lanes and hardware caches are priced by their own coefficients: 5x and 2x here."""
    gpu = blocks(dataclasses.replace(npu, lane_kind="simt", sram_kind="cache"), tech)
    base = blocks(npu, tech)
    assert gpu["vector"] == pytest.approx(5 * base["vector"])
    assert gpu["sram"] == pytest.approx(2 * base["sram"])


@pytest.mark.parametrize(
    # 1 + g (k - 1): the widest precision alone costs nothing extra, and an array without any does not go below 1
    ("rates", "factor"),
    [([0, 1, 0, 0], 1.0), ([0.25, 1, 0, 0], 1.1), ([0.25, 1, 4, 0], 1.2), ([0.25, 1, 4, 8], 1.3), ([0, 0, 0, 0], 1.0)],
)
def test_further_precisions_grow_a_pe(rates, factor):
    assert float(extra_precisions(jnp.asarray(rates, dtype=float), jnp.asarray(0.1))) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("fp8", "fp4", "products", "area"),
    [
        (2, 8, "float", 5e-4),  # 2e-4 (1 + 1 x .25) and 1e-4 (1 + 7 x .25) hide in bf16's datapath
        (12, 8, "float", 7.5e-4),  # 2e-4 (1 + 11 x .25)
        (2, 24, "float", 6.75e-4),  # 1e-4 (1 + 23 x .25)
        (2, 8, "integer", 5e-4),  # 2 x 2e-4
        (4, 8, "integer", 8e-4),  # 4 x 2e-4: integers share no sum
        (4, 8, "both", 8e-4),
        (0.5, 8, "float", 5e-4),
    ],
)
def test_one_datapath_serves_all_precisions(npu, tech, fp8, fp4, products, area):
    """fp32 at a quarter of 1e-3 mm2 and bf16 at 5e-4; 8 and 4 bits of 2e-4 and 1e-4, each further product a quarter."""
    rates = dataclasses.replace(npu.core.tensor.macs_per_cycle, fp8=float(fp8), fp4=float(fp4))
    engine = dataclasses.replace(npu.core.tensor, macs_per_cycle=rates, narrow_products=products)
    assert float(pe_area_mm2(engine, tech.node)) == pytest.approx(area * 1.3)
    core = dataclasses.replace(npu.core, tensor=engine)
    assert blocks(dataclasses.replace(npu, core=core), tech)["tensor"] == pytest.approx(131_072 * area * 1.3 / 0.5)


@pytest.mark.parametrize("name", node_names())
def test_four_products_of_fp8_take_the_room_of_one_of_bf16(name):
    """An 8-bit significand's multiplier splits into four of 4 bits, and alignment and accumulator serve all of them."""
    area, share = node(name).pe_area_mm2, float(node(name).product_area_frac)
    assert float(area.fp8) * (1 + 3 * share) == pytest.approx(float(area.bf16), rel=0.01)


def test_vector_memory_that_holds_tiles_is_scratchpad_with_ports(npu, tech):
    """16 MB at 1 mm2/MB, 2 MB at 3, and half of 3 more for the 4 MB of the sixteen that lanes work on: 8 cores."""
    ported = dataclasses.replace(tech, node=dataclasses.replace(tech.node, near_extra_frac=0.5))
    near = dataclasses.replace(npu, core=dataclasses.replace(npu.core, near_sram_B=4e6))
    plain, more = block_areas(npu, ported), block_areas(near, ported)
    assert float(more.sram_mm2) == float(plain.sram_mm2) == pytest.approx(8 * 16)
    assert float(plain.local_sram_mm2) == pytest.approx(8 * 2 * 3)
    assert float(more.local_sram_mm2) == pytest.approx(8 * (2 + 4 * 0.5) * 3)


@pytest.mark.parametrize("name", node_names())
def test_ports_of_vector_memory_are_what_it_takes_beyond_a_scratchpad(name):
    n = node(name)
    extra = float(n.near_extra_frac * n.local_sram_area_mm2_per_B)
    assert extra == pytest.approx(float(n.local_sram_area_mm2_per_B - n.scratchpad_area_mm2_per_B), rel=2e-3)


def test_shoreline_by_hand(npu, tech):
    """4 x 7 mm of HBM, 0.6e12 x 1e-11 = 6 mm of links, 1.5e12 x 1e-12 = 1.5 mm die to die, over 2 dies: 17.75 mm."""
    assert float(shoreline_mm(npu, tech)) == pytest.approx(17.75)


def test_die_edge_by_hand(tech):
    """A square of 400 mm2 has 80 mm of edge, 0.85 of it usable; a 2:1 die of the same area 6 % more."""
    square = dataclasses.replace(tech.package, die_aspect=1.0, shoreline_usable_frac=0.85)
    oblong = dataclasses.replace(square, die_aspect=2.0)
    assert float(die_edge_mm(jnp.asarray(400.0), square)) == pytest.approx(68.0)
    # 2 (28.28 + 14.14) = 84.85 mm
    assert float(die_edge_mm(jnp.asarray(400.0), oblong)) == pytest.approx(0.85 * 84.853, rel=1e-4)


def test_interfaces_can_set_the_die_size(npu, tech):
    """16 stacks on a small chip: the die grows until its edge carries them, exactly."""
    c = dataclasses.replace(npu, n_stacks=16.0, core=dataclasses.replace(npu.core, scratchpad_B=1e6))
    tech = dataclasses.replace(tech, memory=dataclasses.replace(tech.memory, phy_area_mm2=1.0, shoreline_mm=15.0))
    die = die_area_mm2(c, tech)
    assert float(die) > float(total_area_mm2(block_areas(c, tech))) / 2
    assert float(die_edge_mm(die, tech.package)) == pytest.approx(float(shoreline_mm(c, tech)))


def test_interposer_by_hand(npu, tech):
    """1.1 x (2 x 400 + 4 x 121) = 1,412 mm2."""
    assert float(interposer_mm2(npu, jnp.asarray(400.0), tech)) == pytest.approx(1.1 * 1284)


def test_denser_nodes_shrink_logic_more_than_phys():
    c = chip("trainium2")
    old, new = (blocks(c, technology(n, "HBM3", "PCIe5")) for n in ("N7", "N3E"))
    assert new["tensor"] < 0.5 * old["tensor"]
    assert 0.6 < new["sram"] / old["sram"] < 0.9
    assert new["hbm"] == old["hbm"]


def test_areas_are_positive_for_every_preset():
    for name in ("trainium1", "trainium2", "trainium3", "a100-80", "h100", "tpu-v4"):
        c = chip(name)
        b = blocks(c, technology(c.node, c.hbm, c.link))
        assert all(np.isfinite(v) and v >= 0 for v in b.values())
        assert min(b[k] for k in b if k != "die_to_die") > 0
