"""What surrounds a scale-up domain, where a study may choose the system: server, cables, switches, racks."""

from __future__ import annotations

import dataclasses

import equinox as eqx

from ..core.provenance import number, number_or, text_or
from ..core.types import as_float
from ..hardware.fabrics import build_fabric, system_facts
from ..hardware.system import System
from .job import Economy
from .presets import host, n_blast_chips
from .server import Host, Rack

JOINS = ("scaleup_cable_USD_per_Bps", "scaleup_switch_USD_per_Bps")
"""Facts of a system that together replace the host's price of a scale-up domain."""
OVERHEAD = "overhead_power_frac"
"""Fact of a system that replaces the host's."""
SWITCH_W = "scaleup_switch_W_per_Bps"
"""Fact of a system: power of its scale-up switches."""


def system_host(system_name: str, usual: str) -> Host:
    """The server in a system (else `usual`), scale-up cables and switches included, its overhead without those."""
    facts = system_facts(system_name)
    inside = host(text_or(facts, "host", usual))
    joins = [number(facts, f) for f in JOINS if f in facts]
    if joins:
        inside = eqx.tree_at(lambda h: h.scaleup_USD_per_Bps, inside, as_float(sum(joins)))
    overhead = number_or(facts, OVERHEAD, float(inside.overhead_power_frac))
    return eqx.tree_at(lambda h: h.overhead_power_frac, inside, as_float(overhead))


def system_rack(system_name: str) -> Rack:
    """What the chips of a rack of a system share; one rack holds a scale-up domain where the system does not say."""
    facts = system_facts(system_name)
    n = number_or(facts, "n_rack_chips", float(build_fabric(system_name, facts).n_chips))
    return Rack(n, number_or(facts, SWITCH_W, 0.0))  # type: ignore[arg-type]


def in_rack(e: Economy, system: System, usual: str) -> Economy:
    """What surrounds the same chips in another system: its server, its switches, and what one failure takes out."""
    around = system_host(system.name, usual)
    blast = as_float(n_blast_chips(system, around))
    return dataclasses.replace(e, host=around, n_blast_chips=blast, rack=system_rack(system.name))
