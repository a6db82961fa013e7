"""Commands on a study: `dse optimize` and `dse cite`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..report.terminal import progress, screen
from .flags import JSON


@dataclasses.dataclass(frozen=True)
class Optimize:
    """Find the best chip of a study, with a price on every limit and a proof; writes figures and a manifest."""

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY.toml")]
    """The study; sweeps/trainium4.toml shows every key."""
    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results"
    """Folder that gets a folder named after the study."""
    gap: Annotated[float | None, tyro.conf.arg(metavar="FRAC", help_behavior_hint="")] = None
    """Also prove the design against all choices, plans and whole counts at once, to this gap, such as 0.001."""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 60.0
    """With --gap: stop the proof after this time with the gap reached."""
    json: JSON = False
    """Print the solution as JSON, canonical units."""
    figures: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """Skip the figures."""

    def run(self) -> int:
        """Solve, write, show."""
        from ..report.session import start_jax

        start_jax()
        from pathlib import Path

        from ..optimize.exact import solve_exact
        from ..optimize.solution import Status, solution_json
        from ..optimize.solve import solve
        from ..report.results import json_text, results_folder, write_results
        from ..study.study import load_study

        study = load_study(self.study)
        folder = results_folder(self.results, study.name)
        text = Path(self.study).read_text(encoding="utf-8")
        with progress() as tell:
            solution = solve(study, tell) if self.gap is None else solve_exact(study, self.gap, self.seconds, tell)
        write_results(folder, text, solution)
        if self.json:
            print(json_text(solution_json(solution)))
        else:
            from ..report.screen import solution_view

            console = screen()
            console.print(solution_view(solution, console.width))
            console.print(f"Written to {folder}/", markup=False)
        if self.figures and solution.chip is not None:
            with progress("drawing"):
                from ..report.figures import write_figures

                write_figures(solution, folder)
        return 1 if solution.status is Status.INFEASIBLE else 0


@dataclasses.dataclass(frozen=True)
class Cite:
    """Print the BibTeX entries of everything a study rests on."""

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY.toml")]
    """The study."""

    def run(self) -> int:
        """Print the entries."""
        from ..core.bibliography import bibtex
        from ..study.basis import source_keys, study_basis
        from ..study.study import load_study

        print(bibtex(source_keys(study_basis(load_study(self.study), None))))
        return 0
