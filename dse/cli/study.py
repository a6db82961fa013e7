"""Commands on a study: `dse optimize` and `dse cite`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..core.shipped import shipped
from ..report.session import start_jax
from ..report.terminal import progress, show
from .flags import FIGURES, FLAG, RESULTS, SECONDS, STUDY


@dataclasses.dataclass(frozen=True)
class Optimize:
    """Find the best chip of a study that can be built, with a price on every limit and a proof; writes a folder."""

    study: STUDY
    """The study: a file, or the bare name of one that came along (`dse studies`)."""
    results: RESULTS = ""
    """Folder that gets a folder named after the study."""
    gap: Annotated[float, tyro.conf.arg(metavar="FRAC")] = 0.001
    """Stop once no other design, any choice, plans and whole counts, can be better by more than this."""
    seconds: SECONDS = 60.0
    """Stop after this time with the best design so far and the gap reached; compiling is not counted."""
    continuous: FLAG = False
    """Let cores and stacks be fractions: faster, a bound on what can be built."""
    what_if: FLAG = False
    """Also solve again with every limit 10 % looser, and without it."""
    near: Annotated[float, tyro.conf.arg(metavar="FRAC")] = 0.0
    """Also the range of every number over all designs that are at most this much worse, such as 0.01."""
    json: FLAG = False
    """Print the solution as JSON, canonical units."""
    figures: FIGURES = True

    def run(self) -> int:
        """Solve, write, show."""
        start_jax()
        from ..core.files import results_folder
        from ..optimize.deadline import Deadline
        from ..optimize.near import near
        from ..optimize.solution import solution_json
        from ..optimize.solve import solve, solve_continuous
        from ..optimize.whatif import what_if
        from ..report.results import write_results
        from ..report.screen import solution_view
        from ..study.study import load_study

        study = load_study(self.study)
        folder = results_folder(self.results, study.name)
        text = shipped(self.study).read_text(encoding="utf-8")
        with progress() as tell:
            if self.continuous:
                solution = solve_continuous(study, tell, limit_s=self.seconds)
            else:
                solution = solve(study, tell, gap_frac=self.gap, limit_s=self.seconds)
            more, found = Deadline(self.seconds), {}
            if self.what_if:
                found["what_ifs"] = what_if(study, solution.limits, progress=tell, deadline=more)
            if self.near > 0 and solution.chip is not None:
                found["near"] = near(study, solution.goal, self.near, progress=tell, deadline=more)
            left = (*solution.unfinished, *more.undone)
            solution = dataclasses.replace(solution, **found, unfinished=left)
        write_results(folder, text, solution)
        show(self.json, lambda: solution_json(solution), lambda width: solution_view(solution, width), f"{folder}/")
        if self.figures and solution.chip is not None:
            with progress("drawing"):
                from ..report.figures import write_figures

                write_figures(solution, folder)
        return 1 if solution.chip is None else 0


@dataclasses.dataclass(frozen=True)
class Cite:
    """Print the BibTeX entries of everything a study rests on."""

    study: STUDY
    """The study."""

    def run(self) -> int:
        """Print the entries."""
        from ..core.bibliography import bibtex
        from ..study.basis import source_keys, study_basis
        from ..study.study import load_study

        print(bibtex(source_keys(study_basis(load_study(self.study), None))))
        return 0
