"""`dse readings`: what the reading of a power limit is worth."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..core.errors import SpecError
from ..report.session import start_jax
from ..report.terminal import progress, show
from .flags import FIGURE, JSON, RESULTS, SECONDS, STUDY


@dataclasses.dataclass(frozen=True)
class ReadingsCommand:
    """The best design over the TDP, if it binds the mean power, the hottest operator or all engines together."""

    study: STUDY
    """The study: a file, or a bare name (`dse studies`); its own limits on power are left out."""
    tdp: Annotated[str, tyro.conf.arg(metavar="W,W,...")] = "1000,1200,1400,1600,1800,2000,2250,2500"
    """TDPs in watts."""
    seconds: SECONDS = 600.0
    """Stop after this time with the points found; compiling is not counted."""
    results: RESULTS = ""
    """Folder that gets a folder named after the study."""
    json: JSON = False
    figures: FIGURE = True

    def run(self) -> int:
        """Solve every point, write, show."""
        tdps_W = watts(self.tdp)
        start_jax()
        from ..core.files import results_folder
        from ..explore.readings import readings
        from ..optimize.deadline import Deadline
        from ..report.readings import readings_json, readings_view, write_readings
        from ..study.study import load_study

        deadline, study = Deadline(self.seconds), load_study(self.study)
        folder = results_folder(self.results, study.name)
        with progress() as tell:
            points = readings(study, tdps_W, progress=tell, deadline=deadline)
        write_readings(folder, points, study.baseline.chip.name, self.figures, deadline.undone)
        answer = readings_json(points, deadline.undone)
        show(self.json, lambda: answer, lambda _: readings_view(points), f"{folder}/", deadline.undone)
        return 0


def watts(text: str) -> list[float]:
    """Watts in "1000,1800"; SpecError for anything else than positive numbers."""
    try:
        found = [float(x) for x in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < x < float("inf") for x in found):
        raise SpecError(f"tdp = {text}: give watts with commas between them, such as 1000,1800,2500")
    return found
