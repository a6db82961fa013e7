"""Silicon that holds nothing: what a design buys where limits ask for more die than its blocks fill."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..hardware.chip import Chip
from ..study.metrics import HEAT, METRICS, ON_A_DIE, chip_state
from ..study.study import Study
from ..technology.presets import Technology

SPREADS = 40
"""Rounds in which blank silicon is added: wires across it burn a little, so that each leaves a part of the last."""
ROOM = 1e-9
"""Added beyond what is needed, so that the last round ends."""


def blank_mm2(study: Study, chip: Chip, tech: Technology) -> float:
    """Least blank silicon of a die with which limits on watts by area, and on area at least, hold [mm2].

    The convex core knows a die that is at least its blocks; a chip is its blocks and what is blank.
    """
    held = [x for x in study.limits if x.metric in ON_A_DIE and (x.sense == "at_most") == (x.metric == HEAT)]
    blank = 0.0
    for _ in range(SPREADS if held else 0):
        s = chip_state(dataclasses.replace(chip, blank_mm2=blank), tech)
        values = [float(np.asarray(METRICS[x.metric](s))) for x in held]
        over = max(v / x.value if x.metric == HEAT else x.value / v for v, x in zip(values, held, strict=True))
        if over <= 1.0:
            break
        blank += (over - 1.0) * float(s.die_mm2) * (1.0 + ROOM)
    return blank
