"""The convex core of a study: one objective and ratios that must not exceed 1, all posynomials of free numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.types import FloatLike, Scalar, as_float
from ..economy.job import Economy, Job, Upkeep, owned, upkeep
from ..hardware.chip import Chip, peak_FLOPps
from ..lowering.step_demand import StepDemand
from ..physics.area import Area, block_areas, die_edge_mm, interposer_mm2, shoreline_mm, total_area_mm2
from ..physics.calibration import Calibration
from ..physics.evaluate import chip_technology, full_speed, silicon
from ..physics.money import Money, inverse_yield, package_cost, total_USD
from ..physics.power import energy_J, full_load_power_W, power_W, static_W, voltage_limit
from ..technology.presets import Technology
from .design import AUXILIARY, FREE, with_free


class Data(eqx.Module):
    """Everything about one discrete choice that the convex core reads; leaves batch under `jax.vmap`."""

    chip: Chip
    """Structure; free numbers are overwritten."""
    tech: Technology
    """Node, memory, links, package."""
    calibration: Calibration
    """Achievable fractions."""
    demands: tuple[StepDemand, ...]
    """One per workload, under its plan."""
    baseline_s: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    """Step time of each workload on the baseline chip."""
    n_chips: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    """Chips that each workload runs on."""
    n_baseline_tokens: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    """Tokens of that step: in service a design may choose another batch."""
    traffic_frac: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    """Share of the baseline's fleet that each workload takes, for `SERVED`."""
    deadline_s: Float[Array | np.ndarray, " w"] = eqx.field(converter=as_float)
    """Longest step time of each workload; infinite where nothing is promised."""
    limits: Float[Array | np.ndarray, " k"] = eqx.field(converter=as_float)
    """Value of each user limit, in the order of the study."""
    usable_frac: Scalar = eqx.field(converter=as_float)
    """Share of HBM that tensors may fill."""
    overdrive_V: Scalar = eqx.field(converter=as_float)
    """Nominal supply minus threshold."""
    bond_loss: Scalar = eqx.field(converter=as_float)
    """-ln of the bonding yield per part."""
    economy: Economy | None
    """Server, owner, failures and carbon around the chip; None where goal and limits do not ask."""
    jobs: tuple[Job, ...]
    """What each workload asks of a fleet, in that case."""


class Work(eqx.Module):
    """One workload on the chip of a `State`."""

    step_s: FloatLike
    """Step time."""
    power_W: FloatLike
    """Mean package power."""
    baseline_s: FloatLike
    """What the baseline chip takes for as many tokens."""
    tokens: FloatLike
    """Tokens per step and chip."""
    traffic_frac: FloatLike
    """Share of the baseline's fleet, where the workload is a model in service."""


class State(eqx.Module):
    """A chip at one point of the box, with what metrics need."""

    chip: Chip
    tech: Technology
    area: Area
    money: Money
    die_mm2: FloatLike
    supply_V: FloatLike
    works: list[Work]
    upkeeps: list[Upkeep]


def chip_state(chip: Chip, tech: Technology | None = None, works: Sequence[Work] = ()) -> State:
    """A chip that exists as a point that `METRICS` can read: as it is, in the technology of its preset or another."""
    tech = chip_technology(chip) if tech is None else tech
    s = silicon(chip, tech)
    return State(chip, tech, s.area, s.money, s.die_mm2, s.supply_V, list(works), [])


def geometric_mean(values: list[FloatLike]) -> FloatLike:
    """Geometric mean of positive numbers: a monomial of them."""
    power = 1.0 / len(values)
    return math.prod((v**power for v in values[1:]), start=values[0] ** power)


ECONOMIC: dict[str, Callable[[Upkeep], FloatLike]] = {
    "wall_step_s": lambda u: u.wall_step_s,
    "chip_hour_USD": lambda u: u.chip_hour_USD,
    "cost_per_token_USD": lambda u: u.cost_per_token_USD,
    "energy_per_token_J": lambda u: u.energy_per_token_J,
    "carbon_per_token_kg": lambda u: u.carbon_per_token_kg,
}
"""Metrics that need an owner: server, capital, energy, failures, carbon."""

