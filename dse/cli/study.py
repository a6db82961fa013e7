"""Commands on a study: `dse optimize`, `dse risk`, `dse readings` and `dse cite`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..core.errors import SpecError
from ..core.files import check_place, read_text, results_folder
from ..core.shipped import shipped
from ..report.terminal import progress, show, start_jax
from . import INTERRUPTED
from .flags import FIGURE, FIGURES, FLAG, JSON, RESULTS, SECONDS, STUDY

if TYPE_CHECKING:
    from ..optimize.solution import Solution
    from ..study.study import Study


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
        if not 0 <= self.near < float("inf"):
            raise SpecError(f"--near {self.near:g}: give 0, or a share such as 0.01")
        start_jax()
        from ..optimize.solution_json import solution_json
        from ..report.results import write_results
        from ..report.screen import solution_view
        from ..study.study import load_study

        study = load_study(self.study)
        folder = results_folder(self.results, study.name)
        text = read_text(shipped(self.study))
        with progress() as tell:
            solution = self._solution(study, tell)
        write_results(folder, text, solution)
        show(self.json, lambda: solution_json(solution), lambda width: solution_view(solution, width), f"{folder}/")
        if self.figures and solution.chip is not None:
            with progress("drawing"):
                from ..report.figures import write_figures

                write_figures(solution, folder)
        if solution.stopped:  # Ctrl-C: what was found until then is written and shown all the same
            print(f"dse: {solution.stopped_text}", file=sys.stderr)
            return INTERRUPTED
        return 1 if solution.chip is None else 0

    def _solution(self, study: Study, tell: Callable[[str], None]) -> Solution:
        """The best design, and what was asked beside it."""
        from ..optimize.around import with_more
        from ..optimize.solve import solve, solve_continuous

        if self.continuous:
            found = solve_continuous(study, tell, limit_s=self.seconds)
        else:
            found = solve(study, tell, gap_frac=self.gap, limit_s=self.seconds, may_stop=True)
        # who pressed Ctrl-C waits for nothing more
        return found if found.stopped else with_more(found, self.what_if, self.near, self.seconds, tell)


@dataclasses.dataclass(frozen=True)
class Cite:
    """Print the BibTeX entries of everything a study rests on."""

    study: STUDY
    """The study."""

    def run(self) -> None:
        """Print the entries."""
        from ..core.bibliography import bibtex
        from ..study.basis import source_keys, study_basis
        from ..study.study import load_study

        print(bibtex(source_keys(study_basis(load_study(self.study), None))))


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
        from ..explore.risk import risk
        from ..explore.robust import robust_design, share_frac
        from ..optimize.deadline import Deadline
        from ..report.risk import risk_json, risk_view, write_risk
        from ..study.study import load_study

        deadline, study = Deadline(self.seconds), load_study(self.study)
        if self.robust is not None:
            share_frac(self.robust)  # for its error alone, before minutes of draws
        folder = results_folder(self.results, study.name)
        text = read_text(shipped(self.study))
        with progress() as tell:
            found = risk(study, self.samples, self.seed, target=self.target, progress=tell, deadline=deadline)
            robust = None if self.robust is None else robust_design(found, self.robust, tell, deadline)
        write_risk(folder, text, found, robust, deadline.undone)
        told, answer = f"{folder}/", risk_json(found, robust, deadline.undone)
        show(self.json, lambda: answer, lambda width: risk_view(found, robust, width, deadline.undone), told)
        if self.figures:
            with progress("drawing"):
                from ..report.front_figures import write_risk_figures

                write_risk_figures(found, folder)
        return 0 if found.feasible.any() else 1


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

    def run(self) -> None:
        """Solve every point, write, show."""
        tdps_W = watts(self.tdp)  # before JAX is loaded, so that a typo is told at once
        start_jax()
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


def watts(text: str) -> list[float]:
    """Watts in "1000,1800"; SpecError for anything else than positive numbers."""
    try:
        found = [float(x) for x in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < x < float("inf") for x in found):
        raise SpecError(f"tdp = {text}: give watts with commas between them, such as 1000,1800,2500")
    return found


SCORE = "score"


@dataclasses.dataclass(frozen=True)
class ForecastCommand:
    """Forecast a chip: `dse forecast FORECAST.toml`; score it with facts: `dse forecast score FACTS.toml`."""

    what: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FORECAST.toml | score FACTS.toml")]
    """The forecast: a file, or the bare name of one that came along (`dse studies`). Or "score" and a file of facts,
    lines such as `n_dies = 2` and `hbm_bandwidth = "19.6 TB/s"`."""
    draws: Annotated[int, tyro.conf.arg(metavar="N")] = 400
    """Draws of the unknowns."""
    seconds: SECONDS = 900.0
    """Stop after this time with the draws that are solved; compiling is not counted."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Seed of the draws."""
    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results/forecast_trainium4"
    """Folder of all versions of the forecast: a dated one is added, or the last is scored (or the one given)."""
    json: JSON = False

    def run(self) -> None:
        """Draw, re-optimise, write, show; or score."""
        if self.what[:1] == (SCORE,) and len(self.what) == 2:
            return self._score(Path(self.what[1]))
        if len(self.what) != 1:
            raise SpecError(f"forecast{''.join(f' {x}' for x in self.what)}: give FORECAST.toml, or score FACTS.toml")
        start_jax()
        from ..explore.forecast import forecast, load_forecast, study_path
        from ..optimize.deadline import Deadline
        from ..report.forecast import forecast_json, forecast_view, next_version, write_forecast

        deadline, path = Deadline(self.seconds), shipped(self.what[0])
        check_place(Path(self.results))
        with progress() as tell:
            found = forecast(load_forecast(path), self.draws, self.seed, tell, deadline)
        text, study_text = (read_text(p) for p in (path, study_path(path)))
        folder = next_version(Path(self.results))
        write_forecast(folder, text, study_text, found)
        show(self.json, lambda: forecast_json(found), lambda _: forecast_view(found), f"{folder}/")

    def _score(self, facts: Path) -> None:
        from ..explore.score import read_draws, read_facts, score
        from ..report.forecast import DRAWS, last_version, score_json, score_view

        drawn = read_draws(last_version(Path(self.results)) / DRAWS)
        scored = score(drawn, read_facts(facts, drawn))
        if not scored:
            raise SpecError(f"{facts}: holds no facts")
        show(self.json, lambda: score_json(scored), lambda _: score_view(scored))
