"""Step times of published training runs, uncalibrated: named priors only, nothing tuned."""

import pytest

from dse.hardware.presets import system
from dse.mapping.plan import Plan
from dse.objective.metrics import evaluate
from dse.workload.presets import model
from dse.workload.transformer import Training


def step_s(chips, batch, plan):
    workload = Training(model("gpt-3-175b"), batch, 2048, "bf16", fused_attention=False)
    return float(evaluate(system("dgx-a100", chips), workload, plan)[1].step_s)


@pytest.mark.parametrize(("recompute", "published_s"), [("selective", 13.75), ("full", 18.13)])
def test_korthikanti_175b_on_64_a100(recompute, published_s):
    """Korthikanti et al. 2022, table 5: 175B, batch 64, tp 8, pp 8, interleave 3, with sequence parallelism here."""
    plan = Plan(tp=8, pp=8, dp=1, micro_batch=1, interleave=3, zero=0, recompute=recompute)
    assert step_s(64, 64, plan) == pytest.approx(published_s, rel=0.15)


def test_gpt3_on_1024_a100():
    """1,536 sequences over 16 replicas are 96 micro batches instead of 64: 13.75 s x (96 + 7/3)/(64 + 7/3) = 20.4 s."""
    published_s = 13.75 * (96 + 7 / 3) / (64 + 7 / 3)
    plan = Plan(tp=8, pp=8, dp=16, micro_batch=1, interleave=3, recompute="selective")
    assert step_s(1024, 1536, plan) == pytest.approx(published_s, rel=0.20)
