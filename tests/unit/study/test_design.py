"""Designs: structure from a choice, free numbers put back, and nothing else touched."""

import dataclasses

import jax
import numpy as np
import pytest

from dse.core.errors import SpecError, UnknownNameError
from dse.core.types import unnamed
from dse.hardware.chip import peak_FLOPps, sides
from dse.hardware.instructions import known_instruction
from dse.hardware.presets import chip, chip_names
from dse.study.design import (
    AUXILIARY,
    FREE,
    INTEGERS,
    Choice,
    array_of,
    as_built,
    choice_technology,
    has_floorplan,
    steps,
    template,
    with_free,
)
from dse.technology.presets import node

BASE = chip("trainium3")
SAME = Choice("N3P", "HBM3E", "PCIe6", 2, "128x128", native_fp4=False)


def changed(**fields):
    return dataclasses.replace(SAME, **fields)


@pytest.mark.parametrize(("text", "dims"), [("128x128", (128, 128)), ("32x64", (32, 64)), ("1x1", (1, 1))])
def test_array_names_are_rows_by_columns(text, dims):
    assert sides(text, "pe_array") == dims


@pytest.mark.parametrize(
    "text", ["128", "128*128", "0x128", "128x", "-1x4", "1.5x2", "128x128x2", "axb", "\u00b2x2", ""]
)
def test_other_array_names_are_refused(text):
    with pytest.raises(SpecError, match="not of the form"):
        sides(text, "pe_array")


def test_the_same_choice_keeps_the_array():
    for a, b in zip(jax.tree.leaves(array_of(SAME, BASE)), jax.tree.leaves(BASE.core.tensor), strict=True):
        assert float(a) == float(b)


def test_native_fp4_doubles_the_rate_and_the_depth():
    """Four MXFP8 MACs a PE become eight FP4 MACs over 1,024 of contraction; FP8 stays at 512."""
    engine = array_of(changed(native_fp4=True), BASE)
    assert float(engine.macs_per_cycle.fp4) == 8 and float(engine.macs_per_cycle.fp8) == 4
    assert float(engine.granule_contract.fp4) == 1024 and float(engine.granule_contract.fp8) == 512


def test_a_matrix_instruction_is_the_baselines_or_the_chosen_one():
    v100 = chip("v100")
    for written, dims in (("", (8.0, 8.0)), ("16x8", (16.0, 8.0))):
        engine = array_of(dataclasses.replace(as_built(v100), matrix_instruction=written), v100)
        assert (float(engine.instruction_rows), float(engine.instruction_cols)) == dims


def test_depth_and_shared_results_come_with_an_instruction():
    """Volta's 8x8x4 shares operands among 8 threads of 128 sums, Ampere's 16x8x16 among 32; CDNA 4 keeps its own depth
    of 16, where the size alone says 8; of a size that nobody has built nothing is known."""
    for name, written, facts in (
        ("v100", "", (4, 1024)), ("v100", "16x8", (16, 4096)), ("mi250x", "32x32", (8, 16384)),
        ("mi355x", "32x32", (16, 16384)), ("v100", "24x8", (0, 0)),
    ):  # fmt: skip
        engine = array_of(dataclasses.replace(as_built(chip(name)), matrix_instruction=written), chip(name))
        assert (float(engine.instruction_depth), float(engine.instruction_results)) == facts


@pytest.mark.parametrize("name", [n for n in chip_names() if float(chip(n).core.tensor.instruction_depth) > 0])
def test_presets_have_the_instruction_that_choices_know(name):
    t = chip(name).core.tensor
    known = known_instruction(float(t.instruction_rows), float(t.instruction_cols))
    assert float(t.instruction_results) == known["instruction_results"].value
    assert float(t.instruction_depth) == known["instruction_depth"].value or name in ("mi350x", "mi355x")


def test_larger_arrays_pad_to_larger_tiles():
    """256 x 256: four times the MACs, twice the depth and twice the stationary tile; streams stay 64."""
    engine = array_of(changed(pe_array="256x256"), BASE)
    assert (float(engine.rows), float(engine.cols)) == (256, 256)
    assert float(engine.granule_contract.bf16) == 256 and float(engine.granule_stationary) == 256
    assert float(engine.granule_moving) == float(BASE.core.tensor.granule_moving)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("p100", "v100"), ("v100", "a100-40"), ("a100-40", "h100"), ("mi100", "mi250x"), ("mi250x", "mi300x"),
     ("tpu-v2", "tpu-v3"), ("tpu-v3", "tpu-v4"), ("trainium2", "trainium3"), ("gaudi2", "gaudi3")],
)  # fmt: skip
def test_an_array_that_was_built_is_tiled_as_the_built_one(older, newer):
    """Arrays of TPUs stand side by side, and a GPU's array is a convention: neither tile grows with columns."""
    built = chip(newer).core.tensor
    named = f"{int(built.rows)}x{int(built.cols)}"
    engine = array_of(dataclasses.replace(as_built(chip(older)), pe_array=named), chip(older))
    for field in ("granule_stationary", "granule_moving", "tile_moving"):
        assert float(getattr(engine, field)) == float(getattr(built, field)), field
    assert float(engine.granule_contract.bf16) == float(built.granule_contract.bf16)


