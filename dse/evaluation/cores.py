"""A phase of inference whose ranks are the logical cores of chips, beside one whose ranks are the chips."""

from __future__ import annotations

from ..core.errors import PlanError
from ..hardware.devices import core_counts, per_device
from ..hardware.system import System
from ..lowering.cores import core_reference, on_chip, ranks_of
from ..lowering.demand import valid_demand
from ..lowering.plan import Plan, plans
from ..lowering.tiling import array_shape
from ..physics.calibration import Calibration
from ..physics.evaluate import chip_technology
from ..workload.transformer import Training, Workload
from .assembly import Evaluated, chip_reference, evaluate, fastest


def best_by_cores(system: System, workload: Workload, plan: Plan, c: Calibration) -> Evaluated | None:
    """The fastest plan whose ranks are logical cores, as many as software usually shows; None if `plan` has such ranks.

    None as well where software shows chips alone, in training, whose plans by cores are too many for a glance, and
    where no such plan fits.
    """
    counts = core_counts(system.chip)
    if not counts or isinstance(workload, Training) or ranks_of(plan, system)[1] > 1:
        return None
    ranks = per_device(system, counts[0], counts[0] * system.n_chips)
    every, array = plans(workload, ranks), array_shape(system.chip.core.tensor)
    ref = core_reference(chip_reference(system.chip, c), counts[0])
    # not by `demand`, which would look up for each plan what the chip's software counts
    demands = [on_chip(valid_demand(workload, p, ranks, ref, array), counts[0]) for p in every]
    try:
        best = fastest(every, demands, system.chip, chip_technology(system.chip), c) if every else None
    except PlanError:  # copies of the cache may need more room than there is
        return None
    return None if best is None else evaluate(system, workload, every[best], calibration=c)
