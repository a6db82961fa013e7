"""What an hour of a chip costs on one price basis, so that chips are compared as they are paid for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from ..core.errors import DseError, UnknownNameError
from ..hardware.presets import chip_system
from .owning import deal, hour_USD
from .presets import chip_facts, rents

OWNED = "owned"
RENTED = ("capacity_block", "on_demand", "reserved", "spot")
"""Kinds of rental contract, preferred first."""
GIVEN = "given"
GUESSED = "guessed"
"""Rental price of a chip that nobody lists: stands in for any rented basis, and is marked."""


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
        return sum(kind in k or GIVEN in k or GUESSED in k for k in known)

    return max(RENTED, key=n_listed)


def hours(
    chip_names: Sequence[str], basis: str | None = None, given_USD: Mapping[str, float] | None = None
) -> list[Hour]:
    """Prices of chips that are compared, all on one of `BASES`, by default that of most; given ones come first."""
    given = given_USD or {}
    how = basis or price_basis([name for name in chip_names if name not in given])
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
    except UnknownNameError:
        told = f"no price, maker's margin or server of {chip_name} is known, so it has none to an owner"
        return Hour(None, gap=f"{told}; give --rent {chip_name}=USD")
    try:
        deciding = facts.get("price_USD") or facts.get("margin")
        price = hour_USD(deal(chip_system(chip_name)))
    except DseError as error:
        return Hour(None, gap=str(error))
    return Hour(price, OWNED, is_guess=deciding is not None and deciding.kind == "guess")


def million_tokens_USD(chip_tokens_per_s: float, chip_hour_USD: float) -> float:
    """Cost of a million tokens on chips paid by the hour: r 10^6 / (3600 v)."""
    return chip_hour_USD * 1e6 / (3600.0 * chip_tokens_per_s)


def range_USD(cost_USD: float | None, factor: float) -> tuple[float, float] | None:
    """Least and most of a cost by a factor either way; None without a cost or a factor."""
    return None if cost_USD is None or math.isnan(factor) else (cost_USD / factor, cost_USD * factor)
