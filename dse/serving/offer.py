"""Chips compared under one latency promise: serving curve, price, bottlenecks; and the fleet of a portfolio."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import SpecError
from ..core.files import picked
from ..core.provenance import load_receipts, number
from ..core.text import in_unit, percent
from ..economy.owning import Hour, million_tokens_USD
from ..evaluation.breakdown import spent
from ..hardware.system import System
from ..lowering.engines import Policy, Shape
from ..lowering.plan import plan_text
from ..lowering.step_demand import StepDemand
from ..workload.requests import Requests
from .curve import Curve, Promise, Serving, serving_curve
from .portfolio import Portfolio, Sized, sized

CLAIMS = Path(__file__).parent / "data" / "claims.toml"
WHOLES = {"chip_tokens_per_s": "chip", "tokens_per_J": "W", "tokens_per_s_per_USD_per_h": "USD/h"}
"""Throughput metrics, and the unit that each is per."""


@dataclasses.dataclass(frozen=True, eq=False)
class Offer:
    """One chip's curve and what its hour costs."""

    curve: Curve
    best: tuple[Serving, ...]
    """The curve, fastest first."""
    hour: Hour
    waits: tuple[dict[str, float], dict[str, float]]
    """Shares of what a decode pass, and the reading of the last kind of prompt, wait for."""

    @property
    def name(self) -> str:
        """The chip."""
        return self.curve.system.chip.name


def offers(
    systems: Sequence[System],
    requests: Requests,
    promise: Promise,
    policy: Policy,
    paid: Sequence[Hour],
    tell: Callable[[str], None] = lambda _: None,
) -> list[Offer]:
    """The curve of every chip at its price; PlanError where nothing fits, SpecError for a promise below the floor."""
    found = []
    for system, hour in zip(systems, paid, strict=True):
        tell(f"pricing every engine of {system.chip.name}")
        curve = serving_curve(system, requests, promise, policy)
        best = curve.best
        if not best:
            raise SpecError(broken_promise(curve))
        # the slowest engine within the promise has most tokens per chip: it is what would be bought
        chip, c, last = system.chip, curve.calibration, best[-1]
        waits = spent(last.writer.demand, chip, c), spent(last.reader.demands[-1], chip, c)
        found.append(Offer(curve, best, hour, waits))
    return found


def broken_promise(curve: Curve) -> str:
    """Why no engine keeps the promise: a floor and what sets it, or how near both limits can be kept."""
    p, where = curve.promise, f"{curve.requests.model.name} on {curve.system.chip.name}"
    (writer, token_s), (reader, prompt_s) = curve.fastest_writer(), curve.fastest_reader()
    # floors first: a limit below one is broken without any queue, which is the plainest thing to say
    if p.tpot_s is not None and p.tpot_s < token_s:
        w = curve.menu.writers[writer]
        return _floor_text("tpot", p.tpot_s, token_s, w.shape, w.demand, curve)
    if p.ttft_s is not None and p.ttft_s < prompt_s:
        r = curve.menu.readers[reader]
        return _floor_text("ttft", p.ttft_s, prompt_s, r.shape, r.demands[-1], curve)
    points, quantile = curve.points, percent(p.quantile_frac)
    # an engine without a steady queue has no times that could be promised
    stable = curve.steady()
    if not stable.any():
        return f"every engine of up to {curve.system.n_chips} chips is busy with prompts ({where}): no queue settles"
    first = _least(points.tpot_s, stable & (np.asarray(points.ttft_s) <= (p.ttft_s or np.inf)))
    second = _least(points.ttft_s, stable & (np.asarray(points.tpot_s) <= (p.tpot_s or np.inf)))
    return (
        f"no engine of up to {curve.system.n_chips} chips keeps the promise for {quantile} of requests ({where}); with "
        f"the TTFT asked TPOT is at least {first}, with the TPOT asked TTFT is at least {second}"
    )


