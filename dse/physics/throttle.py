"""Priors at the clock that a chip's power limit leaves to its matrix units."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..core.provenance import Receipts, Sourced
from .coordinates import LEAST_FRAC

OF_PRECISION = {"bf16": ("matmul_frac", "attention_frac"), "fp8": ("narrow_frac",)}
"""Fractions of a peak that a lower clock lowers, by the precision whose full load decides that clock."""


def at_clock(prior: Receipts, clock_frac: Mapping[str, float]) -> Receipts:
    """A vendor's prior with the rates of matrix products in ratio to the clock under load, by precision."""
    # peaks are quoted at the nominal clock: a part that cannot hold it reaches less of them, whatever its software
    moved = {n: _scaled(prior[n], clock_frac.get(p, 1.0)) for p, names in OF_PRECISION.items() for n in names}
    return {**prior, **moved}


def _scaled(fact: Sourced, ratio: float) -> Sourced:
    top = 1.0 - LEAST_FRAC
    value, low, high = (min(float(x) * ratio, max(float(x), top)) for x in (fact.value, fact.low, fact.high))
    return dataclasses.replace(fact, value=value, low=low, high=high)
