"""`dse backtest`: with an older chip in hand, what would the explorer have proposed, and what was built?"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..core.errors import SpecError
from ..core.shipped import SWEEPS, shipped, shipped_folder
from ..report.session import start_jax
from ..report.terminal import progress, show
from .flags import FIGURE, JSON, RESULTS, SECONDS


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

    def run(self) -> int:
        """Solve, compare, write, show."""
        start_jax()
        from functools import partial
        from pathlib import Path

        from ..core.files import results_folder, write_json
        from ..explore.against_built import Backtest
        from ..explore.backtest import backtest, check_study, held
        from ..explore.tally import Backtests
        from ..optimize.deadline import Deadline
        from ..optimize.solve import LIMIT_S, solve
        from ..report.backtest import backtests_json, backtests_view, write_backtest_figure
        from ..report.results import study_manifest
        from ..study.study import load_study

        here = Path(self.sweeps)
        folder_of_studies = here if here.is_dir() or self.sweeps != SWEEPS else shipped_folder()
        paths = [shipped(s) for s in self.studies] or sorted(folder_of_studies.glob("backtest_*.toml"))
        if not paths:
            raise SpecError(f"{self.sweeps}: no study backtest_*.toml there; give studies, or a folder with some")
        studies = [load_study(p) for p in paths]
        for study in studies:
            check_study(study)
        if self.hold:
            studies = [held(s, self.hold.split(",")) for s in studies]
        name = f"backtest_holding_{self.hold.replace(',', '_')}" if self.hold else "backtest"
        folder, steps = results_folder(self.results, name), []
        for path, study in zip(paths, studies, strict=True):
            with progress() as tell:
                deadline = Deadline(max(self.seconds, LIMIT_S))
                answer = backtest(study, tell, partial(solve, limit_s=self.seconds), deadline=deadline)
            if not isinstance(answer, Backtest):
                raise SpecError(f"{path}: infeasible, so there is nothing to compare; see dse optimize {path}")
            steps.append(answer)
            text = path.read_text(encoding="utf-8")
            manifest = study_manifest(text, study, answer.solution.choice)
            write_json(folder / f"{study.name}.manifest.json", manifest)
        found = Backtests(tuple(steps))
        write_json(folder / "backtest.json", backtests_json(found))
        show(self.json, lambda: backtests_json(found), lambda _: backtests_view(found), f"{folder}/")
        if self.figures:
            with progress("drawing"):
                write_backtest_figure(found, folder)
        return 0
