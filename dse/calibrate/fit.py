"""A fitted calibration, with what the measurements say about each of its numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..physics.calibration import Calibration
from ..physics.coordinates import number_at, to_free


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted calibration and how much the data say about each number."""

    calibration: Calibration
    deviation: dict[str, float]
    """One standard deviation of each number in log or logit units, from the curvature of the fit."""
    prior_deviation: dict[str, float]
    """The same before any data; a number whose two deviations agree is not determined by the measurements."""
    n_measurements: int
    n_models: int
    n_sources: int

    def determined(self, name: str) -> bool:
        """Whether the measurements, rather than the prior, set a number: they at least halve its deviation."""
        return self.deviation.get(name, np.inf) < 0.5 * self.prior_deviation.get(name, 0.0)

    def interval(self, name: str) -> tuple[float, float]:
        """Two standard deviations either side of a number, in its own unit."""
        value = float(getattr(self.calibration, name))
        if name not in self.deviation:
            return value, value
        x, s = to_free(name, value), 2 * self.deviation[name]
        return number_at(name, x - s), number_at(name, x + s)
