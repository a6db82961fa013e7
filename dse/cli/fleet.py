"""Commands on cost of ownership and fleets: `dse cost` and `dse fleet`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import tyro

from ..core.errors import SpecError
from ..core.files import results_folder, write_json
from ..report.terminal import progress, screen, show, start_jax
from . import flags
from .flags import check_above_zero, counted, length_of, promise_of, rents_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..serving.served import Asked
    from ..workload.transformer import Training

WEEK_s = 7 * 24 * 3600.0


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a chip costs to make, rack, own and rent, and what carbon it carries; or whether it is 40 % cheaper."""

    chip: flags.CHIP
    against: Annotated[str | None, tyro.conf.arg(metavar="CHIP", help_behavior_hint="")] = None
    """Compare USD per training and per served token with this chip, three ways of paying."""
    precision: flags.PRECISION = None
    """With --against: precision of products; by default fp8 where both have it."""
    model: flags.TEXT = None
    """With --against: what is trained and served; by default llama-3.1-70b."""
    prompt: Annotated[int | None, tyro.conf.arg(name="in", metavar="N", help_behavior_hint="")] = None
    """With --against: tokens in; by default 2000."""
    output: Annotated[int | None, tyro.conf.arg(name="out", metavar="N", help_behavior_hint="")] = None
    """With --against: tokens out; by default 300."""
    traffic: Annotated[float | None, tyro.conf.arg(metavar="R", help_behavior_hint="")] = None
    """With --against: requests per second; by default chips are as busy as the promise allows."""
    tpot: flags.TEXT = None
    """With --against: longest time per output token, such as 20ms."""
    ttft: flags.TEXT = None
    """With --against: longest time to first token, such as 1s."""
    rent: flags.TEXT = None
    """With --against: prices of a chip-hour instead, USD for both or by chip such as h100=2.5,trainium2=1.2."""
    chips: flags.COUNT = None
    """With --against: largest engine tried, in chips; by default one scale-up domain."""
    weights: flags.STORAGE = None
    """With --against: storage of the weights served; by default in the precision of the products."""
    kv: flags.STORAGE = None
    """With --against: storage of the KV cache; by default likewise."""
    results: flags.RESULTS = ""
    """Folder that gets cost/CHIP/ with the figures, or with the comparison."""
    json: flags.FLAG = False
    """Print JSON, USD and kg."""
    figures: flags.FIGURES = True

    def run(self) -> None:
        """Price and show."""
        start_jax()
        from ..economy.bill import chip_cost
        from ..report.fleet_tables import cost_json, cost_view

        if self.against is not None:
            return self._compare(self.against)
        # without a second chip they would change nothing, and say nothing
        for flag in AGAINST:
            if getattr(self, flag) is not None:
                raise SpecError(f"--{FLAGS.get(flag, flag)} belongs to --against; a cost has none")
        found = chip_cost(self.chip)
        show(self.json, lambda: cost_json(found), lambda width: cost_view(found, width))
        if self.figures:
            from ..economy.curves import break_even
            from ..report.fleet_figures import write_cost_figures

            folder = self._folder
            with progress("drawing"):
                write_cost_figures(found, break_even(found), folder)
            if not self.json:
                screen().print(f"Written to {folder}/", markup=False)

    @property
    def _folder(self) -> Path:
        from ..hardware.own_chip import short_name

        return results_folder(results_folder(self.results, "cost"), short_name(self.chip))

    def _compare(self, other: str) -> None:
        from ..hardware.own_chip import short_name
        from ..report.fleet_tables import against_json, against_view
        from ..serving.comparison import common_precision, compare

        given = rents_of(self.rent, [self.chip, other])
        with progress("searching plans"):
            precision = self.precision or common_precision(self.chip, other)
            asked = self._asked(precision)
            answers = compare(self.chip, other, precision, asked, given).answers
        found = against_json(self.chip, other, precision, answers, asked)
        path = self._folder / f"against-{short_name(other)}-{precision}.json"
        write_json(path, found)
        show(self.json, lambda: found, lambda _: against_view(self.chip, other, precision, answers, asked), f"{path}")

    def _asked(self, precision: str) -> Asked:
        from ..serving.comparison import MODEL
        from ..serving.served import Asked
        from ..workload.presets import model
        from ..workload.requests import Requests

        check_above_zero(chips=self.chips, traffic=self.traffic)
        stored = self.weights or precision, self.kv or precision
        requests = Requests(model(self.model or MODEL), (length_of(self.prompt, self.output),), *stored)
        return Asked(requests, promise_of(self.tpot, self.ttft, 95.0), self.traffic, self.chips)


