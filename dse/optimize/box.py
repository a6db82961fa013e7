"""The box in which a study is solved: log bounds of its numbers, and of what the convex core adds to them."""

from __future__ import annotations

import numpy as np

from ..study.convex import power_auxiliaries
from .space import Space


def bounds(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Log bounds of every coordinate of the convex core, shape (n,) each.

    Supply keeps to product limits, step times and auxiliary powers to a factor 1,000 of the baseline's; above the
    reticle, which is a row, there is room.
    """
    tech = space.without_plans.tech
    low_V, high_V = float(np.min(tech.node.minimum_V)), float(np.max(tech.node.maximum_V))
    reticle = float(np.max(tech.package.reticle_mm2))
    free = [(f.lower, f.upper) for f in space.study.free]
    deadlines = zip(space.ground.baselines, space.study.deadlines_s, strict=True)
    # a time needs both ends, since the proof is about a box; the upper one is the promised latency where there is one
    times = [(min(seconds, deadline) / SPAN, min(seconds * SPAN, deadline)) for (_, seconds), deadline in deadlines]
    # some scale is needed, and the baseline's is the only one that is there before a design
    tdp_W = float(space.study.baseline.chip.power_limit_W)
    powers = [(tdp_W / SPAN, tdp_W * SPAN) for _ in power_auxiliaries(space.study.core())]
    box = np.log(np.asarray([*free, (low_V, high_V), (reticle / SPAN, reticle * ROOM), *powers, *times]))
    return box[:, 0], box[:, 1]


SPAN = 1e3
"""Widest ratio considered for step times and die areas; wide enough never to bind."""
ROOM = 2.0
"""How far the box reaches above the reticle: more than any receipt allows, so that its row alone binds."""
