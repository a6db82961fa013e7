"""Validations and fits as terminal tables, JSON and files; figures are in `parity.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from ..calibrate.families import Fit, effects_text, numbers
from ..calibrate.measurements import read
from ..calibrate.validate import Validation, memory_scores, reasons, source_medians, worst
from ..core.errors import SpecError
from ..core.files import results_folder, write_json
from ..core.origin import digest, stamp
from ..core.text import digits, in_unit, label, percent, quantity_text
from ..core.version import __version__
from .layout import Table, table_of

Answer = dict[Any, Any]

REASONS = 12
"""Reasons shown; the JSON and the Parquet file have all."""


def validation_json(v: Validation) -> dict[str, Any]:
    """Scores for machines: relative errors as fractions, times in seconds."""
    return {
        "kind": v.kind,
        "held_out": v.held_out,
        "total": source_medians(v),
        "sources": v.scores.by("source").to_dict("records"),
        "chips": v.scores.by("chip").to_dict("records"),
        "memory": memory_scores(v).to_dict("records"),
        "ranking": v.scores.ranking(),
        **({"metrics": v.scores.by("what").to_dict("records")} if "what" in v.scores.predictions else {}),
        "unmodelled": v.unmodelled.reindex(columns=["point_id", "source", "chip", "why"]).to_dict("records"),
        "worst": worst(v),
        "unread_columns": list(v.unread),
    }


BASELINES = {
    False: "useful FLOP over peak at one utilisation per chip",
    True: "(weights + KV cache)/bandwidth/u + c, prompts by FLOP, two constants per chip and metric",
}
"""The simple model beside ours: of steps, and of rows split by metric."""
HOW = {
    "": "in sample: the shipped calibrations saw the shipped rows",
    "source": "out of sample: every source predicted by fits that never saw it",
    "generation": "out of sample: every generation predicted by fits that never saw it nor later ones",
}
"""What a score says, by what was left out."""
BASELINE_HOW = {False: "fitted to these very rows", True: "fitted to the rows of other sources"}
DECIMALS = 9
"""Of an error: what is below is what rounding leaves of a baseline with as many constants as rows to fit."""
HEADINGS = ("points", "modelled", "median error", "90th percentile", "bias", "in 80 % band", "baseline")


def validation_view(v: Validation) -> RenderableType:
    """Scores by source and chip, the worst rows, and what has no prediction, on one screen."""
    how = HOW[v.held_out] if v.is_shipped or v.held_out else "your rows, predicted by the shipped calibrations"
    a = validation_json(v)
    is_split = "metrics" in a
    parts: list[RenderableType] = [
        Text(f"{v.kind} measurements of {v.data.name}: {how}", style="bold"),
        Text(
            "errors are |predicted/measured - 1|; bias is the median signed error; "
            f"the baseline is {BASELINES[is_split]}, {BASELINE_HOW[bool(v.held_out)]}; the last row is the median over "
            "sources, and the mean of their shares in the band",
            style="dim",
        ),
    ]
    unread = Text(f"columns that were not read: {', '.join(v.unread)}", style="dim")
    below = (
        scores_table("source", a["sources"], a["total"]),
        scores_table("chip", a["chips"]),
        Text(_ranking_text(a["ranking"])) if a["ranking"]["sweeps"] else None,
        _memory_table(a["memory"]) if a["memory"] else None,
        scores_table("what", a["metrics"]) if is_split else None,
        worst_table(a["worst"]) if a["worst"] else None,
        _reasons_table(v) if len(v.unmodelled) else None,
        unread if v.unread else None,
    )
    return Group(*parts, *(x for part in below if part is not None for x in ("", part)))


def scores_table(what: str, rows: Sequence[Answer], total: Answer | None = None) -> Table:
    """Scores by source, chip or metric, from the JSON, and those over all sources below."""
    each = [(str(row[what]), *_cells(row)) for row in rows]
    last = [("median over sources", *_cells(total))] if total else []
    styles = (*("" for _ in each), *("bold" for _ in last))
    return Table((what, *HEADINGS), (*each, *last), styles, totals=len(last))


def _ranking_text(r: dict[str, float]) -> str:
    regret, worst_regret = percent(r["regret_frac"]), percent(r["regret_p90_frac"])
    return (
        f"plans of {r['sweeps']:,} sweeps: rank correlation {digits(r['spearman'])}; the plan predicted fastest takes "
        f"{regret} longer than the fastest (90th percentile {worst_regret})"
    )


def _cells(row: Answer) -> tuple[str, ...]:
    counts = (f"{row[n]:,}" for n in ("points", "modelled"))
    errors = (error_text(row[n]) for n in ("median_abs_err", "p90_abs_err"))
    beside = (error_text(row[n]) for n in ("coverage", "baseline_median_abs_err"))
    return (*counts, *errors, error_text(row["bias"], "+"), *beside)


def error_text(value: float | None, sign: str = "") -> str:
    """An error as people write it, "-" where there is none."""
    if value is None or not np.isfinite(value):
        return "-"
    return f"{sign if value > 0 else ''}{percent(round(value, DECIMALS))}"


def _memory_table(rows: Sequence[Answer]) -> Table:
    heads = ("peak memory per chip", "modelled", "printed", "median error", "90th percentile", "bias", "refused")
    told = (
        (
            str(row["source"]), *(f"{row[n]:,}" for n in ("modelled", "points")),
            *(error_text(row[n]) for n in ("median_abs_err", "p90_abs_err")), error_text(row["bias"], "+"),
            f"{row['refused']:,}",
        )
        for row in rows
    )  # fmt: skip
    return table_of(heads, told)


def worst_table(rows: Sequence[Answer]) -> Table:
    """The worst predictions, from the JSON."""
    told = (
        (
            *(str(row[n]) for n in ("point_id", "chip", "calibration")),
            *(in_unit(row[n], "s") for n in ("measured_s", "predicted_s")),
            f"{'+' if row['error_frac'] > 0 else ''}{percent(row['error_frac'])}",
        )
        for row in rows
    )
    return table_of(("worst", "chip", "calibration", "measured", "predicted", "error"), told)


def _reasons_table(v: Validation) -> RenderableType:
    found = reasons(v)
    rows, rest = [(why, f"{n:,}", point) for why, n, _, point in found[:REASONS]], found[REASONS:]
    if rest:
        rows.append((f"{len(rest)} other reason{'' if len(rest) == 1 else 's'}", f"{sum(r[1] for r in rest):,}", ""))
    return table_of(("not modelled, because", "rows", "for example"), rows, left=(2,), wrapped=(0,))


def write_validation(v: Validation, root: str | Path) -> Path:
    """Write all rows to `<root>/validation/<name>.parquet`, scores and figures beside; SpecError if it cannot."""
    from .multiples import write_page
    from .parity import write_figures

    folder = results_folder(results_folder(root, "validation"), v.name)
    done = v.modelled
    # pandas aligns by index: rows without a prediction have no error
    predictions = v.scores.predictions.assign(error_frac=done.error_frac)
    path = folder.parent / f"{v.name}.parquet"
    try:
        predictions.to_parquet(path, index=False)
        origin = {"data": v.data.name, "data_sha256": digest(v.data.read_bytes()), "dse": __version__, **stamp()}
        write_json(folder / "scores.json", {**origin, **validation_json(v)})
        if len(done):  # of no prediction there is nothing to draw
            write_figures(done, v.kind, folder)
            write_page(done, read(v.kind, None if v.is_shipped else v.data, v.said), v.kind, folder)
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written ({error.strerror}); choose another --results") from error
    return folder


def calibration_json(fits: dict[str, Fit]) -> dict[str, Any]:
    """All fits for machines, canonical units."""
    return {
        "fits": [
            {
                "name": name, "measurements": f.n_measurements, "models": f.n_models, "sources": f.n_sources,
                "numbers": numbers(f),
            }
            for name, f in sorted(fits.items())
        ]
    }  # fmt: skip


def calibration_view(fits: dict[str, Fit]) -> RenderableType:
    """One table per chip and stack; what the measurements do not set is dim."""
    return Group(*(part for name, f in sorted(fits.items()) for part in (_fit_table(name, f), "")))


def _fit_table(name: str, f: Fit) -> Table:
    found = numbers(f)
    rows = (
        (
            label(r["name"]), *(quantity_text(r["name"], r[k]) for k in ("prior", "fit")),
            _deviation_text(r["name"], r["deviation_in_unit"]), percent(r["of_prior_frac"]),
            "data" if r["determined"] else "prior",
        )
        for r in found
    )  # fmt: skip
    title = f"{name}: {f.n_measurements:,} measurements, {f.n_models} models, {f.n_sources} sources"
    styles = tuple("none" if r["determined"] else "dim" for r in found)
    heads = ("number", "prior", "fit", "standard deviation", "of the prior", "set by")
    return table_of(heads, rows, title=title, styles=styles)


def _deviation_text(name: str, deviation: float) -> str:
    """A deviation in the number's unit; of a fraction in points of percent."""
    return f"{digits(100 * deviation, 2)} points" if name.endswith("_frac") else quantity_text(name, deviation, 2)


def write_calibration(effects: dict[str, Any], fits: dict[str, Fit], folder: Path) -> None:
    """Write `effects.json`, the data file that ships, and `fits.json`, the calibrations it means, into `folder`."""
    try:
        (folder / "effects.json").write_text(effects_text(effects), encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written ({error.strerror})") from error
    write_json(folder / "fits.json", calibration_json(fits))
