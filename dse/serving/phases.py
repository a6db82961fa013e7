"""Ranking of chips by cost for one phase of a model, without queueing: training with failures, or chip-hours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from ..core.errors import DseError
from ..core.text import in_unit
from ..core.types import as_float
from ..economy.job import Job, Upkeep, job_of
from ..economy.ownership import HOUR_s
from ..economy.owning import (
    OWNED,
    Deal,
    Hour,
    hours,
    million_tokens_USD,
    range_USD,
    rented_deal,
    rented_token_USD,
    token_upkeep,
)
from ..evaluation.assembly import band_s, evaluate
from ..evaluation.breakdown import Finding, find, find_room
from ..hardware.presets import chip_system
from ..hardware.system import System
from ..lowering.plan import plan_text
from ..physics.calibration import calibration, calibration_for, measured_band
from ..workload.transformer import Training, Workload


@dataclasses.dataclass(frozen=True)
class RankedPhase:
    """One chip on one phase."""

    chip: str
    """Preset, or path of an own file."""
    hour: Hour
    finding: Finding | None
    """The phase on the chip; None where nothing holds it."""
    longest_s: float | None
    """Longest step that is promised; None for any."""
    deal: Deal | None = None
    """Ownership of the chip, for failures of training steps; None for other phases."""
    gap: str = ""
    """Why something is missing."""

    @property
    def keeps(self) -> bool:
        """Whether it runs within the promise."""
        return self.finding is not None and self.margin_frac >= 0.0

    @property
    def margin_frac(self) -> float:
        """How far below the promised time the step stays, as a share of it; infinite where none is promised."""
        if self.finding is None or self.longest_s is None:
            return math.inf
        return 1.0 - float(self.finding.evaluation.step_s) / self.longest_s

    @property
    def chip_tokens_per_s(self) -> float | None:
        """Tokens of one chip per second."""
        if self.finding is None:
            return None
        return self.finding.chip_tokens_per_s

    @property
    def million_tokens_USD(self) -> float | None:
        """Cost of a million tokens; None without a price, a place to run or within the promise."""
        price, rate, step = self.hour.chip_hour_USD, self.chip_tokens_per_s, self.step
        if price is None or rate is None or not self.keeps:
            return None
        # no queue and no failures: a phase alone costs its chip-seconds
        if step is None or self.deal is None:
            return million_tokens_USD(rate, price)
        return step.owned_USD(self.deal) if self.hour.basis == OWNED else step.rented_USD(self.deal, price)

    @property
    def million_tokens_range_USD(self) -> tuple[float, float] | None:
        """Range of that cost by step times alone, that holds 80 % of unseen measurements; None without one."""
        return range_USD(self.million_tokens_USD, self.factor)

    @property
    def step(self) -> Timed | None:
        """The training step on the fleet; None for the other phases."""
        if self.finding is None or self.deal is None:
            return None
        f, e = self.finding, self.finding.evaluation
        band = f.fastest_s, f.slowest_s
        return Timed(self.chip, f.workload, f.system.n_chips, float(e.step_s), band, float(e.power_W))

    @property
    def wall_step_s(self) -> float | None:
        """Mean time of a training step that counts, failures included; None for the other phases."""
        step = self.step
        return None if step is None or self.deal is None else float(step.upkeep(self.deal).wall_step_s)

    @property
    def plan(self) -> str:
        """Plan as text; empty if nothing runs."""
        return "" if self.finding is None else plan_text(self.finding.plan)

    @property
    def factor(self) -> float:
        """Factor either way that holds 80 % of unseen measurements; not a number for a prior."""
        if self.finding is None:
            return math.nan
        found = measured_band(calibration(self.finding.calibration), isinstance(self.finding.workload, Training))
        return math.nan if found is None else found[1]


def phase_ranking(
    chips: Sequence[str],
    workload_at: Callable[[int], Workload],
    *,
    basis: str | None,
    rents_USD: Mapping[str, float],
    n_chips: int | None = None,
    longest_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[RankedPhase]:
    """Chips by dollars per million tokens of one phase, cheapest first; those with a gap last, and why.

    UnknownNameError, SpecError: a chip that does not exist, or a file of one that is wrong.
    """
    for name in chips:  # for its error alone: a typo is no chip that cannot run the phase
        chip_system(name)
    found = []
    for name, hour in zip(chips, hours(chips, basis, rents_USD), strict=True):
        tell(f"pricing {name}")
        try:
            found.append(_ranked(name, hour, workload_at, n_chips, longest_s))
        except DseError as error:
            found.append(RankedPhase(name, hour, None, longest_s, gap=str(error)))
    return sorted(found, key=_order)


def _ranked(
    name: str, hour: Hour, workload_at: Callable[[int], Workload], n_chips: int | None, longest_s: float | None
) -> RankedPhase:
    if n_chips is None:
        finding, _ = find_room(lambda n: chip_system(name, n), chip_system(name).n_chips, workload_at, None)
    else:
        finding = find(chip_system(name, n_chips), workload_at(n_chips), None)
    # a failure stops a training job on all of its chips; of other phases it costs the one engine that failed
    owned, told = rented_deal(finding.system) if isinstance(finding.workload, Training) else (None, "")
    row = RankedPhase(name, hour, finding, longest_s, owned, hour.gap or told)
    if row.keeps or longest_s is None:
        return row
    takes, promised = in_unit(float(finding.evaluation.step_s), "s"), in_unit(longest_s, "s")
    return dataclasses.replace(row, gap=f"a step takes {takes}, promised {promised}; try a smaller batch")


def _order(r: RankedPhase) -> tuple[bool, float, float]:
    """Dollars, then tokens per second where there is no price, then chips that break the promise."""
    cost = r.million_tokens_USD
    # a chip that breaks the promise is behind all others, however cheap
    return not r.keeps, math.inf if cost is None else cost, -(r.chip_tokens_per_s or 0.0)


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
        """The job of the step, with the checkpoints of `d`."""
        return job_of(self.workload, self.n_chips, d.economy.reliability)

    def upkeep(self, d: Deal) -> Upkeep:
        """Time and cost of a step with failures."""
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
