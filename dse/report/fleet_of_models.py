"""A portfolio on a chip, for people: chips, how busy, tokens and dollars by model and in all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..core.errors import SpecError
from ..economy.rent import million_tokens_USD, rent
from ..hardware.system import System
from ..lowering.engines import Policy
from ..serving.curve import serving_curve
from ..serving.portfolio import Portfolio, Sized, sized
from .format import digits, in_unit, percent, times
from .serving import broken_promise, prompts_text, serving_numbers, short_plan
from .tables import table


@dataclasses.dataclass(frozen=True)
class ServedPortfolio:
    """A portfolio on the fleet that serves it."""

    portfolio: Portfolio
    """What is served."""
    system: System
    """Chips."""
    parts: tuple[Sized, ...]
    """One per model."""
    chip_hour_USD: float | None
    """Rent; None where unknown."""

    @property
    def n_chips(self) -> int:
        """Chips in all."""
        return sum(p.n_chips for p in self.parts)


def serve_portfolio(
    portfolio: Portfolio, system: System, chip_hour_USD: float | None, tell: Callable[[str], None]
) -> ServedPortfolio:
    """Size every model of a portfolio on one kind of chip.

    Raises:
        PlanError: a model does not fit.
        SpecError: a promise that nothing keeps; names the model, the floor and what sets it.
    """
    parts = []
    for s in portfolio.services:
        tell(f"pricing every engine of {s.name} on {system.chip.name}")
        curve = serving_curve(system, s.requests, s.promise, Policy())
        part = sized(s, curve, portfolio.requests_per_s * s.traffic_frac)
        if part is None:
            raise SpecError(f"models.{s.name}: {broken_promise(curve)}")
        parts.append(part)
    known = rent(system.chip.name)
    price = chip_hour_USD if chip_hour_USD is not None else (float(known.value) if known else None)
    return ServedPortfolio(portfolio, system, tuple(parts), price)


def part_numbers(p: Sized, fleet: ServedPortfolio) -> dict[str, Any]:
    """One model in canonical units; power and cost are those of the chips that stand there, busy or not."""
    requests = fleet.portfolio.requests_per_s * p.service.traffic_frac
    tokens = requests * p.service.requests.n_output
    rate = tokens / p.n_chips
    return {
        "model": p.service.requests.model.name,
        "requests_per_s": requests,
        "tokens_per_s": tokens,
        "n_chips": p.n_chips,
        "busy_chips": p.busy_chips,
        "utilisation_frac": p.utilisation_frac,
        "power_W": p.busy_chips * float(p.engine.point.power_W),
        "million_tokens_USD": million_tokens_USD(rate, fleet.chip_hour_USD) if fleet.chip_hour_USD else None,
        "engine": serving_numbers(p.engine, fleet.chip_hour_USD),
    }


def fleet_numbers(fleet: ServedPortfolio) -> dict[str, Any]:
    """A whole portfolio in canonical units."""
    models = {p.service.name: part_numbers(p, fleet) for p in fleet.parts}
    tokens = sum(m["tokens_per_s"] for m in models.values())
    price = fleet.chip_hour_USD
    return {
        "portfolio": fleet.portfolio.name,
        "chip": fleet.system.chip.name,
        "system": fleet.system.name,
        "requests_per_s": fleet.portfolio.requests_per_s,
        "tokens_per_s": tokens,
        "n_chips": fleet.n_chips,
        "utilisation_frac": sum(p.busy_chips for p in fleet.parts) / fleet.n_chips,
        "power_W": sum(m["power_W"] for m in models.values()),
        "chip_hour_USD": price,
        "million_tokens_USD": million_tokens_USD(tokens / fleet.n_chips, price) if price else None,
        "models": models,
    }


def portfolio_view(fleets: list[ServedPortfolio]) -> RenderableType:
    """Every fleet in a table, and how the chips compare."""
    parts: list[RenderableType] = []
    for fleet in fleets:
        parts += [fleet_table(fleet), engines_table(fleet), ""]
    first = fleets[0]
    for fleet in fleets[1:]:
        fewer = times(first.n_chips / fleet.n_chips)
        parts.append(
            Text(f"one {fleet.system.chip.name} stands for {fewer} {first.system.chip.name} on this portfolio")
        )
    said = "Power is that of busy packages; cost is that of every chip, idle or not."
    return Group(*parts, Text(said, style="dim"))


def fleet_table(fleet: ServedPortfolio) -> Table:
    """Models of a portfolio and their sum."""
    total = fleet_numbers(fleet)
    price = "no known rent" if fleet.chip_hour_USD is None else f"{digits(fleet.chip_hour_USD)} USD per chip-hour"
    title = f"{fleet.portfolio.name} on {fleet.system.chip.name} ({price})"
    head = ("requests/s", "tokens/s", "chips", "busy", "power", "USD/Mtok")
    t = table("model", *head, title=title)
    for name, m in total["models"].items():
        t.add_row(name, *_amounts(m))
    t.add_section()
    t.add_row("all", *_amounts(total), style="bold")
    return t


def engines_table(fleet: ServedPortfolio) -> Table:
    """How each model is served."""
    q = f"p{100 * fleet.parts[0].service.promise.quantile_frac:g}"
    t = table("engine of", f"{q} TPOT", f"{q} TTFT", "batch", "chips", "plan", "prompts")
    for p in fleet.parts:
        e = serving_numbers(p.engine, fleet.chip_hour_USD)
        t.add_row(
            p.service.name, in_unit(e["tpot_s"], "s"), in_unit(e["ttft_s"], "s"), f"{e['batch']:,}",
            str(e["n_chips"]), short_plan(e["plan"]), prompts_text(e),
        )  # fmt: skip
    return t


def _amounts(m: dict[str, Any]) -> tuple[str, ...]:
    usd = "-" if m["million_tokens_USD"] is None else digits(m["million_tokens_USD"])
    return (
        digits(m["requests_per_s"]), digits(m["tokens_per_s"]), f"{m['n_chips']:,}", percent(m["utilisation_frac"]),
        in_unit(m["power_W"], "W"), usd,
    )  # fmt: skip
