"""First tokens under load: a steady queue against closed loops, whose clients all begin at once."""

from __future__ import annotations

import dataclasses

import numpy as np

from dse.calibrate.batch import predict
from dse.calibrate.inference import InferenceCase, inference_cases
from dse.calibrate.measurements import complete, read
from dse.physics.calibration import default_calibration
from dse.serving.steady import mean_wait_s

SOURCE = "inferencemax-via-aiconfigurator"
LOAD_FRAC = 0.98
"""Highest load of a queue that is compared: above it the steady state is far."""


def with_passes(case: InferenceCase, n_prefill: float, n_decode: float) -> InferenceCase:
    """`case` timed as so many passes over its prompt and over a token."""
    return dataclasses.replace(case, demand=dataclasses.replace(case.demand, n_prefill=n_prefill, n_decode=n_decode))


def test_published_closed_loops_wait_longer_than_a_steady_queue():
    """The 10th, 50th and 90th percentile that docs/explanation/belief.md tells.

    A tenth of the requests meet all others in the queue, since all clients begin at once and send ten each.
    """
    rows = complete(read("inference"))
    rows = rows[rows["source"] == SOURCE]
    told_s = rows[rows["metric"] == "ttft"].set_index("point_id")["value"] / 1e3  # ms
    tokens = [c for c in inference_cases(rows[rows["metric"] == "tpot"])[0] if isinstance(c, InferenceCase)]
    served = [default_calibration(c.chip_name, c.stack) for c in tokens]
    prompt_s, pass_s = (predict([with_passes(c, *n) for c in tokens], served)[0] for n in ((1.0, 0.0), (0.0, 1.0)))
    per_token, written = np.asarray([(float(c.demand.n_prefill), float(c.demand.n_decode)) for c in tokens]).T
    load = np.minimum(per_token * prompt_s / (per_token * prompt_s + written * pass_s), LOAD_FRAC)
    taken_s = np.asarray([float(c.request_s) for c in served])
    steady_s = np.asarray(mean_wait_s(prompt_s, np.zeros(()), load)) + pass_s / 2 + prompt_s + taken_s
    shared = per_token > 0  # clients beside each other
    ratio = np.asarray([told_s[c.point_id.split(":")[0]] for c in tokens])[shared] / steady_s[shared]
    assert len(ratio) > 800
    np.testing.assert_allclose(np.percentile(ratio, (10, 50, 90)), (1.5, 2.8, 8.8), rtol=0.05)
