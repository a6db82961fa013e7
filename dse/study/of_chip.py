"""`metric`: a metric as a pure function of the chip, for `jax.grad`, `jax.vmap` and `jax.jit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..core.takes import takes
from ..core.types import FloatLike
from ..economy.job import Economy, Job, job_of
from ..economy.presets import economy, price_and_margin
from ..evaluation.assembly import chip_reference, evaluate
from ..hardware.chip import Chip
from ..hardware.system import System
from ..lowering.demand import demand
from ..lowering.plan import Plan
from ..physics.calibration import calibration_for
from ..physics.evaluate import chip_technology, evaluate_demand, silicon
from ..physics.money import total_USD
from ..workload.transformer import Workload
from .limits import full_name
from .metrics import METRICS, OWNED, Load, State, chip_state, upkeep_of

EVALUATED = ("step_s", "tokens_per_s", "mfu_frac", "memory_B")
"""Fields of `Evaluation` that are metrics here, besides those of studies."""


@takes(system=System, workload=Workload, plan=Plan | None)
def metric(name: str, system: System, workload: Workload, plan: Plan | None = None) -> Callable[[Chip], FloatLike]:
    """The metric `name` of `workload` on `system` as a pure JAX function of the chip, in its canonical unit.

        dse.metric("tokens_per_s", system, workload)                       # its derivative by every number of the chip:
        jax.grad(dse.metric("cost_per_token", system, workload))(system.chip).hbm_bandwidth_Bps
    `name`: a metric of studies or one of `EVALUATED`, with or without its unit; speed-ups are relative to the chip of
    `system`. `plan` None: the fastest that fits.
    Assumes: plan, calibration, technology and owner are held at those of the chip in `system`.
    UnknownNameError: no such metric, or no economic facts of the chip for an economic one. PlanError: as `evaluate`.
    """
    full = full_name(name, (*METRICS, *EVALUATED), "metric")
    base = evaluate(system, workload, plan)
    c, tech = calibration_for(system.chip.name, workload), chip_technology(system.chip)
    d = demand(workload, base.plan, system, chip_reference(system.chip, c))
    around, job = _owned(system, workload) if full in OWNED else (None, None)

    def of_chip(chip: Chip) -> FloatLike:
        e = evaluate_demand(d, chip, tech, c)
        if full in EVALUATED:
            return getattr(e, full)
        tokens = e.tokens_per_s * e.step_s / system.n_chips
        # speed-ups are relative to this very chip, so that a derivative is one of the chip beside itself as it was
        load = Load(e.step_s, e.power_W, base.result.step_s, tokens, np.float64(1.0), e.hottest_W)
        value = METRICS[full](_owned_state(chip_state(chip, tech, [load]), around, job))
        # one workload, so one value
        return value[0] if isinstance(value, list) else value

    return of_chip


def _owned(system: System, workload: Workload) -> tuple[Economy, Job]:
    """Economy of a system's chips, and the job of the workload; a bought chip keeps its margin."""
    name = system.chip.name
    price, margin = price_and_margin(name)
    if price is not None:  # the buyer's margin over what the model says that the package costs
        margin = price / float(total_USD(silicon(system.chip, chip_technology(system.chip)).money))
    # a pool of its own size: a job and its spares
    around = economy(system, system.chip.node, margin or 1.0, system.n_chips)
    return around, job_of(workload, system.n_chips, around.reliability)


def _owned_state(s: State, around: Economy | None, job: Job | None) -> State:
    if around is None or job is None:
        return s
    upkeeps = upkeep_of(s.chip, s.tech, s.money, s.die_mm2, around, (job,), s.loads)
    return dataclasses.replace(s, upkeeps=upkeeps)
