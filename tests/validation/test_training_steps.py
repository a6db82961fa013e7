"""Step times of published training runs that nothing was fitted to: the 175B rows of Korthikanti et al. 2022, table 5.

Both the named prior (no measurement at all) and the fit that serves the chip by default (which has seen the 22B and
530B rows of the same table, not these) must lie in the stated band.
"""

import pytest

from dse.calibrate.measurements import read
from dse.evaluation.assembly import evaluate
from dse.hardware.presets import system
from dse.lowering.plan import Plan
from dse.physics.calibration import calibration, default_calibration
from dse.workload.presets import model
from dse.workload.transformer import Training

CALIBRATIONS = ("prior-cuda", default_calibration("a100-80").name)
TP8_PP8 = {"tp": 8, "pp": 8, "micro_batch": 1, "interleave": 3}


def step_s(chips, batch, plan, name):
    workload = Training(model("gpt-3-175b"), batch, 2048, "bf16", fused_attention=False)
    return float(evaluate(system("dgx-a100", chips), workload, plan, calibration=calibration(name)).result.step_s)


def report(capsys, what, seconds, published_s):
    with capsys.disabled():
        print(f"\n{what}: {seconds:.2f} s, published {published_s:.2f} s, {seconds / published_s - 1:+.1%}")


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize(
    # table 5, 175B, batch 64, tp 8, pp 8, interleave 3: "present work" (sequence parallelism, selective
    # recomputation) and the baseline (full recomputation, tensor parallelism alone)
    ("recompute", "sequence_parallel", "published_s"),
    [("selective", True, 13.75), ("full", False, 18.13)],
)
def test_175b_on_64_a100_within_15_percent(name, recompute, sequence_parallel, published_s, capsys):
    plan = Plan(**TP8_PP8, dp=1, zero=0, recompute=recompute, sequence_parallel=sequence_parallel)
    seconds = step_s(64, 64, plan, name)
    report(capsys, f"GPT-3 175B, 64 A100, {recompute} recomputation, {name}", seconds, published_s)
    assert seconds == pytest.approx(published_s, rel=0.15)


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_175b_on_1024_a100_within_20_percent(name, capsys):
    """Scaled, not published: 1,536 sequences over 16 replicas are 96 micro batches a pipeline instead of 64.

    13.75 s x 96 / 64 = 20.6 s; less by the bubble, which is 7/3 micro batches either way:
    13.75 s x (96 + 7/3) / (64 + 7/3) = 20.4 s; and more by the gradients' exchange of 16 replicas over the network.
    """
    scaled_s = 13.75 * (96 + 7 / 3) / (64 + 7 / 3)
    assert scaled_s == pytest.approx(20.4, abs=0.05)
    seconds = step_s(1024, 1536, Plan(**TP8_PP8, dp=16, recompute="selective"), name)
    report(capsys, f"GPT-3 175B, 1,024 A100, {name}", seconds, scaled_s)
    assert seconds == pytest.approx(scaled_s, rel=0.20)


def test_no_fit_has_seen_these_runs():
    rows = read("training")
    table5 = rows[rows.source == "korthikanti2022-table5"]
    assert len(table5) > 0
    assert not table5.model.str.contains("175").any()


def test_recomputing_everything_costs_what_was_measured():
    """18.13 / 13.75 = 1.32: the ratio needs no peak, only the mix of work and traffic.

    Expected within 5 %: 1.35 with prior and fit.
    """
    plans = {
        r: Plan(**TP8_PP8, dp=1, zero=0, recompute=r, sequence_parallel=r != "full") for r in ("selective", "full")
    }
    for name in CALIBRATIONS:
        seconds = {r: step_s(64, 64, p, name) for r, p in plans.items()}
        assert seconds["full"] / seconds["selective"] == pytest.approx(18.13 / 13.75, rel=0.05)
