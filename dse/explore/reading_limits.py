"""Limits of a study under an interpretation ("reading") of a TDP: one row for each, in or out of play."""

from __future__ import annotations

import dataclasses

from ..core.errors import SpecError
from ..study.limits import baseline_metric
from ..study.metrics import DELIVERED, FULL_LOAD, HEAT, HOTTEST, LOADS, POWER, SPEEDUPS, Limit, chip_state
from ..study.study import Study

OPEN = 1e6
"""Factor that takes a limit out of play."""
ANNOUNCED = ("peak_fp4_FLOPps", "peak_fp8_FLOPps", "hbm_bandwidth_Bps", "hbm_capacity_B")
"""Ratios to the baseline that a maker announces."""


def opened(study: Study, tdp_W: float) -> Study:
    """`study` with one limit per reading of a TDP in place of its own, and a cap far away on what is announced."""
    others = [x for x in study.limits if x.metric not in (*LOADS, FULL_LOAD)]
    now = chip_state(study.baseline.chip)
    announced = {m: baseline_metric(m, lambda: now, m) for m in ANNOUNCED}
    # a baseline without FP4 would cap its peak at nothing
    # far away, and there all the same: a row that is added later would be another program
    caps = [Limit(m, "at_most", OPEN * value) for m, value in announced.items() if value > 0]
    return dataclasses.replace(study, limits=(*(Limit(m, "at_most", tdp_W) for m in LOADS), *others, *caps))


def check_speeds(study: Study) -> None:
    """SpecError for a study whose least goal is no highest speed-up, which is all that is told of a chip here."""
    if study.goal not in SPEEDUPS:
        raise SpecError(f"study '{study.name}' minimises {study.goal}; what is compared here is {DELIVERED}")


def limits_of(study: Study, reading: str, tdp_W: float) -> list[float]:
    """Limits of an `opened` study of TDP `tdp_W` under one reading, without those that it does not bind."""
    asked = [(x.metric, tdp_W if x.metric in LOADS else x.value) for x in study.limits]
    # opened, not removed: with rows gone it would be another program to compile
    return [value if binds(reading, metric) else OPEN * value for metric, value in asked]


def binds(reading: str, metric: str) -> bool:
    """Whether a limit on `metric` holds under a reading of the TDP; all do but those on stricter powers and on heat.

    A reading binds its own power and all milder ones. Full load is that of every precision, whichever one names it,
    and heat is checked there alone: a package cooled for a mean power may not stand full load, and need not.
    """
    if reading not in (POWER, HOTTEST):
        return True
    return metric not in (*LOADS[LOADS.index(reading) + 1 :], HEAT)
