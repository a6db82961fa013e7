"""Facts that no hardware can have: numbers that are not finite or not positive, and words that mean nothing."""

from __future__ import annotations

import math

from ..core.errors import SpecError
from ..core.provenance import Receipts
from .chip import NARROW_PRODUCTS

ZERO_ALLOWED = ("macs_", "instruction_", "spare_frac", "transfer_start", "die_to_die_bandwidth", "in_network_reduction",
                "shared_port", "near_sram",
                "scaleup_switch")  # fmt: skip
"""Facts that may be zero, by how their names begin; every other number must be positive."""
CHOICES = {"lane_kind": ("simd", "simt"), "sram_kind": ("scratchpad", "cache"), "kind": ("torus", "switched"),
           "narrow_products": tuple(NARROW_PRODUCTS)}  # fmt: skip
"""Named facts and the names they may have."""


def check_physical(name: str, receipts: Receipts) -> None:
    """SpecError, with field and value, for facts that no hardware can have: not finite, negative, an unknown kind."""
    for fact in receipts.values():
        value = fact.value
        if isinstance(value, str):
            allowed = CHOICES.get(fact.name, (value,))
            if value not in allowed:
                raise SpecError(f"{name}.{fact.name} = '{value}'; expected one of {', '.join(allowed)}")
        elif not math.isfinite(value) or value < 0:
            raise SpecError(f"{name}.{fact.name} = {value:g}; expected a finite number, not negative")
        elif value == 0 and not fact.name.startswith(ZERO_ALLOWED):
            raise SpecError(f"{name}.{fact.name} = 0; expected a positive number")
