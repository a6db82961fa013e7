"""Decode on Trainium1 where the compiler cuts rows of weights short, against models whose rows come in long pieces.

Inner widths of 43, 71 or 74 blocks of 128 columns on a rank have no divisor but 1 or 2 that fits into 4 KiB. Device
times of 41 models: contributed models of neuronx-distributed-inference, measured by AWS with neuron-profile. The bytes
that the profiler counts are as predicted for both groups, so that what is slow is not more traffic.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dse.calibrate.batch import predict
from dse.calibrate.inference import InferenceCase, inference_cases
from dse.calibrate.measurements import complete, read
from dse.lowering.pieces import piece_B
from dse.physics.calibration import calibration


def without_starts(case: InferenceCase) -> InferenceCase:
    """The case as if every piece were long."""
    d = case.demand.decode
    ops = dataclasses.replace(d.ops, starting_B=np.zeros_like(d.ops.starting_B))
    return dataclasses.replace(case, demand=dataclasses.replace(case.demand, decode=dataclasses.replace(d, ops=ops)))


@pytest.fixture(scope="module")
def cases():
    """Cases of decode by whether the weights into the MLP come in pieces of at most 512 B."""
    rows = read("inference")
    rows = complete(rows[rows["metric"] == "tpot_device_derived"])
    found = [c for c in inference_cases(rows)[0] if isinstance(c, InferenceCase)]
    width = rows.set_index("point_id")["ffn_hidden"].astype(float) / rows.set_index("point_id")["tp"].astype(float)
    short = [piece_B(width[c.point_id.split(":")[0]], 2.0) <= 512 for c in found]
    return [[c for c, s in zip(found, short, strict=True) if s == want] for want in (True, False)]


def slowness(cases: list[InferenceCase]) -> float:
    """Median of measured over predicted."""
    predicted, _ = predict(cases, [calibration("fit-trainium1-neuronx")] * len(cases))
    return float(np.median([case.measured_s for case in cases] / predicted))


def test_starts_of_short_pieces_are_what_is_slow(cases):
    short, long = cases
    assert len(short) == 8 and len(long) == 33
    assert slowness([without_starts(c) for c in short]) > 1.6 * slowness([without_starts(c) for c in long])
    assert 0.9 < slowness(short) / slowness(long) < 1.25
