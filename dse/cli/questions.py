"""Commands that solve several studies: `dse questions`, `dse backtest` and `dse ablation`."""

from __future__ import annotations

import dataclasses
import json as json_reader  # `json` is a flag here
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..core.errors import SpecError
from ..core.files import json_text, read_text, results_folder, write_json
from ..core.shipped import SWEEPS, shipped, shipped_folder
from ..report.terminal import progress, screen, show, start_jax
from .flags import FIGURE, JSON, RESULTS, SECONDS

if TYPE_CHECKING:
    from ..study.study import Study


@dataclasses.dataclass(frozen=True)
class QuestionsCommand:
    """Questions of an architect answered side by side, every side solved and certified for itself."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[NAME ...]")] = ()
    """Studies with a table [question]: files, or bare names; left out, all that came along."""
    results: RESULTS = ""
    """Folder that gets a folder "questions" with one JSON file for each."""
    gap: Annotated[float, tyro.conf.arg(metavar="FRAC")] = 0.01
    """Stop a side once no other design can be better by more than this."""
    seconds: SECONDS = 30.0
    """Stop a side after this time with the gap reached; compiling is not counted."""
    page: Annotated[str, tyro.conf.arg(metavar="FILE.md")] = ""
    """Also write all answers in the results folder as a page of text."""
    json: JSON = False

    def run(self) -> None:
        """Solve every side of every question, write, show."""
        start_jax()
        from ..explore.questions import question, question_names
        from ..report.questions import question_json, question_view, questions_page, write_question

        folder, answers = results_folder(self.results, "questions"), []
        for name in self.names or question_names():
            with progress() as tell:
                found = question(name, tell, gap_frac=self.gap, limit_s=self.seconds)
            # one by one, so that what is solved stays where a later one is interrupted
            write_question(folder, found)
            answers.append(question_json(found))
            if not self.json:
                screen().print(question_view(answers[-1]))
        if self.json:
            print(json_text(answers))
        if self.page:
            # those that were answered by earlier runs too
            kept = [json_reader.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]
            Path(self.page).write_text(questions_page(kept), encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class BacktestCommand:
    """Propose chips in the budgets of those that were built, from the chips before them; compare and tally."""

    studies: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[STUDY.toml ...]")] = ()
    """Studies with a table [built]; backtest_*.toml of the folder `sweeps` when left out. See docs/backtest.md."""
    sweeps: Annotated[str, tyro.conf.arg(metavar="DIR")] = "sweeps"
    """Folder with the studies backtest_*.toml."""
    results: RESULTS = ""
    """Folder that gets backtest/ with the comparison and its figure."""
    seconds: SECONDS = 10.0
    """Stop each proof after this time with the best design so far; the search before it and the one for ranges
    have a minute each at least, and compiling is not counted."""
    hold: Annotated[str, tyro.conf.arg(metavar="NAME,...", help_behavior_hint="")] = ""
    """Hold free numbers at those of the chips that were built, such as clock: what else does it explain?"""
    json: JSON = False
    figures: FIGURE = True

    def run(self) -> None:
        """Solve, compare, write, show."""
        start_jax()
        from ..explore.against_built import Backtest
        from ..explore.backtest import backtest
        from ..explore.tally import Backtests
        from ..optimize.deadline import Deadline
        from ..optimize.solve import LIMIT_S, solve
        from ..report.backtest import backtests_json, backtests_view, steps_figure
        from ..report.results import study_manifest

        studies, steps = self._studies(), []
        folder = results_folder(self.results, f"backtest_holding_{'_'.join(self._held)}" if self.hold else "backtest")
        for path, study in studies:
            with progress() as tell:
                deadline = Deadline(max(self.seconds, LIMIT_S))
                answer = backtest(study, tell, partial(solve, limit_s=self.seconds), deadline=deadline)
            if not isinstance(answer, Backtest):
                raise SpecError(f"{path}: infeasible, so there is nothing to compare; see dse optimize {path}")
            steps.append(answer)
            manifest = study_manifest(read_text(path), study, answer.solution.choice)
            write_json(folder / f"{study.name}.manifest.json", manifest)
        found = Backtests(tuple(steps))
        write_json(folder / "backtest.json", backtests_json(found))
        show(self.json, lambda: backtests_json(found), lambda _: backtests_view(found), f"{folder}/")
        if self.figures:
            with progress("drawing"):
                from ..report.style import draw

                draw(folder, backtest_ratios=lambda: steps_figure(found.steps))

    def _studies(self) -> list[tuple[Path, Study]]:
        """The studies asked for, with their files; SpecError for none, or for one that is no back-test."""
        from ..explore.backtest import check_study, held
        from ..study.study import load_study

        here = Path(self.sweeps)
        folder = here if here.is_dir() or self.sweeps != SWEEPS else shipped_folder()
        paths = [shipped(s) for s in self.studies] or sorted(folder.glob("backtest_*.toml"))
        if not paths:
            raise SpecError(f"{self.sweeps}: no study backtest_*.toml there; give studies, or a folder with some")
        studies = [(p, load_study(p)) for p in paths]
        # all of them before the first is solved, which takes a minute
        for _, study in studies:
            check_study(study)
        return [(p, held(s, self._held)) for p, s in studies] if self.hold else studies

    @property
    def _held(self) -> list[str]:
        return [name.strip() for name in self.hold.split(",")]


BACKTESTS = ("backtest_trainium2", "backtest_trainium3")
"""Back-tests that are solved too."""


@dataclasses.dataclass(frozen=True)
class AblationCommand:
    """Solve the headline study and the back-tests with none, each alone and all of the corrections of the physics."""

    sweeps: Annotated[str, tyro.conf.arg(metavar="DIR")] = "sweeps"
    """Folder with trainium4.toml, backtest_trainium2.toml and backtest_trainium3.toml."""
    tdp: Annotated[float, tyro.conf.arg(metavar="W")] = 1800.0
    """TDP of the headline study; back-tests take the full load of the chip that was built."""
    seconds: SECONDS = 900.0
    """Stop after this time with the variants that are solved; compiling is not counted."""
    results: RESULTS = ""
    """Folder that gets ablation/."""
    json: JSON = False

    def run(self) -> None:
        """Solve every variant, write, show."""
        start_jax()
        from ..explore.ablation import ablation
        from ..hardware.presets import chip
        from ..optimize.deadline import Deadline
        from ..report.readings import ablation_json, ablation_view
        from ..study.metrics import FULL_LOAD
        from ..study.study import load_study

        deadline, folder, found = Deadline(self.seconds), Path(self.sweeps), {}
        place = results_folder(self.results, "ablation")
        with progress() as tell:
            study = load_study(folder / "trainium4.toml")
            found[study.name] = ablation(study, self.tdp, None, tell, deadline)
            for name in BACKTESTS:
                study = load_study(folder / f"{name}.toml")
                built = chip(study.built)
                load_W = next(x.value for x in study.limits if x.metric == FULL_LOAD)
                found[study.name] = ablation(study, load_W, built, tell, deadline)
        undone = deadline.undone
        write_json(place / "ablation.json", ablation_json(found, undone))
        show(self.json, lambda: ablation_json(found, undone), lambda _: ablation_view(found), f"{place}/", undone)
