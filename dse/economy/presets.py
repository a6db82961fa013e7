"""Look-up of hosts, racks, owners, failure rates, carbon and rental prices by name, each with its receipt."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from pathlib import Path

import equinox as eqx

from ..core.errors import DseError, ReceiptError, SpecError, UnknownNameError
from ..core.provenance import Receipts, Sourced, load_receipts, number, number_or, pick, text, text_or
from ..core.types import as_float
from ..core.units import positive
from ..hardware.fabrics import build_fabric, stated_facts, system_facts
from ..hardware.own_chip import is_own, own_chip
from ..hardware.presets import base_name, chip_names, usual_system
from ..hardware.system import System
from ..technology.presets import build
from .job import Economy
from .ownership import Ownership, recovery
from .reliability import Reliability, sparing
from .server import Carbon, Host, Rack

DATA = Path(__file__).parent / "data"
FILES = {
    "host": "hosts.toml", "owner": "ownership.toml", "reliability": "reliability.toml", "carbon": "carbon.toml",
    "chip in a fleet": "chips.toml", "rental": "rents.toml", "observed fleet": "observed.toml",
}  # fmt: skip
OWNER = "hyperscaler"
JOB = "training"
"""Failure rates in use."""
COMMON = "common"


def _facts(kind: str, name: str) -> Receipts:
    return pick(load_receipts(DATA / FILES[kind]), kind, name)


def host_names() -> tuple[str, ...]:
    """Names of all servers."""
    return tuple(load_receipts(DATA / FILES["host"]))


@cache
def host(name: str) -> Host:
    """The server design `name`, such as "graviton4-4"; raises UnknownNameError with near matches."""
    return build(Host, _facts("host", name), name)


@cache
def ownership() -> Ownership:
    """Ownership costs of the default owner."""
    return build(Ownership, _facts("owner", OWNER), OWNER)


@cache
def reliability() -> Reliability:
    """Failure rates of the usual job."""
    return build(Reliability, _facts("reliability", JOB), JOB)


@cache
def carbon(node: str) -> Carbon:
    """Carbon of chips whose dies are made on `node`; raises UnknownNameError with near matches."""
    return build(Carbon, {**_facts("carbon", node), **_facts("carbon", COMMON)}, node)


TERMS = 'host = "x86-8" and price = "30 kUSD" or margin = 1.5'
"""Lines of a chip file that say how it reaches its owner, as messages name them."""


def chip_facts(chip_name: str) -> Receipts:
    """How a chip reaches its owner: its host, and its price or its maker's margin; ReceiptError without such facts.

    A user's own chip has those of its base unless its file says otherwise; never the price of the product.
    """
    if not is_own(chip_name):
        # a chip that is known, without a price: near matches of its name would mislead
        if chip_name in chip_names() and chip_name not in load_receipts(DATA / FILES["chip in a fleet"]):
            remedy = f'make a file of your own with base = "{chip_name}", {TERMS}'
            raise ReceiptError(f"{chip_name}: no price of this chip in a fleet; {remedy}")
        return _facts("chip in a fleet", chip_name)
    said = {k: f for k, f in _said(chip_name).items() if k != "rent_USD"}
    if "host" in said and len(said) > 1:  # all that is needed: the base need not be known
        return said
    base = base_name(chip_name)
    try:
        inherited = _facts("chip in a fleet", base)
    except UnknownNameError as error:
        if said and "host" in system_facts(usual_system(chip_name)):
            return said
        told = f"{chip_name}: no facts about its base {base} in a fleet"
        raise ReceiptError(f"{told}; add {TERMS}") from error
    # a margin is the maker's habit; a price is of that product alone
    usual = {k: f for k, f in inherited.items() if k == "host" or (k == "margin" and "price_USD" not in said)}
    return {**usual, **said}


def own_terms(chip_name: str) -> Receipts:
    """Server, price, margin and rent in a user's chip file; read by every command, so that errors are reported."""
    if not is_own(chip_name):
        return {}
    if "system" in own_chip(Path(chip_name)).settings:
        system_facts(usual_system(chip_name))
    return _said(chip_name)


def _said(path: str) -> Receipts:
    """Host, price, maker's margin and rent in a user's chip file, as guesses; SpecError for invalid ones."""
    given = own_chip(Path(path)).settings
    found: Receipts = {}
    for key, unit in (("price", "USD"), ("margin", ""), ("rent", "USD")):
        if key in given:
            name = f"{key}_{unit}" if unit else key
            # without a receipt it is a guess, and of no known range
            value = positive(given[key], unit, f"{path}: {key}")
            found[name] = Sourced(name, value, value, value, "guess", "dse2026", Path(path).name)
    if "host" in given:
        try:
            host(str(given["host"]))
        except DseError as error:
            raise SpecError(f"{path}: {error}") from error
        found["host"] = Sourced("host", str(given["host"]), math.nan, math.nan, "guess", "dse2026", Path(path).name)
    return found


def price_and_margin(chip_name: str) -> tuple[float | None, float | None]:
    """A bought chip's price [USD] or an in-house maker's margin; one is None. ReceiptError without either."""
    facts = chip_facts(chip_name)
    # the price first: a maker's margin is in it
    if "price_USD" in facts:
        return number(facts, "price_USD"), None
    if "margin" not in facts:
        remedy = 'add price = "30 kUSD" or margin = 1.5' if is_own(chip_name) else "add one with its receipt"
        raise ReceiptError(f"chip in a fleet '{chip_name}': no price_USD and no margin; {remedy}")
    return None, number(facts, "margin")


