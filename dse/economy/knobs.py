"""One-at-a-time sensitivity of cost per token to the facts behind it, each over its range."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

from ..core.provenance import Receipts, Sourced
from ..technology.presets import receipts
from .ownership import recovery
from .owning import Deal
from .presets import JOINS, OVERHEAD, OWNER, SWITCH_W, chip_facts, receipts_of, standing_facts
from .reliability import Reliability, sparing

TECHNOLOGY = {
    "node": ("wafer_price_USD", "defect_density_per_mm2"),
    "memory": ("price_USD_per_B",),
    "package": (
        "interposer_USD_per_mm2", "substrate_USD_per_mm2", "bond_yield_frac", "test_assembly_USD", "critical_area_frac",
    ),
}  # fmt: skip
"""Facts of technology that are prices or yields, by kind."""


@dataclasses.dataclass(frozen=True)
class Knob:
    """One fact and the thing it describes; two chips that share the thing share the knob."""

    kind: str
    thing: str
    """Such as "x86-8"."""
    fact: Sourced

    @property
    def label(self) -> str:
        """How tables name the fact, such as "pue (cloud)"."""
        return f"{self.fact.name} ({self.thing})"


@dataclasses.dataclass(frozen=True)
class Turned:
    """Effect of one fact's range on a result."""

    label: str
    """The fact that was moved, as tables name it."""
    low: float
    """Lowest answer at either end of the fact's range, relative to the answer at its value."""
    high: float


def knobs(d: Deal) -> list[Knob]:
    """Every fact with a range behind a chip's cost of ownership."""
    standing = _standing(d)
    # a fact that one of the system stands in for has no effect on this deal
    replaced = {REPLACES[f] for f in standing if f in REPLACES}
    names = {"host": d.economy.host.name, "owner": OWNER, "reliability": d.economy.reliability.name}
    found = [
        Knob(kind, name, f) for kind, name in names.items() for f in receipts_of(kind, name) if f.name not in replaced
    ]
    found += [Knob("system", d.system_name, f) for f in standing.values()]
    parts = {"node": d.chip.node, "memory": d.chip.hbm, "package": d.tech.package.name}
    for kind, wanted in TECHNOLOGY.items():
        found += [Knob(kind, parts[kind], f) for f in receipts(kind, parts[kind]) if f.name in wanted]
    # a chip is bought or made: only one of price and margin enters its cost
    deciding, paid = ("price_USD", d.price_USD) if d.price_USD > 0 else ("margin", d.economy.margin)
    fact = chip_facts(d.chip.name).get(deciding)
    # a margin that was asked for, as at cost, is no guess: only what stands at its fact's value may be turned
    found += [Knob("chip", d.chip.name, fact)] if fact and math.isclose(float(paid), float(fact.value)) else []
    return [k for k in found if not isinstance(k.fact.value, str) and k.fact.low < k.fact.high]


REPLACES = {**dict.fromkeys(JOINS, "scaleup_USD_per_Bps"), OVERHEAD: OVERHEAD}
"""Facts of a system, and the fact of a server that each replaces."""


def _standing(d: Deal) -> Receipts:
    """Facts of the system that a deal's cost rests on."""
    facts = standing_facts(d.system_name, d.economy.host.name) if d.system_name else {}
    return {n: f for n, f in facts.items() if n in (*REPLACES, SWITCH_W)}


def turn(d: Deal, knob: Knob, value: float) -> Deal:
    """`d` with the fact of `knob` at `value`; unchanged where the deal does not rest on it."""
    e, name = d.economy, knob.fact.name
    if knob.kind == "owner":
        own = dataclasses.replace(e.ownership, **{name: value})
        return _around(d, ownership=own, recovery=recovery(own))
    if knob.kind in ("host", "reliability"):
        part = getattr(e, knob.kind)
        same = isinstance(part, Reliability) or part.name == knob.thing
        new = dataclasses.replace(part, **{name: value}) if same else part
        # worked out from the record once, so that a changed record needs it anew
        spares = sparing(new.spare_frac) if isinstance(new, Reliability) else e.sparing
        return _around(d, sparing=spares, **{knob.kind: new})
    if knob.kind == "system":
        return _turned_system(d, knob, value) if knob.thing == d.system_name else d
    if knob.kind in TECHNOLOGY:
        part = getattr(d.tech, knob.kind)
        new = dataclasses.replace(part, **{name: value}) if part.name == knob.thing else part
        return dataclasses.replace(d, tech=dataclasses.replace(d.tech, **{knob.kind: new}))
    if knob.thing != d.chip.name:
        return d
    if name == "price_USD":
        return dataclasses.replace(d, price_USD=value)
    return _around(d, margin=value)


def _around(d: Deal, **changed: Any) -> Deal:
    return dataclasses.replace(d, economy=dataclasses.replace(d.economy, **changed))


def _turned_system(d: Deal, knob: Knob, value: float) -> Deal:
    """`d` with one fact of its system at `value`; cables and switches are parts of one price."""
    e, name = d.economy, knob.fact.name
    if name == SWITCH_W:
        return _around(d, rack=dataclasses.replace(e.rack, switch_W_per_Bps=value))  # type: ignore[arg-type]
    more = float(e.host.scaleup_USD_per_Bps) + value - float(knob.fact.value) if name in JOINS else value
    return _around(d, host=dataclasses.replace(e.host, **{REPLACES[name]: more}))


def turned(answer: Callable[[Deal, Deal], float], first: Deal, second: Deal) -> list[Turned]:
    """Effect of every fact of two deals on a result about both, widest first; shared facts change for both."""
    middle = answer(first, second)
    # what both deals rest on is one fact, turned for both at once
    every = list({(k.kind, k.thing, k.fact.name): k for k in (*knobs(first), *knobs(second))}.values())
    found = []
    for k in every:
        ends = [answer(turn(first, k, v), turn(second, k, v)) / middle for v in (k.fact.low, k.fact.high)]
        # a fact may be best inside its range, or not matter: the answer as it stands is one of the ends then
        found.append(Turned(k.label, min(1.0, *ends), max(1.0, *ends)))
    # by the ratio of the ends, since results are compared by factors
    return sorted(found, key=lambda t: t.low / t.high)


def turned_alone(answer: Callable[[Deal], float], d: Deal) -> list[Turned]:
    """Effect of every fact of one deal on a result, widest first."""
    return turned(lambda first, _: answer(first), d, d)


def band(middle: float, parts: Iterable[Turned]) -> tuple[float, float]:
    """Range of a result with independent errors: logs of the parts add in quadrature, separately up and down."""
    parts = list(parts)  # read twice
    # in logs, since prices and rates multiply; each side by itself, since most ranges are lopsided
    down, up = (math.sqrt(sum(math.log(getattr(t, side)) ** 2 for t in parts)) for side in ("low", "high"))
    return middle * math.exp(-down), middle * math.exp(up)
