"""`dse readings`: what the reading of a power limit is worth."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..core.errors import SpecError
from ..report.terminal import progress, screen
from .flags import JSON


@dataclasses.dataclass(frozen=True)
class ReadingsCommand:
    """The best design over the TDP, if it binds the mean power, the hottest operator or all engines together."""

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY.toml")]
    """The study; its own limits on power are left out."""
    tdp: Annotated[str, tyro.conf.arg(metavar="A:B:STEP")] = "1000:2500:250"
    """TDPs in watts: first, last and step."""
    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results"
    """Folder that gets a folder named after the study."""
    json: JSON = False
    """Print JSON, canonical units."""
    figures: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """Skip the figure."""

    def run(self) -> int:
        """Solve every point, write, show."""
        tdps_W = watts(self.tdp)
        from ..report.session import start_jax

        start_jax()
        from ..explore.readings import readings
        from ..report.readings import readings_json, readings_view, write_readings
        from ..report.results import json_text, results_folder
        from ..study.study import load_study

        study = load_study(self.study)
        folder = results_folder(self.results, study.name)
        with progress() as tell:
            points = readings(study, tdps_W, progress=tell)
        write_readings(folder, points, study.baseline.chip.name, self.figures)
        if self.json:
            print(json_text(readings_json(points)))
        else:
            screen().print(readings_view(points))
            screen().print(f"Written to {folder}/", markup=False)
        return 0


def watts(text: str) -> list[float]:
    """Watts in "1000:2500:250", both ends included; SpecError for another form or no step upwards."""
    try:
        first, last, step = (float(x) for x in text.split(":"))
    except ValueError:
        raise SpecError(f"tdp = {text}: write first:last:step in watts, such as 1000:2500:250") from None
    if not (0 < first <= last and step > 0):
        raise SpecError(f"tdp = {text}: first, last and step must be positive, and first not above last")
    return [first + i * step for i in range(int((last - first) / step + 1e-9) + 1)]
