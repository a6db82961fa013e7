"""The forecast that needs no model: the older chip, scaled by the silicon of the new one and by its node."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import numpy as np

from ..core.types import as_float
from ..hardware.chip import Chip
from ..physics.evaluate import chip_technology
from ..study.metrics import METRICS, chip_state
from ..study.study import Study
from ..technology.presets import link, memory, node


def naive_chip(study: Study) -> Chip:
    """The baseline in the newest technology of the study's choices, its cores grown by area and by logic density.

        n' = n (A' / A) (a / a'),   B' = B b'/b,   C' = C c'/c,   L' = L l'/l
    with A' the study's limit on silicon (A where it has none), a the area of a core's port on a node, b and c bandwidth
    and capacity of a stack, l rate of a lane. Clock, array, stacks, dies, and SRAM and lanes per core stay.
    """
    old = study.baseline.chip
    tech = chip_technology(old, study.package)
    nodes = [node(n) for n in dict.fromkeys(c.node for c in study.choices)]
    stacks = [memory(n) for n in dict.fromkeys(c.hbm for c in study.choices)]
    lanes = [link(n) for n in dict.fromkeys(c.link for c in study.choices)]
    new = min(nodes, key=lambda n: float(n.core_port_area_mm2))
    stack = max(stacks, key=lambda m: float(m.stack_bandwidth_Bps))
    lane = max(lanes, key=lambda x: float(x.lane_bandwidth_per_dir_Bps))
    n_cores = float(old.n_cores) * _growth(study) * float(tech.node.core_port_area_mm2 / new.core_port_area_mm2)
    faster = float(stack.stack_bandwidth_Bps / tech.memory.stack_bandwidth_Bps)
    larger = float(stack.stack_capacity_B / tech.memory.stack_capacity_B)
    wider = float(lane.lane_bandwidth_per_dir_Bps / tech.link.lane_bandwidth_per_dir_Bps)
    n_cores = max(1.0, float(np.round(n_cores)))
    values = (
        n_cores, float(old.hbm_bandwidth_Bps) * faster, float(old.hbm_capacity_B) * larger,
        float(old.scaleup_bandwidth_per_dir_Bps) * wider,
    )  # fmt: skip
    grown = eqx.tree_at(
        lambda c: (c.n_cores, c.hbm_bandwidth_Bps, c.hbm_capacity_B, c.scaleup_bandwidth_per_dir_Bps),
        old,
        tuple(as_float(v) for v in values),
    )
    return dataclasses.replace(grown, name="naive", node=new.name, hbm=stack.name, link=lane.name)


def _growth(study: Study) -> float:
    allowed = [x.value for x in study.limits if (x.metric, x.sense) == ("silicon_mm2", "at_most")]
    if not allowed:
        return 1.0
    old = study.baseline.chip
    area = METRICS["silicon_mm2"](chip_state(old, chip_technology(old, study.package)))
    assert not isinstance(area, list)
    return min(allowed) / float(area)
