"""What a chip does on a workload: parts agree with each other, MFU by hand, and the search picks the fastest plan."""

import dataclasses

import jax
import numpy as np
import pytest

from dse.core.errors import PlanError, RoomError
from dse.core.types import stack_records
from dse.evaluation.assembly import chip_reference, evaluate, fastest, lowered
from dse.evaluation.host import evaluated, plan_steps_s
from dse.hardware.chip import peak_FLOPps
from dse.hardware.presets import chip, chip_names, system
from dse.lowering.demand import demand
from dse.lowering.headroom import usable_frac
from dse.lowering.plan import Plan, parse_plan
from dse.physics.area import block_areas, die_area_mm2, interposer_mm2
from dse.physics.calibration import calibration, default_calibration
from dse.physics.evaluate import chip_technology, evaluate_demand, silicon
from dse.physics.money import bond_loss, package_cost, total_USD
from dse.physics.power import energy_J
from dse.study.metrics import METRICS, OF_WORKLOADS, chip_state
from dse.workload.presets import model
from dse.workload.transformer import Decode, Training, forward_FLOP_per_token

LLAMA = model("llama-3.1-8b")
TRAINING = Training(LLAMA, 32, 4096)
PLAN = Plan(tp=4, pp=2, dp=2)


@pytest.fixture(scope="module")
def evaluation(trn2):
    return evaluate(trn2, TRAINING, PLAN).result


@pytest.mark.parametrize("name", chip_names())
def test_silicon_of_every_preset_is_consistent(name):
    c = chip(name)
    t = chip_technology(c)
    s = silicon(c, t)
    assert float(s.die_mm2) == float(die_area_mm2(c, t))
    assert float(s.interposer_mm2) == float(interposer_mm2(c, s.die_mm2, t))
    assert float(total_USD(s.money)) == pytest.approx(float(total_USD(package_cost(c, s.die_mm2, bond_loss(t), t))))
    assert float(t.node.minimum_V) <= float(s.supply_V) <= float(t.node.maximum_V)
    assert 0 < float(s.static_W) < float(c.power_limit_W)
    assert jax.tree.structure(s.area) == jax.tree.structure(block_areas(c, t))


def test_mfu_by_hand(trn2, evaluation):
    """3 x forward FLOP of 32 x 4,096 tokens, over the step and 16 chips of 629.1 TFLOP/s bf16."""
    tokens = 32 * 4096
    useful = 3 * forward_FLOP_per_token(LLAMA, 2048, 0) * tokens
    peak = 16 * float(peak_FLOPps(trn2.chip, "bf16"))
    assert peak / 16 == pytest.approx(629.1e12, rel=1e-3)
    assert float(evaluation.mfu_frac) == pytest.approx(useful / (float(evaluation.step_s) * peak), rel=1e-9)
    assert 0 < float(evaluation.mfu_frac) < 1


def test_fp8_mfu_counts_the_fp8_peak(trn2):
    """The denominator is the peak of the linear layers' precision: twice bf16's on this chip."""
    bf16, fp8 = (evaluate(trn2, dataclasses.replace(TRAINING, precision=p), PLAN).result for p in ("bf16", "fp8"))
    ratio = float(fp8.mfu_frac * fp8.step_s) / float(bf16.mfu_frac * bf16.step_s)
    assert ratio == pytest.approx(0.5)
    assert float(fp8.step_s) < float(bf16.step_s)


def test_power_is_energy_over_time(trn2, evaluation):
    t = chip_technology(trn2.chip)
    static = float(silicon(trn2.chip, t).static_W)
    drawn = (float(energy_J(evaluation.energy)) / float(evaluation.step_s) + static) * 1.1
    assert float(evaluation.power_W) == pytest.approx(drawn)
    assert float(evaluation.power_W) <= float(trn2.chip.power_limit_W) * (1 + 1e-9)
    assert float(evaluation.step_s) >= float(evaluation.step.total_s)


def test_tokens_per_second(evaluation):
    assert float(evaluation.tokens_per_s) == pytest.approx(32 * 4096 / float(evaluation.step_s))


