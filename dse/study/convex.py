"""The convex core of a study: an objective and constraint ratios (at most 1), posynomials of the free numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import reduce

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.types import FloatLike, Scalar, as_float
from ..economy.job import Economy, Job
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from ..physics.area import block_areas, die_edge_mm, interposer_mm2, shoreline_mm, total_area_mm2
from ..physics.calibration import Calibration
from ..physics.evaluate import full_speed
from ..physics.heat import cooled, sustained_J
from ..physics.money import package_cost
from ..physics.operands import register_load_frac
from ..physics.pipeline import cycle_ratio
from ..physics.power import energy_J, power_W, static_W, voltage_limit
from ..physics.residency import ahead_frac
from ..physics.step import Cooled
from ..technology.presets import Technology
from .design import AUXILIARY, STEPPED, TOUCH, with_free
from .metrics import HOTTEST, OWNED, PER_WORKLOAD, POWER, Load, Own, State, geometric_mean, metric_of, upkeep_of
from .rows import AHEAD, FED, MEMORY, PHYSICS, SENT, SUPPLY, Kind, Row

WORK = "work_W"
"""Auxiliary where operators are cooled: power that the hottest of them may turn into work, static power left out."""
PROVISIONED = "provisioned_W"
"""Auxiliary where workloads share a paid rack: power per chip that it is sized for, the largest of theirs."""
TIMES = "step_s:"
"""How the coordinates that are step times begin; the name of their workload follows."""
FLOOR = 1e-3
"""What rows begin at that may be 0, which has no logarithm."""


class Data(eqx.Module):
    """Everything about one discrete choice that the convex core reads; leaves batch under `jax.vmap`."""

    chip: Chip
    """Chip that defines the structure; its free numbers are replaced."""
    tech: Technology
    calibrations: tuple[Calibration, ...]
    demands: tuple[StepDemand, ...]
    """One per workload, under its plan."""
    baseline_s: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    n_chips: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    n_baseline_tokens: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    """Tokens of that step: in service a design may choose another batch."""
    traffic_frac: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    """Share of the baseline's fleet that each workload takes, for `SERVED`."""
    deadline_s: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    """Upper limit on the step time of each workload; infinite without one."""
    limits: Float[Array | np.ndarray, " k"] = eqx.field(converter=as_float)
    """Value of each user limit, in the order of the study."""
    usable_frac: Scalar = eqx.field(converter=as_float)
    """Share of HBM available to tensors."""
    prefetch_frac: Scalar = eqx.field(converter=as_float)
    """Share of SRAM that may hold prefetched bytes."""
    overdrive_V: Scalar = eqx.field(converter=as_float)
    """Nominal supply minus threshold."""
    bond_loss: Scalar = eqx.field(converter=as_float)
    """-ln of the bonding yield per part."""
    most_scaleup_Bps: Scalar = eqx.field(converter=as_float)
    """Largest bandwidth that the system's switches accept from a chip; `UNCAPPED_Bps` without a limit."""
    economy: Economy | None
    """Server, owner, failures and carbon of the chip; None if goal and limits do not need them."""
    jobs: tuple[Job, ...]
    """Job of each workload, in that case."""


@dataclasses.dataclass(frozen=True)
class ConvexCore:
    """The convex core of a study: names and structure, no numbers. Hashable, so it compiles once."""

    free: tuple[str, ...]
    workloads: tuple[str, ...]
    limits: tuple[tuple[str, str], ...]
    """Metric and sense of each user limit, in order."""
    goal: str
    """Name in `METRICS` to minimise."""
    streams: bool = False
    """Whether plans may prefetch weights, which SRAM must hold."""
    own: Own = ()
    """User-defined metrics."""
    shares: tuple[float, ...] = ()
    """Weights of the workloads in geometric means; empty for equal weights."""
    capped: bool = False
    """Whether the switches of some system limit a chip's bandwidth."""
    fed: bool = False
    """Whether the register ports of the lanes feed the matrix units (GPUs)."""
    supplied: bool = False
    """Whether the nodes to choose among allow different supplies."""


def cools(core: ConvexCore) -> bool:
    """Whether operators slow down to a cooling limit: goal or a limit names the hottest operator."""
    return core.goal == HOTTEST or any(metric == HOTTEST for metric, _ in core.limits)


