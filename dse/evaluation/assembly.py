"""The one assembly: a workload on a system, under a plan or the fastest that fits, with the calibration it is due."""

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
from ..core.types import Stacked, stack_records
from ..hardware.chip import Chip
from ..hardware.presets import chip as preset_chip
from ..hardware.system import Fabric, System
from ..lowering.collective import Reference
from ..lowering.demand import demand
from ..lowering.headroom import usable_B, usable_frac
from ..lowering.plan import Plan, plan_text
from ..lowering.served import asked_demand, asked_plans
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import ArrayShape, array_shape
from ..physics.calibration import Calibration, calibration_for, extreme, measured_band, reference_speeds
from ..physics.evaluate import Evaluation, check_rest, chip_technology, silicon
from ..technology.presets import Technology
from ..workload.requests import Asked
from ..workload.transformer import Training, Workload
from .host import evaluated, plan_steps_s, prepare_evaluated

if TYPE_CHECKING:
    import pandas as pd


class Evaluated(eqx.Module):
    """A workload's plan, and what a system makes of it under that plan."""

    plan: Plan = eqx.field(static=True)
    result: Evaluation

    def frame(self) -> pd.DataFrame:
        """One row: the plan, then totals in canonical units."""
        totals = self.result.frame()
        totals.insert(0, "plan", plan_text(self.plan))
        return totals

    def _repr_html_(self) -> str:
        return page("", self.frame())


def evaluate(
    system: System, workload: Workload, plan: Plan | None = None, *, tech: Technology | None = None,
    calibration: Calibration | None = None, streams: bool = False,
) -> Evaluated:  # fmt: skip
    """`workload` on `system` under `plan`, or under the fastest valid plan that fits in memory.

    >>> import dse
    >>> step = dse.Decode(dse.model("llama-3.1-8b"), batch=64, context=4096)
    >>> found = dse.evaluate(dse.system("dgx-h100", 4), step, dse.parse_plan("tp=4"))
    >>> bool(1e-3 < found.result.step_s < 20e-3), found.plan.tp
    (True, 4)

    By default `tech` is what the chip's preset names and `calibration` is `calibration_for` chip and workload; with
    `streams` a search may also take plans that stream weights through SRAM, as a study may.
    PlanError: the plan does not divide the model or system, or nothing fits in memory (says by how much). SpecError: a
    chip that may not even rest, or whose clock no supply reaches.
    """
    tech = chip_technology(system.chip) if tech is None else tech
    c = calibration_for(system.chip.name, workload) if calibration is None else calibration
    if plan is None:
        every, demands = lowered(system, workload, c, streams)
        best = fastest(every, demands, system.chip, tech, c)
        plan, d = every[best], demands[best]
    else:
        d = demand(workload, plan, system, chip_reference(system.chip, c))
        _check_memory(d, system.chip, plan)
    return Evaluated(plan, _ended(evaluated(d, system.chip, tech, c), system.chip, tech))


def _ended(e: Evaluation, chip: Chip, tech: Technology) -> Evaluation:
    """An evaluation whose step ends; SpecError as `check_rest`."""
    if not is_traced(e.step_s) and not np.isfinite(e.step_s):
        check_rest(chip, tech, silicon(chip, tech).static_W)
    return e


def band_s(system: System, workload: Workload, plan: Plan, c: Calibration) -> tuple[float, float]:
    """Step time that one in ten unseen measurements falls below and one exceeds; of a prior, at its ends [s]."""
    measured = measured_band(c, isinstance(workload, Training))
    if measured is not None:
        step_s = float(evaluate(system, workload, plan, calibration=c).result.step_s)
        return step_s / measured[1], step_s * measured[1]
    ends = [evaluate(system, workload, plan, calibration=extreme(c.name, good)).result for good in (True, False)]
    return float(ends[0].step_s), float(ends[1].step_s)


def chip_reference(chip: Chip, c: Calibration) -> Reference:
    """Achievable link speeds of `chip`, at which collective algorithms are chosen."""
    return reference_speeds(c, float(chip.scaleup_bandwidth_per_dir_Bps), float(chip.scaleout_bandwidth_per_dir_Bps))


def lowered(
    system: System, workload: Asked, c: Calibration, streams: bool = False
) -> tuple[list[Plan], Sequence[StepDemand]]:
    """All valid plans, streamed ones if asked for, and their demands, kept in memory; PlanError where none is."""
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
    """All that plans and demands depend on, hashable: no free number of a chip is among it."""

    workload: Asked
    name: str
    """Of the system, for messages."""
    fabric: Fabric
    n_chips: int
    lane_kind: str
    """How the vector lanes are fed."""
    array: ArrayShape
    ref: Reference
    """Speeds at which collectives are chosen."""
    streams: bool = False
    """Whether streamed plans are among the plans."""

    def system(self) -> System:
        """A system of this structure, every number of whose chip is not a number: what reads one spoils its demand."""
        chip = jax.tree.map(lambda _: np.asarray(np.nan), preset_chip(ANY_CHIP))
        return System(self.name, dataclasses.replace(chip, lane_kind=self.lane_kind), self.fabric, self.n_chips)


ANY_CHIP = "trainium2"
"""Form of a chip record; none of its numbers is read."""
KEPT_STRUCTURES = 16
"""Structures whose plans and demands stay in memory, some MB each at most."""


@lru_cache(maxsize=KEPT_STRUCTURES)
def _lowered(s: Structure) -> tuple[tuple[Plan, ...], Sequence[StepDemand]]:
    system = s.system()
    every = asked_plans(s.workload, system, s.streams)

    def lower() -> StepDemand:
        return stack_records([asked_demand(s.workload, p, system, s.ref, s.array) for p in every])

    return tuple(every), Stacked(kept_record("evaluation", repr(s), lower), len(every)) if every else ()


def fastest(
    every: list[Plan], demands: Sequence[StepDemand], chip: Chip, tech: Technology, c: Calibration,
    deadline_s: float = np.inf,
) -> int:  # fmt: skip
    """Index of the plan that fits in memory with least time per token; PlanError (with the shortfall) if none does.

    Steps longer than `deadline_s` count only where no plan keeps it, and then the shortest step is best.
    """
    meanwhile(lambda: prepare_evaluated(demands[0], chip, tech, c))  # who looks for the fastest asks of it next
    stacked = stack_records(demands)
    seconds = np.asarray(plan_steps_s(stacked, chip, tech, c))
    in_time = np.where(seconds <= deadline_s, seconds, np.inf)
    best = int(np.argmin(in_time / np.asarray(stacked.tokens) if np.isfinite(in_time).any() else seconds))
    if not np.isfinite(seconds[best]):
        leanest = min(range(len(demands)), key=lambda i: float(demands[i].memory_B))
        _check_memory(demands[leanest], chip, every[leanest])
        check_rest(chip, tech, silicon(chip, tech).static_W)
    return best


def _check_memory(d: StepDemand, chip: Chip, plan: Plan) -> None:
    need, have = float(d.memory_B), float(usable_B(chip))
    if need > have:
        raise RoomError(
            f"{plan_text(plan)} needs {need / 2**30:.1f} GiB per chip and {chip.name} offers {have / 2**30:.1f} GiB "
            f"({usable_frac():.0%} of its HBM); use more chips, more tp or pp, ZeRO or recompute"
        )