GPUS = [("p100", "v100"), ("v100", "a100-40"), ("a100-40", "h100"), ("mi100", "mi250x"), ("mi250x", "mi300x")]


@pytest.mark.parametrize(("older", "newer"), [*GPUS, ("mi300x", "mi355x")])
def test_registers_of_a_gpu_follow_its_macs_and_not_the_name_of_its_array(older, newer):
    """Within a fifth of what was built; PSUM of a systolic array serves its columns."""
    base, built = chip(older), chip(newer)
    macs, kept = float(built.core.tensor.rows * built.core.tensor.cols), []
    for rows in (8, 16, 32):
        named = dataclasses.replace(as_built(base), pe_array=f"{rows}x{int(macs / rows)}")
        kept.append(float(template(named, base, 50e9).core.local_sram_B))
    assert kept == pytest.approx([kept[0]] * 3) and kept[0] == pytest.approx(float(built.core.local_sram_B), rel=0.2)
    assert float(template(changed(pe_array="128x256"), BASE, 50e9).core.local_sram_B) == 2 * BASE.core.local_sram_B


def test_templates_carry_the_structure():
    t = template(changed(n_dies=4, pe_array="256x256"), BASE, 50e9)
    assert (t.name, t.node, t.hbm, t.link) == ("design", "N3P", "HBM3E", "PCIe6")
    assert float(t.n_dies) == 4 and float(t.scaleout_bandwidth_per_dir_Bps) == 50e9
    # near-datapath memory serves columns, of which there are twice as many
    assert float(t.core.local_sram_B) == 2 * float(BASE.core.local_sram_B)


def test_a_new_node_gives_its_gain_once():
    """The same pipeline has the same clock at nominal voltage, where N2 burns 22 % less: .345 / .44."""
    new = template(changed(node="N2"), BASE, 50e9)
    assert float(new.nominal_clock_Hz) == float(BASE.nominal_clock_Hz)
    saved = float(node("N2").mac_energy_J.fp8) / float(node("N3P").mac_energy_J.fp8)
    assert saved == pytest.approx(0.345 / 0.44, rel=1e-3)


def test_a_spare_core_per_die_is_paid_for_and_harvests():
    """Two dies of 20 cores in use and one spare each: 42 of 40 are made; without a spare, only whole dies are sold."""
    with_spare, whole = (with_free(template(changed(spare_cores=k), BASE, 50e9), {"n_cores": 40.0}) for k in (1, 0))
    assert float(with_spare.spare_frac) == pytest.approx(2 / 40)
    assert float(whole.spare_frac) == 0
    techs = [choice_technology(changed(spare_cores=k), "CoWoS-L") for k in (1, 0)]
    assert [float(t.package.critical_area_frac) for t in techs] == [pytest.approx(0.2), 1.0]


def test_all_choices_have_one_tree_so_they_stack():
    choices = [SAME, changed(node="N2", hbm="HBM4"), changed(n_dies=1, native_fp4=True, pe_array="256x256")]
    chips = {jax.tree.structure(unnamed(template(c, BASE, 50e9))) for c in choices}
    techs = {jax.tree.structure(unnamed(choice_technology(c, "CoWoS-L"))) for c in choices}
    assert len(chips) == len(techs) == 1


def test_cores_fill_a_grid_on_every_die():
    """Up to 16 cores a die: 1, 2, 4, 6, 8, 9, 12, 15, 16; primes and strips such as 2 x 5 are left out."""
    assert [k for k in range(1, 17) if has_floorplan(k)] == [1, 2, 4, 6, 8, 9, 12, 15, 16]
    assert steps("n_cores", 2, 7.0, 25.0).tolist() == [8.0, 12.0, 16.0, 18.0, 24.0]
    assert has_floorplan(66)  # 6 x 11, half of an H100


def test_stacks_stand_beside_every_die_and_scratchpads_are_whole_macros():
    assert steps("n_stacks", 4, 4.0, 12.0).tolist() == [4.0, 8.0, 12.0]
    assert (steps("scratchpad_B", 2, 1.5 * 2**20, 4 * 2**20) / 2**20).tolist() == [2.0, 3.0, 4.0]
    # vector units of 16 lanes, on however many dies
    assert steps("vector_lanes", 2, 60, 130).tolist() == [64, 80, 96, 112, 128]
    assert len(steps("vector_lanes", 1, 65, 79)) == 0
    # sixteen engines of 17, 23 and 33 GB/s, as Trainium1 to 3 have them
    rings = steps("dma_bandwidth_Bps", 2, 250e9, 540e9)
    assert {float(chip(f"trainium{k}").core.dma_bandwidth_Bps) for k in (1, 2, 3)} <= set(rings.tolist())
    assert np.diff(rings).tolist() == [16e9] * (len(rings) - 1)
    with pytest.raises(UnknownNameError):
        steps("clock_Hz", 2, 1e9, 2e9)


