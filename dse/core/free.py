"""Free parameters: positive numbers an optimiser may choose, each within a box."""

from __future__ import annotations

import dataclasses
import math

from .errors import SpecError


@dataclasses.dataclass(frozen=True)
class Free:
    """One free number in canonical units; the solver works on its logarithm."""

    name: str
    """Canonical name, unit included."""
    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not (0 < self.lower <= self.upper < math.inf):
            raise SpecError(
                f"free parameter {self.name}: bounds {self.lower:g} to {self.upper:g} must be positive, "
                "finite and in order"
            )
