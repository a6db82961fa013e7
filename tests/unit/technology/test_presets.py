"""Technology data: complete, inside its ranges, monotone where nature is, and equal to hand arithmetic."""

import dataclasses
import math
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

import dse
from dse.core.errors import ReceiptError, UnknownNameError
from dse.technology import presets
from dse.technology.node import PRECISIONS, Node

ROOT = Path(dse.__file__).parent
MAKERS = {"node": presets.node, "memory": presets.memory, "link": presets.link, "package": presets.package}
EVERYTHING = [(kind, name) for kind in MAKERS for name in presets.names(kind)]


BY_AGE = ("N16", "N7", "N6", "N5", "N4", "N3E", "N3P", "N2", "A16")
"""Nodes from old to new; the data file keeps the order in which they were added."""


def test_the_promised_names_exist():
    assert sorted(presets.node_names()) == sorted(BY_AGE)
    assert {"HBM2E", "HBM3", "HBM3E", "HBM4", "HBM4E"} <= set(presets.memory_names())
    assert {"PCIe5", "PCIe6", "NVLink3", "NVLink4", "NVLink5", "ICI", "SerDes112G", "SerDes224G"} <= set(
        presets.link_names()
    )
    assert {"UCIe-S", "UCIe-A", "NV-HBI"} <= set(presets.link_names())
    assert presets.package_names() == ("CoWoS-S", "CoWoS-L", "CoWoS-L-2027", "FCBGA")


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_every_record_is_complete_positive_and_inside_its_ranges(kind: str, name: str):
    record = MAKERS[kind](name)
    assert record.name == name
    facts = presets.receipts(kind, name)
    for fact in facts:
        assert isinstance(fact.value, float)
        assert 0 <= fact.low <= fact.value <= fact.high, fact.name
        assert fact.where, f"{fact.name} does not say where"
    # every fact fills a field: by precision four facts fill one
    n_fields = len(dataclasses.fields(record)) - 1
    n_by_precision = 2 if kind == "node" else 0
    assert len(facts) == n_fields + n_by_precision * (len(PRECISIONS) - 1)


def test_n7_by_hand():
    node = presets.node("N7")
    assert float(node.pe_area_mm2.bf16) == pytest.approx(670e-6)  # 670 um2
    assert float(node.mac_energy_J.bf16) == pytest.approx(0.72e-12)
    # 112 mm2 / 128 MiB = .875 mm2/MiB is the anchor; .8 is the table's choice below it
    assert float(node.scratchpad_area_mm2_per_B) * 2**20 == pytest.approx(0.8)
    # A100: 119.31 mm2 / 48 MiB
    assert float(node.cache_area_mm2_per_B) * 2**20 == pytest.approx(119.31 / 48, rel=1e-3)
    # TPUv4i: 51 mm2 / 16 MiB
    assert float(node.local_sram_area_mm2_per_B) * 2**20 == pytest.approx(51 / 16, rel=1e-3)
    # 14 pJ per 64 bit = 1.75 pJ/B
    assert float(node.sram_energy_J_per_B) == pytest.approx(1.75e-12, rel=2e-3)
    # (725650 transistors) / (96.3 per um2) + 1392 um2
    assert float(node.simt_lane_area_mm2) == pytest.approx((725650 / 96.3 + 1392) * 1e-6, rel=1e-3)
    assert float(node.defect_density_per_mm2) == pytest.approx(0.0009)


def test_nodes_scale_by_hand():
    n3p = presets.node("N3P")
    assert float(n3p.scratchpad_area_mm2_per_B) == pytest.approx(0.58 / 2**20)
    # cache follows the scratchpad: 2.486 x .58 / .8 = 1.802
    assert float(n3p.cache_area_mm2_per_B) * 2**20 == pytest.approx(1.802, rel=1e-3)
    # vector operation: 2.5 pJ at N2 x .44 / .345 = 3.188
    assert float(n3p.vector_op_energy_J) == pytest.approx(3.188e-12, rel=1e-3)
    # N2 SRAM: sqrt(.219 x .345 x .20) = .1229 pJ/bit
    assert float(presets.node("N2").sram_energy_J_per_B) == pytest.approx(8 * 0.1229e-12, rel=1e-3)