def _floor_text(flag: str, limit_s: float, floor_s: float, shape: Shape, d: StepDemand, curve: Curve) -> str:
    """Message for a limit below the floor: the floor, where it is reached and its bottleneck."""
    what = "a token of one sequence" if flag == "tpot" else "reading the longest prompt"
    return (
        f"--{flag} {in_unit(limit_s, 's')} is below the floor: {what} takes {curve.requests.model.name} "
        f"{in_unit(floor_s, 's')} at best, on {shape.system.n_chips} x {curve.system.chip.name} with "
        f"{short_plan(plan_text(shape.plan))}, of which {shares_text(spent(d, curve.system.chip, curve.calibration))}"
    )


def _least(values: Any, where: np.ndarray) -> str:
    """The least of `values` at the places that count, as text."""
    found = np.asarray(values)[where]
    return in_unit(float(found.min()), "s") if found.size else "out of reach"


def shares_text(shares: dict[str, float]) -> str:
    """The three largest things a pass waits for."""
    return ", ".join(f"{name} {percent(share)}" for name, share in list(shares.items())[:3])


def short_plan(text: str) -> str:
    """A plan text without sizes equal to 1."""
    # sequences of an engine are told as its batch
    return ",".join(p for p in text.split(",") if not p.endswith("=1") and not p.startswith("micro")) or "tp=1"


def serving_numbers(s: Serving, chip_hour_USD: float | None) -> dict[str, Any]:
    """One point in canonical units."""
    p, w, r = s.point, s.writer, s.reader
    rate = s.chip_tokens_per_s
    return {
        "tpot_s": s.tpot_s,
        **picked(p, "tpot_mean_s", "ttft_s", "ttft_mean_s"),
        "batch": w.n_sequences * w.shape.plan.dp,
        "n_chips": w.shape.system.n_chips,
        "plan": plan_text(w.shape.plan),
        "scheduler": s.scheduler,
        "chunk": r.chunk,
        "prompt_plan": plan_text(r.shape.plan),
        "prompt_n_chips": r.shape.system.n_chips,
        **picked(p, "prompt_chips_frac", "load_frac"),
        "chip_tokens_per_s": rate,
        **picked(p, "tokens_per_J", "power_W"),
        "tokens_per_s_per_USD_per_h": rate / chip_hour_USD if chip_hour_USD else None,
        "million_tokens_USD": million_tokens_USD(rate, chip_hour_USD) if chip_hour_USD else None,
        "kv_B": float(w.memory.kv_B),
        "memory_B": float(w.memory.total),
    }


def claimed(o: Offer, base: Offer) -> dict[str, tuple[float, str]]:
    """Vendor's claims for one chip over another on this model: ratio and source by number."""
    # of this very pair and model: a claim for another model says nothing here
    facts = load_receipts(CLAIMS).get(f"{o.name} over {base.name}, {o.curve.requests.model.name}", {})
    return {name: (number(facts, name), facts[name].source) for name in facts}


def most(o: Offer) -> dict[str, float | None]:
    """Most tokens per chip, watt and dollar on the curve."""
    rows = [serving_numbers(s, o.hour.chip_hour_USD) for s in o.best]
    return {k: max((r[k] for r in rows if r[k] is not None), default=None) for k in WHOLES}


def over(o: Offer, base: Offer) -> dict[str, float]:
    """Most tokens of one chip over those of another, per whole that both have a number for."""
    mine, theirs = most(o), most(base)
    pairs = {k: (mine[k], theirs[k]) for k in WHOLES}
    return {k: a / b for k, (a, b) in pairs.items() if a is not None and b is not None}


@dataclasses.dataclass(frozen=True)
class ServedPortfolio:
    """A portfolio on the fleet that serves it."""

    portfolio: Portfolio
    system: System
    parts: tuple[Sized, ...]
    hour: Hour

    @property
    def n_chips(self) -> int:
        """Total number of chips."""
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
    """One model in canonical units: power is that of busy chips, cost that of all that stand there."""
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
