"""`serve`, `cost`, `fleet`, `validate`, the baseline of a study and a chip on a front: one evaluation behind all."""

import dataclasses

import numpy as np
import pytest

import dse
from dse.calibrate.cases import Case, lower
from dse.calibrate.score import predict_cases
from dse.evaluation.assembly import evaluate
from dse.explore.designed import named_chips, named_load
from dse.lowering.engines import Policy, decode_of
from dse.optimize.ground import ground_of
from dse.physics.calibration import SERVING, calibration_for, default_calibration, usual_stack
from dse.physics.evaluate import chip_technology, evaluate_demand
from dse.serving.comparison import timed
from dse.serving.curve import Promise, serving_curve
from dse.study.design import as_built
from dse.study.study import study_from
from dse.workload.requests import Length, Requests
from dse.workload.transformer import Decode, Prefill, Training

from .conftest import MODELS, questions
from .test_points import ULPS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("chip", ("trainium1", "trainium2", "h100", "tpu-v5p", "mi300x"))
def test_one_rule_for_the_calibration(chip):
    """Training takes the training stack's numbers; prefill, decode and a service take those of a serving stack."""
    m = dse.model(MODELS["dense"])
    serving = [Prefill(m, 1, 128), Decode(m, 1, 128), Requests(m, (Length(100, 10),))]
    assert calibration_for(chip, Training(m, 1, 128)).name == default_calibration(chip).name
    assert {calibration_for(chip, w).name for w in serving} == {
        default_calibration(chip, usual_stack(chip, serves=True)).name
    }
    assert usual_stack(chip, serves=True) in SERVING and usual_stack(chip, serves=False) not in SERVING


