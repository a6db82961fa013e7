"""`evaluate_demand` and `silicon`: time, energy, power, throttling, area and cost of a chip. Pure JAX functions."""

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
from ..hardware.chip import ROUNDING, Chip, array_FLOPps
from ..lowering.headroom import prefetch_frac, usable_B
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
from .residency import ahead_frac
from .step import Cooled, Step, step_time

if TYPE_CHECKING:
    import pandas as pd


class Silicon(AbstractShown, eqx.Module):
    """Properties of a chip that do not depend on the workload: area, supply voltage, static power, package cost."""

    area: Area
    die_mm2: FloatLike
    interposer_mm2: FloatLike
    supply_V: FloatLike
    static_W: FloatLike
    money: Money


class Evaluation(eqx.Module):
    """Step time, energy, power, throughput, MFU and memory of a workload on a chip under a plan."""

    step: Step
    """Step time by part, before throttling to the power limit."""
    energy: Energy
    step_s: FloatLike
    """Step time, throttled to the chip's power limit."""
    power_W: FloatLike
    """Mean package power at `step_s`."""
    tokens_per_s: FloatLike
    """Throughput of the whole system at `step_s` [tokens/s]."""
    mfu_frac: FloatLike
    """Model FLOP utilisation (MFU): model FLOP over `step_s` and the peak at the linear layers' precision."""
    memory_B: FloatLike
    """HBM needed per chip."""
    hottest_W: FloatLike
    """Package power during the operator with the highest power, at the times in `step`."""

    def frame(self) -> pd.DataFrame:
        """One row: step time, throughput, power, MFU, memory and peak operator power, in canonical units."""
        names = ("step_s", "tokens_per_s", "power_W", "mfu_frac", "memory_B", "hottest_W")
        return table_of([[float(np.asarray(getattr(self, n))) for n in names]], names)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return page("", self.frame())


def silicon(chip: Chip, tech: Technology) -> Silicon:
    """Area, supply voltage, static power and package cost of `chip` in `tech`."""
    area = block_areas(chip, tech)
    die = die_area_mm2(chip, tech)
    # a deeper pipeline meets its clock at the supply of a slower one
    volt = supply_V(chip.clock_Hz * cycle_ratio(chip.pipeline_depth), chip.nominal_clock_Hz, tech.node)
    return Silicon(
        area=area, die_mm2=die, interposer_mm2=interposer_mm2(chip, die, tech), supply_V=volt,
        static_W=static_W(chip, tech, area, volt), money=package_cost(chip, die, bond_loss(tech), tech),
    )  # fmt: skip


def full_speed(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, supply_V: FloatLike, die_mm2: FloatLike,
    cooled: Cooled | None = None,
) -> tuple[Step, Energy]:  # fmt: skip
    """Step time and dynamic energy of `d` at a given supply and die area, limited by `cooled` but not by mean power."""
    step = step_time(d, chip, c, cooled)
    return step, step_energy(d, step, chip, tech, supply_V, die_mm2)


def limited_s(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, supply_V: FloatLike, die_mm2: FloatLike,
    limit_W: FloatLike, cooled: Cooled | None = None,
) -> FloatLike:  # fmt: skip
    """Step time of `d` at a given supply and die area under the mean power limit `limit_W` [s]."""
    step, energy = full_speed(d, chip, tech, c, supply_V, die_mm2, cooled)
    static = static_W(chip, tech, block_areas(chip, tech), supply_V)
    return throttled_s(step.total_s, energy_J(energy), static, limit_W, tech)


def fits_memory(d: StepDemand, chip: Chip) -> Bool[Array, "*batch"]:
    """Whether the tensors of `d` fit in the usable HBM of `chip`, and what it prefetches in its SRAM."""
    ahead = ahead_frac(d, chip, jnp.asarray(prefetch_frac()))
    return jnp.asarray(d.memory_B <= usable_B(chip)) & (ahead <= 1 + ROUNDING)  # an optimum may lie on the limit


def evaluate_demand(
    d: StepDemand, chip: Chip, tech: Technology, c: Calibration, cooled_W: FloatLike | None = None
) -> Evaluation:
    """Evaluation of a lowered demand on a chip; pure and differentiable, for `jax.grad`, `jax.jit` and `jax.vmap`.

    Mean power is limited to `chip.power_limit_W`; with `cooled_W` each operator's power is limited to that as well.
    """
    s = silicon(chip, tech)
    at = s.supply_V, s.die_mm2  # an optimiser passes its own; here both follow from the chip
    allowed = None if cooled_W is None else cooled_to(cooled_W, d, chip, tech, c, *at, s.static_W)
    step, energy = full_speed(d, chip, tech, c, *at, allowed)
    dynamic = energy_J(energy)
    seconds = throttled_s(step.total_s, dynamic, s.static_W, chip.power_limit_W, tech)
    # of the precision that runs, not of the one asked for: a chip without FP8 is measured against its BF16
    peak = array_FLOPps(chip, d.rate)
    return Evaluation(
        step=step,
        energy=energy,
        step_s=seconds,
        power_W=power_W(dynamic, seconds, s.static_W, tech),
        tokens_per_s=d.tokens / seconds,
        # of one chip, as is the peak
        mfu_frac=d.model_FLOP / seconds / peak,
        memory_B=jnp.asarray(d.memory_B, dtype=float),
        hottest_W=hottest_W(d, step, chip, tech, c, *at, s.static_W),
    )


def chip_technology(chip: Chip, package: str = "") -> Technology:
    """Technology of a chip from the names in its record, in its own `package` or another; spares: harvested dies.

    SpecError: the clock is beyond what the node reaches at its highest supply voltage.
    """
    # harvesting is a fact of the chip, and makes the package's critical area its own
    tech = technology(chip.node, chip.hbm, chip.link, package=package or chip.package)
    if not is_traced(chip):  # a traced clock has no value to compare
        _check_clock(chip, tech)
    return dataclasses.replace(tech, package=harvested(tech.package, chip.spare_frac))


def _check_clock(chip: Chip, tech: Technology) -> None:
    # the solver clips the supply: without this a clock beyond reach would cost no more than the highest voltage
    clock_Hz, most_Hz = float(chip.clock_Hz), float(most_clock_Hz(chip, tech.node))
    if clock_Hz > most_Hz * (1.0 + ROUNDING):
        asked, most, usual = (quantity_text("clock_Hz", f) for f in (clock_Hz, most_Hz, float(chip.nominal_clock_Hz)))
        raise SpecError(
            f"{chip.name}: clock = {asked}; {chip.node} reaches {most} at {float(tech.node.maximum_V):g} V with "
            f"nominal_clock = {usual}; lower the one or raise the other"
        )


def check_rest(chip: Chip, tech: Technology, still_W: FloatLike) -> None:
    """SpecError if static power `still_W` alone reaches the chip's power limit, so that no step ever ends."""
    if float(work_W(chip.power_limit_W, still_W, tech)) <= 0:
        limit, rest = (
            quantity_text("power_W", float(w))
            # no work in a second: what is left is rest with its delivery losses
            for w in (chip.power_limit_W, power_W(jnp.zeros(()), jnp.ones(()), still_W, tech))
        )
        raise SpecError(f"{chip.name}: power_limit = {limit}; at rest it draws {rest} by this model, so raise it")
