"""`dse forecast`: a dated distribution of a chip that nobody has seen, and its score when facts arrive."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from ..core.errors import SpecError
from ..core.shipped import shipped
from ..report.session import start_jax
from ..report.terminal import progress, show
from .flags import JSON, SECONDS

SCORE = "score"


@dataclasses.dataclass(frozen=True)
class ForecastCommand:
    """Forecast a chip: `dse forecast FORECAST.toml`; score it with facts: `dse forecast score FACTS.toml`."""

    what: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FORECAST.toml | score FACTS.toml")]
    """The forecast: a file, or the bare name of one that came along (`dse studies`). Or "score" and a file of facts."""
    draws: Annotated[int, tyro.conf.arg(metavar="N")] = 400
    """Draws of the unknowns."""
    seconds: SECONDS = 900.0
    """Stop after this time with the draws that are solved; compiling is not counted."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Seed of the draws."""
    results: Annotated[str, tyro.conf.arg(metavar="DIR")] = "results/forecast_trainium4"
    """Folder of all versions of the forecast: a dated one is added, or the last is scored (or the one given)."""
    json: JSON = False

    def run(self) -> int:
        """Draw, re-optimise, write, show; or score."""
        if self.what[:1] == (SCORE,) and len(self.what) == 2:
            return self._score(Path(self.what[1]))
        if len(self.what) != 1:
            raise SpecError(f"forecast {' '.join(self.what)}: give FORECAST.toml, or score FACTS.toml")
        start_jax()
        from ..explore.forecast import forecast, load_forecast, study_path
        from ..optimize.deadline import Deadline
        from ..report.forecast import forecast_json, forecast_view, next_version, write_forecast

        deadline, path = Deadline(self.seconds), shipped(self.what[0])
        with progress() as tell:
            found = forecast(load_forecast(path), self.draws, self.seed, tell, deadline)
        text, study_text = (p.read_text(encoding="utf-8") for p in (path, study_path(path)))
        folder = next_version(Path(self.results))
        write_forecast(folder, text, study_text, found)
        show(self.json, lambda: forecast_json(found), lambda _: forecast_view(found), f"{folder}/")
        return 0

    def _score(self, facts: Path) -> int:
        from ..explore.score import read_draws, read_facts, score
        from ..report.forecast import DRAWS, last_version, score_json, score_view

        drawn = read_draws(last_version(Path(self.results)) / DRAWS)
        scored = score(drawn, read_facts(facts, drawn))
        if not scored:
            raise SpecError(f"{facts}: holds no facts")
        show(self.json, lambda: score_json(scored), lambda _: score_view(scored))
        return 0
