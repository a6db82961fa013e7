"""Bytes that a profiler counted at the HBM of Trainium1, against lowered passes; nothing is fitted to them.

Rows `hbm_read_*` of the shipped requests: what one NeuronCore reads in a pass. Source: contributed models of
neuronx-distributed-inference, measured by AWS with neuron-profile.
"""

from __future__ import annotations

import numpy as np
import pytest

from dse.calibrate.inference import InferenceCase, inference_cases
from dse.calibrate.measurements import complete, read
from dse.hardware.chip import pool_B
from dse.physics.calibration import default_calibration
from dse.physics.step import op_traffic_B


@pytest.fixture(scope="module")
def passes():
    """Of each model: (counted, predicted) bytes of a decode pass and of a prompt's pass, and the prompt's length."""
    rows = read("inference")
    rows = complete(rows[rows["metric"].str.contains("hbm_read|_device_")])
    counted = rows[rows["metric"].str.contains("hbm_read")].set_index(["point_id", "metric"])["value"]
    prompts = rows.groupby("point_id")["in_len"].first()
    timed = rows[rows["metric"] == "tpot_device_derived"]
    cases = [c for c in inference_cases(timed)[0] if isinstance(c, InferenceCase)]
    found = []
    for case in cases:
        point = case.point_id.split(":")[0]
        both = ((f"hbm_read_{n}", d) for n, d in (("decode", case.demand.decode), ("prefill", case.demand.prefill)))
        found.append(([(counted[point, name], traffic_B(d, case.chip)) for name, d in both], prompts[point]))
    return found


def traffic_B(demand, chip) -> float:
    """HBM traffic of the operators of a pass."""
    tile_B = np.asarray(pool_B(chip) * default_calibration("trainium1").tile_memory_frac)
    return float(demand.n_micro * np.sum(demand.ops.runs * op_traffic_B(demand.ops, tile_B)))


def test_decode_reads_what_the_profiler_counts(passes):
    """Weights and cache, from 0.3 to 36 billion parameters: equal to 0.5 % in the middle, a fifth too few at worst."""
    off = np.asarray([predicted / counted - 1.0 for ((counted, predicted), _), _ in passes])
    assert len(off) == 41
    assert np.median(np.abs(off)) < 0.005
    assert np.max(np.abs(off)) < 0.21


@pytest.mark.parametrize(("prompt", "most"), [(128, 1.4), (512, 2.1)])
def test_prompts_read_less_than_operators_in_turn_move(passes, prompt, most):
    """A compiler keeps activations of short prompts in SRAM; operators in turn write and read them all."""
    over = [predicted / counted for (_, (counted, predicted)), tokens in passes if tokens == prompt]
    assert len(over) >= 16
    assert 1.0 < np.median(over) < most
