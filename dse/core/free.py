"""`Free`: a positive number that the optimiser chooses between two bounds."""

from __future__ import annotations

import dataclasses
import math

from .errors import SpecError


@dataclasses.dataclass(frozen=True)
class Free:
    """One free number with its bounds in canonical units; SpecError unless 0 < lower <= upper < inf."""

    name: str
    """Canonical name, unit included."""
    lower: float
    upper: float

    def __post_init__(self) -> None:
        # solved in logarithms, which 0 and infinity do not have
        if not (0 < self.lower <= self.upper < math.inf):
            raise SpecError(
                f"free parameter {self.name}: bounds {self.lower:g} to {self.upper:g} must be positive, "
                "finite and in order"
            )
