"""How far predictions are from measurements, source by source, beside the strongest simple baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
import pandas as pd

from ..lowering.headroom import usable_B
from ..physics.calibration import Calibration, default_calibration
from ..physics.step import step_time
from .cases import Case, Unmodelled
from .fit import batch

PARTS = (
    "compute_s", "host_exposed_s", "tensor_exposed_s", "pipeline_exposed_s", "bubble_s", "data_exposed_s",
    "optimizer_s",
)  # fmt: skip
"""Parts of a predicted step that go to the table of predictions."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Every prediction, and what could not be predicted."""

    predictions: pd.DataFrame
    """One row per measurement: point_id, source, chip, calibration, measured_s, predicted_s, parts, memory_B,
    measured_memory_B (NaN where not printed), usable_memory_B, baseline_s, why."""

    def by(self, column: str) -> pd.DataFrame:
        """Points, modelled, median and 90th-percentile absolute error, bias and the baseline's error per `column`."""
        rows = [summary(name, group) for name, group in self.predictions.groupby(column, sort=True)]
        return pd.DataFrame(rows).rename(columns={"name": column})

    def memory_by(self, column: str) -> pd.DataFrame:
        """Scores of peak memory per `column`, of all that has modelled rows: see `memory_summary`."""
        if "measured_memory_B" not in self.predictions:  # of operators and requests nobody prints a peak
            return pd.DataFrame(columns=[column, *MEMORY_SCORES[1:]])
        done = self.predictions.dropna(subset=["predicted_s"])
        rows = [memory_summary(name, group) for name, group in done.groupby(column, sort=True)]
        return pd.DataFrame(rows, columns=list(MEMORY_SCORES)).rename(columns={"name": column})


MEMORY_SCORES = ("name", "modelled", "points", "median_abs_err", "p90_abs_err", "bias", "refused")
"""Columns of `memory_summary`."""


def memory_summary(name: object, group: pd.DataFrame) -> dict[str, object]:
    """Predicted peak memory of modelled rows beside what they print, and how many that ran would be refused.

    `points` is how many rows print a peak; errors are relative to it, bias is the median signed one.
    """
    printed = group.dropna(subset=["measured_memory_B"])
    error = printed.memory_B / printed.measured_memory_B - 1
    return {
        "name": name,
        "modelled": len(group),
        "points": len(printed),
        "median_abs_err": float(error.abs().median()) if len(printed) else np.nan,
        "p90_abs_err": float(error.abs().quantile(0.9)) if len(printed) else np.nan,
        "bias": float(error.median()) if len(printed) else np.nan,
        "refused": int((group.memory_B > group.usable_memory_B).sum()),
    }


def summary(name: object, group: pd.DataFrame) -> dict[str, object]:
    """Scores of one group of predictions; errors are relative to the measurement, bias is the median signed one."""
    done = group.dropna(subset=["predicted_s"])
    error = done.predicted_s / done.measured_s - 1
    base = (done.baseline_s / done.measured_s - 1).abs()
    return {
        "name": name,
        "points": len(group),
        "modelled": len(done),
        "median_abs_err": float(error.abs().median()) if len(done) else np.nan,
        "p90_abs_err": float(error.abs().quantile(0.9)) if len(done) else np.nan,
        "bias": float(error.median()) if len(done) else np.nan,
        "baseline_median_abs_err": float(base.median()) if len(done) else np.nan,
    }


@jax.jit
def _predict(demands, chips, c: Calibration):
    def one(d, chip):
        step = step_time(d, chip, c)
        return step.total_s, {part: getattr(step, part) for part in PARTS}

    return jax.vmap(one)(demands, chips)


def predict_cases(cases: Sequence[Case], calibrations: dict[str, Calibration] | None = None) -> pd.DataFrame:
    """Predictions of cases, each with the calibration that serves its chip and stack or the one given for its point."""
    frames = []
    served = {
        c.point_id: (calibrations or {}).get(c.point_id) or default_calibration(c.chip_name, c.stack) for c in cases
    }
    for chip, name in sorted({(c.chip_name, served[c.point_id].name) for c in cases}):
        mine = [c for c in cases if (c.chip_name, served[c.point_id].name) == (chip, name)]
        calibration = served[mine[0].point_id]
        seconds, parts = _predict(*batch(mine), dataclasses.replace(calibration, name=""))
        frame = pd.DataFrame(
            {
                "point_id": [c.point_id for c in mine],
                "source": [c.source for c in mine],
                "chip": chip,
                "calibration": calibration.name,
                "measured_s": [c.measured_s for c in mine],
                "predicted_s": np.asarray(seconds),
                **{name: np.asarray(values) for name, values in parts.items()},
                "model_s": [float(c.demand.model_FLOP) / peak_FLOPps(c) for c in mine],
                "memory_B": [float(c.demand.memory_B) for c in mine],
                "measured_memory_B": [c.measured_memory_B for c in mine],
                "usable_memory_B": [float(usable_B(c.chip)) for c in mine],
                "why": "",
            }
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["point_id", "source", "chip"])


def peak_FLOPps(case: Case) -> float:
    """Peak of a case's chip at the precision of its linear layers."""
    t, chip = case.chip.core.tensor, case.chip
    return float(2 * chip.n_cores * t.rows * t.cols * case.demand.rate * chip.clock_Hz)


def with_baseline(predictions: pd.DataFrame, utilisation: dict[str, float] | None = None) -> pd.DataFrame:
    """Predictions with `baseline_s`: useful FLOP over peak, divided by one fitted utilisation per chip."""
    utilisation = fitted_utilisation(predictions) if utilisation is None else utilisation
    u = predictions.chip.map(utilisation).fillna(np.median(list(utilisation.values())) if utilisation else 0.4)
    return predictions.assign(baseline_s=predictions.model_s / u)


def fitted_utilisation(predictions: pd.DataFrame) -> dict[str, float]:
    """The one utilisation per chip that best explains its measurements (median of useful FLOP over time and peak)."""
    ratio = predictions.model_s / predictions.measured_s
    return ratio.groupby(predictions.chip).median().to_dict()


def score(
    cases: Sequence[Case], unmodelled: Sequence[Unmodelled], calibrations: dict[str, Calibration] | None = None
) -> Scores:
    """All predictions with the baseline beside them, and a row with its reason for what cannot be predicted."""
    done = with_baseline(predict_cases(cases, calibrations)) if cases else pd.DataFrame()
    rest = pd.DataFrame(
        [{"point_id": u.point_id, "source": u.source, "chip": u.chip_name, "why": u.why} for u in unmodelled]
    )
    both = pd.concat([f for f in (done, rest) if len(f)], ignore_index=True) if len(done) or len(rest) else done
    for column in ("measured_s", "predicted_s", "baseline_s", "memory_B", "measured_memory_B", "usable_memory_B"):
        if column not in both:
            both[column] = np.nan
    return Scores(both)