@pytest.mark.parametrize(("name", "speed", "power"), [("N3E", 1.18, 0.47 / 0.70), ("N2", 1.125, 0.345 / 0.47)])
def test_one_v_f_curve_runs_through_both_points_of_a_foundry_claim(name, speed, power):
    """Equal speed at `power` (the nominal point), or `speed` at equal power: V_2 = V_n / sqrt(speed power).

    At V_2 a MAC burns power (V_2 / V_n)^2 = 1 / speed of the old node's, so `speed` as many of them burn as much.
    """
    n = presets.node(name)
    volt = float(n.nominal_V) / math.sqrt(speed * power)
    overdrive = (volt - float(n.threshold_V)) / (float(n.nominal_V) - float(n.threshold_V))
    reached = overdrive ** float(n.alpha) * float(n.nominal_V) / volt  # [sakurai1990]
    assert reached == pytest.approx(speed, rel=5e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_macs_shrink_and_save_with_every_node(precision: str):
    nodes = [presets.node(n) for n in BY_AGE]
    for old, new in pairwise(nodes):
        assert float(new.mac_energy_J.of(precision)) < float(old.mac_energy_J.of(precision))
        assert float(new.pe_area_mm2.of(precision)) < float(old.pe_area_mm2.of(precision))


def test_narrower_macs_are_smaller_and_cheaper():
    for name in presets.node_names():
        node = presets.node(name)
        for wide, narrow in pairwise(PRECISIONS):
            assert float(node.mac_energy_J.of(narrow)) < float(node.mac_energy_J.of(wide))
            assert float(node.pe_area_mm2.of(narrow)) < float(node.pe_area_mm2.of(wide))


def test_wafers_get_dearer():
    nodes = [presets.node(n) for n in BY_AGE]
    for old, new in pairwise(nodes):
        assert float(new.wafer_price_USD) >= float(old.wafer_price_USD)
        assert float(new.scratchpad_area_mm2_per_B) <= float(old.scratchpad_area_mm2_per_B)
        assert float(new.sram_energy_J_per_B) < float(old.sram_energy_J_per_B)
    assert float(nodes[-1].wafer_price_USD) > 2 * float(nodes[0].wafer_price_USD)


def test_older_nodes_by_hand():
    n6, n16 = presets.node("N6"), presets.node("N16")
    assert float(n6.cache_area_mm2_per_B) * 2**20 == pytest.approx(25.2 / 8)  # Aldebaran: 25.2 mm2 / 8 MiB
    assert float(n6.pe_area_mm2.bf16) == pytest.approx(670e-6 * 96.3 / 114.1, rel=2e-3)
    # N16 by what was built: 11 % of TPU v3's 700 mm2 over 65536 PEs; energy between TSMC (2.5) and the table (1.6)
    assert float(n16.pe_area_mm2.bf16) == pytest.approx(0.11 * 700 / 65536, rel=1e-3)
    assert 0.72e-12 * 1.6 < float(n16.mac_energy_J.bf16) < 0.72e-12 * 2.5
    # GV100's 21.1 G transistors on 815 mm2 against GA100's 54.2 on 826, for everything else
    n7, density = presets.node("N7"), (21.1 / 815) / (54.2 / 826)
    assert float(n16.core_port_area_mm2) == pytest.approx(float(n7.core_port_area_mm2) / density, rel=5e-3)


def test_voltages_are_ordered():
    for name in presets.node_names():
        node = presets.node(name)
        volts = [node.threshold_V, node.minimum_V, node.nominal_V, node.maximum_V]
        assert all(float(a) < float(b) for a, b in pairwise(volts))


def test_memories_by_hand():
    hbm3, hbm3e = presets.memory("HBM3"), presets.memory("HBM3E")
    assert float(hbm3.stack_bandwidth_Bps) == pytest.approx(1024 * 6.4e9 / 8, rel=1e-3)
    assert float(hbm3e.stack_bandwidth_Bps) == pytest.approx(1024 * 9.6e9 / 8, rel=1e-3)
    assert float(presets.memory("HBM4").stack_bandwidth_Bps) == pytest.approx(2048e9)
    assert float(hbm3e.stack_capacity_B) == 12 * 24 * 2**30 / 8  # 12 dies of 24 Gibit
    assert float(hbm3e.energy_J_per_B) == pytest.approx(3.12e-11)  # 3.9 pJ/bit
    assert float(hbm3e.price_USD_per_B) == pytest.approx(1.5e-8)
    stacks = [presets.memory(m) for m in presets.memory_names() if m.startswith("HBM")]
    assert all(float(a.stack_bandwidth_Bps) < float(b.stack_bandwidth_Bps) for a, b in pairwise(stacks))


def test_links_by_hand():
    pcie5 = presets.link("PCIe5")
    assert float(pcie5.lane_bandwidth_per_dir_Bps) == 4e9
    assert float(pcie5.area_mm2_per_Bps * pcie5.lane_bandwidth_per_dir_Bps) == pytest.approx(0.64)  # mm2 per lane
    # UCIe modules at 32 GT/s: 16 lanes = 64 GB/s each way on .5715 mm; 64 lanes = 256 GB/s each way on .3888 mm
    assert float(presets.link("UCIe-S").shoreline_mm_per_Bps) * 64e9 == pytest.approx(0.5715, rel=1e-3)
    assert float(presets.link("UCIe-A").shoreline_mm_per_Bps) * 256e9 == pytest.approx(0.3888, rel=2e-3)
    # Infinity Fabric of Aldebaran: (5.69 + 3.05) mm2 per link of 50 GB/s
    assert float(presets.link("InfinityFabric3").area_mm2_per_Bps) * 50e9 == pytest.approx(8.74, rel=2e-3)
    # NVLink3: (1.888 + .775) mm2 per link of 25 GB/s
    assert float(presets.link("NVLink3").area_mm2_per_Bps) * 25e9 == pytest.approx(2.663, rel=1e-3)


def actuary_dies(area_mm2: float) -> float:
    """Chiplet Actuary: n = pi (R - e)^2 / A' - pi (2R - 2e) / sqrt(2 A'), A' = A + 2 s sqrt(A) + s^2."""
    radius, edge, scribe = 150.0, 5.0, 0.2
    padded = area_mm2 + 2 * scribe * math.sqrt(area_mm2) + scribe**2
    return math.pi * (radius - edge) ** 2 / padded - math.pi * 2 * (radius - edge) / math.sqrt(2 * padded)


@pytest.mark.parametrize("area_mm2", [400.0, 500.0, 600.0, 700.0, 814.0, 850.0])
def test_dies_per_wafer_follow_the_published_formula_within_6_percent(area_mm2: float):
    package = presets.package("CoWoS-L")
    ours = float(package.wafer_usable_mm2 / (area_mm2 * (1 + package.saw_loss_frac)))
    assert ours == pytest.approx(actuary_dies(area_mm2), rel=0.06)


def test_h100_anchors():
    node, package = presets.node("N4"), presets.package("CoWoS-S")
    # harvested yield of an 814 mm2 die: (1 + D0 A c / alpha)^-alpha = .85
    defects = float(node.defect_density_per_mm2 * 814 * package.critical_area_frac / package.yield_clustering)
    assert (1 + defects) ** -float(package.yield_clustering) == pytest.approx(0.85, abs=0.005)
    # interposer of one die and six stacks of 121 mm2: 750 USD
    interposer = float(package.interposer_margin) * (814 + 6 * 121)
    assert interposer < float(package.interposer_limit_mm2)
    assert interposer * float(package.interposer_USD_per_mm2) == pytest.approx(750, rel=0.01)
    assert float(package.reticle_mm2) == 26 * 33
    assert float(package.bond_yield_frac) ** 9 == pytest.approx(0.873, abs=0.001)


def test_technology_gathers_its_parts():
    tech = presets.technology("N3P", "HBM3E", "PCIe6")
    parts = (tech.node, tech.memory, tech.link, tech.die_to_die, tech.package)
    assert [p.name for p in parts] == ["N3P", "HBM3E", "PCIe6", "UCIe-A", "CoWoS-L"]
    assert presets.node("N3P") is tech.node  # built once


@pytest.mark.parametrize(("kind", "wrong", "near"), [("node", "N3", "N3"), ("memory", "HBM3e", "HBM3E")])
def test_unknown_names_offer_near_matches(kind: str, wrong: str, near: str):
    with pytest.raises(UnknownNameError, match=f"unknown {kind} '{wrong}'; did you mean .*{near}"):
        MAKERS[kind](wrong)


def test_unknown_kind_is_refused():
    with pytest.raises(UnknownNameError, match="unknown kind of technology"):
        presets.receipts("nodes", "N7")


def test_a_missing_fact_names_the_field():
    facts = {f.name: f for f in presets.receipts("node", "N7")}
    del facts["mac_energy_fp8_J"], facts["wafer_price_USD"]
    with pytest.raises(ReceiptError, match="'N7': no fact mac_energy_fp8_J, wafer_price_USD"):
        presets.build(Node, facts, "N7")


def test_chips_name_technologies_that_exist():
    path = ROOT / "hardware" / "data" / "chips.toml"
    if not path.exists():
        pytest.skip("no chips yet")
    known = {"node": "node", "hbm": "memory", "link": "link"}
    for chip, facts in tomllib.loads(path.read_text()).items():
        for field, kind in known.items():
            if field in facts:
                assert facts[field]["value"] in presets.names(kind), f"{chip}.{field}"


def test_hbm2_costs_what_it_did_in_its_time():
    # 120 USD for a stack of 8 GB in 2018, 65 to 75 for one of 4 GB; HBM2E of 2023 is at 7 USD/GB.
    price = float(presets.memory("HBM2").price_USD_per_B)
    assert price == pytest.approx(120 / 8e9)
    assert price > 2 * float(presets.memory("HBM2E").price_USD_per_B)
