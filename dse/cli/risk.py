"""Commands on what is not known and what came to pass: `dse risk` and `dse backtest`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..core.errors import SpecError
from ..core.shipped import shipped
from ..report.terminal import progress, screen
from .flags import JSON


@dataclasses.dataclass(frozen=True)
class RiskCommand:
    """Re-optimise a study under draws of every receipt with a range: how likely is the target, and what drives it."""

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY.toml")]
    """The study: a file, or the bare name of one that came along (`dse studies`)."""
    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 1000
    """Draws of the unknowns."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Seed of the draws."""
    target: Annotated[float | None, tyro.conf.arg(metavar="X", help_behavior_hint="(default: 6)")] = None
    """Delivered speed-up that counts as reached."""
    robust: Annotated[str | None, tyro.conf.arg(metavar="worst|p90", help_behavior_hint="")] = None
    """Also find one design to build: the best worst case, or the best figure met in 90 % of the samples."""
    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results"
    """Folder that gets a folder named after the study."""
    json: JSON = False
    """Print JSON, canonical units."""
    figures: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """Skip the figures."""

    def run(self) -> int:
        """Draw, re-optimise, write, show."""
        from ..report.session import start_jax

        start_jax()
        from ..explore.risk import risk
        from ..explore.robust import robust_design, share_frac
        from ..report.results import json_text, results_folder
        from ..report.risk import risk_json, risk_view, write_risk
        from ..study.study import load_study

        study = load_study(self.study)
        if self.robust is not None:
            share_frac(self.robust)
        folder = results_folder(self.results, study.name)
        text = shipped(self.study).read_text(encoding="utf-8")
        with progress() as tell:
            found = risk(study, self.samples, self.seed, target=self.target, progress=tell)
            robust = None if self.robust is None else robust_design(found, self.robust, tell)
        write_risk(folder, text, found, robust)
        if self.json:
            print(json_text(risk_json(found, robust)))
        else:
            console = screen()
            console.print(risk_view(found, robust, console.width))
            console.print(f"Written to {folder}/", markup=False)
        if self.figures:
            with progress("drawing"):
                from ..report.risk_figures import write_risk_figures

                write_risk_figures(found, folder)
        return 0 if found.feasible.any() else 1


@dataclasses.dataclass(frozen=True)
class BacktestCommand:
    """Propose Trainium2 from Trainium1 and Trainium3 from Trainium2, in their budgets; compare with what was built."""

    sweeps: Annotated[str, tyro.conf.arg(metavar="DIR")] = "sweeps"
    """Folder with the studies backtest_*.toml."""
    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results"
    """Folder that gets backtest/ with the comparison and its figure."""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 60.0
    """Stop each search after this time with the best design so far."""
    json: JSON = False
    """Print JSON, canonical units."""
    figures: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """Skip the figure."""

    def run(self) -> int:
        """Solve, compare, write, show."""
        from ..report.session import start_jax

        start_jax()
        from functools import partial
        from pathlib import Path

        from ..explore.backtest import Backtest, backtest, cases
        from ..optimize.solve import solve
        from ..report.backtest import backtest_json, backtest_view, write_backtest_figure
        from ..report.results import json_text, results_folder, study_manifest, write_json
        from ..study.study import load_study

        folder = results_folder(self.results, "backtest")
        found: list[Backtest] = []
        for case in cases():
            path = shipped(Path(self.sweeps) / f"{case.study}.toml")
            study = load_study(path)
            with progress() as tell:
                answer = backtest(case, study, tell, answer=partial(solve, limit_s=self.seconds))
            if not isinstance(answer, Backtest):
                raise SpecError(f"{path}: infeasible, so there is nothing to compare; see dse optimize {path}")
            found.append(answer)
            text = path.read_text(encoding="utf-8")
            write_json(folder / f"{case.study}.manifest.json", study_manifest(text, study, answer.solution.choice))
        write_json(folder / "backtest.json", [backtest_json(b) for b in found])
        if self.json:
            print(json_text([backtest_json(b) for b in found]))
        else:
            for b in found:
                screen().print(backtest_view(b), "")
            screen().print(f"Written to {folder}/", markup=False)
        if self.figures:
            with progress("drawing"):
                write_backtest_figure(found, folder)
        return 0