METRICS: dict[str, Callable[[State], FloatLike | list[FloatLike]]] = {
    "delivered_time": lambda s: geometric_mean([w.step_s / w.baseline_s for w in s.works]),
    "served_time": lambda s: sum((w.traffic_frac * w.step_s / w.baseline_s for w in s.works), start=jnp.zeros(())),
    "chip_energy_per_token_J": lambda s: geometric_mean([w.power_W * w.step_s / w.tokens for w in s.works]),
    "power_W": lambda s: [w.power_W for w in s.works],
    **{name: lambda s, of=of: [of(u) for u in s.upkeeps] for name, of in ECONOMIC.items()},
    **{f"mean_{name}": lambda s, of=of: geometric_mean([of(u) for u in s.upkeeps]) for name, of in ECONOMIC.items()},
    "full_load_fp8_W": lambda s: _full_load_W(s, "fp8"),
    "full_load_fp4_W": lambda s: _full_load_W(s, "fp4"),
    "supply_V": lambda s: s.supply_V,
    "die_mm2": lambda s: s.die_mm2,
    "silicon_mm2": lambda s: s.chip.n_dies * s.die_mm2,
    "interposer_mm2": lambda s: interposer_mm2(s.chip, s.die_mm2, s.tech),
    "package_cost_USD": lambda s: total_USD(s.money),
    "peak_bf16_FLOPps": lambda s: peak_FLOPps(s.chip, "bf16"),
    "peak_fp8_FLOPps": lambda s: peak_FLOPps(s.chip, "fp8"),
    "peak_fp4_FLOPps": lambda s: peak_FLOPps(s.chip, "fp4"),
    "sram_B": lambda s: s.chip.n_cores * s.chip.core.scratchpad_B,
    **{name: lambda s, place=place: place(s.chip) for name, place in FREE.items()},
}
"""What a limit or a goal can name. `delivered_time` (step time over the baseline's), `chip_energy_per_token_J` and
those that begin with "mean" are geometric means over the workloads."""

OWNED = (*ECONOMIC, *(f"mean_{name}" for name in ECONOMIC))
"""Metrics that need an owner, per workload or as means."""
PER_WORKLOAD = ("power_W", *ECONOMIC)
"""Metrics with one value per workload: every one must obey a limit, and a goal is their geometric mean."""
OF_WORKLOADS = ("delivered_time", "served_time", "chip_energy_per_token_J", "power_W", *OWNED)
"""Metrics that need a workload."""

TOUCH = 1.0 + 1e-6
"""Room for a whole number of stacks that meets a capacity or bandwidth limit exactly: an interior to search in."""

DELIVERED = "delivered_time"
"""The metric that speed-ups are the inverse of."""


def upkeep_of(
    chip: Chip, tech: Technology, money: Money, die_mm2: FloatLike, economy: Economy | None, jobs: tuple[Job, ...],
    works: list[Work],
) -> list[Upkeep]:  # fmt: skip
    """What the step of every workload takes, costs, burns and emits; the rack is sized for the hungriest of them."""
    if economy is None:
        return []
    provisioned = works[0].power_W
    for work in works[1:]:
        provisioned = jnp.maximum(provisioned, work.power_W)
    silicon = chip.n_dies * die_mm2
    racked = owned(chip, total_USD(money), silicon, silicon * inverse_yield(die_mm2, tech), provisioned, economy)
    return [upkeep(racked, chip, j, w.step_s, w.power_W, economy) for j, w in zip(jobs, works, strict=True)]


SERVED = "served_time"
"""Goal: time per token over the baseline's, averaged over the chips that each model of a portfolio takes there."""


SPEEDUPS = (DELIVERED, SERVED)
"""Goals that are times over the baseline's: one over the goal is a speed-up."""


def mean_speedup(goal: str, speedups: Sequence[float], traffic_frac: Sequence[float]) -> float:
    """Speed-up of several workloads as one: the fleet's for `SERVED`, else the geometric mean."""
    each = np.asarray(speedups)
    if goal == SERVED:
        return float(1.0 / np.sum(np.asarray(traffic_frac) / each))
    return float(np.exp(np.mean(np.log(each))))


def _full_load_W(s: State, precision: str) -> FloatLike:
    parts = full_load_power_W(s.chip, s.tech, precision, s.area, s.die_mm2, s.supply_V)
    return sum(parts.values(), start=jnp.zeros(()))


@dataclasses.dataclass(frozen=True)
class Limit:
    """One user limit: a metric at most or at least a value."""

    metric: str
    """Name in `METRICS`."""
    sense: str
    """"at_most" or "at_least"."""
    value: float
    """Canonical unit of the metric."""

    @property
    def name(self) -> str:
        """Label in tables, such as "power_W <= 1200"."""
        return f"{self.metric} {'<=' if self.sense == 'at_most' else '>='} {self.value:.6g}"


