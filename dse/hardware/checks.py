"""Checks of a chip's facts: each by itself, and all together."""

from __future__ import annotations

import math

from ..core.errors import SpecError
from ..core.provenance import Receipts, number
from ..core.text import quantity_text
from ..technology.node import PRECISIONS
from ..technology.presets import memory
from .chip import NARROW_PRODUCTS, ROUNDING, Chip, peak_FLOPps

ZERO_ALLOWED = ("macs_", "instruction_", "spare_frac", "transfer_start", "die_to_die_bandwidth", "in_network_reduction",
                "shared_port", "near_sram", "blank",
                "scaleup_switch")  # fmt: skip
"""Prefixes of facts that may be zero; every other number must be positive."""
CHOICES = {"lane_kind": ("simd", "simt"), "sram_kind": ("scratchpad", "cache"), "kind": ("torus", "switched"),
           "narrow_products": tuple(NARROW_PRODUCTS)}  # fmt: skip
"""Allowed values of text facts."""


def check_physical(name: str, receipts: Receipts) -> None:
    """SpecError (with field and value) for an impossible fact: not finite, negative, or an unknown kind."""
    for fact in receipts.values():
        value = fact.value
        if isinstance(value, str):
            # texts without a list of choices are names, looked up elsewhere
            allowed = CHOICES.get(fact.name, (value,))
            if value not in allowed:
                raise SpecError(f"{name}.{fact.name} = '{value}'; expected one of {', '.join(allowed)}")
        elif not math.isfinite(value) or value < 0:
            raise SpecError(f"{name}.{fact.name} = {value:g}; expected a finite number, not negative")
        elif value == 0 and not fact.name.startswith(ZERO_ALLOWED):
            raise SpecError(f"{name}.{fact.name} = 0; expected a positive number")


def check_together(chip: Chip) -> None:
    """SpecError (with the facts and a remedy) for a chip whose facts contradict each other."""
    cores, pool, rates = float(chip.n_cores), float(chip.cores_per_pool), chip.core.tensor.macs_per_cycle
    # an optimised design may lie on the limit, but for rounding
    if pool > cores * (1.0 + ROUNDING):
        raise SpecError(f"{chip.name}: cores_per_pool = {pool:g} of n_cores = {cores:g}; expected at most all of them")
    if (float(chip.n_dies) > 1) != (float(chip.die_to_die_bandwidth_Bps) > 0):
        between = quantity_text("die_to_die_bandwidth_Bps", float(chip.die_to_die_bandwidth_Bps))
        raise SpecError(
            f"{chip.name}: n_dies = {float(chip.n_dies):g} with die_to_die_bandwidth = {between}; several dies send "
            "each other something and one sends nothing, so say both"
        )
    _check_memory(chip)
    if not any(float(rates.of(p)) for p in ("fp32", "bf16")):
        raise SpecError(
            f"{chip.name}: macs_fp32 = 0 and macs_bf16 = 0; products in neither run in nothing wider, so give one"
        )


BEYOND = 2.0
"""How many times a generation's rate a stack may have: faster grades of one name are within a factor of 1.6."""


def _check_memory(chip: Chip) -> None:
    """SpecError for memory faster than its stacks can be: it is on the die, or of another kind."""
    stack_Bps = float(memory(chip.hbm).stack_bandwidth_Bps)
    rate_Bps, n = float(chip.hbm_bandwidth_Bps), float(chip.n_stacks)
    if rate_Bps > BEYOND * n * stack_Bps:
        rate, each = (quantity_text("hbm_bandwidth_Bps", x) for x in (rate_Bps, stack_Bps))
        raise SpecError(
            f"{chip.name}: {rate} from {n:g} of {chip.hbm}, which give {each} each; check hbm and n_stacks "
            "(a chip that holds its weights in SRAM is not modelled)"
        )


STATED = 1.25
"""By how much a peak that a file states may exceed that of its cores, arrays and clock: clocks differ less."""


def check_stated(made: Chip, own: Receipts) -> None:
    """SpecError for a stated peak beyond what the file's other facts make: it would change nothing, without a word."""
    for precision in PRECISIONS:
        key = f"vendor_{precision}_FLOPps"
        peak = float(peak_FLOPps(made, precision)) if key in own else 0.0
        if peak and number(own, key) > peak * STATED:
            stated, product = (quantity_text(key, x) for x in (number(own, key), peak))
            raise SpecError(
                f"{key.removesuffix('_FLOPps')} = {stated}, but cores x rows x cols x 2 x rate x clock are {product}; "
                "state the dense peak, without sparsity, and change what makes it"
            )