def provisions(core: ConvexCore) -> bool:
    """Whether provisioned power is a coordinate: several workloads, and goal or a limit depends on its cost."""
    return len(core.workloads) > 1 and any(m in OWNED for m in (core.goal, *(metric for metric, _ in core.limits)))


def power_auxiliaries(core: ConvexCore) -> tuple[str, ...]:
    """Auxiliaries that are powers."""
    return (*((WORK,) if cools(core) else ()), *((PROVISIONED,) if provisions(core) else ()))


def coordinates(core: ConvexCore) -> tuple[str, ...]:
    """All coordinates in order: free chip numbers, auxiliaries, one step time per workload."""
    return (*core.free, *AUXILIARY, *power_auxiliaries(core), *(f"{TIMES}{w}" for w in core.workloads))


def ratio_rows(core: ConvexCore) -> tuple[Row, ...]:
    """Meaning of every ratio of `separate`, in order."""
    asked = ("step", MEMORY, AHEAD) if core.streams else ("step", MEMORY)
    own = [Row(what, Kind.WORKLOAD, w) for w in core.workloads for what in asked]
    own += [Row(PROVISIONED, Kind.LAW, w) for w in core.workloads if provisions(core)]
    users = (
        Row(metric, Kind.USER, w, i)
        for i, (metric, _) in enumerate(core.limits)
        for w in (core.workloads if metric in PER_WORKLOAD else ("",))
    )
    asked_of = (*((SENT,) if core.capped else ()), *((FED,) if core.fed else ()), *(SUPPLY if core.supplied else ()))
    return (*PHYSICS, *asked_of, *own, *users)


def model_of(core: ConvexCore) -> eqx.Partial:
    """`core_logs` as a function that compares equal where the cores do, so that it compiles once."""
    return eqx.Partial(core_logs, core)


def all_strict(core: ConvexCore) -> np.ndarray:
    """Mask for the solver in which no limit may be exceeded."""
    return np.zeros(len(ratio_rows(core)), dtype=bool)


def rows_of_limit(core: ConvexCore, limit: int) -> list[int]:
    """Positions of the rows of a user's limit: one per workload where the metric has a value for each."""
    return [i for i, row in enumerate(ratio_rows(core)) if row.limit == limit]


def power_cap_W(core: ConvexCore, data: Data, metric: str = POWER) -> FloatLike:
    """`least_cap_W` of a study's coefficients: the lowest upper limit on a power; infinite without one [W]."""
    # a floor on power throttles nothing: the sense belongs to the name
    caps = [data.limits[i] for i, form in enumerate(core.limits) if form == (metric, "at_most")]
    return jnp.min(jnp.stack(caps)) if caps else jnp.asarray(jnp.inf)


def cooled_times(
    core: ConvexCore, d: StepDemand, chip: Chip, x: Mapping[str, FloatLike], data: Data, c: Calibration
) -> Cooled | None:
    """Shortest times at the power for work in `x`; None where no limit names the hottest operator."""
    if not cools(core):
        return None
    return cooled(sustained_J(d, chip, data.tech, c, x["supply_V"], x["die_mm2"]), x[WORK])


def separate(core: ConvexCore, x: Mapping[str, FloatLike], data: Data) -> tuple[FloatLike, ...]:
    """Objective and constraint ratios (each at most 1 in a feasible design) as posynomials of `x`, by coordinate."""
    chip = with_free(data.chip, {n: x[n] for n in core.free})
    state, of_workloads = chip_at(core, chip, x, data)
    tech, die = data.tech, x["die_mm2"]
    stages_Hz = chip.clock_Hz * cycle_ratio(chip.pipeline_depth)
    # laws as inequalities: goal and limits press on one side of each, so that it holds exactly wherever it matters
    physics = [
        voltage_limit(stages_Hz, x["supply_V"], chip.nominal_clock_Hz, tech.node, data.overdrive_V),
        total_area_mm2(state.area) / (chip.n_dies * die),
        shoreline_mm(chip, tech) / die_edge_mm(die, tech.package),
        die / tech.package.reticle_mm2,
        interposer_mm2(chip, die, tech) / tech.package.interposer_limit_mm2,
        chip.hbm_bandwidth_Bps / (chip.n_stacks * tech.memory.stack_bandwidth_Bps * TOUCH),
        chip.hbm_capacity_B / (chip.n_stacks * tech.memory.stack_capacity_B * TOUCH**2),
    ]
    if core.capped:
        physics.append(chip.scaleup_bandwidth_per_dir_Bps / data.most_scaleup_Bps)
    if core.fed:
        physics.append(FLOOR + (1.0 - FLOOR) * register_load_frac(chip) / TOUCH)  # weights add up to 1
    if core.supplied:
        physics += [x["supply_V"] / tech.node.maximum_V, tech.node.minimum_V / x["supply_V"]]
    users: list[FloatLike] = []
    for i, (metric, sense) in enumerate(core.limits):
        values, room = metric_of(core.own, metric)(state), allowed_frac(metric, sense)
        for v in values if isinstance(values, list) else [values]:
            users.append((v / data.limits[i] if sense == "at_most" else data.limits[i] / v) / room)
    value = metric_of(core.own, core.goal)(state)
    goal = geometric_mean(value, core.shares) if isinstance(value, list) else value
    return tuple(jnp.asarray(r) for r in (goal, *physics, *of_workloads, *users))


