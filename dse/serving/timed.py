"""A step that runs again and again on a fleet: what its tokens cost once failures stop it and spares are held."""

from __future__ import annotations

import dataclasses

from ..core.types import as_float
from ..economy.job import Job, Upkeep, job_of
from ..economy.ownership import HOUR_s
from ..economy.owning import Deal, rented_token_USD, token_upkeep
from ..evaluation.assembly import band_s, evaluate
from ..hardware.system import System
from ..physics.calibration import calibration_for
from ..workload.transformer import Workload


@dataclasses.dataclass(frozen=True)
class Timed:
    """A step on one chip: failures stop all of its chips, spares are held."""

    chip: str
    workload: Workload
    n_chips: int
    step_s: float
    band_s: tuple[float, float]
    """Step time with the calibration at its good and its bad end."""
    power_W: float

    @property
    def speed(self) -> tuple[float, float]:
        """Its time with the calibration at its good and at its bad end, over its time."""
        return self.band_s[0] / self.step_s, self.band_s[1] / self.step_s

    def job(self, d: Deal) -> Job:
        """What it asks of a fleet that recovers as `d` says."""
        return job_of(self.workload, self.n_chips, d.economy.reliability)

    def upkeep(self, d: Deal) -> Upkeep:
        """What a step takes and costs once failures are counted."""
        return token_upkeep(d, self.job(d), as_float(self.step_s), as_float(self.power_W))

    def owned_USD(self, d: Deal) -> float:
        """Dollars per million tokens, to the owner of `d`."""
        return 1e6 * float(self.upkeep(d).cost_per_token_USD)

    def rented_USD(self, d: Deal, chip_hour_USD: float) -> float:
        """Dollars per million tokens, at a rent."""
        wall = self.upkeep(d).wall_step_s
        return 1e6 * float(rented_token_USD(self.job(d), wall, as_float(chip_hour_USD / HOUR_s)))


def timed(system: System, workload: Workload) -> Timed:
    """`workload` on `system` under its fastest plan, with the range of its calibration."""
    e = evaluate(system, workload)
    band = band_s(system, workload, e.plan, calibration_for(system.chip.name, workload))
    return Timed(system.chip.name, workload, system.n_chips, float(e.result.step_s), band, float(e.result.power_W))
