"""A plan whose ranks are cores: the row of `dse validate`, `dse evaluate`, a point of a sweep and a metric agree."""

import json

import jax
import numpy as np
import pytest

import dse
from dse.calibrate.families import SCORERS
from dse.calibrate.inference_score import predict_requests
from dse.calibrate.measurements import read
from dse.calibrate.reading import readable
from dse.cli import main
from dse.evaluation.assembly import chip_reference
from dse.lowering.cores import on_chip
from dse.lowering.demand import demand
from dse.physics.calibration import calibration_for, on_stack, prior_calibration
from dse.physics.step import step_time
from dse.sweep.batch import evaluate_points
from dse.sweep.points import points
from dse.sweep.spec import load_sweep

from .test_points import ULPS

pytestmark = pytest.mark.slow

ASKED = [
    # Llama 3.1 70B has 8 KV heads: 64 ranks hold 8 copies of each
    ("trn2.48xlarge", "trainium2", "trn2-16", "llama-3.1-70b", 16, {"tp": 64}),
    # LNC=1: 128 ranks, in 4 groups that 32 heads divide (before: of 8 tensor ranks, as dp was taken out of them)
    ("trn2.48xlarge", "trainium2", "trn2-16", "llama-3.1-8b", 16, {"tp": 32, "dp": 4}),
    ("trn1.32xlarge", "trainium1", "trn1-16", "llama-3.1-8b", 16, {"tp": 32}),
    ("inf2.48xlarge", "inferentia2", "inf2-48xlarge", "llama-3.1-8b", 12, {"tp": 8, "dp": 3}),
]
"""Instance, its chip, system and chips, a model, and ranks that are cores."""


def case_of(folder, instance, model, ranks, batch, context):
    """The case that `dse validate` makes of a run with these ranks."""
    path = folder / "row.csv"
    sizes = ",".join(str(ranks.get(k, 1)) for k in ("tp", "dp"))
    head = "Instance,Framework,Model,Batch,in_len,out_len,tp,dp,tpot p50 (ms)"
    path.write_text(f"{head}\n{instance},NxDI,{model},{batch},{context - 100},100,{sizes},40\n")
    rows, odd = readable(read("inference", path, ()))
    (case,), rest = SCORERS["inference"](rows)
    assert not odd and not rest
    return case


def row_s(case, c):
    """What `dse validate` predicts of a case, before any power limit."""
    return float(predict_requests([case], {case.point_id: c}).predicted_s[0])


@pytest.mark.parametrize("instance, chip, system, model, n_chips, ranks", ASKED)
def test_a_row_is_lowered_as_a_plan_is(instance, chip, system, model, n_chips, ranks, tmp_path):
    """To the last bit, at the link speeds of the prior, at which rows choose their collectives whatever was fitted."""
    batch, context, plan = 12 * ranks.get("dp", 1), 8192, dse.Plan(**ranks)
    case = case_of(tmp_path, instance, model, ranks, batch, context)
    where, step = dse.system(system, n_chips), dse.Decode(dse.model(model), batch, context)
    prior = prior_calibration(chip)
    ref = on_stack(chip_reference(where.chip, prior), "neuronx")
    own = demand(step, plan, where, ref)
    per_chip = plan.tp * plan.dp // n_chips
    jax.tree.map(np.testing.assert_array_equal, on_chip(case.demand.decode, per_chip), own)
    told = float(step_time(own, where.chip, prior).total_s)
    np.testing.assert_allclose(row_s(case, prior), told, rtol=ULPS)


@pytest.mark.parametrize("instance, chip, system, model, n_chips, ranks", ASKED)
def test_one_question_has_one_answer(instance, chip, system, model, n_chips, ranks, tmp_path, capsys):
    """Before: `dse evaluate`, sweeps and Python refused such a plan; on Inferentia2 a row chose other collectives."""
    batch, context = 2 * ranks.get("dp", 1), 8192
    where, step = dse.system(system, n_chips), dse.Decode(dse.model(model), batch, context)
    plan = dse.Plan(**ranks)
    e = dse.evaluate(where, step, plan).result
    case = case_of(tmp_path, instance, model, ranks, batch, context)
    np.testing.assert_allclose(row_s(case, calibration_for(chip, step)), float(e.step_s), rtol=ULPS)
    text = ",".join(f"{k}={v}" for k, v in ranks.items())
    capsys.readouterr()
    sizes = ["--batch", str(batch), "--context", str(context)]
    asked = ["evaluate", chip, model, "--phase", "decode", "--chips", str(n_chips), "--plan", text, "--system", system]
    assert main([*asked, *sizes, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["step_s"], shown["power_W"]) == (float(e.step_s), float(e.power_W))
    path = tmp_path / "one.toml"
    path.write_text(
        '[sweep]\nname = "one"\nrecord = ["step_s", "power_W", "memory_B"]\n'
        f'[base]\nchip = "{chip}"\nsystem = "{system}"\nmodel = "{model}"\nphase = "decode"\nchips = {n_chips}\n'
        f'batch = {batch}\ncontext = {context}\n[[axes]]\nkey = "plan"\nvalues = ["{text}"]\n'
    )
    sweep = load_sweep(path)
    found = evaluate_points(sweep, points(sweep, range(1)))
    assert found["ok"][0], found["reason"][0]
    for name in ("step_s", "power_W", "memory_B"):
        np.testing.assert_allclose(found[name][0], float(getattr(e, name)), rtol=ULPS)
    value = jax.jit(dse.metric("step_s", where, step, plan))(where.chip)
    np.testing.assert_allclose(float(value), float(e.step_s), rtol=ULPS)
