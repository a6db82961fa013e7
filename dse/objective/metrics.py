"""What a chip does on a workload, all at once: time, energy, power, throttling, area, dollars."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import PlanError
from ..core.types import FloatLike
from ..cost.area import Area, block_areas, die_area_mm2, interposer_mm2
from ..cost.money import Money, bond_loss, package_cost
from ..cost.power import Energy, energy_J, power_W, static_W, step_energy, supply_V, throttled_s
from ..hardware.chip import Chip
from ..hardware.system import System
from ..mapping.headroom import usable_frac
from ..mapping.plan import Plan
from ..mapping.tiling import array_shape
from ..performance.calibration import Calibration, reference_speeds, workload_calibration
from ..performance.coefficients import StepDemand
from ..performance.collective import Reference
from ..performance.demand import demand, stack_demands
from ..performance.step import Step, step_time
from ..technology.presets import Technology, technology
from ..workload.transformer import Workload
from .served import Asked, asked_demand, asked_plans
from .terms import State


class Silicon(eqx.Module):
    """A chip's area, supply and cost: what does not depend on the workload."""

    area: Area
    """Blocks of the package."""
    die_mm2: FloatLike
    """One compute die."""
    interposer_mm2: FloatLike
    """Interposer."""
    supply_V: FloatLike
    """Supply at the chip's clock."""
    static_W: FloatLike
    """Power at no load."""
    money: Money
    """Cost of the package."""


class Evaluation(eqx.Module):
    """One workload on one chip under one plan."""

    step: Step
    """Times without a power limit."""
    energy: Energy
    """Dynamic energy of one chip per step."""
    step_s: FloatLike
    """Step time under the chip's power limit."""
    power_W: FloatLike
    """Mean package power at `step_s`."""
    tokens_per_s: FloatLike
    """Tokens per second of the whole system at `step_s`."""
    mfu_frac: FloatLike
    """Model FLOP over time and the peak at the precision of the linear layers."""
    memory_B: FloatLike
    """HBM the plan needs per chip."""


def silicon(chip: Chip, tech: Technology) -> Silicon:
    """Area, supply, static power and cost of `chip` in `tech`."""
    area = block_areas(chip, tech)
    die = die_area_mm2(chip, tech)
    volt = supply_V(chip.clock_Hz, chip.nominal_clock_Hz, tech.node)
    return Silicon(
        area=area,
        die_mm2=die,
        interposer_mm2=interposer_mm2(chip, die, tech),
        supply_V=volt,
        static_W=static_W(chip, tech, area, volt),
        money=package_cost(chip, die, bond_loss(tech), tech),
    )


def evaluate_demand(d: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> Evaluation:
    """`d` on `chip`: pure, differentiable and ready for `jax.vmap` over demands, chips or both."""
    s = silicon(chip, tech)
    step = step_time(d, chip, c)
    energy = step_energy(d, step, chip, tech, s.supply_V, s.die_mm2)
    dynamic = energy_J(energy)
    seconds = throttled_s(step.total_s, dynamic, s.static_W, chip.power_limit_W, tech)
    t = chip.core.tensor
    peak = 2.0 * chip.n_cores * t.rows * t.cols * d.rate * chip.clock_Hz
    return Evaluation(
        step=step,
        energy=energy,
        step_s=seconds,
        power_W=power_W(dynamic, seconds, s.static_W, tech),
        tokens_per_s=d.tokens / seconds,
        mfu_frac=d.model_FLOP / seconds / peak,
        memory_B=jnp.asarray(d.memory_B, dtype=float),
    )


def chip_state(chip: Chip) -> State:
    """A preset chip as a point that `METRICS` can read, without workloads."""
    tech = chip_technology(chip)
    s = silicon(chip, tech)
    return State(chip, tech, s.area, s.money, s.die_mm2, s.supply_V, [], [])


def chip_technology(chip: Chip, package: str = "CoWoS-L") -> Technology:
    """The technology a preset names: its node, memory and links."""
    return technology(chip.node, chip.hbm, chip.link, package=package)


@jax.jit
def throttled_step_s(d: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> FloatLike:
    """Throttled step time of one demand on one chip [s]."""
    return evaluate_demand(d, chip, tech, c).step_s


@jax.jit
def plan_steps_s(demands: StepDemand, chip: Chip, tech: Technology, c: Calibration) -> FloatLike:
    """Throttled step time of every demand (leading axis) on one chip, inf where it does not fit in memory."""

    def one(d: StepDemand) -> FloatLike:
        fits = d.memory_B <= usable_frac() * chip.hbm_capacity_B
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


def lowered(system: System, workload: Asked, c: Calibration) -> tuple[list[Plan], list[StepDemand]]:
    """All valid plans and their demands; PlanError if nothing divides."""
    every = asked_plans(workload, system)
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
