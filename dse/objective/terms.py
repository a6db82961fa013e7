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
from ..cost.area import Area, block_areas, die_edge_mm, interposer_mm2, shoreline_mm, total_area_mm2
from ..cost.money import Money, package_cost, total_USD
from ..cost.power import energy_J, full_load_power_W, power_W, static_W, step_energy, voltage_limit
from ..hardware.chip import Chip, peak_FLOPps
from ..performance.calibration import Calibration
from ..performance.coefficients import StepDemand
from ..performance.step import step_time
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


class State(eqx.Module):
    """A chip at one point of the box, with what metrics need."""

    chip: Chip
    tech: Technology
    area: Area
    money: Money
    die_mm2: FloatLike
    supply_V: FloatLike
    steps_s: list[FloatLike]
    powers_W: list[FloatLike]


METRICS: dict[str, Callable[[State], FloatLike | list[FloatLike]]] = {
    "power_W": lambda s: s.powers_W,
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
"""What a limit or a goal can name. `power_W` has one value per workload; every one must obey."""

TOUCH = 1.0 + 1e-6
"""Room for a whole number of stacks that meets a capacity or bandwidth limit exactly: an interior to search in."""

DELIVERED = "delivered_time"
"""Goal: geometric mean over workloads of step time over the baseline's."""


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
    """`DELIVERED` or a name in `METRICS` to minimise."""

    def variables(self) -> tuple[str, ...]:
        """All coordinates in order: free chip numbers, auxiliaries, one step time per workload."""
        return (*self.free, *AUXILIARY, *(f"step_s:{w}" for w in self.workloads))

    def rows(self) -> tuple[str, ...]:
        """Label of every ratio that `terms` returns, in order."""
        die = ("V-f law", "blocks on die", "shoreline", "reticle")
        package = ("interposer", "stack bandwidth", "stack capacity")
        per_workload = [f"{what}:{w}" for w in self.workloads for what in ("step", "memory")]
        users = [
            f"{metric}:{w}" if metric == "power_W" else metric
            for metric, _ in self.limits
            for w in (self.workloads if metric == "power_W" else ("",))
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
        return self._goal(state, data), [jnp.asarray(r) for r in (*physics, *ratios, *users)]

    def _goal(self, state: State, data: Data) -> FloatLike:
        if self.goal not in SPEEDUPS:
            return jnp.asarray(METRICS[self.goal](state))
        tokens = [data.n_baseline_tokens[i] / d.tokens for i, d in enumerate(data.demands)]
        ratios = [n * t / data.baseline_s[i] for i, (n, t) in enumerate(zip(tokens, state.steps_s, strict=True))]
        if self.goal == SERVED:
            return sum((data.traffic_frac[i] * r for i, r in enumerate(ratios)), start=jnp.zeros(()))
        power = 1.0 / len(state.steps_s)
        return math.prod([r**power for r in ratios[1:]], start=ratios[0] ** power)

    def _state(self, chip: Chip, x: Mapping[str, FloatLike], data: Data) -> tuple[State, list[FloatLike]]:
        """Chip with area, cost and powers at the step times in `x`, and the ratios of every workload."""
        tech, die, volt = data.tech, x["die_mm2"], x["supply_V"]
        area = block_areas(chip, tech)
        static = static_W(chip, tech, area, volt)
        steps, powers, ratios = [], [], []
        for name, d in zip(self.workloads, data.demands, strict=True):
            seconds = x[f"step_s:{name}"]
            step = step_time(d, chip, data.calibration)
            energy = energy_J(step_energy(d, step, chip, tech, volt, die))
            steps.append(seconds)
            powers.append(power_W(energy, seconds, static, tech))
            ratios += [step.total_s / seconds, d.memory_B / (data.usable_frac * chip.hbm_capacity_B)]
        money = package_cost(chip, die, data.bond_loss, tech)
        return State(chip, tech, area, money, die, volt, steps, powers), ratios

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
