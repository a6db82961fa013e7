"""Prediction errors by source, beside the strongest simple baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..hardware.chip import array_FLOPps
from ..lowering.headroom import usable_B
from ..physics.calibration import Calibration, default_calibration
from .batch import predict
from .cases import Case
from .reading import Unmodelled


@dataclasses.dataclass(frozen=True)
class Scores:
    """Every prediction, and what could not be predicted."""

    predictions: pd.DataFrame
    """One row per measurement, with what its prediction needs and gives (NaN where not printed), or why none."""

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

    def ranking(self) -> dict[str, float]:
        """How well plans are ranked: see `ranking_summary`; of no sweeps where nothing competes."""
        done: Any = self.predictions
        if "sweep" not in done:
            return ranking_summary([])
        done = done[done.predicted_s.notna() & (done.sweep != "")]
        # runs of one plan differ by machine and day, which no plan explains
        plans = done.groupby(["sweep", "plan"])[["measured_s", "predicted_s"]].median()
        return ranking_summary([g for _, g in plans.groupby("sweep") if len(g) >= FEWEST_PLANS])


FEWEST_PLANS = 5
"""Fewest different plans that make a sweep."""


def ranking_summary(sweeps: Sequence[pd.DataFrame]) -> dict[str, float]:
    """Rank correlation (Spearman) of times over sweeps of plans, and regret of the plan predicted fastest."""
    found = []
    for s in sweeps:
        # regret is what following the model costs, in measured time: a wrong order among slow plans costs nothing
        chosen = s.measured_s.iloc[int(np.argmin(s.predicted_s.to_numpy()))]
        alike = s.predicted_s.nunique() == 1 or s.measured_s.nunique() == 1  # no order to compare
        ranks = np.nan if alike else np.corrcoef(s.predicted_s.rank(), s.measured_s.rank())[0, 1]
        found.append((ranks, chosen / s.measured_s.min() - 1))
    if not found:
        return {"sweeps": 0, "spearman": np.nan, "regret_frac": np.nan, "regret_p90_frac": np.nan}
    ranks, regret = (np.asarray(x) for x in zip(*found, strict=True))
    # plans that nobody would run make the mean of regrets, so that the median and the bad end are told
    quantiles = np.quantile(regret, [0.5, 0.9])
    return {
        "sweeps": len(found),
        "spearman": float(np.nanmedian(ranks)),
        "regret_frac": float(quantiles[0]),
        "regret_p90_frac": float(quantiles[1]),
    }


MEMORY_SCORES = ("name", "modelled", "points", "median_abs_err", "p90_abs_err", "bias", "refused")
"""Columns of `memory_summary`."""


def memory_summary(name: object, group: pd.DataFrame) -> dict[str, object]:
    """Predicted peak memory of rows that print it (`points`), relative errors, and how many would be refused."""
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
        "coverage": covered_frac(done),
    }


def covered_frac(done: pd.DataFrame) -> float:
    """Share of measurements inside their 80 % bands; NaN where there are no bands."""
    if "low_s" not in done or not done.low_s.notna().any():
        return np.nan
    return float(((done.measured_s >= done.low_s) & (done.measured_s <= done.high_s)).mean())


Bands = dict[str, tuple[str, float]]
"""By point: what is new about its chip and stack, and half width of its 80 % band in log time."""


def with_bands(predictions: pd.DataFrame, bands: Bands) -> pd.DataFrame:
    """Predictions with what is new about each (`novelty`) and the ends of its 80 % band (`low_s`, `high_s`)."""
    found = [bands.get(p, ("", np.nan)) for p in predictions.point_id]
    width = np.exp([w for _, w in found])
    low, high = predictions.predicted_s / width, predictions.predicted_s * width
    return predictions.assign(novelty=[n for n, _ in found], low_s=low, high_s=high)


def predict_cases(cases: Sequence[Case], calibrations: dict[str, Calibration] | None = None) -> pd.DataFrame:
    """Predictions of cases, each with the calibration that serves its chip and stack or the one given for its point."""
    if not cases:
        return pd.DataFrame(columns=["point_id", "source", "chip"])
    given = calibrations or {}
    served = [given.get(c.point_id) or default_calibration(c.chip_name, c.stack) for c in cases]
    seconds, parts = predict(cases, served)
    return pd.DataFrame(
        {
            "point_id": [c.point_id for c in cases],
            "source": [c.source for c in cases],
            "chip": [c.chip_name for c in cases],
            "calibration": [c.name for c in served],
            "sweep": [c.sweep for c in cases],
            "plan": [c.plan for c in cases],
            "measured_s": [c.measured_s for c in cases],
            "predicted_s": seconds,
            **parts,
            "model_s": [float(c.demand.model_FLOP / array_FLOPps(c.chip, c.demand.rate)) for c in cases],
            "memory_B": [float(c.demand.memory_B) for c in cases],
            "measured_memory_B": [c.measured_memory_B for c in cases],
            "usable_memory_B": [float(usable_B(c.chip)) for c in cases],
            "why": "",
        }
    )


def with_baseline(predictions: pd.DataFrame, held_out: bool = False) -> pd.DataFrame:
    """Predictions with `baseline_s`: useful FLOP over peak and utilisation per chip, of other sources if `held_out`."""
    everything = pd.Series(True, index=predictions.index)
    groups: list[Any] = [predictions.source == s for s in set(predictions.source)] if held_out else [everything]
    found = pd.Series(np.nan, index=predictions.index)
    for mine in groups:
        # of a source held out, the baseline must not see it either, or it would compete with an unfair start
        utilisation = fitted_utilisation(pd.DataFrame(predictions[~mine if held_out else mine]))
        usual = np.median(list(utilisation.values())) if utilisation else UNKNOWN_UTILISATION
        rows = predictions.loc[mine]
        found[rows.index] = rows.model_s / rows.chip.map(utilisation).fillna(usual)
    return predictions.assign(baseline_s=found)


UNKNOWN_UTILISATION = 0.4
"""Utilisation where no chip was measured (guess: most published training runs lie between 0.3 and 0.5)."""


def fitted_utilisation(predictions: pd.DataFrame) -> dict[str, float]:
    """The one utilisation per chip that best explains its measurements (median of useful FLOP over time and peak)."""
    # a median, which one run with a broken network does not move
    ratio = predictions.model_s / predictions.measured_s
    return ratio.groupby(predictions.chip).median().to_dict()


def score(
    cases: Sequence[Case],
    unmodelled: Sequence[Unmodelled],
    calibrations: dict[str, Calibration] | None = None,
    bands: Bands | None = None,
) -> Scores:
    """Predictions with baselines and, given `bands`, bands by point, and the reason for what cannot be predicted.

    `calibrations` by point were fitted without its group, as is the baseline then.
    """
    done = with_baseline(predict_cases(cases, calibrations), calibrations is not None) if cases else pd.DataFrame()
    done = with_bands(done, bands) if bands and len(done) else done
    rest = pd.DataFrame([dataclasses.asdict(u) for u in unmodelled]).rename(columns={"chip_name": "chip"})
    both = pd.concat([f for f in (done, rest) if len(f)], ignore_index=True) if len(done) or len(rest) else done
    for column in ("measured_s", "predicted_s", "baseline_s", "memory_B", "measured_memory_B", "usable_memory_B"):
        if column not in both:
            both[column] = np.nan
    return Scores(both)
