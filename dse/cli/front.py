"""Commands around one study's optimum: `dse front` and `dse sensitivity`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import tyro

from ..core.files import read_text, results_folder, write_json
from ..core.shipped import shipped
from ..report.terminal import progress, show, start_jax
from .flags import FIGURE, FIGURES, FLAG, JSON, RESULTS, SECONDS, STUDY, chips_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..explore.front import Front
    from ..optimize.deadline import Deadline
    from ..study.study import Study


@dataclasses.dataclass(frozen=True)
class FrontCommand:
    """Pareto front of a study over two to four metrics, every point certified; writes figures and interactive pages."""

    study: STUDY
    """The study; its limits hold, its own goal is not used."""
    metrics: Annotated[str, tyro.conf.arg(metavar="A,B[,C[,D]]")] = "delivered_time,package_cost"
    """What trades against each other, all minimised: such as power, silicon, package_cost, cost_per_token."""
    points: Annotated[int, tyro.conf.arg(metavar="N")] = 100
    """Points to solve for."""
    seconds: SECONDS = 900.0
    """Stop after this time with the points found, which --resume adds to; compiling is not counted."""
    chips: Annotated[str | None, tyro.conf.arg(metavar="CHIP[,CHIP]", help_behavior_hint="")] = None
    """Chips that the figures mark beside the front, presets ("all" for all) or files of your own; by default six that
    exist."""
    whole: FLAG = False
    """Round every point to whole cores and stacks, and solve it again; else points are bounds on what can be built."""
    prove: FLAG = False
    """Round as --whole does, and prove in the time left that no other choice, plans or counts beat a point."""
    resume: FLAG = False
    """Go on with the points that an earlier run of the same study and metrics has finished."""
    results: RESULTS = ""
    """Folder that gets a folder named after the study, and in it one for the front."""
    json: FLAG = False
    """Print the front as JSON, canonical units."""
    figures: FIGURES = True

    def run(self) -> None:
        """Solve, keep every batch, write, show."""
        start_jax()
        from ..core.counts import check_count
        from ..explore.designed import NAMED
        from ..explore.front import MOST_POINTS, checked_metrics
        from ..explore.points import front_folder
        from ..hardware.presets import chip as preset_chip
        from ..optimize.deadline import Deadline
        from ..report.front import front_json, front_view, write_front
        from ..study.study import load_study

        check_count("points of a front", self.points, 2, MOST_POINTS)  # before points of an earlier run are cleared
        asked = tuple(m.strip() for m in self.metrics.split(","))
        deadline, study = Deadline(self.seconds), load_study(self.study, asks=asked)
        marked = NAMED if self.chips is None else tuple(chips_of(self.chips))
        # for its error alone, before minutes of solving
        for chip_name in marked:
            preset_chip(chip_name)
        names = checked_metrics(study, asked)
        # made before it is needed: one that cannot be is told before minutes of solving
        folder = front_folder(results_folder(self.results, study.name), names)
        found = self._solved(study, names, folder, deadline)
        write_front(folder, read_text(shipped(self.study)), found)
        show(self.json, lambda: front_json(found), lambda _: front_view(found), f"{folder}/")
        if self.figures:
            draw(found, marked, folder)

    def _solved(self, study: Study, names: tuple[str, ...], folder: Path, deadline: Deadline) -> Front:
        """The front, with what an earlier run left in `folder` where asked; every batch is kept there."""
        from ..explore.front import front
        from ..explore.points import PointStore, buildable, fingerprint
        from ..explore.proved import prepare_proofs, proved
        from ..explore.ray import Rays

        store, rays = PointStore(folder, fingerprint(study, names)), Rays(study, names, deadline=deadline)
        with progress() as tell:
            if self.resume:
                tell(f"resumed with {store.load(rays)} finished problems")
            else:
                store.clear()
            rays.tell = store.append
            if self.prove:
                prepare_proofs(rays)
            found = front(study, names, self.points, rays=rays, progress=tell)
            found = buildable(found) if self.whole or self.prove else found
            return proved(found, tell) if self.prove else found


def draw(found: Front, marked: tuple[str, ...], folder: Path) -> None:
    """Figures of a front, with the chips that exist beside it."""
    from ..explore.designed import named_chips
    from ..report.front_figures import write_front_figures

    with progress("drawing"):
        baseline_s = [seconds for _, seconds in found.rays.space.ground.baselines]
        write_front_figures(found, named_chips(found.study, found.metrics, baseline_s, marked), folder)


@dataclasses.dataclass(frozen=True)
class SensitivityCommand:
    """What a study's optimum rests on: elasticities of goal and design, and what a target would need to be true."""

    study: STUDY
    """The study: a file, or the bare name of one that came along (`dse studies`)."""
    target: Annotated[float | None, tyro.conf.arg(metavar="X", help_behavior_hint="")] = None
    """Delivered speed-up: also say the cheapest change of technology or budgets that reaches it."""
    seconds: SECONDS = 300.0
    """Stop after this time with the numbers that were tried; compiling is not counted."""
    results: RESULTS = ""
    """Folder that gets a folder named after the study."""
    json: JSON = False
    figures: FIGURE = True

    def run(self) -> None:
        """Solve, differentiate, show."""
        start_jax()
        from ..explore.remedy import check_target, remedy
        from ..explore.sensitivity import sensitivity
        from ..optimize.deadline import Deadline
        from ..optimize.search import search_of
        from ..optimize.space import space_of
        from ..report.front import sensitivity_json, sensitivity_view
        from ..study.study import load_study

        deadline, study = Deadline(self.seconds), load_study(self.study)
        check_target(study, self.target)
        folder = results_folder(self.results, study.name)
        with progress() as tell:
            search = search_of(space_of(study), tell, deadline=deadline)
            found = sensitivity(study, search)
            need = None if self.target is None else remedy(found, self.target, search)
        answer = sensitivity_json(found, need)
        write_json(folder / "sensitivity.json", answer)
        show(self.json, lambda: answer, lambda _: sensitivity_view(found, need))
        if self.figures:
            from ..report.front_figures import tornado_figure
            from ..report.style import draw as draw_figures

            draw_figures(folder, sensitivity=lambda: tornado_figure(found))
