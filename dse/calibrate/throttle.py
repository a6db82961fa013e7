"""Clock that a power limit leaves to each preset under full matrix load, from which fits start."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from ..core.provenance import load_receipts, number
from ..hardware.presets import chip, chip_names
from ..physics.evaluate import chip_technology
from ..physics.throttle import OF_PRECISION
from ..study.metrics import METRICS, chip_state

SETTINGS = Path(__file__).parent / "data" / "throttle.toml"


@cache
def clocks_frac() -> dict[str, dict[str, float]]:
    """Clock under full load over the nominal one by chip and precision, (power limit / full load)^exponent.

    Above 1 where the load leaves room: fits learn the level from all chips, so that only ratios between chips count.
    """
    exponent = number(load_receipts(SETTINGS)["throttle"], "exponent")
    found = {}
    for name in chip_names():
        state = chip_state(made := chip(name), chip_technology(made))
        limit_W = float(made.power_limit_W)
        loads_W = {p: float(np.asarray(METRICS[f"full_load_{p}_W"](state))) for p in OF_PRECISION}
        found[name] = {p: round((limit_W / load_W) ** exponent, DIGITS) for p, load_W in loads_W.items()}
    return found


DIGITS = 4
"""Decimals of a clock in the file of effects."""