def allowed_frac(metric: str, sense: str) -> float:
    """How far past a limit rows go: over 1 where whole steps meet it exactly, as eight stacks "at least 8"."""
    if (metric, sense) == ("hbm_capacity_B", "at_most"):
        return TOUCH**2  # whole stacks hold `TOUCH` more than their sum, so that a limit "at least" is met
    return TOUCH if metric in (*STEPPED, "sram_B") else 1.0


def named_numbers(core: ConvexCore, z: FloatLike) -> dict[str, FloatLike]:
    """Named positive numbers of the log coordinates `z`."""
    return dict(zip(coordinates(core), jnp.exp(z), strict=True))


def core_logs(core: ConvexCore, z: FloatLike, data: Data) -> tuple[Array, Array]:
    """Log objective and log ratios at log coordinates `z`: minimised, and kept at most 0, by the solver."""
    goal, *ratios = separate(core, named_numbers(core, z), data)
    return jnp.log(goal), jnp.log(jnp.stack(ratios))  # convex in z, as posynomials are [boyd2007tutorial]


def chip_at(core: ConvexCore, chip: Chip, x: Mapping[str, FloatLike], data: Data) -> tuple[State, list[FloatLike]]:
    """Chip with area, cost and powers at the step times in `x`, and the ratios of every workload."""
    tech, die, volt = data.tech, x["die_mm2"], x["supply_V"]
    area = block_areas(chip, tech)
    static = static_W(chip, tech, area, volt)
    hottest = power_W(x[WORK], jnp.ones(()), static, tech) if cools(core) else jnp.asarray(jnp.nan)
    loads, ratios = [], []
    for i, (name, d, c) in enumerate(zip(core.workloads, data.demands, data.calibrations, strict=True)):
        seconds = x[f"{TIMES}{name}"]
        step, energy = full_speed(d, chip, tech, c, volt, die, cooled_times(core, d, chip, x, data, c))
        power = power_W(energy_J(energy), seconds, static, tech)
        # in service a design may choose another batch: the baseline's time for as many tokens is what counts
        before = data.baseline_s[i] * d.tokens / data.n_baseline_tokens[i]
        loads.append(Load(seconds, power, before, d.tokens / data.n_chips[i], data.traffic_frac[i], hottest))
        # a step takes at least so long: "exactly" would not be convex, and only a chip that throttles takes longer
        ratios += [step.total_s / seconds, d.memory_B / (data.usable_frac * chip.hbm_capacity_B)]
        if core.streams:
            ratios.append(FLOOR + (1.0 - FLOOR) * ahead_frac(d, chip, data.prefetch_frac))  # 1 stays 1
    money = package_cost(chip, die, data.bond_loss, tech)
    sized_W = x.get(PROVISIONED)  # left out of the coordinates of a chip that exists: the hungriest decides
    if provisions(core):
        most_W = reduce(jnp.maximum, [w.power_W for w in loads]) if sized_W is None else sized_W
        ratios += [w.power_W / most_W for w in loads]
    upkeeps = upkeep_of(chip, tech, money, die, data.economy, data.jobs, loads, sized_W)
    return State(chip, tech, area, money, die, volt, loads, upkeeps, core.shares), ratios
