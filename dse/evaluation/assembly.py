"""The one assembly: a workload on a system, under a plan or the fastest that fits, with the calibration it is due."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import PlanError
from ..core.types import FloatLike
from ..hardware.chip import Chip
from ..hardware.system import System
from ..lowering.collective import Reference
from ..lowering.demand import demand, stack_demands
from ..lowering.headroom import prefetch_frac, usable_frac
from ..lowering.plan import Plan
from ..lowering.served import Asked, asked_demand, asked_plans
from ..lowering.step_demand import StepDemand
from ..lowering.tiling import array_shape
from ..physics.calibration import Calibration, reference_speeds, workload_calibration
from ..physics.evaluate import Evaluation, chip_technology, evaluate_demand
from ..physics.residency import ahead_frac
from ..technology.presets import Technology
from ..workload.transformer import Workload


@jax.jit
def plan_steps_s(demands: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> FloatLike:
    """Throttled step time of every demand (leading axis) on one chip, inf where it does not fit in memory or SRAM."""

    def one(d: StepDemand) -> FloatLike:
        fits = d.memory_B <= usable_frac() * chip.hbm_capacity_B
        fits &= ahead_frac(d, chip, c, jnp.asarray(prefetch_frac())) <= 1.0
        return jnp.where(fits, evaluate_demand(d, chip, tech, c).step_s, jnp.inf)

    return jax.vmap(one)(demands)


def evaluate(
    system: System,
    workload: Workload,
    plan: Plan | None = None,
    *,
    tech: Technology | None = None,
    calibration: Calibration | None = None,
) -> tuple[Plan, Evaluation]:
    """`workload` on `system` under `plan`, or under the fastest valid plan that fits in memory.

    Args:
        system: chips and fabric.
        workload: training or decode.
        plan: who does what; None searches all plans.
        tech: technology for power, area and cost; by default what the chip's preset names.
        calibration: achievable fractions; by default the fit of the usual stack of chip and phase, else the prior.

    Returns:
        The plan and its evaluation.

    Raises:
        PlanError: the plan does not divide the model or system, or nothing fits in memory (says by how much).
    """
    tech = chip_technology(system.chip) if tech is None else tech
    c = workload_calibration(system.chip.name, workload) if calibration is None else calibration
    if plan is None:
        every, demands = lowered(system, workload, c)
        best = fastest(every, demands, system.chip, tech, c)
        plan, d = every[best], demands[best]
    else:
        d = demand(workload, plan, system, chip_reference(system.chip, c))
        _check_memory(d, system.chip, plan)
    return plan, jax.jit(evaluate_demand)(d, system.chip, tech, c)


def chip_reference(chip: Chip, c: Calibration) -> Reference:
    """Achievable link speeds of `chip`, at which collective algorithms are chosen."""
    return reference_speeds(c, float(chip.scaleup_bandwidth_per_dir_Bps), float(chip.scaleout_bandwidth_per_dir_Bps))


def lowered(
    system: System, workload: Asked, c: Calibration, streams: bool = False
) -> tuple[list[Plan], list[StepDemand]]:
    """All valid plans, streamed ones too if asked for, and their demands; PlanError if nothing divides."""
    every = asked_plans(workload, system, streams)
    if not every:
        raise PlanError(
            f"no plan divides {workload.model.name} over {system.n_chips} chips of {system.name} with this batch; "
            "choose a batch and chip count with common factors"
        )
    array, ref = array_shape(system.chip.core.tensor), chip_reference(system.chip, c)
    return every, [asked_demand(workload, p, system, ref, array) for p in every]


def fastest(
    every: list[Plan],
    demands: list[StepDemand],
    chip: Chip,
    tech: Technology,
    c: Calibration,
    deadline_s: float = np.inf,
) -> int:
    """Index of the plan that fits in memory with least time per token; PlanError (with the shortfall) if none does.

    Steps longer than `deadline_s` count only where no plan keeps it, and then the shortest step is best.
    """
    stacked = stack_demands(demands)
    seconds = np.asarray(plan_steps_s(stacked, chip, tech, c))
    in_time = np.where(seconds <= deadline_s, seconds, np.inf)
    best = int(np.argmin(in_time / np.asarray(stacked.tokens) if np.isfinite(in_time).any() else seconds))
    if not np.isfinite(seconds[best]):
        leanest = min(range(len(demands)), key=lambda i: float(demands[i].memory_B))
        _check_memory(demands[leanest], chip, every[leanest])
    return best


def _check_memory(d: StepDemand, chip: Chip, plan: Plan) -> None:
    need, have = float(d.memory_B), usable_frac() * float(chip.hbm_capacity_B)
    if need > have:
        raise PlanError(
            f"{plan} needs {need / 2**30:.1f} GiB per chip and {chip.name} offers {have / 2**30:.1f} GiB "
            f"({usable_frac():.0%} of its HBM); use more chips, more tp or pp, ZeRO or recompute"
        )