def rents(chip_name: str) -> dict[str, Sourced]:
    """Prices of one chip-hour by kind of contract, empty where there is none: no other chip's price stands in."""
    if is_own(chip_name):
        said = _said(chip_name)
        return {"given": said["rent_USD"]} if "rent_USD" in said else {}
    facts = load_receipts(DATA / FILES["rental"]).get(chip_name, {})
    return {name.removesuffix("_USD"): fact for name, fact in facts.items()}


def n_blast_chips(system: System, host_: Host) -> float:
    """Most chips that a hardware failure takes out until repaired: a host, or a torus or its switched block.

    Source: [semianalysis2024trn2], [semianalysis2025trn3] on the loss of one chip, [jouppi2023tpuv4] on blocks of 64.
    """
    if system.fabric.kind == "switched":
        return float(host_.n_chips)
    # a torus that is wired for good stands with its weakest cable; optical switches put in another block
    return number_or(system_facts(system.name), "n_block_chips", float(system.fabric.n_chips))


def economy(
    system: System, node: str, margin: float, n_pool_chips: float | None = None, host_name: str | None = None
) -> Economy:
    """What surrounds the chips of `system`, made on `node`; `host_name`: another server than the system's.

    UnknownNameError: no such host, or no facts of it. SpecError: as `server_name`.
    """
    name = server_name(system, host_name)
    facts = standing_facts(system.name, name)
    around, rack = _with_facts(host(name), facts), system_rack(system.name, facts)
    own, fails = ownership(), reliability()
    # the largest job fills the system unless something else is said
    scope = (margin, n_blast_chips(system, around), float(n_pool_chips or system.n_chips), rack)
    return Economy(around, own, recovery(own), fails, sparing(fails.spare_frac), carbon(node), *scope)  # type: ignore[arg-type]


def server_name(system: System, asked: str | None = None) -> str:
    """The server around a system's chips: `asked`, else the chip file's, the system's, or the chip's usual one.

    SpecError: a user's system file names one server, and the chip file or `asked` another.
    """
    chip_name, own = system.chip.name, stated_facts(system.name)
    said = asked or (text_or(_said(chip_name), "host", "") if is_own(chip_name) else "")
    if said and said != text_or(own, "host", said):
        raise SpecError(
            f"{system.name}: host = '{text(own, 'host')}', but the chip stands in '{said}'; keep one of both"
        )
    return said or text_or(system_facts(system.name), "host", "") or text(chip_facts(chip_name), "host")


def standing_facts(system_name: str, host_name: str) -> Receipts:
    """A system's facts about cables, switches and racks: all around its own server, else those its file states."""
    facts = system_facts(system_name)
    return facts if host_name == text_or(facts, "host", host_name) else stated_facts(system_name)


def around_receipts(host_name: str, node: str) -> list[tuple[str, Sourced]]:
    """Every fact about what surrounds a chip with dies of `node` in `host_name`, and the thing it describes."""
    things = (("host", host_name), ("owner", OWNER), ("reliability", JOB), ("carbon", node), ("carbon", COMMON))
    return [(f"{kind} {name}", fact) for kind, name in things for fact in _facts(kind, name).values()]


def observed(name: str) -> Receipts:
    """Published observations of a fleet, by fact; UnknownNameError with near matches."""
    return _facts("observed fleet", name)


def receipts_of(kind: str, name: str) -> list[Sourced]:
    """The receipts behind one thing of a kind, such as the "host" called "x86-8"."""
    return list(_facts(kind, name).values())


JOINS = ("scaleup_cable_USD_per_Bps", "scaleup_switch_USD_per_Bps")
"""Facts of a system that together replace the host's price of a scale-up domain."""
OVERHEAD = "overhead_power_frac"
"""Fact of a system that replaces the host's."""
SWITCH_W = "scaleup_switch_W_per_Bps"
"""Fact of a system: power of its scale-up switches."""


def system_host(system_name: str, usual: str) -> Host:
    """The server in a system (else `usual`), scale-up cables and switches included, its overhead without those."""
    facts = system_facts(system_name)
    return _with_facts(host(text_or(facts, "host", usual)), facts)


def _with_facts(inside: Host, facts: Receipts) -> Host:
    """A server with the cables, switches and overhead of its system, where the system has facts of them."""
    joins = [number(facts, f) for f in JOINS if f in facts]
    if joins:
        inside = eqx.tree_at(lambda h: h.scaleup_USD_per_Bps, inside, as_float(sum(joins)))
    overhead = number_or(facts, OVERHEAD, float(inside.overhead_power_frac))
    return eqx.tree_at(lambda h: h.overhead_power_frac, inside, as_float(overhead))


def system_rack(system_name: str, facts: Receipts | None = None) -> Rack:
    """Rack of a system, one scale-up domain by default; its switches as in `facts`, by default its own."""
    own = system_facts(system_name)
    n = number_or(own, "n_rack_chips", float(build_fabric(system_name, own).n_chips))
    return Rack(n, number_or(own if facts is None else facts, SWITCH_W, 0.0))  # type: ignore[arg-type]


def in_rack(e: Economy, system: System, usual: str) -> Economy:
    """Economy of the same chips in another system: server, switches, and chips lost per failure."""
    around = system_host(system.name, usual)
    blast = as_float(n_blast_chips(system, around))
    return dataclasses.replace(e, host=around, n_blast_chips=blast, rack=system_rack(system.name))
