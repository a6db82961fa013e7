"""Corrections undone by hand, and variants that hold none, each and all of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dse.evaluation.assembly import chip_reference
from dse.explore.ablation import CORRECTIONS, _no_spread, _operands_alone, variants
from dse.explore.reading_limits import opened
from dse.hardware.presets import chip, system
from dse.lowering.demand import demand
from dse.lowering.plan import Plan
from dse.physics.calibration import default_calibration
from dse.study.design import Choice
from dse.study.study import load_study
from dse.workload.presets import model
from dse.workload.transformer import Decode

S = system("trn2-16", 16)
SWEEPS = Path(__file__).parents[3] / "sweeps"


def lowered(weights: str):
    ref = chip_reference(S.chip, default_calibration("trainium2"))
    plan = Plan(tp=16, micro_batch=64)
    return demand(Decode(model("llama-3.1-70b"), 64, 4096, weights, "bf16"), plan, S, ref)


@pytest.mark.parametrize(("weights", "width"), [("bf16", 2.0), ("fp8", 1.0)])
def test_operands_alone_by_hand(weights, width):
    """2 M K N w^1.5 instead of 2 M K N w sqrt(4): 0.5 of the traffic at one byte, 0.707 at two."""
    before = lowered(weights)
    after = _operands_alone(before)
    some = np.asarray(before.ops.reuse_half) > 0
    ratio = np.asarray(after.ops.reuse_half)[some] / np.asarray(before.ops.reuse_half)[some]
    np.testing.assert_allclose(ratio, (width / 4) ** 0.5)


def test_nothing_between_cores():
    before = lowered("bf16")
    assert float(np.max(before.ops.spread_B)) > 0
    assert float(np.max(_no_spread(before).ops.spread_B)) == 0.0


def test_a_baseline_without_a_precision_caps_nothing_at_zero():
    """Trainium1 has no FP4: a cap of 0 on its peak left the back-test to Trainium2 without any design."""
    study = opened(load_study(SWEEPS / "backtest_trainium2.toml"), 500.0)
    assert all(x.value > 0 for x in study.limits)
    assert {"peak_fp8_FLOPps", "hbm_bandwidth_Bps"} <= {x.metric for x in study.limits}


def test_variants_hold_none_each_and_all():
    labels, sets = zip(*variants(), strict=True)
    assert labels[0] == "none" and labels[-1] == "all" and len(labels) == len(CORRECTIONS) + 2
    assert [len(s) for s in sets] == [0, *[1] * len(CORRECTIONS), len(CORRECTIONS)]


def test_what_was_not_on_offer():
    """Trainium2's FP8 has twice the rate of BF16: four times it, and an array of two squares, are what rates bring."""
    inherited = chip("trainium2").core.tensor
    new = Choice("N2", "NVHBM", "NVLink6", 2, "128x128", True)
    offers = {c.name: c.offers for c in CORRECTIONS}
    assert [n for n, offered in offers.items() if not offered(new, inherited)] == ["7 memory"]
    rates = {rate: offers["8 rates"](dataclasses.replace(new, fp8_rate=rate), inherited) for rate in (0.0, 2.0, 4.0)}
    assert rates == {0.0: True, 2.0: True, 4.0: False}
    assert not offers["8 rates"](dataclasses.replace(new, pe_array="128x256"), inherited)
