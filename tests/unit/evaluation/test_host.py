"""One program for every workload and calibration, and all chips of a kind: the formulas themselves."""

import dataclasses

import jax
import numpy as np
import pytest

from dse.core.program import is_traced
from dse.core.types import stack_records
from dse.evaluation import host
from dse.evaluation.assembly import lowered
from dse.evaluation.host import evaluated, plan_steps_s
from dse.hardware.presets import system
from dse.physics.calibration import calibration_for
from dse.physics.evaluate import chip_technology, evaluate_demand
from dse.workload.presets import model
from dse.workload.transformer import Decode, Training

ASKED = (
    ("trn2-ultraserver", Decode(model("llama-3.1-8b"), batch=64, context=4096)),
    ("dgx-h100", Training(model("llama-3.1-8b"), global_batch=256, sequence=4096)),
)


def case(name, workload):
    at = system(name, 64)
    c = calibration_for(at.chip.name, workload)
    _, demands = lowered(at, workload, c)
    return demands, at.chip, chip_technology(at.chip), c


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("cooled_W", [None, np.float64(400.0)])
def test_filling_up_changes_no_number(asked, cooled_W):
    demands, *on = case(*asked)
    found, formula = evaluated(demands[0], *on, cooled_W), evaluate_demand(demands[0], *on, cooled_W)
    scale = float(formula.step.total_s)  # parts of a step are differences, some of them of zero
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * scale), found, formula)


@pytest.mark.parametrize("asked", ASKED)
def test_plans_side_by_side_are_what_each_is_alone(asked):
    demands, *on = case(*asked)
    seconds = np.asarray(plan_steps_s(stack_records(demands), *on))
    alone = [float(plan_steps_s(stack_records([demands[i]]), *on)[0]) for i in range(8)]
    assert seconds.shape == (len(demands),)
    np.testing.assert_array_equal(seconds[:8], alone)
    fits = np.flatnonzero(np.isfinite(seconds))[0]
    assert float(evaluated(demands[int(fits)], *on).step_s) == pytest.approx(seconds[fits], rel=1e-12)


def test_workloads_and_chips_of_a_kind_share_a_program(monkeypatch):
    made = []
    program = type(host._evaluated)
    monkeypatch.setattr(host, "_evaluated", program(evaluate_demand))
    compiled = program._compiled
    monkeypatch.setattr(program, "_compiled", lambda *args: made.append(1) or compiled(*args))
    for name, (_, workload) in zip(("trn1-16", "trn2-ultraserver"), ASKED, strict=True):
        demands, *on = case(name, workload)
        evaluated(demands[0], *on)
        evaluated(demands[0], *on, np.float64(400.0))
    assert len(made) == 1


def test_inside_a_gradient_no_number_is_computed_operation_by_operation(monkeypatch):
    seen = []

    def recorded(*args):
        seen.append(all(is_traced(x) for x in jax.tree.leaves(args)))
        return evaluate_demand(*args)

    monkeypatch.setattr(host, "_evaluated", type(host._evaluated)(recorded))
    demands, chip, *rest = case(*ASKED[0])

    def seconds(clock_Hz):
        return evaluated(demands[0], dataclasses.replace(chip, clock_Hz=clock_Hz), *rest).step_s

    assert float(jax.grad(seconds)(np.float64(chip.clock_Hz))) < 0
    assert seen == [True]
