"""`deal` and `purchase`: cost of owning or renting one chip: package, server and rack, per hour and per token."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from ..core.errors import DseError
from ..core.frames import AbstractShown
from ..core.provenance import Sourced, text_or
from ..core.types import FloatLike, Scalar, as_float
from ..hardware.chip import Chip
from ..hardware.fabrics import system_facts
from ..hardware.presets import chip_receipts, chip_system
from ..hardware.system import System
from ..physics.evaluate import chip_technology, silicon
from ..physics.money import Money, bond_loss, inverse_yield, package_cost, total_USD
from ..technology.presets import Technology
from .job import Economy, Job, Owned, Upkeep, owned, upkeep
from .ownership import ChipRate, HOUR_s, chip_hour_USD, chip_rate
from .presets import chip_facts, economy, price_and_margin, rents
from .server import capital_USD, server_W, switch_W

USUAL_HOST = "x86-8"
"""Default server of a rented chip."""
UNPRICED = 0.0
"""Price of a chip that is made, not bought."""


class Deal(AbstractShown, eqx.Module):
    """A chip with everything that its cost of ownership depends on: technology, owner, server, die area, price."""

    chip: Chip
    tech: Technology
    economy: Economy
    die_mm2: Scalar = eqx.field(converter=as_float)
    """Area of one compute die: published if known, else modelled."""
    price_USD: Scalar = eqx.field(converter=as_float)
    """Price of the package; 0 for a chip made in-house, whose owner pays manufacturing cost times margin."""
    system_name: str = eqx.field(static=True, default="")
    """System that the chip stands in, a preset or the path of a file."""


class Purchase(AbstractShown, eqx.Module):
    """Cost of a chip in its rack: package, server, cost per second, capital."""

    money: Money
    owned: Owned
    rate: ChipRate
    """Cost per second by part, at the owner's mean chip power."""
    capital_USD: FloatLike
    """Purchase price of one chip with its share of server, network and rack."""


def published_die(chip: Chip) -> Sourced | None:
    """Published or estimated area of one compute die, else None."""
    return next((f for f in chip_receipts(chip.name) if f.name == "die_area_mm2"), None)


def _die_mm2(chip: Chip, tech: Technology) -> float:
    known = published_die(chip)
    return float(known.value) if known else float(silicon(chip, tech).die_mm2)


def deal(system: System, margin: float | None = None) -> Deal:
    """The chip of `system` as its owner gets it: at its price, or at cost times its maker's margin, or times `margin`.

    `margin`: price over manufacturing cost. ReceiptError: no economic facts for the chip.
    """
    chip, (price, own) = system.chip, price_and_margin(system.chip.name)
    tech = chip_technology(chip)
    if margin is not None:
        # what was asked for stands in for what was paid
        price, own = None, margin
    around = economy(system, chip.node, 1.0 if own is None else own)
    paid = UNPRICED if price is None else price
    return Deal(chip, tech, around, _die_mm2(chip, tech), paid, system.name)  # type: ignore[arg-type]


def rented_deal(system: System) -> tuple[Deal, str]:
    """The chip of `system` for a tenant, who bears its failures; and a note on what is guessed, or an empty text.

    Without economic facts it is assumed to fail as in a server `USUAL_HOST`; it then has no price to own.
    """
    try:
        return deal(system), ""
    except DseError:
        chip, tech = system.chip, chip_technology(system.chip)
        name = text_or(system_facts(system.name), "host", USUAL_HOST)
        around = economy(system, chip.node, 1.0, host_name=name)
        told = f"no facts about {chip.name} in a fleet: its failures are those in a server {name}, a guess"
        return Deal(chip, tech, around, _die_mm2(chip, tech), UNPRICED, system.name), told  # type: ignore[arg-type]


def package_USD(d: Deal) -> Money:
    """Manufacturing cost of the package by part."""
    return package_cost(d.chip, d.die_mm2, bond_loss(d.tech), d.tech)


def racked(d: Deal, chip_W: FloatLike) -> Owned:
    """The chip of a deal in its rack, provisioned for `chip_W`."""
    # a price paid is a margin too: one form for both, which the convex core knows
    made = total_USD(package_USD(d))
    bought = d.price_USD > 0
    margin = jnp.where(bought, d.price_USD / made, d.economy.margin)
    around = dataclasses.replace(d.economy, margin=margin)
    area = d.chip.n_dies * d.die_mm2
    return owned(d.chip, made, area, area * inverse_yield(d.die_mm2, d.tech), chip_W, around)


@jax.jit
def purchase(d: Deal) -> Purchase:
    """Capital and cost per second of a deal's chip: rack provisioned for its power limit, energy at its mean power."""
    own, host = d.economy.ownership, d.economy.host
    limit = jnp.asarray(d.chip.power_limit_W, dtype=float)
    rack = racked(d, limit)
    capital = capital_USD(rack.cost)
    # without a workload there is no mean power: the owner's usual share of the limit stands in
    mean = limit * own.average_power_frac
    drawn = server_W(mean, host, switch_W(d.chip, d.economy.rack))
    rate = chip_rate(capital, rack.provisioned_W, drawn, own, d.economy.recovery)
    return Purchase(package_USD(d), rack, rate, capital)


