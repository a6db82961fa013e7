"""`validate`: predictions of measurements and their errors; rows that are not modelled are listed with a reason."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import SpecError
from ..core.frames import page
from ..physics.calibration import kin_of
from ..physics.pooled import band
from .cases import Case
from .columns import needed, unread
from .families import SCORERS, Tell
from .held_out import served_without
from .inference_score import score_requests
from .measurements import DATA, complete, read
from .published import preset_for
from .reading import Unmodelled, readable, row_text
from .repeats import once
from .score import Scores, score

WORST = 3
"""Number of worst predictions shown."""


@dataclasses.dataclass(frozen=True)
class Validation:
    """Predicted beside measured times for one kind of measurement, with errors, bands and reasons for gaps."""

    kind: str
    held_out: str
    """Data held out of the fits that predict a row: "" for none, its "source", or its chip "generation"."""
    data: Path
    scores: Scores
    """All predictions, and the reasons for rows without one."""
    said: tuple[str, ...] = ()
    """What was said of all rows beside the file."""
    unread: tuple[str, ...] = ()
    """Columns of the file that nothing reads."""

    @property
    def is_shipped(self) -> bool:
        """Whether the measurements are the shipped ones, to which the shipped calibrations are fitted."""
        return self.data.parent == DATA

    @property
    def name(self) -> str:
        """Name for files and titles."""
        return f"{self.kind}-without-{self.held_out}" if self.held_out else self.kind

    @property
    def modelled(self) -> pd.DataFrame:
        """Rows with a prediction, with the relative error predicted / measured - 1 as `error_frac`."""
        done = self.scores.predictions.dropna(subset=["predicted_s"])
        return done.assign(error_frac=done.predicted_s / done.measured_s - 1)

    def frame(self) -> pd.DataFrame:
        """One row per prediction: source, chip, times [s], and ratio measured / predicted, largest ratio first."""
        done = self.modelled.assign(ratio=self.modelled.measured_s / self.modelled.predicted_s)
        columns = ["source", "chip", "measured_s", "predicted_s", "ratio"]
        return pd.DataFrame(done.sort_values("ratio", ascending=False)[columns].reset_index(drop=True))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return page(self.name, self.frame())

    @property
    def unmodelled(self) -> pd.DataFrame:
        """Rows without a prediction."""
        rows = self.scores.predictions
        return rows.loc[rows.predicted_s.isna()]


def validate(
    kind: str, path: str | None = None, all_rows: bool = False, held_out: str = "", tell: Tell = lambda _: None,
    said: Sequence[str] = (),
) -> Validation:  # fmt: skip
    """Predict all measurements of a `kind` (a key of `SCORERS`), shipped or in the file at `path`, and score them.

    `all_rows`: also rows with incomplete configuration; `held_out`: predict each row by fits without its "source" or
    chip "generation"; `tell` receives progress texts; `said` is what the file leaves out of all rows, as "column=cell".
    SpecError: an unknown kind, or an unusable file, column or value.
    """
    scorer = _scorer(kind)
    data = DATA / f"{kind}.parquet" if path is None else Path(path)
    table = read(kind, path, said)
    checked(table, kind, data)
    rows, odd = _counting(table, kind, data, all_rows)
    cases, rest = timed(*scorer(rows))
    rest = [*odd, *rest]
    tell(f"predicting {len(cases)} of {len(cases) + len(rest)} measurements")
    serving, bands = None, {c.point_id: band(kind, kin_of(c.chip_name, c.stack)) for c in cases}
    if held_out:
        serving, bands = served_without(kind, cases, held_out, tell)
        # a row that was in every fit has no prediction from outside, so it is not scored at all
        cases = [c for c in cases if c.point_id in serving]
    compare = score_requests if kind == "inference" else score
    scores, unknown = compare(cases, rest, serving, bands), () if path is None else unread(table, kind)
    return Validation(kind, held_out, data, scores, tuple(said), unknown)


def _scorer(kind: str) -> Callable[[pd.DataFrame], tuple[list[Case], list[Unmodelled]]]:
    """What makes cases of a kind; SpecError for one that nothing predicts."""
    if kind not in SCORERS:
        raise SpecError(f"--kind {kind}: nothing predicts these measurements yet; use {', '.join(SCORERS)}")
    return SCORERS[kind]


def _counting(rows: pd.DataFrame, kind: str, path: Path, all_rows: bool) -> tuple[pd.DataFrame, list[Unmodelled]]:
    """Rows that are scored, and the others with the reason; SpecError where none is fully known."""
    rows, odd = readable(rows)
    if path.parent != DATA:  # of the shipped rows, alike ones are known to be apart
        rows, again = once(rows, kind)
        odd += again
    if all_rows:
        return rows, odd
    some = complete(rows)
    if len(rows) and some.empty:
        raise SpecError(f"{path}: no row has spec 'complete'; --all-rows scores the others too")
    return some, [*odd, *left_aside(rows)]


def checked(rows: pd.DataFrame, kind: str, path: Path) -> None:
    """SpecError for a table without rows or without the columns of its kind."""
    if rows.empty:
        raise SpecError(f"{path}: no rows")
    missing = [c for c in needed(kind) if c not in rows.columns]
    if missing:
        raise SpecError(f"{path}: no column {', '.join(missing)}")


def left_aside(rows: pd.DataFrame) -> list[Unmodelled]:
    """Points with incomplete configuration, with that reason."""
    if "spec" not in rows:
        return []
    # a point is several rows, one per metric
    points = rows.loc[rows["spec"] != "complete"].drop_duplicates("point_id")
    why = "its configuration is not fully known (spec is not 'complete'); --all-rows scores it"
    typed: list[Any] = list(points.itertuples())
    chips = [(preset_for(row_text(r, "chip")) or (row_text(r, "chip"),))[0] for r in typed]
    return [Unmodelled(str(r.point_id), row_text(r, "source"), c, why) for r, c in zip(typed, chips, strict=True)]


def timed(cases: Sequence[Case], rest: Sequence[Unmodelled]) -> tuple[list[Case], list[Unmodelled]]:
    """Cases with a positive measured time; the others are added to `rest`."""
    fine = [np.isfinite(c.measured_s) and c.measured_s > 0 for c in cases]
    bad = [c for c, ok in zip(cases, fine, strict=True) if not ok]
    refused = [Unmodelled(c.point_id, c.source, c.chip_name, "measured time is not positive") for c in bad]
    return [c for c, ok in zip(cases, fine, strict=True) if ok], [*rest, *refused]


def source_medians(v: Validation) -> dict[str, Any]:
    """Totals: counts over all points, medians of errors over sources, and mean coverage of the bands."""
    # medians over sources: one sweep of three hundred rows is one opinion
    by: Any = v.scores.by("source")
    errors = ("median_abs_err", "p90_abs_err", "bias", "baseline_median_abs_err")
    counts: dict[str, Any] = {n: int(by[n].sum()) for n in ("points", "modelled")}
    return counts | {n: float(by[n].median()) for n in errors} | {"coverage": float(by["coverage"].mean())}


def memory_scores(v: Validation) -> pd.DataFrame:
    """Scores of peak memory by source, for whole steps; single operators and collectives have none."""
    scores = v.scores.memory_by("source")
    return scores if v.kind == "training" else scores.iloc[:0]


def worst(v: Validation, n: int = WORST) -> list[dict[str, Any]]:
    """The `n` predictions with the largest ratio to their measurement, up or down, worst first."""
    done = v.modelled
    # by ratio: half of the time is as wrong as twice, and 1 - x never tells more than 100 % of the one
    order = np.log(done.predicted_s / done.measured_s).abs().sort_values(ascending=False).index[:n]
    columns = ["point_id", "source", "chip", "calibration", "measured_s", "predicted_s", "error_frac"]
    return done.loc[order].reindex(columns=columns).to_dict("records") if len(done) else []


def reasons(v: Validation) -> list[tuple[str, int, str, str]]:
    """Reasons for missing predictions (numbers as N), with row count, sources and one point; most frequent first."""
    rest = v.unmodelled
    if rest.empty:
        return []
    # a thousand rows refused for a thousand sizes are one reason
    rest = rest.assign(reason=[re.sub(r"(?<![\w.'-])\d[\d,.]*\b(?![\w'-])", "N", str(w)) for w in rest.why])
    groups = [
        (str(r), len(g), ", ".join(sorted(set(g.source))), str(g.point_id.iloc[0])) for r, g in rest.groupby("reason")
    ]
    return sorted(groups, key=lambda g: (-g[1], g[0]))
