"""A portfolio on the chips that serve it: how many, how busy, tokens and dollars by model and in all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..core.errors import SpecError
from ..economy.owning import Hour, million_tokens_USD
from ..hardware.system import System
from ..lowering.engines import Policy
from .curve import serving_curve
from .offer import broken_promise, serving_numbers
from .portfolio import Portfolio, Sized, sized


@dataclasses.dataclass(frozen=True)
class ServedPortfolio:
    """A portfolio on the fleet that serves it."""

    portfolio: Portfolio
    system: System
    parts: tuple[Sized, ...]
    hour: Hour

    @property
    def n_chips(self) -> int:
        """Chips in all."""
        return sum(p.n_chips for p in self.parts)

    def n_replaced(self, other: ServedPortfolio) -> float:
        """Chips of another fleet that one of these replaces, both serving the same portfolio."""
        return other.n_chips / self.n_chips


def serve_portfolio(
    portfolio: Portfolio, system: System, hour: Hour, tell: Callable[[str], None] = lambda _: None
) -> ServedPortfolio:
    """Size every model on one kind of chip; PlanError where one does not fit, SpecError for a promise none keeps."""
    parts = []
    for s in portfolio.services:
        tell(f"pricing every engine of {s.name} on {system.chip.name}")
        curve = serving_curve(system, s.requests, s.promise, Policy())
        part = sized(s, curve, portfolio.requests_per_s * s.traffic_frac)
        if part is None:
            raise SpecError(f"models.{s.name}: {broken_promise(curve)}")
        parts.append(part)
    return ServedPortfolio(portfolio, system, tuple(parts), hour)


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
        "million_tokens_USD": million_tokens_USD(rate, fleet.hour.chip_hour_USD) if fleet.hour.chip_hour_USD else None,
        "engine": serving_numbers(p.engine, fleet.hour.chip_hour_USD),
    }


def fleet_numbers(fleet: ServedPortfolio) -> dict[str, Any]:
    """A whole portfolio in canonical units."""
    models = {p.service.name: part_numbers(p, fleet) for p in fleet.parts}
    tokens = sum(m["tokens_per_s"] for m in models.values())
    price = fleet.hour.chip_hour_USD
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
