"""What a chip costs per hour to rent, with its receipt; an input where nobody publishes a price."""

from __future__ import annotations

from pathlib import Path

from ..core.provenance import Sourced, load_receipts

_FILE = Path(__file__).parent / "data" / "rents.toml"


def rent(chip_name: str) -> Sourced | None:
    """Price of one chip for one hour [USD], or None where no price is known: no other chip's price stands in."""
    return load_receipts(_FILE).get(chip_name, {}).get("chip_hour_USD")


def million_tokens_USD(chip_tokens_per_s: float, chip_hour_USD: float) -> float:
    """Cost of a million tokens on chips rented by the hour.

    c = r 10^6 / (3600 v)
    """
    return chip_hour_USD * 1e6 / (3600.0 * chip_tokens_per_s)
