"""One generation of chips beside the last, serving one model: the ratios that vendors claim, predicted.

Each chip takes its best plan and batch for a time per token, so that the ratio compares what a user would get.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from ..evaluation.assembly import lowered
from ..hardware.chip import Chip
from ..hardware.system import System
from ..lowering.demand import stack_demands
from ..lowering.headroom import usable_frac
from ..lowering.plan import Plan, plan_text
from ..lowering.step_demand import StepDemand
from ..physics.calibration import Calibration, workload_calibration
from ..physics.evaluate import chip_technology, evaluate_demand
from ..technology.presets import Technology
from ..workload.transformer import Decode
from .format import digits, in_unit
from .tables import table

MAX_BATCH_PER_CHIP = 1024
"""Largest batch tried, per chip; powers of two below."""
W_PER_MW = 1e6


@dataclasses.dataclass(frozen=True)
class Served:
    """The best of a chip at a time per token."""

    system: System
    """Chips and fabric."""
    workload: Decode
    """Model, batch and storage."""
    plan: Plan
    """Who does what."""
    token_s: float
    """Time per output token."""
    tokens_per_s_per_chip: float
    """Throughput of one chip."""
    power_W: float
    """Mean power of one package."""

    @property
    def n_tokens_per_J(self) -> float:
        """Tokens per joule of the packages, which is tokens/s per watt; cooling, hosts and network are left out."""
        return self.tokens_per_s_per_chip / self.power_W


def best_served(system: System, workload: Decode, token_s: float, formats: Sequence[str] = ()) -> Served | None:
    """The plan, batch and storage of weights with the most tokens per second at no more than `token_s` each.

    Source: [pope2022] section 4 for the trade between batch, latency and throughput.

    Args:
        system: chips and fabric.
        workload: model, context and cache; its batch is replaced.
        token_s: longest time per token.
        formats: storages of the weights to choose from; that of `workload` by default.

    Returns:
        The best, or None if nothing is as fast.
    """
    batches = [2**i for i in range(int(math.log2(MAX_BATCH_PER_CHIP * system.n_chips)) + 1)]
    asked = [
        dataclasses.replace(workload, batch=b, weight_precision=f)
        for f in formats or (workload.weight_precision,)
        for b in batches
    ]
    found = [s for s in (_fastest(system, w) for w in asked) if s is not None and s.token_s <= token_s]
    return max(found, key=lambda s: s.tokens_per_s_per_chip, default=None)


def _fastest(system: System, workload: Decode) -> Served | None:
    """The fastest plan of one batch that fits in memory."""
    c, chip = workload_calibration(system.chip.name, workload), system.chip
    plans, demands = lowered(system, workload, c)
    seconds, power, memory = (np.asarray(x) for x in _prices(stack_demands(demands), chip, chip_technology(chip), c))
    seconds = np.where(memory <= usable_frac() * float(chip.hbm_capacity_B), seconds, np.inf)
    i = int(np.argmin(seconds))
    if not np.isfinite(seconds[i]):
        return None
    rate = workload.batch / float(seconds[i]) / system.n_chips
    return Served(system, workload, plans[i], float(seconds[i]), rate, float(power[i]))


@jax.jit
def _prices(demands: StepDemand, chip: Chip, tech: Technology, c: Calibration):
    """Step time, power and memory of every demand (leading axis)."""

    def one(d: StepDemand):
        e = evaluate_demand(d, chip, tech, c)
        return e.step_s, e.power_W, e.memory_B

    return jax.vmap(one)(demands)


def generations_view(old: Served, new: Served) -> RenderableType:
    """Both side by side with ratios."""
    t = table("", old.system.chip.name, new.system.chip.name, "ratio")
    for name, unit, a, b in (
        ("tokens/s per chip", "", old.tokens_per_s_per_chip, new.tokens_per_s_per_chip),
        ("tokens/s per MW of packages", "", W_PER_MW * old.n_tokens_per_J, W_PER_MW * new.n_tokens_per_J),
        ("time per token", "s", old.token_s, new.token_s),
        ("power of a package", "W", old.power_W, new.power_W),
        ("HBM bandwidth", "Bps", float(old.system.chip.hbm_bandwidth_Bps), float(new.system.chip.hbm_bandwidth_Bps)),
        ("sequences per chip", "", _per_chip(old), _per_chip(new)),
    ):
        shown = [in_unit(x, unit) if unit else digits(x) for x in (a, b)]
        t.add_row(name, *shown, digits(b / a))
    t.add_row("plan", plan_text(old.plan), plan_text(new.plan), "")
    t.add_row("weights", old.workload.weight_precision, new.workload.weight_precision, "")
    return Group(Text("best plan and batch of each chip", style="bold"), t)


def _per_chip(s: Served) -> float:
    return s.workload.batch / s.system.n_chips
