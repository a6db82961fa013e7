"""What an hour of a chip costs on one price basis, so that chips are compared as they are paid for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..core.errors import DseError
from ..hardware.presets import chip_system
from .owning import deal, hour_USD
from .presets import chip_facts, rents

OWNED = "owned"
BASES = ("on_demand", "capacity_block", "reserved", "spot", OWNED)
"""Ways to pay for a chip."""
GUESSED = "guessed"
"""Rental price of a chip that nobody lists: stands in for any rented basis, and is marked."""


@dataclasses.dataclass(frozen=True)
class Hour:
    """One chip for an hour."""

    chip_hour_USD: float | None
    """Price; None where there is none on this basis."""
    is_guess: bool = False
    """Whether what decides the price is a guess."""
    gap: str = ""
    """Why there is none, and what to do."""


def chip_hour(chip_name: str, basis: str, given_USD: Mapping[str, float]) -> Hour:
    """The price of an hour of a chip.

    Args:
        chip_name: preset, or path of an own file.
        basis: one of `BASES`.
        given_USD: prices that the user gives, by chip; they come first.

    Returns:
        The price, or why there is none: another basis never stands in.
    """
    if chip_name in given_USD:
        return Hour(given_USD[chip_name])
    if basis == OWNED:
        return _owned(chip_name)
    known = rents(chip_name)
    fact = known.get(basis) or known.get("given") or known.get(GUESSED)
    if fact is not None:
        return Hour(float(fact.value), fact.kind == "guess")
    others = ", ".join(k.replace("_", " ") for k in known)
    has = f"; known: {others}" if others else ""
    return Hour(None, gap=f"no {basis.replace('_', ' ')} price of {chip_name}{has}; give --rent {chip_name}=USD")


def _owned(chip_name: str) -> Hour:
    """To an owner in the largest system of the chip; a guess where its price or its maker's margin is one."""
    try:
        facts = chip_facts(chip_name)
        deciding = facts.get("price_USD") or facts.get("margin")
        price = hour_USD(deal(chip_system(chip_name)))
    except DseError as error:
        return Hour(None, gap=str(error))
    return Hour(price, deciding is not None and deciding.kind == "guess")
