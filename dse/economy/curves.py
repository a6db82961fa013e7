"""Curves for figures: goodput against cluster size, and cumulative cost of buying and renting by day."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from ..core.provenance import number
from ..core.types import as_float
from ..hardware.presets import system
from ..workload.presets import model
from ..workload.transformer import Training
from .bill import ChipCost
from .fleet_run import Kept, goodput_by_size
from .job import job_of
from .ownership import HOUR_s, owning_USD
from .presets import observed, reliability

SYSTEMS = ("trn2-ultraserver", "trn3-gen2-144", "dgx-h100")
"""Systems whose goodput is compared."""
OBSERVED, MODEL = "llama-3-405b", "llama-3.1-405b"
"""The published run whose checkpoint size per chip is used at every size, and its model."""
SEQUENCE = 8192
"""Tokens of a sequence of that run."""
DAY_s = 24 * HOUR_s


@dataclasses.dataclass(frozen=True)
class Goodputs:
    """Goodput of jobs of many sizes, beside a published run."""

    n_chips: tuple[float, ...]
    kept: dict[str, list[Kept]]
    """Goodput of each system at every size."""
    observed_n_chips: float
    observed_frac: float
    """Published share of useful time."""


def goodputs(n_points: int = 57) -> Goodputs:
    """Goodput from 16 to 262,144 chips on three fabrics, at `n_points` sizes evenly spread over the logarithm."""
    chips, frac = (number(observed(OBSERVED), f) for f in ("n_chips", "effective_frac"))
    # a sequence for each chip: bytes of a checkpoint do not depend on the batch
    workload = Training(model(MODEL), int(chips), SEQUENCE)
    # the same bytes on every chip at every size: who has more chips trains a larger model
    state_B = float(job_of(workload, int(chips), reliability()).state_B)
    sizes = np.geomspace(16, 262_144, n_points).tolist()
    return Goodputs(tuple(sizes), {s: goodput_by_size(system(s), state_B, sizes) for s in SYSTEMS}, chips, frac)


@dataclasses.dataclass(frozen=True)
class BreakEven:
    """Dollars spent on one chip by day of use."""

    days: Float[np.ndarray, " n"]
    bought_USD: Float[np.ndarray, " n"]
    """Bought, and kept running."""
    rented_USD: dict[str, Float[np.ndarray, " n"]]

    def crossing(self, kind: str) -> int | None:
        """Position of the first day by which renting has cost as much as buying; None for never."""
        after = np.nonzero(self.rented_USD[kind] >= self.bought_USD)[0]
        return int(after[0]) if after.size else None


def break_even(c: ChipCost) -> BreakEven:
    """Buying against renting the chip `c` over five years, on 200 days of them."""
    p, days = c.purchase, np.linspace(0, 5 * 365, 200)
    # as `break_even_s` counts it, so that the curves cross where the table says
    bought = np.asarray([float(owning_USD(p.capital_USD, p.rate, as_float(d * DAY_s))) for d in days])
    return BreakEven(days, bought, {k: days * DAY_s / HOUR_s * float(f.value) for k, f in c.rents.items()})