@jax.jit
def token_upkeep(d: Deal, job: Job, step_s: FloatLike, chip_W: FloatLike) -> Upkeep:
    """Wall time, cost, energy and carbon of a step of `job` on the chip of a deal, provisioned for its power limit."""
    rack = racked(d, jnp.asarray(d.chip.power_limit_W, dtype=float))
    return upkeep(rack, d.chip, job, step_s, chip_W, d.economy)


def rented_token_USD(job: Job, wall_step_s: FloatLike, rent_USD_per_s: FloatLike) -> FloatLike:
    """Cost per token on rented chips: rent times chip-seconds at work, without spares [USD]."""
    return rent_USD_per_s * job.n_chips * wall_step_s / job.tokens


def hour_USD(d: Deal) -> float:
    """Cost of one chip-hour to its owner [USD]."""
    return float(chip_hour_USD(purchase(d).rate))


def capital_parts(p: Purchase) -> dict[str, float]:
    """Capital of a chip in its rack by part, from dies to cooling; the parts add up to `capital_USD` [USD]."""
    made, rack = p.money, p.owned.cost
    return {
        "dies": float(made.dies_USD),
        "memory": float(made.hbm_USD),
        "interposer": float(made.package_USD),
        "test, assembly": float(made.test_USD),
        "lost in assembly": float(made.loss_USD),
        "maker's margin": float(rack.chip_USD) - float(total_USD(made)),  # below 0 if sold under its cost
        "board": float(rack.board_USD),
        "host": float(rack.host_USD),
        "scale-up links": float(rack.scaleup_USD),
        "network": float(rack.network_USD),
        "supply, rack": float(rack.supply_USD),
        "cooling": float(rack.cooling_USD),
    }


OWNED = "owned"
RENTED = ("capacity_block", "on_demand", "reserved", "spot")
"""Kinds of rental contract, preferred first."""
GIVEN = "given"
GUESSED = "guessed"
"""Kind of a guessed rent of an unlisted chip: replaces any rented basis, and is marked."""


@dataclasses.dataclass(frozen=True)
class Hour:
    """One chip for an hour."""

    chip_hour_USD: float | None
    """Price; None where there is none on this basis."""
    basis: str = ""
    """How it is paid for: one of `BASES`, "given" or "guessed"; empty where there is no price."""
    range_USD: tuple[float, float] | None = None
    """Least and most that the price may be, where its source says."""
    is_guess: bool = False
    """Whether what decides the price is a guess."""
    gap: str = ""
    """Why there is none, and what to do."""


def price_basis(chip_names: Sequence[str]) -> str:
    """The kind of contract that most of the chips are listed under, the preferred one of several."""
    known = [rents(name) for name in chip_names]

    def n_listed(kind: str) -> int:
        # a rent that was given or guessed stands in on any basis, so it votes for all of them
        return sum(kind in k or GIVEN in k or GUESSED in k for k in known)

    # the first of `RENTED` among equals
    return max(RENTED, key=n_listed)


def hours(
    chip_names: Sequence[str], basis: str | None = None, given_USD: Mapping[str, float] | None = None
) -> list[Hour]:
    """Prices of chips that are compared, all on one of `BASES`, by default that of most; given ones come first."""
    given = given_USD or {}
    how = basis or price_basis([name for name in chip_names if name not in given])  # those need no listing
    return [chip_hour(name, how, given) for name in chip_names]


def chip_hour(chip_name: str, basis: str, given_USD: Mapping[str, float]) -> Hour:
    """The price of an hour of a chip, a given one first; or why there is none: another basis never stands in."""
    if chip_name in given_USD:
        return Hour(given_USD[chip_name], GIVEN)
    if basis == OWNED:
        return _owned(chip_name)
    known = rents(chip_name)
    kind = next((k for k in (basis, GIVEN, GUESSED) if k in known), None)
    if kind is not None:
        fact = known[kind]
        return Hour(float(fact.value), kind, (fact.low, fact.high), fact.kind == "guess")
    others = ", ".join(k.replace("_", " ") for k in known)
    has = f"; known: {others}" if others else ""
    return Hour(None, gap=f"no {basis.replace('_', ' ')} price of {chip_name}{has}; give --rent {chip_name}=USD")


def _owned(chip_name: str) -> Hour:
    """To an owner in the largest system of the chip; a guess where its price or its maker's margin is one."""
    try:
        facts = chip_facts(chip_name)
    except DseError as error:
        return Hour(None, gap=f"{error}, or give --rent {chip_name}=USD")
    try:
        # a margin decides only where no price does
        deciding = facts.get("price_USD") or facts.get("margin")
        price = hour_USD(deal(chip_system(chip_name)))
    except DseError as error:
        return Hour(None, gap=str(error))
    return Hour(price, OWNED, is_guess=deciding is not None and deciding.kind == "guess")


def million_tokens_USD(chip_tokens_per_s: float, chip_hour_USD: float) -> float:
    """Cost of a million tokens on chips paid by the hour: r 10^6 / (3600 v)."""
    return chip_hour_USD * 1e6 / (HOUR_s * chip_tokens_per_s)


def range_USD(cost_USD: float | None, factor: float) -> tuple[float, float] | None:
    """Least and most of a cost by a factor either way; None without a cost or a factor."""
    return None if cost_USD is None or math.isnan(factor) else (cost_USD / factor, cost_USD * factor)
