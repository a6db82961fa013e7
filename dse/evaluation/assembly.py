"""`evaluate`: step time, energy and power of a workload on a system, under a given plan or the fastest that fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import numpy as np

from ..core.errors import PlanError, RoomError
from ..core.frames import page
from ..core.kept import kept_record
from ..core.program import is_traced, meanwhile
from ..core.takes import takes
from ..core.text import in_unit
from ..core.types import Stacked, stack_records
from ..hardware.chip import ROUNDING, Chip
from ..hardware.presets import chip as preset_chip
from ..hardware.system import Fabric, System
from ..lowering.collective import Reference
from ..lowering.demand import demand
from ..lowering.headroom import prefetch_frac, usable_B, usable_frac
from ..lowering.plan import Plan, plan_text
from ..lowering.served import asked_demand, asked_plans
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import ArrayShape, array_shape
from ..physics.calibration import Calibration, calibration_for, extreme, measured_band, reference_speeds
from ..physics.evaluate import Evaluation, check_rest, chip_technology, silicon
from ..physics.residency import ahead_frac
from ..technology.presets import Technology
from ..workload.requests import Asked
from ..workload.transformer import Training, Workload
from .host import evaluated, plan_steps_s, prepare_evaluated

if TYPE_CHECKING:
    import pandas as pd


class Evaluated(eqx.Module):
    """A parallelism plan, and the time, energy, power and memory of a workload under it."""

    plan: Plan = eqx.field(static=True)
    result: Evaluation

    def frame(self) -> pd.DataFrame:
        """One row: the plan, then step time, throughput, power, MFU and memory in canonical units."""
        totals = self.result.frame()
        totals.insert(0, "plan", plan_text(self.plan))
        return totals

    def _repr_html_(self) -> str:
        return page("", self.frame())


@takes(system=System, workload=Workload, plan=Plan | None, tech=Technology | None, calibration=Calibration | None)
def evaluate(
    system: System, workload: Workload, plan: Plan | None = None, *, tech: Technology | None = None,
    calibration: Calibration | None = None, streams: bool = False,
) -> Evaluated:  # fmt: skip
    """Step time, energy, power and memory of `workload` on `system` under `plan` (None: the fastest that fits in HBM).

    >>> import dse
    >>> step = dse.Decode(dse.model("llama-3.1-8b"), batch=64, context=4096)
    >>> found = dse.evaluate(dse.system("dgx-h100", 4), step, dse.parse_plan("tp=4"))
    >>> bool(1e-3 < found.result.step_s < 20e-3), found.plan.tp
    (True, 4)

    Defaults: `tech` from the names in the chip record, `calibration` from `calibration_for(chip, workload)`. `streams`:
    the plan search also tries plans that prefetch weights through SRAM. PlanError: the plan does not divide the model
    or the system, or nothing fits in memory (the message has the shortfall). SpecError: the power limit is below the
    idle power, or no supply voltage reaches the clock.
    """
    tech = chip_technology(system.chip) if tech is None else tech
    c = calibration_for(system.chip.name, workload) if calibration is None else calibration
    if plan is None:
        every, demands = lowered(system, workload, c, streams)
        best = fastest(every, demands, system.chip, tech, c)
        plan, d = every[best], demands[best]
    else:
        d = demand(workload, plan, system, chip_reference(system.chip, c))
        # here alone: the search has left out what does not fit, and `fastest` says what is missing
        _check_room(d, system.chip, plan)
    return Evaluated(plan, _ended(evaluated(d, system.chip, tech, c), system.chip, tech))


def _ended(e: Evaluation, chip: Chip, tech: Technology) -> Evaluation:
    """`e` if its step time is finite; else SpecError as `check_rest`."""
    # a traced time has no value yet; infinite means that rest alone reaches the power limit
    if not is_traced(e.step_s) and not np.isfinite(e.step_s):
        check_rest(chip, tech, silicon(chip, tech).static_W)
    return e


def band_s(system: System, workload: Workload, plan: Plan, c: Calibration) -> tuple[float, float]:
    """10th and 90th percentile of the step time by the calibration's error; for a prior, the ends of its ranges [s]."""
    measured = measured_band(c, isinstance(workload, Training))
    if measured is not None:
        step_s = float(evaluate(system, workload, plan, calibration=c).result.step_s)
        return step_s / measured[1], step_s * measured[1]
    # all numbers good or bad at once: wider than chance, as nothing is known of a prior's errors
    ends = [evaluate(system, workload, plan, calibration=extreme(c.name, good)).result for good in (True, False)]
    return float(ends[0].step_s), float(ends[1].step_s)


def chip_reference(chip: Chip, c: Calibration) -> Reference:
    """Achievable link speeds of `chip`, used to choose the algorithm of each collective."""
    return reference_speeds(c, float(chip.scaleup_bandwidth_per_dir_Bps), float(chip.scaleout_bandwidth_per_dir_Bps))


