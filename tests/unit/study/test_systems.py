"""The system as a choice: domain, links, switches, host and rack of each, by hand; files of one's own; copies."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

import dse
from dse.core.errors import DseError, SpecError
from dse.core.types import row_of
from dse.economy.presets import host, system_host, system_rack
from dse.economy.server import Rack, server_W, switch_W
from dse.hardware.fabrics import build_fabric, fabric_names, system_facts
from dse.hardware.presets import chip_system, system
from dse.optimize.ground import NOWHERE_B, candidates, on_structures
from dse.optimize.solve import solve_continuous
from dse.optimize.space import space_of, valid_in
from dse.study.basis import study_basis
from dse.study.design import template
from dse.study.study import load_study, study_from

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"
RACKS = ["trn3-gen2-144", "torus-64", "nvlink-fusion-72"]


def written(**choices):
    raw = tomllib.loads(TINY.read_text())
    raw["choices"] |= choices
    return raw


def test_a_system_brings_its_links_and_the_product_of_choices():
    study = study_from(written(system=RACKS))
    assert len(study.choices) == 2 * len(RACKS) and study.system_names == tuple(RACKS)
    assert {c.link for c in study.choices if c.system == "nvlink-fusion-72"} == {"NVLink6"}
    assert {c.link for c in study.choices if c.system == "torus-64"} == {"SerDes224G"}
    assert study.baseline.name == "trn3-gen2-144" and study.at_size(4, "torus-64").fabric.dims == (4, 4, 4)
    assert (
        study.choices[-1].text().endswith("nvlink-fusion-72") and "system" not in load_study(TINY).choices[0].written()
    )


@pytest.mark.parametrize(
    ("choices", "chips", "said"),
    [
        ({"system": ["torus-65"]}, 4, "torus-65"),
        ({"system": ["nvlink-fusion-72"]}, 80, "workloads.decode: nvlink-fusion-72: n_chips = 80"),
    ],
)
def test_what_no_system_can_be_is_named(choices, chips, said):
    raw = written(**choices)
    raw["workloads"]["decode"]["chips"] = chips
    with pytest.raises(DseError, match=said):
        study_from(raw)


def test_a_plan_of_one_domain_is_none_of_another():
    """Tensor ranks divide a domain: 9 of them do 72 and not 64, 16 the reverse; the table knows both."""
    raw = written(system=["torus-64", "nvlink-fusion-72"])
    raw["workloads"]["decode"] |= {"chips": 576, "batch": 9216, "model": "deepseek-v3"}
    space = space_of(study_from(raw))
    ((every,), names) = candidates(space.ground), space.study.system_names
    sizes = {n: {p.tp for p in space.ground.valid[n][0]} for n in names}
    assert 16 in sizes["torus-64"] and 16 not in sizes["nvlink-fusion-72"]
    plan = next(p for p in every if p.tp == 16)
    there, elsewhere = (row_of(d, 0) for d in on_structures(space.ground, space.structures, 0, [plan]))
    assert float(elsewhere.memory_B) > NOWHERE_B > float(there.memory_B)
    valid = [valid_in(space, 0, every, i) for i in range(len(space.study.choices))]
    last = next(i for i, c in enumerate(space.study.choices) if c.system == "nvlink-fusion-72")
    assert valid[0].sum() + valid[last].sum() > len(every) > valid[last].sum()


def test_switches_cables_and_racks_by_hand():
    around, rack = system_host("nvlink-fusion-72", "x86-16"), system_rack("nvlink-fusion-72")
    assert around.name == "graviton4-4" and float(around.scaleup_USD_per_Bps) == pytest.approx(0.8e-9 + 2.8e-9)
    chip = dse.chip("trainium3")
    up = float(chip.scaleup_bandwidth_per_dir_Bps)
    assert float(switch_W(chip, rack)) == pytest.approx(1.4e-10 * up)
    assert float(server_W(np.float64(1000.0), around, switch_W(chip, rack))) == pytest.approx(1420 + 1.4e-10 * up)
    assert float(system_rack("torus-64").switch_W_per_Bps) == 0.0 and float(rack.n_chips) == 72.0
    assert system_host("hgx-b200", "x86-8") == host("x86-8")  # a system that says nothing leaves the host as it is
    assert float(system_rack("hgx-b200").n_chips) == 8.0 and isinstance(rack, Rack)


def test_every_rack_says_what_a_study_needs():
    for name in fabric_names():
        facts = system_facts(name)
        if "n_rack_chips" in facts:
            host(str(facts["host"].value))
            assert float(system_host(name, "x86-8").scaleup_USD_per_Bps) > 0, name
            joined = facts["kind"].value == "switched" or "n_block_chips" in facts
            assert (float(system_rack(name).switch_W_per_Bps) > 0.0) == joined, name


def test_a_rack_metric_asks_for_the_system_and_names_its_guesses():
    raw = written()
    raw["limits"].append({"metric": "rack_power", "at_most": "60 kW"})
    study = study_from(raw)
    assert {c.system for c in study.choices} == {"trn3-gen2-144"} and study.owner is not None
    assert study.limits[-1].metric == "rack_power_W" and study.limits[-1].value == 60e3
    kinds = {b.fact.name: b.fact.kind for b in study_basis(study, None) if b.thing == "system trn3-gen2-144"}
    assert kinds["scaleup_switch_USD_per_Bps"] == "guess"


def test_a_system_of_ones_own(tmp_path):
    path = tmp_path / "rack.toml"
    path.write_text('[mine]\nbase = "ualink-72"\ndims = "36"\nn_rack_chips = 36\nscaleup_switch_W_per_GBps = 0.2\n')
    mine = system(str(path), 36, dse.chip("trainium3"))
    assert mine.fabric.n_chips == 36 and mine.fabric.kind == "switched"
    assert float(system_rack(str(path)).switch_W_per_Bps) == pytest.approx(2e-10)
    raw = written(system=[str(path)])
    assert study_from(raw).choices[0].text().endswith(", rack")
    path.write_text('[mine]\nkind = "torus"\ndims = "4x4"\n')
    assert system(str(path), inside=dse.chip("h100")).fabric.axis_share == (0.5, 0.5)
    for line in ('dims = "4y4"', "n_rack_chpis = 4", 'kind = "ring"', "axis_share_0 = 2.0", "n_ring_chips = 3.5"):
        path.write_text(f'[mine]\nbase = "ualink-72"\n{line}\n')
        with pytest.raises(DseError, match=r"rack\.toml") as error:
            system(str(path), inside=dse.chip("h100"))
        assert "\n" not in str(error.value)


def test_a_level_of_switches_joins_no_more_chips_than_a_switch_has_ports(tmp_path):
    rack = tmp_path / "rack.toml"
    rack.write_text('[big]\nbase = "nvlink-fusion-72"\ndims = "144"\n')
    with pytest.raises(SpecError, match="144 chips behind one level of switches with 72 ports"):
        system_facts(str(rack))
    rack.write_text('[big]\nbase = "nvlink-fusion-72"\ndims = "144"\nn_leaf_chips = 72\nupper_hop = "0.6 us"\n')
    assert build_fabric("big", system_facts(str(rack))).upper_hop_s == pytest.approx(6e-7)


def test_the_network_of_a_chip_is_a_choice_and_what_a_rack_sends_a_limit():
    """72 chips at 25 and at 50 GB/s send 1.8 and 3.6 TB/s to the network: a limit of 2 leaves one."""
    raw = written(system=["nvlink-fusion-72"], scaleout_per_dir=["200 Gbps", "400 Gbps"])
    raw["limits"].append({"metric": "rack_scaleout", "at_most": "2 TBps"})
    space = space_of(study_from(raw))
    assert {c.scaleout_Bps for c in space.study.choices} == {25e9, 50e9}
    assert "50 GB/s to the network" in space.study.choices[-1].text()
    sent = {
        float(template(c, space.study.baseline.chip, space.study.scaleout_Bps).scaleout_bandwidth_per_dir_Bps)
        for c in space.study.choices
    }
    assert sent == {25e9, 50e9}
    solved = solve_continuous(space.study)
    assert solved.choice is not None and solved.choice.scaleout_Bps == 25e9
    (limit,) = [x for x in solved.limits if x.name == "rack_scaleout_Bps"]
    assert limit.value == pytest.approx(72 * 25e9)


def test_switches_of_a_rack_take_so_much_from_a_chip(tmp_path):
    """A free link is held at what the rack takes; a chip that sends more has no place in it."""
    rack = tmp_path / "rack.toml"
    rack.write_text('[slow]\nbase = "nvlink-fusion-72"\nmost_scaleup_per_dir = "300 GB/s"\n')
    raw = written(system=[str(rack)])
    raw["free"]["scaleup_bandwidth_per_dir"] = ["200 GBps", "10 TBps"]
    slow = solve_continuous(study_from(raw))
    assert slow.chip is not None and float(slow.chip.scaleup_bandwidth_per_dir_Bps) <= 300e9 * (1 + 1e-6)
    row = next(x for x in slow.limits if x.name == "switches of the rack")
    assert row.value == pytest.approx(1.0, abs=1e-3) and row.price < -1e-3
    mine = tmp_path / "mine.toml"
    mine.write_text(f'[mine]\nbase = "trainium3"\nsystem = "{rack}"\nscaleup_bandwidth_per_dir = "2 TB/s"\n')
    with pytest.raises(SpecError, match=r"mine\.toml: sends 2 TB/s each way; switches of .* take 300 GB/s from a chip"):
        chip_system(str(mine))


def test_a_megawatt_and_a_rack_are_what_a_goal_may_be_over():
    raw = written(system=["nvlink-fusion-72"])
    raw["study"]["minimise"] = "megawatt_time_per_token"
    solved = solve_continuous(study_from(raw))
    assert solved.rack is not None
    assert solved.goal == pytest.approx(1 / solved.rack.megawatt_tokens_per_s["decode"], rel=1e-6)


def test_a_copy_changes_what_it_names_and_is_checked_anew():
    study = load_study(TINY)
    copy = study.changed(
        name="other", limits=["power_W <= 650 W"], without=["silicon_mm2"], choices={"n_dies": 1},
        free={"n_stacks": 4, "hbm_capacity": None},
    )  # fmt: skip
    assert [x.name for x in copy.limits] == ["hbm_capacity_B >= 1.54619e+11", "power_W <= 650"]
    assert copy.name == "other" and [f.name for f in copy.free] == ["n_cores", "n_stacks", "hbm_bandwidth_Bps"]
    assert len(copy.choices) == 1 and study.changed() == study
    with pytest.raises(SpecError, match="measures mm2"):
        study.changed(limits=["power <= 650 mm2"])
    with pytest.raises(SpecError, match="changed since it was written"):
        dataclasses.replace(study, goal="package_cost_USD").changed()
