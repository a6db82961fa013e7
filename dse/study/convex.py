"""The convex core of a study: one objective and ratios that must not exceed 1, all posynomials of free numbers."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

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
from ..physics.money import package_cost
from ..physics.power import energy_J, power_W, static_W, voltage_limit
from ..technology.presets import Technology
from .design import AUXILIARY, with_free
from .metrics import METRICS, PER_WORKLOAD, POWER_CAP, Load, State, geometric_mean, upkeep_of

TOUCH = 1.0 + 1e-6
"""Room for a whole number of stacks that meets a capacity or bandwidth limit exactly: an interior to search in."""


class Data(eqx.Module):
    """Everything about one discrete choice that the convex core reads; leaves batch under `jax.vmap`."""

    chip: Chip
    """Structure; free numbers are overwritten."""
    tech: Technology
    """Node, memory, links, package."""
    calibrations: tuple[Calibration, ...]
    """Achievable fractions of each workload."""
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


class Kind(enum.StrEnum):
    """Who sets a limit."""

    LAW = "law"
    TECHNOLOGY = "technology"
    WORKLOAD = "workload"
    USER = "user"
    BOUND = "bound"


@dataclasses.dataclass(frozen=True)
class Row:
    """One ratio of the convex core: what it keeps at most 1."""

    what: str
    """The law, the limit of the technology, what the workload asks, or the metric of the user's limit."""
    kind: Kind
    """Who sets it."""
    workload: str = ""
    """The workload that it is about, or ""."""
    limit: int | None = None
    """Position of the user's limit in the study."""

    @property
    def label(self) -> str:
        """Text in messages, such as "power_W:decode"."""
        return f"{self.what}:{self.workload}" if self.workload else self.what


PHYSICS = (
    Row("V-f law", Kind.LAW), Row("blocks on die", Kind.LAW), Row("shoreline", Kind.TECHNOLOGY),
    Row("reticle", Kind.TECHNOLOGY), Row("interposer", Kind.TECHNOLOGY), Row("stack bandwidth", Kind.TECHNOLOGY),
    Row("stack capacity", Kind.TECHNOLOGY),
)  # fmt: skip
"""Ratios of every study, in the order of `ConvexCore.separate`."""
MEMORY = "memory"
"""What a workload fills, over what tensors may fill."""


@dataclasses.dataclass(frozen=True)
class ConvexCore:
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

    def rows(self) -> tuple[Row, ...]:
        """What every ratio of `separate` means, in order."""
        own = (Row(what, Kind.WORKLOAD, w) for w in self.workloads for what in ("step", MEMORY))
        users = (
            Row(metric, Kind.USER, w, i)
            for i, (metric, _) in enumerate(self.limits)
            for w in (self.workloads if metric in PER_WORKLOAD else ("",))
        )
        return (*PHYSICS, *own, *users)

    @property
    def model(self) -> eqx.Partial:
        """`logs` as a function that compares equal where the cores do, so that it compiles once."""
        return eqx.Partial(ConvexCore.logs, self)

    def rows_of(self, limit: int) -> list[int]:
        """Positions of the rows of a user's limit: one per workload where the metric has a value for each."""
        return [i for i, row in enumerate(self.rows()) if row.limit == limit]

    def power_cap_W(self, data: Data) -> FloatLike:
        """Power to which a chip throttles: the study's least upper limit; infinite without one."""
        caps = [data.limits[i] for i, form in enumerate(self.limits) if form == POWER_CAP]
        return jnp.min(jnp.stack(caps)) if caps else jnp.asarray(jnp.inf)

    def separate(self, x: Mapping[str, FloatLike], data: Data) -> tuple[FloatLike, ...]:
        """Objective and ratios (each at most 1 in a design that works), as posynomials of `x`.

        Args:
            x: positive numbers by `variables()` name, canonical units.
            data: coefficients of one discrete choice.

        Returns:
            Objective [dimensionless or the goal's unit], then one scalar ratio per row.
        """
        chip = with_free(data.chip, {n: x[n] for n in self.free})
        state, of_workloads = chip_at(self, chip, x, data)
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
        value = METRICS[self.goal](state)
        goal = geometric_mean(value) if isinstance(value, list) else value
        return tuple(jnp.asarray(r) for r in (goal, *physics, *of_workloads, *users))

    def positive(self, z: FloatLike) -> dict[str, FloatLike]:
        """Named positive numbers of the log coordinates `z`."""
        return dict(zip(self.variables(), jnp.exp(z), strict=True))

    def logs(self, z: FloatLike, data: Data) -> tuple[Array, Array]:
        """Log objective and log ratios at log coordinates `z`: what the solver minimises and keeps below 0."""
        goal, *ratios = self.separate(self.positive(z), data)
        return jnp.log(goal), jnp.log(jnp.stack(ratios))


def chip_at(core: ConvexCore, chip: Chip, x: Mapping[str, FloatLike], data: Data) -> tuple[State, list[FloatLike]]:
    """Chip with area, cost and powers at the step times in `x`, and the ratios of every workload."""
    tech, die, volt = data.tech, x["die_mm2"], x["supply_V"]
    area = block_areas(chip, tech)
    static = static_W(chip, tech, area, volt)
    loads, ratios = [], []
    for i, (name, d, c) in enumerate(zip(core.workloads, data.demands, data.calibrations, strict=True)):
        seconds = x[f"step_s:{name}"]
        step, energy = full_speed(d, chip, tech, c, volt, die)
        power = power_W(energy_J(energy), seconds, static, tech)
        before = data.baseline_s[i] * d.tokens / data.n_baseline_tokens[i]
        loads.append(Load(seconds, power, before, d.tokens / data.n_chips[i], data.traffic_frac[i]))
        ratios += [step.total_s / seconds, d.memory_B / (data.usable_frac * chip.hbm_capacity_B)]
    money = package_cost(chip, die, data.bond_loss, tech)
    upkeeps = upkeep_of(chip, tech, money, die, data.economy, data.jobs, loads)
    return State(chip, tech, area, money, die, volt, loads, upkeeps), ratios
