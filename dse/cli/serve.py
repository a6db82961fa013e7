"""Command `dse serve`: throughput-interactivity curves of a model on one or more chips."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import tyro

from ..core.errors import SpecError
from ..core.files import results_folder, write_json
from ..report.terminal import progress, screen, show, start_jax
from . import flags
from .flags import chips_of, counted, length_of, promise_of, rents_of

if TYPE_CHECKING:
    from ..lowering.engines import Policy
    from ..workload.requests import Requests


@dataclasses.dataclass(frozen=True)
class Serve:
    """Tokens per chip, watt and dollar against the speed one user sees, with the best plan along the curve."""

    chips_: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHIP[,CHIP]")]
    """Chip presets, see `dse chips` ("all" for all), or paths of your own TOML files; several are drawn together."""
    model: flags.MODEL
    prompt: Annotated[int | None, tyro.conf.arg(name="in", metavar="N", help_behavior_hint="")] = None
    """Tokens in; by default 2000."""
    output: Annotated[int | None, tyro.conf.arg(name="out", metavar="N", help_behavior_hint="")] = None
    """Tokens out; by default 300."""
    mix: Annotated[str | None, tyro.conf.arg(metavar="IN/OUT/SHARE,...", help_behavior_hint="")] = None
    """Several kinds of request instead, such as 2000/300/0.8,16000/800/0.2."""
    tpot: Annotated[str | None, tyro.conf.arg(metavar="TIME", help_behavior_hint="")] = None
    """Longest time per output token, such as 20ms."""
    ttft: Annotated[str | None, tyro.conf.arg(metavar="TIME", help_behavior_hint="")] = None
    """Longest time to first token, such as 1s."""
    percentile: float = 95.0
    """Percent of requests that both limits hold for."""
    chips: flags.COUNT = None
    """Largest engine tried, in chips; engines that divide it are tried too. By default one scale-up domain."""
    batch: flags.COUNT = None
    """Most sequences that write together on one engine; by default as many as memory holds."""
    weights: flags.STORAGE = None
    """Storage of the weights, as the model file says or bf16 by default: fp8, mxfp4 (or fp4), nvfp4, int8, int4,
    q4_k_m; parts may differ, such as bf16,experts=mxfp4."""
    kv: flags.STORAGE = None
    """Storage of the KV cache, likewise; by default bf16."""
    scheduler: Annotated[str, tyro.conf.arg(metavar="{any,first,chunked,apart}")] = "any"
    """How prompts are read: first, in chunks beside decoding, or on chips apart."""
    draft: int = 0
    """Speculative decoding: tokens drafted ahead."""
    accept: float = 0.0
    """Speculative decoding: chance that a drafted token is accepted; needed with --draft."""
    draft_cost: float = 0.0
    """Speculative decoding: time to draft a token over that of a decode pass."""
    basis: flags.BASIS = None
    rent: flags.RENT = None
    results: flags.RESULTS = ""
    """Folder that gets serve/ with the figure and the numbers."""
    json: flags.JSON = False
    figures: flags.FIGURE = True

    def run(self) -> None:
        """Price, write, show."""
        # before JAX is loaded: who mistypes a flag is told at once
        promise = promise_of(self.tpot, self.ttft, self.percentile)
        names = chips_of(self.chips_)
        given = rents_of(self.rent, names)
        start_jax()
        from ..economy.owning import hours
        from ..hardware.own_chip import short_name
        from ..hardware.presets import chip_system
        from ..report.serving import serving_json, serving_view
        from ..serving.offer import offers

        asked, allowed = self._requests(), self._policy()
        with progress("lowering every plan") as tell:
            systems = [chip_system(name, counted("chips", self.chips)) for name in names]
            curves = offers(systems, asked, promise, allowed, hours(names, self.basis, given), tell)
        found = serving_json(curves)
        show(self.json, lambda: found, lambda _: serving_view(curves))
        if self.figures:
            with progress("drawing"):
                from ..report.serving_figures import serving_figure
                from ..report.style import draw

                folder = results_folder(self.results, "serve")
                name = f"{asked.model.name}_{'_'.join(map(short_name, names))}"
                draw(folder, **{name: lambda: serving_figure(curves)})
                write_json(folder / f"{name}.json", found)
            if not self.json:
                screen().print(f"Written to {folder}/{name}.*", markup=False)

    def _policy(self) -> Policy:
        from ..lowering.engines import SCHEDULERS, Policy

        words = {"any": SCHEDULERS, **{s.split()[-1]: (s,) for s in SCHEDULERS}}
        if self.scheduler not in words:
            raise SpecError(f"--scheduler {self.scheduler}: not one of {', '.join(words)}")
        most = counted("batch", self.batch) or Policy().max_sequences
        found = Policy(words[self.scheduler], most, self.accept, self.draft, self.draft_cost)
        if self.draft and not self.accept:
            raise SpecError(
                f"--draft {self.draft}: no drafted token is accepted; give --accept, the chance that one is"
            )
        # without drafts they would change nothing, and say nothing
        for flag, value in (("accept", self.accept), ("draft-cost", self.draft_cost)):
            if value and not self.draft:
                raise SpecError(f"--{flag} {value:g} belongs to speculative decoding; give --draft, the tokens ahead")
        return found

    def _requests(self) -> Requests:
        from ..workload.presets import model
        from ..workload.requests import Requests

        if self.mix is not None and (self.prompt, self.output) != (None, None):
            raise SpecError("--mix has the tokens of every kind of request; leave --in and --out out")
        lengths = (length_of(self.prompt, self.output),) if self.mix is None else _mix(self.mix)
        served = model(self.model)
        return Requests(served, lengths, self.weights or served.weight_format, self.kv or "bf16")


@dataclasses.dataclass(frozen=True)
class Serviced:
    """Size a service of several models on a fleet: chips, utilisation, cost per million tokens."""

    portfolio: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PORTFOLIO.toml")]
    """The portfolio: a file, or the bare name of one that came along (`dse studies`)."""
    chips_: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHIP[,CHIP]")]
    """Chip presets, see `dse chips` ("all" for all); each gets a fleet of its own."""
    chips: flags.COUNT = None
    """Largest engine tried, in chips; by default one scale-up domain."""
    basis: flags.BASIS = None
    rent: flags.RENT = None
    json: flags.JSON = False

    def run(self) -> None:
        """Size and show."""
        start_jax()
        from ..economy.owning import hours
        from ..hardware.presets import chip_system
        from ..report.serving import portfolio_view
        from ..serving.offer import fleet_numbers, serve_portfolio
        from ..serving.portfolio import load_portfolio

        portfolio = load_portfolio(self.portfolio)
        names = chips_of(self.chips_)
        given = rents_of(self.rent, names)
        counted("chips", self.chips)
        with progress("reading the portfolio") as tell:
            paid = zip(names, hours(names, self.basis, given), strict=True)
            fleets = [serve_portfolio(portfolio, chip_system(n, self.chips), h, tell) for n, h in paid]
        show(self.json, lambda: [fleet_numbers(f) for f in fleets], lambda _: portfolio_view(fleets))


def _mix(text: str) -> tuple:
    """Kinds of request in IN/OUT/SHARE,... ; SpecError for another form."""
    from ..workload.requests import Length

    try:
        parts = [p.split("/") for p in text.split(",")]
        return tuple(Length(int(i), int(o), float(share)) for i, o, share in parts)
    except ValueError as error:
        raise SpecError(f"--mix {text}: write IN/OUT/SHARE,... such as 2000/300/0.8,16000/800/0.2") from error