def test_memory_comes_with_its_stacks():
    """Ten stacks of 48 GiB as sold are 480 GiB; a study that frees the capacity sets it itself."""
    t = template(changed(hbm="HBM4E", stack_capacity_B=48 * 2.0**30), BASE, 50e9)
    assert float(with_free(t, {"n_stacks": 10.0}).hbm_capacity_B) == pytest.approx(480 * 2**30)
    assert float(with_free(t, {"n_stacks": 10.0, "hbm_capacity_B": 1e11}).hbm_capacity_B) == 1e11


def test_fp8_rate_is_a_choice():
    """Twice BF16 instead of four times: half the FP8 peak, half the contraction that a pass takes."""
    twice = array_of(changed(fp8_rate=2.0), BASE)
    assert float(twice.macs_per_cycle.fp8) == 2.0 and float(twice.granule_contract.fp8) == 256
    assert float(array_of(SAME, BASE).macs_per_cycle.fp8) == 4.0


def test_every_free_number_reaches_its_place_and_only_that():
    """Doubling one free number doubles it and moves nothing but what follows: links the HBM, memory its stacks."""
    base = template(SAME, BASE, 50e9)
    start = {n: float(f(base)) for n, f in FREE.items()}
    for name in FREE:
        new = with_free(base, {name: np.asarray(2 * start[name])})
        moved = {n for n, f in FREE.items() if float(f(new)) != start[n]}
        assert moved - {"hbm_capacity_B"} == {name} - {"hbm_capacity_B"}
        assert ("hbm_capacity_B" in moved) == (name in ("hbm_capacity_B", "n_stacks"))
        assert float(FREE[name](new)) == 2 * start[name]


@pytest.mark.parametrize(("n_dies", "share"), [(1, 0.0), (2, 0.5), (4, 0.75)])
def test_dies_are_joined_by_what_memory_needs(n_dies, share):
    """Memory spread evenly: (n - 1)/n of 8 TB/s belongs to other dies."""
    c = with_free(template(changed(n_dies=n_dies), BASE, 50e9), {"hbm_bandwidth_Bps": np.asarray(8e12)})
    assert float(c.die_to_die_bandwidth_Bps) == pytest.approx(share * 8e12)


def test_unknown_free_numbers_are_refused_with_the_near_name():
    with pytest.raises(UnknownNameError, match="clock_Hz"):
        with_free(BASE, {"clock_hz": np.asarray(1e9)})


def test_peak_of_the_announced_design():
    """Trainium3's 8 cores at 2.4 GHz with native FP4: 2 x 8 x 16,384 x 8 x 2.4e9 = 5.03 PFLOP/s, twice its FP8."""
    c = template(changed(native_fp4=True), BASE, 50e9)
    assert float(peak_FLOPps(c, "fp4")) == pytest.approx(5.033e15, rel=1e-3)
    assert float(peak_FLOPps(c, "fp4") / peak_FLOPps(c, "fp8")) == pytest.approx(2.0)


def test_a_template_names_its_choice_and_stacks_without_names():
    c = template(SAME, BASE, 50e9)
    assert (c.node, c.hbm, c.link) == ("N3P", "HBM3E", "PCIe6")
    blank = unnamed(c)
    assert (blank.name, blank.node, blank.hbm, blank.link) == ("",) * 4 and blank.n_dies == c.n_dies


def test_tables_say_what_was_chosen():
    assert changed(native_fp4=True).text() == "2 x N3P, 128x128, HBM3E, PCIe6, native FP4"
    assert "FP4 at FP8 rate" in SAME.text()
    assert changed(fp8_rate=2.0).text() == "2 x N3P, 128x128, HBM3E, PCIe6, FP8 at 2x BF16, FP4 at FP8 rate"
    assert changed(matrix_instruction="16x8").words["matrix_instruction"] == "instruction 16x8"


def test_choices_that_differ_in_a_rate_or_an_instruction_read_differently():
    """Two rows of a table once said the same of two designs."""
    others = (changed(fp8_rate=2.0), changed(fp8_rate=4.0), changed(matrix_instruction="16x8"), changed(n_dies=1))
    assert len({c.text() for c in (SAME, *others)}) == 5


def test_free_auxiliary_and_whole_numbers_do_not_overlap():
    assert set(INTEGERS) <= set(FREE)
    assert not set(AUXILIARY) & set(FREE)
