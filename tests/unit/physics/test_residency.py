"""What reading ahead needs by hand, and that more SRAM, or less of a gap, never asks for more."""

import dataclasses

import equinox as eqx
import numpy as np
import pytest

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.plan import Plan
from dse.physics.calibration import default_calibration
from dse.physics.residency import ahead_frac
from dse.physics.step import traffic_time_s
from dse.workload.presets import model
from dse.workload.transformer import Decode

S = system("trn2-16", 16)
C = default_calibration("trainium2")
HALF = np.float64(0.5)


def lowered(order: str):
    plan = Plan(tp=16, micro_batch=128, order=order)
    return demand(Decode(model("llama-3.1-70b"), 128, 8192), plan, S, chip_reference(S.chip, C))


def test_bytes_of_a_gap_by_hand():
    """2.9 TB/s times attention of one of 80 layers and half its collectives and launches, over half of 8 x 28 MiB."""
    d = lowered("stream")
    attention = float(d.ops.runs @ d.ops.attention_cycles) / (float(C.attention_frac) * 2.4e9 * 8)
    others = float(traffic_time_s(d.tensor, S.chip, C)) + float(d.ops.runs @ d.ops.n_launches) * float(C.launch_s)
    gap_s = (attention + others / 2) / 80
    expected = 2.9e12 * float(C.hbm_frac) * gap_s / (0.5 * 8 * 28 * 2**20)
    assert float(ahead_frac(d, S.chip, C, HALF)) == pytest.approx(expected, rel=1e-9)


def test_operators_in_turn_read_nothing_ahead():
    assert float(ahead_frac(lowered("turn"), S.chip, C, HALF)) == 0


def test_more_sram_asks_for_less_and_more_bandwidth_for_more():
    d = lowered("stream")
    base = float(ahead_frac(d, S.chip, C, HALF))
    larger = eqx.tree_at(lambda c: c.core.scratchpad_B, S.chip, 2 * S.chip.core.scratchpad_B)
    faster = dataclasses.replace(S.chip, hbm_bandwidth_Bps=2 * S.chip.hbm_bandwidth_Bps)
    assert float(ahead_frac(d, larger, C, HALF)) == pytest.approx(base / 2)
    assert float(ahead_frac(d, faster, C, HALF)) == pytest.approx(2 * base)
