"""What a chip does under a demand, all at once: time, energy, power, throttling, area, dollars. Pure and traced."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..core.errors import SpecError
from ..core.frames import AbstractShown, page, table_of
from ..core.program import is_traced
from ..core.text import quantity_text
from ..core.types import FloatLike
from ..hardware.chip import ROUNDING, Chip
from ..lowering.headroom import usable_B
from ..lowering.step_demand import StepDemand
from ..technology.package import harvested
from ..technology.presets import Technology, technology
from .area import Area, block_areas, die_area_mm2, interposer_mm2
from .calibration import Calibration
from .heat import cooled_to, hottest_W
from .money import Money, bond_loss, package_cost
from .pipeline import cycle_ratio
from .power import (
    Energy,
    energy_J,
    most_clock_Hz,
    power_W,
    static_W,
    step_energy,
    supply_V,
    throttled_s,
    work_W,
)
from .step import Cooled, Step, step_time

if TYPE_CHECKING:
    import pandas as pd


class Silicon(AbstractShown, eqx.Module):
    """A chip's area, supply and cost: what does not depend on the workload."""

    area: Area
    die_mm2: FloatLike
    interposer_mm2: FloatLike
    supply_V: FloatLike
    static_W: FloatLike
    money: Money


class Evaluation(eqx.Module):
    """One workload on one chip under one plan."""

    step: Step
    """Times without a power limit."""
    energy: Energy
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
    hottest_W: FloatLike
    """Package power while the hottest operator runs, at the times in `step`."""

    def frame(self) -> pd.DataFrame:
        """One row of its totals, canonical units."""
        names = ("step_s", "tokens_per_s", "power_W", "mfu_frac", "memory_B", "hottest_W")
        return table_of([[float(np.asarray(getattr(self, n))) for n in names]], names)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return page("", self.frame())


def silicon(chip: Chip, tech: Technology) -> Silicon:
    """Area, supply, static power and cost of `chip` in `tech`."""
    area = block_areas(chip, tech)
    die = die_area_mm2(chip, tech)
    volt = supply_V(chip.clock_Hz * cycle_ratio(chip.pipeline_depth), chip.nominal_clock_Hz, tech.node)
    return Silicon(
        area=area, die_mm2=die, interposer_mm2=interposer_mm2(chip, die, tech), supply_V=volt,
        static_W=static_W(chip, tech, area, volt), money=package_cost(chip, die, bond_loss(tech), tech),
    )  # fmt: skip


def full_speed(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, supply_V: FloatLike, die_mm2: FloatLike,
    cooled: Cooled | None = None,
) -> tuple[Step, Energy]:  # fmt: skip
    """Times and dynamic energy of `d` at a supply and die, whatever mean power; as fast as `cooled` allows."""
    step = step_time(d, chip, c, cooled)
    return step, step_energy(d, step, chip, tech, supply_V, die_mm2)


def limited_s(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, supply_V: FloatLike, die_mm2: FloatLike,
    limit_W: FloatLike, cooled: Cooled | None = None,
) -> FloatLike:  # fmt: skip
    """Step time of `d` on a chip of given supply and die that may draw `limit_W` on average [s]."""
    step, energy = full_speed(d, chip, tech, c, supply_V, die_mm2, cooled)
    static = static_W(chip, tech, block_areas(chip, tech), supply_V)
    return throttled_s(step.total_s, energy_J(energy), static, limit_W, tech)


def fits_memory(d: StepDemand, chip: Chip) -> Bool[Array, "*batch"]:
    """Whether what `d` keeps in HBM leaves the room that a runtime needs."""
    return jnp.asarray(d.memory_B <= usable_B(chip))


def evaluate_demand(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, cooled_W: FloatLike | None = None
) -> Evaluation:
    """`d` on `chip`: pure, differentiable, ready for `jax.vmap` over demands, chips or both.

    The mean power keeps to the chip's limit; given `cooled_W`, each operator keeps to that as well.
    """
    s = silicon(chip, tech)
    at = s.supply_V, s.die_mm2
    allowed = None if cooled_W is None else cooled_to(cooled_W, d, chip, tech, c, *at, s.static_W)
    step, energy = full_speed(d, chip, tech, c, *at, allowed)
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
        hottest_W=hottest_W(d, step, chip, tech, c, *at, s.static_W),
    )


def chip_technology(chip: Chip, package: str = "CoWoS-L") -> Technology:
    """The technology a preset names: its node, memory and links; dies are harvested if the chip has spare cores.

    SpecError: a clock that no supply of the node reaches.
    """
    tech = technology(chip.node, chip.hbm, chip.link, package=package)
    if not is_traced(chip):
        _check_clock(chip, tech)
    return dataclasses.replace(tech, package=harvested(tech.package, chip.spare_frac))


def _check_clock(chip: Chip, tech: Technology) -> None:
    clock_Hz, most_Hz = float(chip.clock_Hz), float(most_clock_Hz(chip, tech.node))
    if clock_Hz > most_Hz * (1.0 + ROUNDING):
        asked, most, usual = (quantity_text("clock_Hz", f) for f in (clock_Hz, most_Hz, float(chip.nominal_clock_Hz)))
        raise SpecError(
            f"{chip.name}: clock = {asked}; {chip.node} reaches {most} at {float(tech.node.maximum_V):g} V with "
            f"nominal_clock = {usual}; lower the one or raise the other"
        )


def check_rest(chip: Chip, tech: Technology, still_W: FloatLike) -> None:
    """SpecError for a chip that, `still_W` flowing at any load, may draw no more: it never ends a step."""
    if float(work_W(chip.power_limit_W, still_W, tech)) <= 0:
        limit, rest = (
            quantity_text("power_W", float(w))
            for w in (chip.power_limit_W, power_W(jnp.zeros(()), jnp.ones(()), still_W, tech))
        )
        raise SpecError(f"{chip.name}: power_limit = {limit}; at rest it draws {rest} by this model, so raise it")