@dataclasses.dataclass(frozen=True)
class Core:
    """The convex core of a study: names and structure, no numbers. Hashable, so it compiles once."""

    free: tuple[str, ...]
    """Free chip numbers, in order."""
    workloads: tuple[str, ...]
    """Workload names, in order."""
    limits: tuple[tuple[str, str], ...]
    """Metric and sense of each user limit, in order."""
    goal: str
    """Name in `METRICS` to minimise."""

    def variables(self) -> tuple[str, ...]:
        """All coordinates in order: free chip numbers, auxiliaries, one step time per workload."""
        return (*self.free, *AUXILIARY, *(f"step_s:{w}" for w in self.workloads))

    def rows(self) -> tuple[str, ...]:
        """Label of every ratio that `terms` returns, in order."""
        die = ("V-f law", "blocks on die", "shoreline", "reticle")
        package = ("interposer", "stack bandwidth", "stack capacity")
        per_workload = [f"{what}:{w}" for w in self.workloads for what in ("step", "memory")]
        users = [
            f"{metric}:{w}" if metric in PER_WORKLOAD else metric
            for metric, _ in self.limits
            for w in (self.workloads if metric in PER_WORKLOAD else ("",))
        ]
        return (*die, *package, *per_workload, *users)

    def terms(self, x: Mapping[str, FloatLike], data: Data) -> tuple[FloatLike, FloatLike]:
        """As `ratio_list`, the ratios stacked, shape (m,)."""
        goal, ratios = self.ratio_list(x, data)
        return goal, jnp.stack(ratios)

    def ratio_list(self, x: Mapping[str, FloatLike], data: Data) -> tuple[FloatLike, list[FloatLike]]:
        """Objective and ratios (each at most 1 in a design that works), as posynomials of `x`.

        Args:
            x: positive numbers by `variables()` name, canonical units.
            data: coefficients of one discrete choice.

        Returns:
            Objective [dimensionless or the goal's unit] and scalar ratios in the order of `rows()`.
        """
        chip = with_free(data.chip, {n: x[n] for n in self.free})
        state, ratios = self._state(chip, x, data)
        tech, die = data.tech, x["die_mm2"]
        physics = [
            voltage_limit(chip.clock_Hz, x["supply_V"], chip.nominal_clock_Hz, tech.node, data.overdrive_V),
            total_area_mm2(state.area) / (chip.n_dies * die),
            shoreline_mm(chip, tech) / die_edge_mm(die, tech.package),
            die / tech.package.reticle_mm2,
            interposer_mm2(chip, die, tech) / tech.package.interposer_limit_mm2,
            chip.hbm_bandwidth_Bps / (chip.n_stacks * tech.memory.stack_bandwidth_Bps * TOUCH),
            chip.hbm_capacity_B / (chip.n_stacks * tech.memory.stack_capacity_B * TOUCH),
        ]
        users: list[FloatLike] = []
        for i, (metric, sense) in enumerate(self.limits):
            values = METRICS[metric](state)
            for v in values if isinstance(values, list) else [values]:
                users.append(v / data.limits[i] if sense == "at_most" else data.limits[i] / v)
        return self._goal(state), [jnp.asarray(r) for r in (*physics, *ratios, *users)]

    def _goal(self, state: State) -> FloatLike:
        value = METRICS[self.goal](state)
        return geometric_mean(value) if isinstance(value, list) else jnp.asarray(value)

    def state(self, chip: Chip, x: Mapping[str, FloatLike], data: Data) -> State:
        """`chip` with area, cost, and powers at the step times in `x`: what a goal of the user's own may read."""
        return self._state(chip, x, data)[0]

    def _state(self, chip: Chip, x: Mapping[str, FloatLike], data: Data) -> tuple[State, list[FloatLike]]:
        """Chip with area, cost and powers at the step times in `x`, and the ratios of every workload."""
        tech, die, volt = data.tech, x["die_mm2"], x["supply_V"]
        area = block_areas(chip, tech)
        static = static_W(chip, tech, area, volt)
        works, ratios = [], []
        for i, (name, d) in enumerate(zip(self.workloads, data.demands, strict=True)):
            seconds = x[f"step_s:{name}"]
            step, energy = full_speed(d, chip, tech, data.calibration, volt, die)
            power = power_W(energy_J(energy), seconds, static, tech)
            before = data.baseline_s[i] * d.tokens / data.n_baseline_tokens[i]
            works.append(Work(seconds, power, before, d.tokens / data.n_chips[i], data.traffic_frac[i]))
            ratios += [step.total_s / seconds, d.memory_B / (data.usable_frac * chip.hbm_capacity_B)]
        money = package_cost(chip, die, data.bond_loss, tech)
        upkeeps = upkeep_of(chip, tech, money, die, data.economy, data.jobs, works)
        return State(chip, tech, area, money, die, volt, works, upkeeps), ratios

    def separate(self, x: Mapping[str, FloatLike], data: Data) -> tuple[FloatLike, ...]:
        """Objective and every ratio as outputs of their own, for the convexity walker."""
        goal, ratios = self.ratio_list(x, data)
        return (goal, *ratios)

    def positive(self, z: FloatLike) -> dict[str, FloatLike]:
        """Named positive numbers of the log coordinates `z`."""
        return dict(zip(self.variables(), jnp.exp(z), strict=True))

    def logs(self, z: FloatLike, data: Data) -> tuple[Array, Array]:
        """Log objective and log ratios at log coordinates `z`: what the solver minimises and keeps below 0."""
        goal, ratios = self.terms(self.positive(z), data)
        return jnp.log(goal), jnp.log(ratios)