def lowered(
    system: System, workload: Asked, c: Calibration, streams: bool = False
) -> tuple[list[Plan], Sequence[StepDemand]]:
    """All valid plans (with `streams` also prefetching ones) and their demands, cached; PlanError if there is none."""
    # chips that differ in free numbers alone share plans and demands, so that a search lowers once
    key = Structure(
        workload, system.name, system.fabric, system.n_chips, system.chip.lane_kind,
        array_shape(system.chip.core.tensor), chip_reference(system.chip, c), streams,
    )  # fmt: skip
    every, demands = _lowered(key)
    if not every:
        raise PlanError(
            f"no plan divides {workload.model.name} over {system.n_chips} chips of {system.name} with this batch; "
            "choose a batch and chip count with common factors"
        )
    return list(every), demands


@dataclasses.dataclass(frozen=True)
class Structure:
    """Hashable key of everything that plans and demands depend on; it holds no free number of a chip."""

    workload: Asked
    name: str
    """Name of the system, for error messages."""
    fabric: Fabric
    n_chips: int
    lane_kind: str
    """"simd" or "simt", as in `Chip`."""
    array: ArrayShape
    ref: Reference
    """Link speeds at which collective algorithms are chosen."""
    streams: bool = False
    """Whether plans that prefetch weights through SRAM are included."""

    def system(self) -> System:
        """A system of this structure whose chip has NaN for every number, so that a demand that reads one is NaN."""
        # a comparison with NaN is false and leaves no trace: lowering may not branch on a number of the chip
        chip = jax.tree.map(lambda _: np.asarray(np.nan), preset_chip(ANY_CHIP))
        return System(self.name, dataclasses.replace(chip, lane_kind=self.lane_kind), self.fabric, self.n_chips)


ANY_CHIP = "trainium2"
"""Preset that gives the shape of a chip record; none of its numbers is used."""
KEPT_STRUCTURES = 16
"""Size of the cache of plans and demands, in structures of at most some MB each."""


@lru_cache(maxsize=KEPT_STRUCTURES)
def _lowered(s: Structure) -> tuple[tuple[Plan, ...], Sequence[StepDemand]]:
    system = s.system()
    every = asked_plans(s.workload, system, s.streams)

    def lower() -> StepDemand:
        return stack_records([asked_demand(s.workload, p, system, s.ref, s.array) for p in every])

    # in the cache between runs as well, under a text of all that it depends on
    return tuple(every), Stacked(kept_record("evaluation", repr(s), lower), len(every)) if every else ()


def fastest(
    every: list[Plan], demands: Sequence[StepDemand], chip: Chip, tech: Technology, c: Calibration,
    deadline_s: float = np.inf,
) -> int:  # fmt: skip
    """Index of the plan with the least time per token among those that fit; PlanError with the shortfall if none does.

    If no plan has a step within `deadline_s`, the plan with the shortest step wins.
    """
    meanwhile(lambda: prepare_evaluated(demands[0], chip, tech, c))  # who looks for the fastest asks of it next
    stacked = stack_records(demands)
    seconds = np.asarray(plan_steps_s(stacked, chip, tech, c))
    # per token, not per step: free batches give plans whose steps yield different numbers of them
    in_time = np.where(seconds <= deadline_s, seconds, np.inf)  # seconds are infinite where memory does not hold a plan
    best = int(np.argmin(in_time / np.asarray(stacked.tokens) if np.isfinite(in_time).any() else seconds))
    if not np.isfinite(seconds[best]):
        # the plan that comes nearest to fitting says what is truly missing
        leanest = min(range(len(demands)), key=lambda i: float(demands[i].memory_B))
        _check_room(demands[leanest], chip, every[leanest])
        check_rest(chip, tech, silicon(chip, tech).static_W)
    return best


def _check_room(d: StepDemand, chip: Chip, plan: Plan) -> None:
    """RoomError if HBM does not hold the tensors of a plan, or SRAM what it prefetches."""
    need, have = float(d.memory_B), float(usable_B(chip))
    # memory first: a plan that does not fit has no prefetching to speak of
    if need > have:
        raise RoomError(
            f"{plan_text(plan)} needs {in_unit(need, 'B', 4)} per chip and {chip.name} offers {in_unit(have, 'B', 4)} "
            f"({usable_frac():.0%} of its HBM); use more chips, more tp or pp, "
            # only a step with an optimizer has states to shard and activations to recompute
            f"{'ZeRO or recompute' if float(d.optimizer_B) > 0 else 'a smaller batch or narrower weights'}"
        )
    if float(ahead_frac(d, chip, np.asarray(prefetch_frac()))) > 1 + ROUNDING:  # as `fits_memory`
        ahead, sram = float(d.stream.ahead_B), prefetch_frac() * float(chip.n_cores * chip.core.scratchpad_B)
        raise RoomError(
            f"{plan_text(plan)} prefetches {in_unit(ahead, 'B', 4)} per chip and {chip.name} offers "
            f"{in_unit(sram, 'B', 4)} ({prefetch_frac():.0%} of its SRAM); use more tp, or order=turn"
        )