AGAINST = (
    "precision", "model", "prompt", "output", "traffic", "tpot", "ttft", "rent", "chips", "weights", "kv",
)  # fmt: skip
"""What only a comparison has."""
FLAGS = {"prompt": "in", "output": "out"}
"""Flags that are called otherwise than their fields."""


@dataclasses.dataclass(frozen=True)
class Fleet:
    """A training run on many chips for weeks: interruptions, checkpoints, goodput, dollars, energy and carbon."""

    chip: flags.CHIP
    model: flags.MODEL
    chips: Annotated[int, tyro.conf.arg(metavar="N")] = 16384
    """Chips at work; spares come on top."""
    weeks: Annotated[float, tyro.conf.arg(metavar="W")] = 8.0
    """Wall time of the run."""
    plan: Annotated[str, tyro.conf.arg(metavar="PLAN")] = "auto"
    """Who does what, such as tp=8,pp=16,dp=128; auto takes the fastest plan that fits."""
    batch: flags.COUNT = None
    """Sequences per step; by default 2048, or one per chip where that is fewer."""
    sequence: flags.COUNT = None
    """Tokens per sequence; by default 8192 or the model's longest."""
    precision: flags.PRECISION = None
    """Precision of the linear layers; by default bf16."""
    system: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """System preset; by default the largest made of the chip."""
    simulate: flags.FLAG = False
    """Also run the job in discrete events, to check the closed form; needs the extra `fleet`."""
    results: flags.RESULTS = ""
    """Folder that gets fleet/ with goodput against cluster size."""
    json: flags.JSON = False
    figures: flags.FIGURE = True

    def run(self) -> None:
        """Run and show."""
        start_jax()
        from ..economy.fleet_run import fleet_run, simulated
        from ..hardware.presets import chip_system
        from ..lowering.plan import parse_plan
        from ..report.fleet_tables import run_json, run_view

        self._check()
        system = chip_system(self.chip, self.chips, self.system)
        plan = None if self.plan == "auto" else parse_plan(self.plan)
        with progress("searching plans"):
            found = fleet_run(system, self._workload(), self.weeks * WEEK_s, plan)
        outcome = simulated(found, SIMULATED) if self.simulate else None
        extra = {} if outcome is None else {"simulated": dataclasses.asdict(outcome)}
        show(self.json, lambda: {**run_json(found), **extra}, lambda width: run_view(found, width))
        if outcome is not None and not self.json:
            text = f"in discrete events, {outcome.n_failures:,} failures: goodput {100 * outcome.goodput_frac:.1f} %"
            screen().print(text, markup=False)
        if self.figures:
            from ..economy.curves import goodputs
            from ..report.fleet_figures import goodput_figure
            from ..report.style import draw

            with progress("drawing"):
                draw(results_folder(self.results, "fleet"), goodput=lambda: goodput_figure(goodputs()))

    def _check(self) -> None:
        counted("chips", self.chips)
        if not 0 < self.weeks < float("inf"):
            raise SpecError(f"--weeks {self.weeks}: give a time above 0")

    def _workload(self) -> Training:
        from ..workload.presets import model as preset_model
        from ..workload.requests import workload_of
        from ..workload.transformer import Training

        batch = min(2048, self.chips) if self.batch is None else self.batch
        given = {"batch": batch, "sequence": self.sequence, "precision": self.precision}
        sizes = {k: v for k, v in given.items() if v is not None}
        found = workload_of("training", preset_model(self.model), self.chips, sizes, mark="--")
        assert isinstance(found, Training)
        return found


SIMULATED = 4000
"""Failures that a simulation runs through."""