def test_the_search_finds_the_fastest_plan_that_fits(trn2):
    """Every plan priced one by one, against the vectorised search."""
    c, t = default_calibration("trainium2"), chip_technology(trn2.chip)
    every, demands = lowered(trn2, TRAINING, c)
    room = usable_frac() * float(trn2.chip.hbm_capacity_B)
    some = range(0, len(every), max(len(every) // 12, 1))
    one_by_one = {i: float(evaluated(demands[i], trn2.chip, t, c).step_s) for i in some}
    seconds = np.asarray(plan_steps_s(stack_records(demands), trn2.chip, t, c))
    for i, s in one_by_one.items():
        assert seconds[i] == (pytest.approx(s, rel=1e-12) if float(demands[i].memory_B) <= room else np.inf)
    best = evaluate(trn2, TRAINING)
    plan, e = best.plan, best.result
    assert plan == every[int(np.argmin(seconds))] == every[fastest(every, demands, trn2.chip, t, c)]
    assert float(e.step_s) == pytest.approx(seconds.min(), rel=1e-12)
    assert float(e.memory_B) <= room


def test_a_given_plan_is_not_replaced(trn2):
    assert evaluate(trn2, TRAINING, PLAN).plan == PLAN


def test_what_does_not_fit_says_by_how_much():
    """405e9 weights in bf16 are 754 GiB; one Trainium2 has 96."""
    with pytest.raises(PlanError, match="GiB per chip and trainium2 offers"):
        evaluate(system("trn2-16", 1), Decode(model("llama-3.1-405b"), 1, 128))
    with pytest.raises(PlanError, match=r"needs .* GiB"):
        evaluate(system("trn2-16", 1), Decode(model("llama-3.1-405b"), 1, 128), Plan(micro_batch=1))


def test_a_plan_that_prefetches_more_than_sram_holds_says_so():
    """A block of Llama 3.1 405B in FP8 is 3.2 GB, 0.4 GB on each of 8 chips, where half of 50 MB is free for it.

    Before: the plan search left such plans out, a given one was evaluated.
    """
    decode = Decode(model("llama-3.1-405b"), 8, 1024, "fp8")
    with pytest.raises(RoomError, match=r"prefetches .* offers .* order=turn"):
        evaluate(system("dgx-h100", 8), decode, parse_plan("tp=8,order=stream"))


def test_what_does_not_divide_says_so():
    """One sequence on 1,024 chips: 16 tensor ranks and 32 layers leave two replicas with nothing to split."""
    with pytest.raises(PlanError, match="no plan divides"):
        evaluate(system("trn2-16", 1024), Training(LLAMA, 1, 4096))


def test_calibration_and_technology_can_be_given(trn2, evaluation):
    """A better named prior is faster; energy does not depend on it."""
    other = evaluate(
        trn2, TRAINING, PLAN, calibration=dataclasses.replace(calibration("prior-neuron"), matmul_frac=1.0)
    )
    assert float(other.result.step.total_s) < float(evaluation.step.total_s)
    assert float(other.result.energy.tensor_J) == pytest.approx(float(evaluation.energy.tensor_J))
    same = evaluate(trn2, TRAINING, PLAN, tech=chip_technology(trn2.chip)).result
    assert float(same.power_W) == float(evaluation.power_W)


def test_evaluation_is_differentiable_end_to_end(trn2):
    """d step / d HBM bandwidth through time, power and throttling: negative and finite."""
    c, t = default_calibration("trainium2"), chip_technology(trn2.chip)
    d = demand(Decode(LLAMA, 16, 2048), Plan(tp=8, dp=2, micro_batch=8), trn2, chip_reference(trn2.chip, c))

    def step(bandwidth):
        return evaluate_demand(d, dataclasses.replace(trn2.chip, hbm_bandwidth_Bps=bandwidth), t, c).step_s

    slope = float(jax.grad(step)(trn2.chip.hbm_bandwidth_Bps))
    assert np.isfinite(slope) and slope < 0


@pytest.mark.parametrize("name", ["trainium2", "h100"])
def test_metrics_that_need_no_workload_read_a_preset(name):
    state = chip_state(chip(name))
    values = {m: f(state) for m, f in METRICS.items() if m not in OF_WORKLOADS}
    assert all(np.isfinite(float(v)) for v in values.values())
    assert float(values["silicon_mm2"]) == pytest.approx(float(chip(name).n_dies * state.die_mm2))
    assert METRICS["power_W"](state) == []
