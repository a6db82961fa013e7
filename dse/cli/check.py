"""Commands that compare with measurements: `dse validate` and `dse calibrate`."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import tyro

from ..core.errors import SpecError
from ..core.files import answer_roots, check_place, results_folder
from ..report.terminal import progress, show, start_jax
from .flags import FLAG, JSON, RESULTS


@dataclasses.dataclass(frozen=True)
class Validate:
    """Predict published or your own measurements and show the error by source, the worst rows, what has no model."""

    kind: Literal["training", "inference", "kernels", "collectives"] = "training"
    """What was measured: whole steps, requests, single operators, communication."""
    data: Annotated[str | None, tyro.conf.arg(metavar="FILE.csv", help_behavior_hint="")] = None
    """Your own measurements: CSV, JSON or Parquet (see --columns), or the file that vLLM's, SGLang's or NVIDIA's
    benchmark or nccl-tests wrote; by default the published ones that ship."""
    given: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN=CELL", help_behavior_hint="")] = ()
    """What --data does not say, for all its rows: chip=h100 tp=8 precision=fp8."""
    columns: FLAG = False
    """Show which columns tables of this kind have, and a table to start from, instead."""
    results: RESULTS = ""
    """Folder that gets validation/ with all predictions and the figures."""
    json: FLAG = False
    """Print JSON, relative errors as fractions."""
    leave_one_out: FLAG = False
    """Predict every source with fits that never saw it; takes a minute or two."""
    leave_generation_out: FLAG = False
    """Predict Blackwell, CDNA 4, TPU v6 on and Trainium2 on with fits that never saw them."""
    all_rows: FLAG = False
    """Also score rows whose configuration is not fully published."""

    @property
    def _held_out(self) -> str:
        if self.leave_one_out and self.leave_generation_out:
            raise SpecError("--leave-one-out and --leave-generation-out are two scores; ask for one at a time")
        return "source" if self.leave_one_out else "generation" if self.leave_generation_out else ""

    def run(self) -> None:
        """Predict, write, show."""
        if self.columns:
            from ..report.columns import columns_json, columns_view

            return show(self.json, lambda: columns_json(self.kind), lambda _: columns_view(self.kind))
        if self.given and self.data is None:
            raise SpecError("--given says what a file leaves out; name yours with --data")
        start_jax()
        from ..calibrate.validate import validate
        from ..report.validation import validation_json, validation_view, write_validation

        # before minutes of predictions
        check_place(answer_roots(self.results)[0] / "validation")
        with progress("reading the measurements") as tell:
            found = validate(self.kind, self.data, self.all_rows, self._held_out, tell, self.given)
        with progress("drawing"):
            folder = write_validation(found, self.results)
        written = f"{folder}/ and {folder}.parquet"
        show(self.json, lambda: validation_json(found), lambda _: validation_view(found), written)


@dataclasses.dataclass(frozen=True)
class Calibrate:
    """Fit what chips, families, vendors and software stacks share to the shipped measurements; takes minutes."""

    results: RESULTS = ""
    """Folder that gets calibration/effects.json."""
    json: JSON = False

    def run(self) -> None:
        """Fit, write, show."""
        start_jax()
        from ..calibrate.families import fits_of
        from ..calibrate.held_out import refit
        from ..report.validation import calibration_json, calibration_view, write_calibration

        folder = results_folder(self.results, "calibration")
        with progress("reading the measurements") as tell:
            effects = refit(tell)
        fits = fits_of(effects)
        write_calibration(effects, fits, folder)
        show(self.json, lambda: calibration_json(fits), lambda _: calibration_view(fits), f"{folder}/")
