"""`dse risk`: what is not known, and what hangs on it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..core.shipped import shipped
from ..report.session import start_jax
from ..report.terminal import progress, show
from .flags import FIGURES, JSON, RESULTS, SECONDS, STUDY


@dataclasses.dataclass(frozen=True)
class RiskCommand:
    """Re-optimise a study under draws of every receipt with a range: how likely is the target, and what drives it."""

    study: STUDY
    """The study: a file, or the bare name of one that came along (`dse studies`)."""
    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 1000
    """Draws of the unknowns."""
    seconds: SECONDS = 900.0
    """Stop after this time with the draws that are solved; compiling is not counted."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Seed of the draws."""
    target: Annotated[float | None, tyro.conf.arg(metavar="X", help_behavior_hint="(default: 6)")] = None
    """Delivered speed-up that counts as reached."""
    robust: Annotated[str | None, tyro.conf.arg(metavar="worst|p90", help_behavior_hint="")] = None
    """Also find one design to build: the best worst case, or the best figure met in 90 % of the samples."""
    results: RESULTS = ""
    """Folder that gets a folder named after the study."""
    json: JSON = False
    figures: FIGURES = True

    def run(self) -> int:
        """Draw, re-optimise, write, show."""
        start_jax()
        from ..core.files import results_folder
        from ..explore.risk import risk
        from ..explore.robust import robust_design, share_frac
        from ..optimize.deadline import Deadline
        from ..report.risk import risk_json, risk_view, write_risk
        from ..study.study import load_study

        deadline, study = Deadline(self.seconds), load_study(self.study)
        if self.robust is not None:
            share_frac(self.robust)
        folder = results_folder(self.results, study.name)
        text = shipped(self.study).read_text(encoding="utf-8")
        with progress() as tell:
            found = risk(study, self.samples, self.seed, target=self.target, progress=tell, deadline=deadline)
            robust = None if self.robust is None else robust_design(found, self.robust, tell, deadline)
        write_risk(folder, text, found, robust, deadline.undone)
        told, answer = f"{folder}/", risk_json(found, robust, deadline.undone)
        show(self.json, lambda: answer, lambda width: risk_view(found, robust, width, deadline.undone), told)
        if self.figures:
            with progress("drawing"):
                from ..report.risk_figures import write_risk_figures

                write_risk_figures(found, folder)
        return 0 if found.feasible.any() else 1
