"""Budgets of a chip that was built: a study of the past may limit a metric to what that chip has, by our own models."""

from __future__ import annotations

from ..core.errors import SpecError
from ..hardware.presets import chip
from ..physics.evaluate import chip_technology
from .metrics import METRICS, OF_WORKLOADS, Limit, State, chip_state

BUILT = "built"
"""Value of a limit that is what the chip in the table [built] has."""


def built_state(chip_name: str, package_name: str) -> State:
    """The chip that was built, preset or file, on a study's package, as a point that `METRICS` can read."""
    inside = chip(chip_name)
    return chip_state(inside, chip_technology(inside, package_name))


def built_limit(name: str, sense: str, built: State | None, place: str) -> Limit:
    """The limit of a metric to what the built chip has; SpecError without one, or for a metric it cannot say."""
    if built is None:
        raise SpecError(f"{place}: '{BUILT}' means the chip in a table [built], which the study does not have")
    if name in OF_WORKLOADS:
        raise SpecError(f"{place}: {name} depends on the workload; give it in its unit")
    lacking = next((p for p in ("fp8", "fp4") if f"_{p}_" in name and not _has(built, p)), None)
    if lacking:
        raise SpecError(f"{place}: {built.chip.name} has no {lacking} rate, so its {name} means nothing; limit another")
    value = METRICS[name](built)
    assert not isinstance(value, list)
    return Limit(name, sense, float(value))


def _has(built: State, precision: str) -> bool:
    return float(built.chip.core.tensor.macs_per_cycle.of(precision)) > 0
