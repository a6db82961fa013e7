"""`dse ablation`: what each correction of the physics is worth, alone and together."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from ..report.session import start_jax
from ..report.terminal import progress, show
from .flags import JSON, RESULTS, SECONDS

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

    def run(self) -> int:
        """Solve every variant, write, show."""
        start_jax()
        from pathlib import Path

        from ..core.files import results_folder, write_json
        from ..explore.ablation import ablation
        from ..hardware.presets import chip
        from ..optimize.deadline import Deadline
        from ..report.ablation import ablation_json, ablation_view
        from ..study.metrics import FULL_LOAD
        from ..study.study import load_study

        deadline, folder, found = Deadline(self.seconds), Path(self.sweeps), {}
        with progress() as tell:
            study = load_study(folder / "trainium4.toml")
            found[study.name] = ablation(study, self.tdp, None, tell, deadline)
            for name in BACKTESTS:
                study = load_study(folder / f"{name}.toml")
                built = chip(study.built)
                load_W = next(x.value for x in study.limits if x.metric == FULL_LOAD)
                found[study.name] = ablation(study, load_W, built, tell, deadline)
        place, undone = results_folder(self.results, "ablation"), deadline.undone
        write_json(place / "ablation.json", ablation_json(found, undone))
        show(self.json, lambda: ablation_json(found, undone), lambda _: ablation_view(found), f"{place}/", undone)
        return 0
