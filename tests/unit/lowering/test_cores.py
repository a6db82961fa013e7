"""Ranks that are cores: laws between what a device does and what its chip does, and what is refused."""

import dataclasses

import numpy as np
import pytest

import dse
from dse.core.errors import PlanError
from dse.evaluation.assembly import chip_reference
from dse.hardware.devices import core_counts
from dse.hardware.presets import chip, chip_system, system
from dse.lowering.cores import core_reference, on_chip, ranks_of
from dse.lowering.demand import demand, valid_demand
from dse.lowering.plan import check_plan
from dse.lowering.tiling import array_shape
from dse.physics.calibration import calibration_for
from dse.physics.step import step_time

MODEL = dse.model("llama-3.1-8b")
DECODE, PREFILL, TRAINING = dse.Decode(MODEL, 32, 4096), dse.Prefill(MODEL, 4, 2048), dse.Training(MODEL, 64, 2048)


def test_what_software_counts():
    """[aws2026lnc]: LNC=2, the default, shows 4 of Trainium2's 8 cores, LNC=1 all; older chips show every core."""
    assert core_counts(chip("trainium2")) == core_counts(chip("trainium3")) == (4, 8)
    assert core_counts(chip("trainium1")) == core_counts(chip("inferentia2")) == (2,)
    assert core_counts(chip("h100")) == () == core_counts(dataclasses.replace(chip("trainium2"), name="a design"))


@pytest.mark.parametrize(
    "workload, plan",
    [
        (DECODE, dse.Plan(tp=32, dp=2)),
        (DECODE, dse.Plan(tp=16, pp=2, dp=2)),
        (DECODE, dse.Plan(tp=16, cp=2, dp=2)),
        (DECODE, dse.Plan(tp=32, dp=2, order="stream")),
        (PREFILL, dse.Plan(tp=32, dp=2)),
        (TRAINING, dse.Plan(tp=8, pp=2, dp=4, micro_batch=2)),
        (TRAINING, dse.Plan(tp=32, dp=4)),
    ],
)
@pytest.mark.parametrize("where", ["trn2-16", "trn3-gen1-64"])
def test_a_chip_takes_as_long_as_each_of_its_ranks(workload, plan, where):
    """All ranks of a chip do the same at once: its time is a rank's on its share of the chip, its work theirs added."""
    whole = system(where, 16)
    ranks, k = ranks_of(plan, whole)
    c = calibration_for(whole.chip.name, workload)
    ref, array = chip_reference(ranks.chip, c), array_shape(whole.chip.core.tensor)
    own = valid_demand(workload, plan, ranks, dataclasses.replace(ref, ranks_are_cores=True), array)
    told = demand(workload, plan, whole, chip_reference(whole.chip, c))
    assert k == plan.tp * plan.pp * plan.cp * plan.dp // 16 > 1
    mine, its = step_time(own, ranks.chip, c), step_time(told, whole.chip, c)
    for part in ("total_s", "compute_s", "tensor_exposed_s", "data_exposed_s", "bubble_s", "optimizer_s"):
        np.testing.assert_allclose(float(getattr(its, part)), float(getattr(mine, part)), rtol=1e-12, atol=1e-15)
    assert float(its.hbm_B) == pytest.approx(k * float(mine.hbm_B))
    assert float(told.memory_B) == k * float(own.memory_B)
    np.testing.assert_array_equal(told.macs, k * np.asarray(own.macs))
    assert float(told.tokens) == float(own.tokens)


def test_useful_work_is_the_workloads_whoever_the_ranks_are():
    """By hand: model FLOP of a chip are a 16th of the step's, by chips as by cores, though cores read more cache."""
    whole = system("trn2-16")
    ref = chip_reference(whole.chip, calibration_for("trainium2", DECODE))
    plans = dse.Plan(tp=8, dp=2), dse.Plan(tp=32, dp=2)
    chips, cores = (demand(DECODE, p, whole, ref) for p in plans)
    assert float(cores.model_FLOP) == float(chips.model_FLOP)
    # 8 KV heads on 32 ranks: each is copied four times
    weights_B, more_B = (float(demand(dataclasses.replace(DECODE, context=16), p, whole, ref).memory_B) for p in plans)
    assert float(cores.memory_B) - more_B == pytest.approx(4 * (float(chips.memory_B) - weights_B), rel=0.01)


def test_ranks_that_are_chips_are_left_alone():
    whole = system("trn2-16")
    ref = chip_reference(whole.chip, calibration_for("trainium2", DECODE))
    ranks, k = ranks_of(dse.Plan(tp=16), whole)
    assert ranks is whole and k == 1 and core_reference(ref, 1) is ref
    d = demand(DECODE, dse.Plan(tp=8, dp=2), whole, ref)
    assert on_chip(d, 1) is d and ranks_of(dse.Plan(tp=64), system("trn2-ultraserver"))[1] == 1


def test_other_counts_are_refused_with_what_would_do():
    """Before: that 64 are not 16, which a user of logical cores knows."""
    whole = system("trn2-16")
    why = r"has 16 chips; ranks are chips, or all of their logical cores: 64 \(4 a chip\) or 128 \(8 a chip\)"
    with pytest.raises(PlanError, match=why):
        check_plan(dse.Plan(tp=16, dp=3), DECODE, whole)
    with pytest.raises(PlanError, match=r"has 16 chips$"):
        check_plan(dse.Plan(tp=8, dp=4), DECODE, system("dgx-h100", 16))
    with pytest.raises(PlanError, match=r"does not divide the 32 heads"):
        dse.evaluate(whole, DECODE, dse.Plan(tp=64))


def test_a_chip_of_ones_own_says_how_many(tmp_path):
    """Six cores make no four logical ones, so that software sees chips until the file says more."""
    asked = {'base = "trainium2"': (4, 8), 'base = "trainium2"\nn_cores = 6': (), 'base = "tpu-v5p"': (),
             'base = "tpu-v5p"\nn_logical_cores = 2': (2,)}  # fmt: skip
    for i, (text, counts) in enumerate(asked.items()):
        path = tmp_path / f"own{i}.toml"
        path.write_text(f"[own]\n{text}\n")
        assert core_counts(chip_system(str(path)).chip) == counts
