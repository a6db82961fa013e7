"""Fitted calibrations for people and machines: every number with its prior and whether the measurements set it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from ..calibrate.families import effects_text, numbers
from ..calibrate.fit import Fit
from ..core.errors import SpecError
from ..core.files import write_json
from ..core.text import digits, label, percent, quantity_text
from .layout import drawn
from .tables import Table, table_of


def calibration_json(fits: dict[str, Fit]) -> dict[str, Any]:
    """All fits for machines, canonical units."""
    return {
        "fits": [
            {
                "name": name,
                "measurements": f.n_measurements,
                "models": f.n_models,
                "sources": f.n_sources,
                "numbers": numbers(f),
            }
            for name, f in sorted(fits.items())
        ]
    }


def calibration_view(fits: dict[str, Fit]) -> RenderableType:
    """One table per chip and stack; what the measurements do not set is dim."""
    return Group(*(part for name, f in sorted(fits.items()) for part in (drawn(_fit_table(name, f)), "")))


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
