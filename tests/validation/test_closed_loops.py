"""Requests of closed loops: all prompts and a request's own tokens, whatever order the queue has (Little's law)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.batch import predict
from dse.calibrate.inference import InferenceCase, inference_cases
from dse.calibrate.loops import mixes, n_clients
from dse.calibrate.measurements import complete, read
from dse.calibrate.request_rows import drawn_frac
from dse.lowering.plan import Plan
from dse.physics.calibration import default_calibration
from dse.physics.step import Request

SOURCE = "inferencemax-via-aiconfigurator"


def error_frac(cases: list[InferenceCase], measured_s: np.ndarray) -> np.ndarray:
    """Predicted over measured, less 1."""
    return predict(cases, [default_calibration(c.chip_name, c.stack) for c in cases])[0] / measured_s - 1


def as_request(case: InferenceCase, row: pd.Series) -> InferenceCase:
    """A case of a token as one of its whole request."""
    demand: Request = case.demand
    own, n_out = n_clients(row) / max(float(row.dp), 1.0), drawn_frac(row) * float(row.out_len)
    # passes that read write as well, where they mix
    written = max(n_out - 1 - own * mixes(own, case.stack, Plan()), 0.0)
    return dataclasses.replace(case, demand=dataclasses.replace(demand, n_prefill=own, n_decode=written))


def test_published_loops_take_their_prompts_and_tokens():
    """First token and all others together, of loops that print both: the figures of docs/explanation/belief.md.

    Fits saw the times per token, 5 % off in median, but neither first tokens nor sums.
    """
    rows = complete(read("inference"))
    rows = rows[(rows["source"] == SOURCE) & (rows["concurrency"] > 1)]
    first_s = rows[rows["metric"] == "ttft"].set_index("point_id")["value"] / 1e3  # ms
    per_token = rows[rows["metric"] == "tpot"]
    told = per_token.set_index("point_id")
    tokens = {c.point_id.split(":")[0]: c for c in inference_cases(per_token)[0] if isinstance(c, InferenceCase)}
    turns = {p: c for p, c in tokens.items() if float(c.demand.n_prefill) > 0}
    requests = [as_request(c, told.loc[p]) for p, c in turns.items()]
    n_out = np.asarray([drawn_frac(told.loc[p]) * float(told.loc[p].out_len) for p in turns])
    others_s = np.asarray([c.measured_s for c in turns.values()]) * (n_out - 1)
    measured_s = np.asarray([first_s[p] for p in turns]) + others_s
    wrong = error_frac(requests, measured_s)
    assert len(wrong) > 800
    assert np.median(np.abs(wrong)) == pytest.approx(0.04, abs=0.005)
    assert np.median(wrong) == pytest.approx(0.021, abs=0.015)


def test_requests_that_no_fit_saw():
    """20 times of requests and throughputs of Trainium2, whose times per token the fits saw."""
    rows = complete(read("inference"))
    rows = rows[(rows["concurrency"] > 1) & rows["metric"].isin(["request_latency", "output_throughput"])]
    cases = [c for c in inference_cases(rows)[0] if isinstance(c, InferenceCase)]
    wrong = error_frac(cases, np.asarray([c.measured_s for c in cases]))
    assert len(wrong) == 20
    assert np.median(np.abs(wrong)) == pytest.approx(0.056, abs=0.01)
