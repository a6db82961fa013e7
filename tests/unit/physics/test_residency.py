"""What reading ahead needs by hand; more SRAM, or cores, ask for less."""

import dataclasses

import equinox as eqx
import numpy as np
import pytest

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.plan import Plan
from dse.physics.calibration import default_calibration
from dse.physics.evaluate import fits_memory
from dse.physics.residency import ahead_frac
from dse.workload.presets import model
from dse.workload.transformer import Decode

S = system("trn2-16", 16)
HALF = np.float64(0.5)


def lowered(order: str):
    plan = Plan(tp=16, micro_batch=64, order=order)
    ref = chip_reference(S.chip, default_calibration("trainium2"))
    return demand(Decode(model("llama-2-70b"), 64, 4096), plan, S, ref)


def test_a_block_ahead_by_hand():
    """Llama 2 70B in 16 bit over 16 chips: 68.5e9 weights / 80 / 16 x 2 B = 107 MB in half of 8 x 28 MiB."""
    assert float(ahead_frac(lowered("stream"), S.chip, HALF)) == pytest.approx(107e6 / (0.5 * 8 * 28 * 2**20), rel=0.02)


def test_operators_in_turn_read_nothing_ahead():
    assert float(ahead_frac(lowered("turn"), S.chip, HALF)) == 0


def test_more_sram_asks_for_less():
    d = lowered("stream")
    base = float(ahead_frac(d, S.chip, HALF))
    larger = eqx.tree_at(lambda c: c.core.scratchpad_B, S.chip, 2 * S.chip.core.scratchpad_B)
    more = dataclasses.replace(S.chip, n_cores=2 * S.chip.n_cores)
    assert float(ahead_frac(d, larger, HALF)) == float(ahead_frac(d, more, HALF)) == pytest.approx(base / 2)


def test_a_plan_fits_whose_prefetched_bytes_do():
    """107 MB of 117 MB; half the SRAM holds them no more. Before: sweeps asked HBM alone, unlike the plan search."""
    small = eqx.tree_at(lambda c: c.core.scratchpad_B, S.chip, S.chip.core.scratchpad_B / 2)
    fits = [[bool(fits_memory(lowered(order), c)) for c in (S.chip, small)] for order in ("stream", "turn")]
    assert fits == [[True, False], [True, True]]
