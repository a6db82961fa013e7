"""Energy and static power by hand; the alpha-power law solved and plugged back in at both ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.evaluation.assembly import chip_reference
from dse.hardware.chip import peak_FLOPps
from dse.hardware.presets import chip
from dse.lowering.demand import demand
from dse.lowering.plan import Plan
from dse.lowering.tiling import array_shape
from dse.physics.area import block_areas
from dse.physics.calibration import default_calibration
from dse.physics.evaluate import chip_technology, evaluate_demand, silicon
from dse.physics.full_load import full_load_power_W, full_load_W
from dse.physics.pipeline import datapath_ratio
from dse.physics.power import (
    crossing_B,
    energy_J,
    operand_B,
    power_W,
    static_W,
    step_energy,
    supply_V,
    throttled_s,
    voltage_limit,
)
from dse.physics.step import step_time
from dse.technology.node import PRECISIONS, ByPrecision
from dse.technology.presets import node, node_names, technology
from dse.workload.presets import model
from dse.workload.transformer import Training


@pytest.fixture(scope="module")
def lowered(trn2):
    plan = Plan(tp=4, pp=2, dp=2)
    c = default_calibration("trainium2")
    d = demand(Training(model("llama-3.1-8b"), 32, 4096), plan, trn2, chip_reference(trn2.chip, c))
    return d, step_time(d, trn2.chip, c)


def alpha_power_Hz(v, n, nominal_clock_Hz):
    """f = k (V - Vth)^a / V with k from the nominal point, as [sakurai1990] prints it."""
    vn, vth, a = float(n.nominal_V), float(n.threshold_V), float(n.alpha)
    return nominal_clock_Hz * ((v - vth) / (vn - vth)) ** a * vn / v


@pytest.mark.parametrize("name", node_names())
@pytest.mark.parametrize("share", [0.7, 0.9, 1.0, 1.1, 1.25])
def test_supply_plugged_back_into_the_law(name, share):
    n = dataclasses.replace(node(name), minimum_V=0.01, maximum_V=10.0)
    v = float(supply_V(jnp.asarray(share * 2.4e9), jnp.asarray(2.4e9), n))
    assert alpha_power_Hz(v, n, 2.4e9) == pytest.approx(share * 2.4e9, rel=1e-8)


def test_supply_stays_within_product_limits():
    n = node("N5")
    low, high = (float(supply_V(jnp.asarray(f), jnp.asarray(2.4e9), n)) for f in (0.1e9, 9e9))
    assert (low, high) == (float(n.minimum_V), float(n.maximum_V))


@given(st.floats(0.5, 1.0), st.floats(1e9, 3e9))
def test_limit_is_one_exactly_on_the_curve(v, nominal_clock_Hz):
    """Below 1 the supply is more than enough, above 1 too little."""
    n = node("N3P")
    args = (jnp.asarray(nominal_clock_Hz), n, n.nominal_V - n.threshold_V)
    on = alpha_power_Hz(v, n, nominal_clock_Hz)
    ratio = [float(voltage_limit(jnp.asarray(f * on), jnp.asarray(v), *args)) for f in (0.9, 1.0, 1.1)]
    assert ratio[0] < 1 < ratio[2]
    assert ratio[1] == pytest.approx(1.0, abs=1e-12)


def test_nvidia_5nm_frequency_ratio():
    """[keller2023]: 152 MHz at 0.46 V, 1,760 MHz at 1.05 V, a ratio of 11.58; Vth 0.408 V and alpha 1.3 give it.

    At 52 mV of overdrive the rounding of Vth by 0.5 mV is 1.3 % of the ratio.
    """
    n = dataclasses.replace(node("N5"), threshold_V=0.408, alpha=1.3)
    assert alpha_power_Hz(1.05, n, 1e9) / alpha_power_Hz(0.46, n, 1e9) == pytest.approx(1760 / 152, rel=0.013)


def test_the_shipped_threshold_keeps_the_measured_ratio():
    """0.41 V as rounded in the data: 12.0, within 5 % of the test chip."""
    n = node("N5")
    assert alpha_power_Hz(1.05, n, 1e9) / alpha_power_Hz(0.46, n, 1e9) == pytest.approx(11.58, rel=0.05)


# [rickslab2019radeonvii, amdgpuclocks2021navi]: clock [MHz] and supply [V] of three N7 cards as drivers print them
PRODUCTS = (
    ((806, 0.734), (1271, 0.821), (1736, 1.066)),
    ((800, 0.698), (1467, 0.790), (2000, 1.190)),
    ((800, 0.705), (1447, 0.811), (2095, 1.204)),
)


@pytest.mark.parametrize("low, middle, high", PRODUCTS)
def test_products_follow_the_law_until_they_reach_the_least_supply(low, middle, high):
    """Between their upper points the law gives 3, 24 and 13 % more clock than they run at: it flatters overdrive.
    At their lowest clock it would let the supply fall to 0.58 to 0.65 V; products stay at some 0.7 V."""
    n = node("N7")
    predicted = alpha_power_Hz(high[1], n, 1e9) / alpha_power_Hz(middle[1], n, 1e9) * middle[0]
    assert 1.0 < predicted / high[0] < 1.25
    nominal_Hz = middle[0] * 1e6 * alpha_power_Hz(float(n.nominal_V), n, 1e9) / alpha_power_Hz(middle[1], n, 1e9)
    unbound = dataclasses.replace(n, minimum_V=0.01)
    by_law, of_product = (float(supply_V(jnp.asarray(low[0] * 1e6), jnp.asarray(nominal_Hz), k)) for k in (unbound, n))
    assert 0.58 < by_law < 0.66
    assert of_product == pytest.approx(low[1], rel=0.05)


def test_dynamic_energy_by_hand(trn2, lowered):
    """Round energies: 1 pJ a bf16 MAC, 2 pJ/B SRAM, 5 pJ a lane, 1 pJ/B/mm over half of a 20 mm die, 30 and 40 pJ/B."""
    d, step = lowered
    chip_ = trn2.chip
    t = chip_technology(chip_)
    n = dataclasses.replace(
        t.node, mac_energy_J=ByPrecision(9e-12, 1e-12, 9e-12, 9e-12), sram_energy_J_per_B=2e-12,
        vector_op_energy_J=5e-12, wire_energy_J_per_B_per_mm=1e-12,
    )  # fmt: skip
    t = dataclasses.replace(
        t, node=n, memory=dataclasses.replace(t.memory, energy_J_per_B=30e-12),
        link=dataclasses.replace(t.link, energy_J_per_B=40e-12),
        die_to_die=dataclasses.replace(t.die_to_die, energy_J_per_B=2e-12),
        package=dataclasses.replace(t.package, noc_reach_frac=0.5),
    )  # fmt: skip
    e = step_energy(d, step, chip_, t, jnp.asarray(float(n.nominal_V)), jnp.asarray(400.0))
    micro, hbm_B = float(d.n_micro), float(step.hbm_B)
    assert d.macs[PRECISIONS.index("bf16")] == np.sum(d.macs)
    assert float(e.tensor_J) == pytest.approx(micro * np.sum(d.macs) * 1e-12)
    assert float(e.sram_J) == pytest.approx(micro * np.sum(d.macs) * 1280 / 16384 * 2e-12)  # 128 x 2 + 128 x 8 B
    assert float(e.vector_J) == pytest.approx(micro * np.sum(d.ops.runs * d.ops.vector_elements) * 5e-12)
    assert float(e.wire_J) == pytest.approx(hbm_B * 10 * 1e-12)
    assert float(e.hbm_J) == pytest.approx(hbm_B * 30e-12)
    sent = micro * float(d.tensor.sent_B + d.pipeline.sent_B + d.pipeline.out_B) + float(d.data.sent_B + d.data.out_B)
    assert float(e.link_J) == pytest.approx(sent * 40e-12 + hbm_B / 2 * 2e-12)
    assert float(energy_J(e)) == pytest.approx(sum(float(v) for v in e.__dict__.values()))


def test_logic_scales_with_the_square_of_the_supply_and_interfaces_do_not(trn2, lowered):
    """0.9 of nominal: 81 % in logic, SRAM and wires; HBM and links have supplies of their own."""
    d, step = lowered
    t = chip_technology(trn2.chip)
    v = float(t.node.nominal_V)
    full, low = (step_energy(d, step, trn2.chip, t, jnp.asarray(s * v), jnp.asarray(400.0)) for s in (1.0, 0.9))
    for name in ("tensor_J", "sram_J", "vector_J", "wire_J"):
        assert float(getattr(low, name)) == pytest.approx(0.81 * float(getattr(full, name)))
    assert (float(low.hbm_J), float(low.link_J)) == (float(full.hbm_J), float(full.link_J))


def test_crossing_between_dies():
    """Two dies with memory spread evenly: half of the bytes belong to the other die; one die: none."""
    two, one = (dataclasses.replace(chip("trainium2"), n_dies=n) for n in (2.0, 1.0))
    assert float(crossing_B(jnp.asarray(8e9), two)) == 4e9
    assert float(crossing_B(jnp.asarray(8e9), one)) == 0.0


def test_static_power_by_hand():
    """500 mm2 x 0.04 W, 240 MB x 1e-8 W, 40 W constant, 4 stacks x 2 W: 20 + 2.4 + 40 + 8 = 70.4 W.

    0.1 V above nominal, leakage grows by exp(0.3) = 1.35; the rest does not.
    """
    t = technology("N5", "HBM3", "PCIe5")
    n = dataclasses.replace(t.node, logic_leakage_W_per_mm2=0.04, sram_leakage_W_per_B=1e-8, leakage_per_V=3.0)
    t = dataclasses.replace(
        t, node=n, memory=dataclasses.replace(t.memory, static_W_per_stack=2.0),
        package=dataclasses.replace(t.package, constant_W=40.0),
    )  # fmt: skip
    c = chip("trainium2")
    c = dataclasses.replace(
        c, n_cores=8.0, n_stacks=4.0, core=dataclasses.replace(c.core, scratchpad_B=28e6, local_sram_B=2e6)
    )
    area = block_areas(c, t)
    area = jax.tree.map(lambda x: jnp.asarray(50.0), area)  # ten blocks of 50 mm2
    v = float(n.nominal_V)
    assert float(static_W(c, t, area, jnp.asarray(v))) == pytest.approx(70.4)
    assert float(static_W(c, t, area, jnp.asarray(v + 0.1))) == pytest.approx(22.4 * np.exp(0.3) + 48)


@given(st.floats(1e-3, 1e3), st.floats(1.0, 1e4), st.floats(1.0, 300.0), st.floats(1.0, 3000.0))
def test_throttling_is_exact(step_s, energy, static, limit):
    """Never over the limit, at the limit when slowed, and not slowed when within it."""
    t = technology("N5", "HBM3", "PCIe5")
    args = [jnp.asarray(x) for x in (energy, static)]
    slow = throttled_s(jnp.asarray(step_s), *args, jnp.asarray(limit), t)
    if limit / 1.1 <= static:
        assert limit > 1.1 * static * (1 - 1e-12) or np.isinf(float(slow))
        return
    drawn = float(power_W(args[0], slow, args[1], t))
    assert drawn <= limit * (1 + 1e-9)
    assert float(slow) == step_s or drawn == pytest.approx(limit, rel=1e-9)


def test_a_step_under_a_tight_limit_draws_the_limit(trn2, lowered):
    """The same through the front: 150 W instead of 500 W, same energy, longer step, 150 W drawn."""
    d, step = lowered
    c, t = default_calibration("trainium2"), chip_technology(trn2.chip)
    cool = dataclasses.replace(trn2.chip, power_limit_W=np.asarray(150.0))
    e = evaluate_demand(d, cool, t, c)
    assert float(e.power_W) == pytest.approx(150.0, rel=1e-9)
    assert float(e.step_s) > float(step.total_s)
    assert float(e.tokens_per_s) == pytest.approx(float(d.tokens) / float(e.step_s))


def test_full_load_power_by_hand():
    """Trainium2 at bf16: 8 x 16,384 PEs x 2.4 GHz = 3.146e14 MAC/s; at 0.5 pJ each 158.5 W at nominal voltage."""
    c = chip("trainium2")
    t = chip_technology(c)
    t = dataclasses.replace(t, node=dataclasses.replace(t.node, mac_energy_J=ByPrecision(2e-12, 5e-13, 3e-13, 1e-13)))
    v = jnp.asarray(float(t.node.nominal_V))
    area = block_areas(c, t)
    parts = {k: float(x) for k, x in full_load_power_W(c, t, "bf16", area, jnp.asarray(400.0), v).items()}
    assert parts["tensor"] == pytest.approx(8 * 16384 * 2.4e9 * 5e-13)
    assert parts["hbm"] == pytest.approx(float(c.hbm_bandwidth_Bps * t.memory.energy_J_per_B))
    assert parts["static"] == pytest.approx(float(static_W(c, t, area, v)))
    rest = sum(x for k, x in parts.items() if k != "delivery")
    assert parts["delivery"] == pytest.approx(rest * float(t.package.voltage_loss_frac))


@pytest.mark.parametrize("precision", ["bf16", "fp8", "int8", "fp4"])
@pytest.mark.parametrize("name", ["a100-80", "h100", "b200", "tpu-v3", "tpu-v5e", "trainium2", "trainium3"])
def test_full_load_runs_in_what_a_step_runs_in(name, precision):
    """FP8 asked of integer units runs in 16 bit, INT8 of float units too; before, both had the 8-bit rate."""
    c = chip(name)
    tech, at = chip_technology(c), array_shape(c.core.tensor)
    s = silicon(c, tech)
    rate = PRECISIONS[at.executed(precision)]
    found = float(full_load_power_W(c, tech, precision, s.area, s.die_mm2, s.supply_V)["tensor"])
    macs = float(
        c.n_cores * c.clock_Hz * c.core.tensor.rows * c.core.tensor.cols * c.core.tensor.macs_per_cycle.of(rate)
    )
    energy_J_each = float(tech.node.mac_energy_J.of(rate)) * (float(s.supply_V) / float(tech.node.nominal_V)) ** 2
    assert found == pytest.approx(macs * energy_J_each * float(datapath_ratio(c.pipeline_depth)), rel=1e-9)


def test_operands_of_an_array_by_hand():
    # 128 x 128 in BF16: 128 x 2 B in, 128 x 8 B of sums a cycle over 16384 MACs; FP8 at 2 MACs a PE moves half per MAC.
    q = operand_B(chip("trainium2"), node("N5"))
    assert float(q[PRECISIONS.index("bf16")]) == pytest.approx((128 * 2 + 128 * 8) / 16384)
    assert float(q[PRECISIONS.index("fp8")]) == pytest.approx((128 * 2 * 1 + 128 * 8) / (16384 * 2))
    # MXFP8 reads 512 operands of 1 B a cycle: 1,536 B for 65,536 MACs
    assert float(operand_B(chip("trainium3"), node("N3P"))[PRECISIONS.index("fp8")]) == pytest.approx(1536 / 65536)


@pytest.mark.parametrize("name", ["h100", "v100", "trainium3", "tpu-v4"])
@pytest.mark.parametrize("precision", ["bf16", "fp8", "int8"])
def test_a_step_and_full_load_move_the_same_bytes(trn2, lowered, name, precision):
    """What a MAC costs in SRAM is one formula, whoever feeds the array: joules of a step over its MACs are watts over
    the MACs of a second."""
    (d, step), c = lowered, chip(name)
    t = chip_technology(c)
    runs = PRECISIONS[array_shape(c.core.tensor).executed(precision)]  # V100 has no 8-bit mode, TPU v4 one of integers
    macs = np.where([p == runs for p in PRECISIONS], 1e12, 0.0)
    v, die = jnp.asarray(float(t.node.nominal_V)), jnp.asarray(400.0)
    e = step_energy(dataclasses.replace(d, macs=macs, n_micro=np.asarray(1.0)), step, c, t, v, die)
    rate = float(peak_FLOPps(c, runs)) / 2
    watts = float(full_load_power_W(c, t, precision, block_areas(c, t), die, v)["sram"])
    assert float(e.sram_J) * rate == pytest.approx(watts * 1e12, rel=1e-12)
    assert watts > 0


def reshaped(c, rows, cols):
    t = dataclasses.replace(c.core.tensor, rows=np.asarray(rows), cols=np.asarray(cols))
    return dataclasses.replace(c, core=dataclasses.replace(c.core, tensor=t))


def load_W(c):
    tech = chip_technology(c)
    v = supply_V(c.clock_Hz, c.nominal_clock_Hz, tech.node)
    return sum(
        float(x) for x in full_load_power_W(c, tech, "bf16", block_areas(c, tech), jnp.asarray(800.0), v).values()
    )


def test_operands_of_an_instruction_by_hand():
    # Volta's 8x8: 2 B for 8 products on either side, at 0.54 of a large SRAM's energy; Ampere's 16x8 shares more
    bf16, n16, n7 = PRECISIONS.index("bf16"), node("N16"), node("N7")
    assert float(operand_B(chip("v100"), n16)[bf16]) == pytest.approx(0.54 * (2 / 8 + 2 / 8))
    assert float(operand_B(chip("a100-40"), n7)[bf16]) == pytest.approx(0.54 * (2 / 16 + 2 / 8))
    assert float(operand_B(chip("p100"), n16)[bf16]) == pytest.approx(0.54 * (2 + 2))


def test_what_a_register_bank_costs_is_a_fact_of_the_node():
    # the fact is a ratio: twice as much of it is twice the bytes of an instruction's operands, and none of an array's
    n7 = node("N7")
    dear = dataclasses.replace(n7, register_energy_frac=2 * n7.register_energy_frac)
    bf16 = PRECISIONS.index("bf16")
    assert float(operand_B(chip("a100-40"), dear)[bf16]) == pytest.approx(2 * 0.54 * (2 / 16 + 2 / 8))
    assert float(operand_B(chip("trainium2"), dear)[bf16]) == float(operand_B(chip("trainium2"), n7)[bf16])


def test_matrix_units_of_gpus_spend_less_on_operands_than_on_products():
    """[semiengineering2022programmable]: fetches cost a tensor core a fifth of its products, a lone one 20 times."""
    n16, n7 = node("N16"), node("N7")
    bf16 = PRECISIONS.index("bf16")
    share = {
        name: float(operand_B(chip(name), n)[bf16] * n.sram_energy_J_per_B / n.mac_energy_J.bf16)
        for name, n in (("p100", n16), ("v100", n16), ("a100-40", n7))
    }
    assert share["p100"] > 5 > 1 > share["v100"] > share["a100-40"] > 0.2


def test_no_convention_decides_what_a_gpu_burns():
    """V100 does 512 MACs per core and cycle; 16 x 32 or 8 x 64 is what we call them. A systolic array has its edges."""
    v100, trn2 = chip("v100"), chip("trainium2")
    assert load_W(reshaped(v100, 8.0, 64.0)) == pytest.approx(load_W(v100), rel=1e-12)
    assert load_W(reshaped(trn2, 64.0, 256.0)) > 1.03 * load_W(trn2)


def test_no_step_draws_more_than_full_load(trn2, lowered):
    """What a chip is cooled for bounds what any step draws."""
    d, _ = lowered
    chip_ = dataclasses.replace(trn2.chip, power_limit_W=np.asarray(1e6))
    t = chip_technology(chip_)
    e = evaluate_demand(d, chip_, t, default_calibration("trainium2"))
    area = block_areas(chip_, t)
    volt = supply_V(chip_.clock_Hz, chip_.nominal_clock_Hz, t.node)
    most = sum(float(x) for x in full_load_power_W(chip_, t, "bf16", area, jnp.asarray(265.0), volt).values())
    assert float(e.power_W) < most


@pytest.mark.parametrize(
    ("name", "precision", "lanes_W"),
    [
        # 142 SMs x 128 lanes x 2.49 GHz x 4.71 pJ (N4) = 213 W, beside 95 + 50 W of matrix products
        ("l40s", "fp8", 213.0),
        # 78 x 128 x 1.853 GHz x 4.71 pJ = 87 W: the cut-down tensor cores draw less
        ("h20", "fp8", 87.0),
        # 132 x 128 x 1.83 GHz x 4.71 pJ = 146 W, less than the tensor cores
        ("h100", "fp8", 146.0),
        # an NPU's engines run at once
        ("trainium2", "fp8", None),
    ],
)
def test_a_multithreaded_core_draws_what_its_hungrier_engine_does(name, precision, lanes_W):
    """Before: only the matrix unit counted, so that cards for graphics drew half of their TDP at most."""
    c = chip(name)
    tech = chip_technology(c)
    s = silicon(c, tech)
    on = c, tech, precision, s.area, s.die_mm2, s.supply_V
    parts = {k: float(x) for k, x in full_load_power_W(*on).items()}
    assert float(full_load_W(*on)) == pytest.approx(sum(parts.values()))
    matrix = parts["tensor"] + parts["sram"]
    if lanes_W is None:
        assert parts["vector"] > 0
    else:
        assert matrix + parts["vector"] == pytest.approx(max(matrix, lanes_W), rel=0.03)


@pytest.mark.parametrize(("name", "asked", "runs"), [
    # Trainium2 multiplies FP8 and nothing narrower; TPU v3 and V100 16 bit at best
    ("trainium2", "fp4", "fp8"), ("tpu-v3", "fp8", "bf16"), ("v100", "fp4", "bf16"), ("tpu-v3", "fp4", "bf16"),
])  # fmt: skip
def test_full_load_in_what_the_unit_lacks_is_that_of_the_next_wider(name, asked, runs):
    """Before, a chip without FP8 was fully loaded in FP8 with its matrix unit at rest: TPU v3 with 111 W less."""
    c = chip(name)
    tech = chip_technology(c)
    s = silicon(c, tech)
    watts = [full_load_W(c, tech, p, s.area, s.die_mm2, s.supply_V) for p in (asked, runs)]
    assert float(watts[0]) == float(watts[1])
    macs = float(peak_FLOPps(c, runs)) / 2.0
    lanes = full_load_power_W(c, tech, asked, s.area, s.die_mm2, s.supply_V)
    # each MAC takes at least its own energy at the supply
    at_V = (float(s.supply_V) / float(tech.node.nominal_V)) ** 2
    assert float(lanes["tensor"]) == pytest.approx(macs * float(tech.node.mac_energy_J.of(runs)) * at_V)
