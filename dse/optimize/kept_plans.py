"""Plans kept for a search: the fastest on the baseline and on larger chips, in every system that designs may use."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from ..core.types import stack_records
from ..evaluation.host import plan_steps_s
from ..hardware.chip import Chip
from ..lowering.plan import ORDERS, Plan
from ..lowering.tiling import array_shape
from ..physics.evaluate import chip_technology
from ..study.study import Study
from ..workload.transformer import Workload
from .ground import Ground, Structure, candidates, is_own, on_structures

KEPT = 48
"""Plans kept per workload and probe chip."""
UNLIMITED = 1e3
"""Factor that takes a power limit out of play."""
PROBES = ((1.0, 1.0, 1.0, 1.0), (3.0, 4.0, 2.0, 2.0), (8.0, 4.0, 2.0, 4.0), (8.0, 8.0, 4.0, 1.0))
"""Growth of cores, HBM bandwidth, HBM capacity and scale-up links of the chips at which plans are ranked."""


def kept_plans(study: Study, ground: Ground) -> list[list[Plan]]:
    """Plans of each workload worth pricing: the fastest `KEPT` on the baseline and on each grown `PROBES` chip.

    All are kept of a model in service or of a free batch, whose fastest have the smallest batches.
    """
    kept = []
    for w, (every, (own, _)) in enumerate(zip(candidates(ground), ground.baselines, strict=True)):
        every = every if own in every else [own, *every]
        if not isinstance(ground.workloads[w], Workload):
            kept.append(every)
            continue
        winners = {own, *(p for name in study.system_names for p in _winners(study, ground, w, name))}
        names = {dataclasses.replace(p, order=o) for p in winners for o in orders(study)}
        kept.append([p for p in every if p in winners or p in names])
    return kept


def _winners(study: Study, ground: Ground, w: int, name: str) -> list[Plan]:
    """The fastest plans of a workload in one system, on the baseline chip and on larger ones."""
    every, demands = ground.lowered[w]
    stacked = stack_records(demands)
    if not is_own(study, name):
        every = list(ground.valid[name][w])
        there = Structure(array_shape(ground.chip.core.tensor), name)
        stacked = on_structures(ground, [there], w, every)[0]
    tech, found = chip_technology(ground.chip), []
    for chip in probes(ground.chip):
        seconds = np.asarray(plan_steps_s(stacked, chip, tech, ground.calibrations[w]))
        found += [every[int(i)] for i in np.argsort(seconds)[:KEPT] if np.isfinite(seconds[i])]
    return found


def probes(base: Chip) -> list[Chip]:
    """Chips at which plans are ranked: the baseline, and larger ones without a power limit."""
    return [
        dataclasses.replace(
            base,
            n_cores=base.n_cores * cores,
            hbm_bandwidth_Bps=base.hbm_bandwidth_Bps * hbm,
            hbm_capacity_B=base.hbm_capacity_B * capacity,
            scaleup_bandwidth_per_dir_Bps=base.scaleup_bandwidth_per_dir_Bps * links,
            power_limit_W=base.power_limit_W * UNLIMITED,
        )
        for cores, hbm, capacity, links in PROBES
    ]


def orders(study: Study) -> tuple[str, ...]:
    """Orders of a block's operators that are tried."""
    return ORDERS if study.streams else ORDERS[:1]


def classes_of(study: Study, plans: list[list[Plan]]) -> list[list[np.ndarray]]:
    """For each combination of orders, searched by itself: whether each kept plan of each workload has that order."""
    combined = itertools.product(orders(study), repeat=len(plans))
    return [[np.asarray([p.order == o for p in kept]) for kept, o in zip(plans, c, strict=True)] for c in combined]
