"""How far predictions are from published or own measurements: read, predict, compare, show, write.

Every measurement stays in the answer: what cannot be predicted is listed with its reason. The figures are in
`parity.py`.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from ..calibrate import families, kernels
from ..calibrate.cases import Case, training_cases
from ..calibrate.inference import inference_cases
from ..calibrate.inference_score import score_requests
from ..calibrate.measurements import DATA, NEEDED, complete, read
from ..calibrate.reading import Unmodelled, readable
from ..calibrate.score import Scores, score
from ..core.errors import SpecError
from ..core.version import __version__
from ..physics.calibration import Calibration
from .format import in_unit, percent
from .results import digest, git_commit, preset_hashes, results_folder, write_json
from .tables import table

Tell = Callable[[str], None]
Scorer = Callable[[pd.DataFrame], tuple[list[Case], list[Unmodelled]]]

SCORERS: dict[str, Scorer] = {
    "training": training_cases,
    "inference": inference_cases,
    "kernels": kernels.kernel_cases,
    "collectives": kernels.collective_cases,
}
"""Kind of measurement to what makes cases of its rows."""

WORST = 3
"""Worst predictions shown."""
REASONS = 12
"""Reasons shown; the JSON and the Parquet file have all."""


@dataclasses.dataclass(frozen=True)
class Validation:
    """Predictions of one kind of measurement beside the measurements."""

    kind: str
    """One of `SCORERS`."""
    held_out: bool
    """Whether every source was predicted by fits that never saw it."""
    data: Path
    """File of the measurements."""
    scores: Scores
    """All predictions, and the reason for what has none."""

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.kind}-held-out" if self.held_out else self.kind

    @property
    def modelled(self) -> pd.DataFrame:
        """Rows with a prediction, and its signed relative error as `error_frac`."""
        done = self.scores.predictions.dropna(subset=["predicted_s"])
        return done.assign(error_frac=done.predicted_s / done.measured_s - 1)

    @property
    def unmodelled(self) -> pd.DataFrame:
        """Rows without a prediction."""
        rows = self.scores.predictions
        return rows.loc[rows.predicted_s.isna()]


def validate(
    kind: str, path: str | None = None, all_rows: bool = False, held_out: bool = False, tell: Tell = lambda _: None
) -> Validation:
    """Predict every measurement of a kind.

    Args:
        kind: one of `SCORERS`.
        path: CSV or Parquet file of the user; the shipped measurements by default.
        all_rows: also score rows whose configuration is not fully known.
        held_out: predict every source with fits that never saw it.
        tell: hears what is done.

    Returns:
        The predictions.

    Raises:
        SpecError: a file, a column, a value or a kind that does not serve; says which.
    """
    scorer = SCORERS.get(kind)
    if scorer is None:
        raise SpecError(f"--kind {kind}: nothing predicts these measurements yet; use {', '.join(SCORERS)}")
    data = DATA / f"{kind}.parquet" if path is None else Path(path)
    rows = read(kind, path)
    checked(rows, kind, data)
    rows, odd = readable(rows)
    if not all_rows:
        rows = complete(rows)
        if rows.empty:
            raise SpecError(f"{data}: no row has spec 'complete'; --all-rows scores the others too")
    cases, rest = timed(*scorer(rows))
    rest = [*odd, *rest]
    tell(f"predicting {len(cases)} of {len(cases) + len(rest)} measurements")
    serving = leave_one_out(kind, cases, tell) if held_out else None
    compare = score_requests if kind == "inference" else score
    return Validation(kind, held_out, data, compare(cases, rest, serving))


def checked(rows: pd.DataFrame, kind: str, path: Path) -> None:
    """Nothing for a table that has rows and the columns of its kind.

    Raises:
        SpecError: an empty table or a missing column; names it.
    """
    if rows.empty:
        raise SpecError(f"{path}: no rows")
    missing = [c for c in (*NEEDED[kind], "unit") if c not in rows.columns]
    if missing:
        raise SpecError(f"{path}: no column {', '.join(missing)}")


def timed(cases: Sequence[Case], rest: Sequence[Unmodelled]) -> tuple[list[Case], list[Unmodelled]]:
    """Cases whose measured time is positive; the others join what cannot be modelled."""
    bad = [c for c in cases if not (np.isfinite(c.measured_s) and c.measured_s > 0)]
    refused = [Unmodelled(c.point_id, c.source, c.chip_name, "measured time is not positive") for c in bad]
    return [c for c in cases if c not in bad] if bad else list(cases), [*rest, *refused]


def leave_one_out(kind: str, cases: Sequence[Case], tell: Tell) -> dict[str, Calibration]:
    """For every point the calibration fitted without its source."""
    fitter = getattr(families, "leave_one_out", None)
    if fitter is None:
        raise SpecError(f"--leave-one-out: fits without a source are not available for {kind}")
    return fitter(cases, tell)


def source_medians(v: Validation) -> dict[str, Any]:
    """The total: counts over all points, and medians over the sources that have predictions."""
    by: Any = v.scores.by("source")
    errors = ("median_abs_err", "p90_abs_err", "bias", "baseline_median_abs_err")
    counts: dict[str, Any] = {n: int(by[n].sum()) for n in ("points", "modelled")}
    return counts | {n: float(by[n].median()) for n in errors}


def memory_scores(v: Validation) -> pd.DataFrame:
    """Scores of peak memory by source, for whole steps; single operators and collectives have none."""
    scores = v.scores.memory_by("source")
    return scores if v.kind == "training" else scores.iloc[:0]


def worst(v: Validation, n: int = WORST) -> list[dict[str, Any]]:
    """The predictions farthest from their measurements as a ratio, worst first."""
    done = v.modelled
    order = np.log(done.predicted_s / done.measured_s).abs().sort_values(ascending=False).index[:n]
    columns = ["point_id", "source", "chip", "calibration", "measured_s", "predicted_s", "error_frac"]
    return done.loc[order].reindex(columns=columns).to_dict("records") if len(done) else []


def reasons(v: Validation) -> list[tuple[str, int, str, str]]:
    """Why rows have no prediction: reason without its numbers, rows, sources and one point, most frequent first."""
    rest = v.unmodelled
    if rest.empty:
        return []
    rest = rest.assign(reason=[re.sub(r"(?<![\w.'-])\d[\d,.]*\b(?![\w'-])", "N", str(w)) for w in rest.why])
    groups = [
        (str(r), len(g), ", ".join(sorted(set(g.source))), str(g.point_id.iloc[0])) for r, g in rest.groupby("reason")
    ]
    return sorted(groups, key=lambda g: (-g[1], g[0]))


def as_json(v: Validation) -> dict[str, Any]:
    """Scores for machines: relative errors as fractions, times in seconds."""
    return {
        "kind": v.kind,
        "held_out": v.held_out,
        "total": source_medians(v),
        "sources": v.scores.by("source").to_dict("records"),
        "chips": v.scores.by("chip").to_dict("records"),
        "memory": memory_scores(v).to_dict("records"),
        **({"metrics": v.scores.by("what").to_dict("records")} if "what" in v.scores.predictions else {}),
        "unmodelled": v.unmodelled.reindex(columns=["point_id", "source", "chip", "why"]).to_dict("records"),
        "worst": worst(v),
    }


BASELINES = {
    False: "useful FLOP over peak at one utilisation per chip",
    True: "(weights + KV cache)/bandwidth/u + c, prompts by FLOP, two constants per chip and metric",
}
"""The simple model beside ours: of steps, and of rows split by metric."""
HEADINGS = ("points", "modelled", "median error", "90th percentile", "bias", "baseline")


def validation_view(v: Validation) -> RenderableType:
    """Scores by source and chip, the worst rows, and what has no prediction, on one screen."""
    how = "every source predicted by fits that never saw it" if v.held_out else "default calibrations"
    is_split = "what" in v.scores.predictions
    parts: list[RenderableType] = [
        Text(f"{v.kind} measurements of {v.data.name}: {how}", style="bold"),
        Text(
            "errors are |predicted/measured - 1|; bias is the median signed error; "
            f"the baseline is {BASELINES[is_split]}",
            style="dim",
        ),
        "",
        _scores_table(v, "source"),
        "",
        _scores_table(v, "chip"),
    ]
    if len(memory_scores(v)):
        parts += ["", _memory_table(v)]
    if is_split:
        parts += ["", _scores_table(v, "what")]
    if len(v.modelled):
        parts += ["", _worst_table(v)]
    if len(v.unmodelled):
        parts += ["", _reasons_table(v)]
    return Group(*parts)


def _scores_table(v: Validation, column: str) -> RenderableType:
    t = table(column, *HEADINGS)
    for row in v.scores.by(column).to_dict("records"):
        t.add_row(escape(str(row[column])), *_cells(row))
    if column == "source":
        t.add_section()
        t.add_row("median over sources", *_cells(source_medians(v)), style="bold")
    return t


def _cells(row: dict[Any, Any]) -> list[str]:
    counts = [f"{row[n]:,}" for n in ("points", "modelled")]
    errors = [_error(row[n]) for n in ("median_abs_err", "p90_abs_err")]
    return [*counts, *errors, _error(row["bias"], "+"), _error(row["baseline_median_abs_err"])]


def _error(value: float, sign: str = "") -> str:
    return "-" if not np.isfinite(value) else f"{sign if value > 0 else ''}{percent(value)}"


def _memory_table(v: Validation) -> RenderableType:
    t = table("peak memory per chip", "modelled", "printed", "median error", "90th percentile", "bias", "refused")
    for row in memory_scores(v).to_dict("records"):
        counts = (f"{row[n]:,}" for n in ("modelled", "points"))
        errors = (_error(row["median_abs_err"]), _error(row["p90_abs_err"]), _error(row["bias"], "+"))
        t.add_row(escape(str(row["source"])), *counts, *errors, f"{row['refused']:,}")
    return t


def _worst_table(v: Validation) -> RenderableType:
    t = table("worst", "chip", "calibration", "measured", "predicted", "error")
    for row in worst(v):
        times = (in_unit(row[n], "s") for n in ("measured_s", "predicted_s"))
        error = f"{'+' if row['error_frac'] > 0 else ''}{percent(row['error_frac'])}"
        t.add_row(escape(str(row["point_id"])), escape(str(row["chip"])), str(row["calibration"]), *times, error)
    return t


def _reasons_table(v: Validation) -> RenderableType:
    found = reasons(v)
    t = table("not modelled, because", "rows", "for example")
    t.columns[0].no_wrap, t.columns[2].justify = False, "left"
    for why, n, _, point in found[:REASONS]:
        t.add_row(escape(why), f"{n:,}", escape(point))
    if len(found) > REASONS:
        t.add_row(f"{len(found) - REASONS} other reasons", f"{sum(n for _, n, _, _ in found[REASONS:]):,}", "")
    return t


def write_validation(v: Validation, root: str | Path) -> Path:
    """Write `<root>/validation/<name>.parquet` with every row, and scores and figures into `<root>/validation/<name>/`.

    Returns:
        The folder of scores and figures.

    Raises:
        SpecError: a place that cannot be written.
    """
    from .parity import write_figures

    folder = results_folder(results_folder(root, "validation"), v.name)
    done = v.modelled
    predictions = v.scores.predictions.assign(error_frac=done.error_frac)
    path = folder.parent / f"{v.name}.parquet"
    try:
        predictions.to_parquet(path, index=False)
        write_json(folder / "scores.json", {**provenance(v.data), **as_json(v)})
        if len(done):
            write_figures(done, v.kind, folder)
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written ({error.strerror}); choose another --results") from error
    return folder


def provenance(data: Path) -> dict[str, Any]:
    """Where scores came from: data, code and facts."""
    return {
        "data": data.name,
        "data_sha256": digest(data.read_bytes()),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dse": __version__,
        "git_commit": git_commit(),
        "presets_sha256": preset_hashes(),
    }