@pytest.mark.parametrize("chip, system", (("trainium2", "trn2-16"), ("h100", "dgx-h100")))
@pytest.mark.parametrize("model", MODELS.values())
def test_an_engine_decodes_as_evaluate_says(chip, system, model):
    """The first few engines of a curve against the evaluation of the same pass, one by one."""
    requests = Requests(dse.model(model), (Length(1000, 200),))
    curve = serving_curve(dse.system(system, 4), requests, Promise(), Policy(("prefill first",), max_sequences=64))
    assert curve.calibration.name == calibration_for(chip, requests).name
    every = range(0, len(curve.menu.writers), max(len(curve.menu.writers) // 4, 1))
    for i in every:
        w = curve.menu.writers[i]
        decode, plan = decode_of(requests, w.shape, w.n_sequences, requests.mean_context)
        e = evaluate(w.shape.system, decode, plan).result
        np.testing.assert_allclose(float(curve.costs.pass_s[i]), float(e.step_s), rtol=ULPS)
        energy = sum(float(x) for x in e.energy.__dict__.values())
        np.testing.assert_allclose(float(curve.costs.energy_J[i]), energy, rtol=ULPS)


@pytest.mark.parametrize("q", questions(chips=("trainium2", "h100"), phases=("training", "decode"), models=("dense",)))
def test_cost_times_a_step_as_evaluate_does(q):
    t, e = timed(q.system, q.workload), dse.evaluate(q.system, q.workload).result
    assert (t.step_s, t.power_W) == (float(e.step_s), float(e.power_W))
    assert t.band_s[0] <= t.step_s <= t.band_s[1]


def study_of(q):
    """A study with one workload and the chip of the question as its baseline."""
    w = q.workload
    sizes = (
        {"global_batch": w.global_batch, "sequence": w.sequence}
        if isinstance(w, Training)
        else {"batch": w.batch, "context": w.context}
    )
    what = {"phase": q.phase, "model": q.model, "chips": q.system.n_chips, **sizes}
    choices = {
        "node": ["N5"], "hbm": ["HBM3"], "link": [q.system.chip.link], "n_dies": [2],
        "pe_array": [as_built(q.system.chip).pe_array], "native_fp4": [False],
    }  # fmt: skip
    head = {"name": "cross", "baseline": q.chip, "system": q.system.name, "scaleout_per_dir": "25 GBps"}
    return study_from({"study": head, "workloads": {"w": what}, "choices": choices, "free": {}})


@pytest.mark.parametrize("q", questions(chips=("trainium2", "h100"), phases=("training", "decode")))
def test_a_baseline_and_a_chip_on_a_front_are_evaluations(q):
    """Baseline and named chip of one study: the same time by the same calibration, so the chip stands at exactly 1."""
    best = dse.evaluate(q.system, q.workload)
    plan, e = best.plan, best.result
    study = study_of(q)
    assert study.calibrations["w"].name == calibration_for(q.chip, q.workload).name
    ((own, seconds),) = ground_of(study).baselines
    assert (own, seconds) == (plan, float(e.step_s))
    work = named_load(q.chip, q.workload, q.system.n_chips, seconds, 1)
    assert (float(work.step_s), float(work.power_W)) == (float(e.step_s), float(e.power_W))
    here = {n.name: n.values for n in named_chips(study, ("delivered_time", "power_W"), [seconds])}
    assert here[q.chip] == (1.0, float(e.power_W))


@pytest.mark.parametrize("q", questions(chips=("trainium2",), phases=("decode",)))
def test_a_baseline_that_may_stream_stands_at_one_on_its_front_too(q):
    """A figure once had trainium3 at 0.92 of itself, since only the study let it stream."""
    study = dataclasses.replace(study_of(q), streams=True)
    ((own, seconds),) = ground_of(study).baselines
    best = dse.evaluate(q.system, q.workload, streams=True)
    plan, e = best.plan, best.result
    assert (own, seconds) == (plan, float(e.step_s))
    (here,) = [n for n in named_chips(study, ("delivered_time", "power_W"), [seconds]) if n.name == q.chip]
    assert here.values == (1.0, float(e.power_W))


@pytest.mark.parametrize("q", questions(chips=("trainium2",), phases=("decode",)))
def test_a_named_chip_on_a_front_weighs_workloads_as_the_study_does(q):
    """A step of s beside baselines of 1 s and 16 s: s / 16^0.25 = s / 2 at weights of 3 to 1, s / 4 at equal ones."""
    study = study_of(q)
    (work,) = study.workloads.values()
    twice = dataclasses.replace(study, workloads={"often": work, "seldom": work})
    weighted = dataclasses.replace(twice, weights={"often": 3.0})
    each = [named_chips(s, ("delivered_time",), [1.0, 16.0], (q.chip,))[0].values[0] for s in (twice, weighted)]
    seconds = float(dse.evaluate(q.system, q.workload).result.step_s)
    assert each == pytest.approx([seconds / 4, seconds / 2])


@pytest.mark.parametrize("chip, system", (("a100-80", "dgx-a100"), ("h100", "dgx-h100")))
def test_a_row_of_validate_times_a_step_as_evaluate_does(chip, system):
    """The same plan on the same chips with the same stack's numbers: time before any power limit, and memory."""
    m, where, plan = dse.model(MODELS["dense"]), dse.system(system, 8), dse.Plan(tp=4, pp=1, dp=2, zero=1)
    w, c = Training(m, 16, 2048), default_calibration(chip)
    case = Case("cross#1", "cross", chip, "megatron", 1.0, lower(w, plan, where, c), where.chip)
    (row,) = predict_cases([case]).to_dict(orient="records")
    e = evaluate(where, w, plan).result
    np.testing.assert_allclose(row["predicted_s"], float(e.step.total_s), rtol=ULPS)
    assert row["memory_B"] == float(e.memory_B) and row["calibration"] == calibration_for(chip, w).name


def test_one_throttle():
    """A step under a limit by the short cut of the optimiser and by the whole evaluation."""
    from dse.evaluation.assembly import chip_reference
    from dse.lowering.demand import demand
    from dse.physics.evaluate import limited_s, silicon

    s, w = dse.system("trn2-16", 4), Decode(dse.model(MODELS["dense"]), 32, 2048)
    c, tech = calibration_for("trainium2", w), chip_technology(s.chip)
    d = demand(w, dse.Plan(tp=4, micro_batch=32), s, chip_reference(s.chip, c))
    for limit_W in (500.0, 250.0):
        chip = dataclasses.replace(s.chip, power_limit_W=limit_W)
        made = silicon(chip, tech)
        short = limited_s(d, chip, tech, c, made.supply_V, made.die_mm2, chip.power_limit_W)
        assert float(short) == pytest.approx(float(evaluate_demand(d, chip, tech, c).step_s), rel=ULPS)
