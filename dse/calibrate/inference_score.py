"""Scores of predicted requests against measured ones, and against a baseline of two fitted constants per chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..physics.calibration import Calibration, default_calibration
from .batch import predict
from .cases import Case
from .inference import InferenceCase
from .reading import Unmodelled
from .score import Bands, Scores, with_bands


def two_constants(known: Sequence[InferenceCase]) -> np.ndarray:
    """1/u and c that bring x/u + c n nearest to what was measured, in relative error; neither is negative."""
    if not known:
        # nothing measured of the metric: the ideal time itself
        return np.asarray([1.0, 0.0])
    # over the measured times, so that squares are of relative errors: they span powers of ten
    a = np.asarray([[k.ideal_s, k.n_passes] for k in known]) / np.asarray([[k.measured_s] for k in known])
    # a negative constant would predict negative times elsewhere: then one of the two stays out
    tries = [np.linalg.lstsq(a, np.ones(len(known)), rcond=None)[0]]
    for column in (0, 1):
        one = np.zeros(2)
        # least squares of ones on one column: its sum over its sum of squares
        one[column] = a[:, column].sum() / (a[:, column] ** 2).sum()
        tries.append(one)
    allowed = [t for t in tries if (t >= 0).all()]
    return min(allowed, key=lambda t: float(((a @ t - 1) ** 2).sum()))


def baseline_s(cases: Sequence[InferenceCase], known: Sequence[InferenceCase]) -> np.ndarray:
    """The strongest simple baseline: two constants per chip and metric, fitted to `known` and asked about `cases`.

        t = x/u + c n
    with x the ideal time (weights and cache over peak bandwidth, useful FLOP of prompts over peak rate), n the passes;
    of the metric's rows of all chips where `known` lacks the chip.
    """
    constants: dict[tuple[str, str], np.ndarray] = {}
    for c in cases:
        if (c.chip_name, c.metric) not in constants:
            alike = [k for k in known if k.metric == c.metric]
            mine = [k for k in alike if k.chip_name == c.chip_name]
            constants[c.chip_name, c.metric] = two_constants(mine or alike)
    return np.asarray([constants[c.chip_name, c.metric] @ (c.ideal_s, c.n_passes) for c in cases])


def held_out_baseline_s(cases: Sequence[InferenceCase]) -> np.ndarray:
    """As `baseline_s`, each source predicted by constants that never saw it."""
    seconds = np.zeros(len(cases))
    for source in {c.source for c in cases}:
        at = [i for i, c in enumerate(cases) if c.source == source]
        rest = [c for c in cases if c.source != source]
        seconds[at] = baseline_s([cases[i] for i in at], rest)
    return seconds


def predict_requests(cases: Sequence[InferenceCase], served: dict[str, Calibration]) -> pd.DataFrame:
    """Predictions of cases, each with its calibration in `served`."""
    seconds, parts = predict(cases, [served[c.point_id] for c in cases])
    return pd.DataFrame(
        {
            "point_id": [c.point_id for c in cases],
            "source": [c.source for c in cases],
            "chip": [c.chip_name for c in cases],
            "what": [f"{c.metric} on {c.chip_name}" for c in cases],
            "calibration": [served[c.point_id].name for c in cases],
            "measured_s": [c.measured_s for c in cases],
            "predicted_s": seconds,
            "ideal_s": [c.ideal_s for c in cases],
            "memory_B": [float(c.demand.decode.memory_B) for c in cases],
            "why": "",
            **parts,
        }
    )


def score_requests(
    cases: Sequence[Case],
    unmodelled: Sequence[Unmodelled],
    calibrations: dict[str, Calibration] | None = None,
    bands: Bands | None = None,
) -> Scores:
    """Predictions with baselines and, given `bands`, bands by point, and the reason for what cannot be predicted.

    `calibrations` by point were fitted without its source, as is the baseline then; the shipped fits by default.
    """
    requests = [c for c in cases if isinstance(c, InferenceCase)]
    rest = pd.DataFrame([dataclasses.asdict(u) for u in unmodelled]).rename(columns={"chip_name": "chip"})
    if not requests:
        return Scores(rest.assign(measured_s=np.nan, predicted_s=np.nan, baseline_s=np.nan, what=""))
    shipped = {c.point_id: default_calibration(c.chip_name, c.stack) for c in requests}
    served = {**shipped, **(calibrations or {})}
    base = held_out_baseline_s(requests) if calibrations else baseline_s(requests, requests)
    seconds = {c.point_id: float(b) for c, b in zip(requests, base, strict=True)}
    done = predict_requests(requests, served)
    done = done.assign(baseline_s=done.point_id.map(seconds))
    done = with_bands(done, bands) if bands else done
    return Scores(pd.concat([done, rest], ignore_index=True) if len(rest) else done)
