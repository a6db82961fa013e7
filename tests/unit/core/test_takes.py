"""Arguments of a wrong kind: one sentence at the front door, where a traceback from inside was."""

import subprocess
import sys

import pytest

import dse

SYSTEM, MODEL = dse.system("dgx-h100", 8), dse.model("llama-3.1-8b")
STEP = dse.Decode(MODEL, 64, 4096)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: dse.evaluate(SYSTEM, STEP, "tp=8"), "evaluate: plan is the text 'tp=8'; give a Plan"),
        (lambda: dse.evaluate("dgx-h100", STEP), "evaluate: system is the text 'dgx-h100'; give a System"),
        (lambda: dse.evaluate(SYSTEM.chip, STEP), "evaluate: system is of the type Chip; give a System"),
        (lambda: dse.evaluate(SYSTEM, MODEL), "evaluate: workload is of the type Model; give a Training or Prefill or"),
        (lambda: dse.evaluate(SYSTEM, STEP, calibration="prior-cuda"), "give a Calibration, such as dse.calibration"),
        (lambda: dse.evaluate(SYSTEM, STEP, tech="N4"), "tech is the text 'N4'; give a Technology"),
        (lambda: dse.evaluate(SYSTEM, STEP, dse.Plan(tp="8")), "tp=8 is not allowed; give a whole number"),
        (lambda: dse.metric("step_s", "dgx-h100", STEP), "system is the text 'dgx-h100'"),
        (lambda: dse.plans(STEP, "dgx-h100"), "plans: system is the text"),
        (lambda: dse.memory_B("tp=8", STEP), "memory_B: plan is the text 'tp=8'"),
        (lambda: dse.parse_plan(dse.Plan()), "parse_plan: text is of the type Plan"),
        (lambda: dse.solve("sweeps/trainium4.toml"), "solve: study is the text .*; give a Study, such as dse.load"),
        (lambda: dse.solve_continuous("x"), "solve_continuous: study"),
        (lambda: dse.front("x"), "front: study"),
        (lambda: dse.risk("x"), "risk: study"),
        (lambda: dse.sensitivity("x"), "sensitivity: study"),
    ],
)
def test_a_wrong_kind_is_told_in_a_sentence(call, said):
    with pytest.raises(dse.DseError, match=said):
        call()


def test_a_workload_of_a_wrong_kind_is_told_when_it_is_made():
    """In a process of its own: here, types of constructors are checked before the constructor's own words."""
    code = """import dse
for model, batch in (("llama-3.1-8b", 64), (dse.model("llama-3.1-8b"), "64")):
    try:
        dse.Decode(model, batch, 4096)
    except dse.DseError as error:
        print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Decode: model is the text 'llama-3.1-8b'; give a Model, such as dse.model" in told
    assert "Decode: batch = '64'; give 1 or more" in told
