"""Blank silicon: as little as the limits on watts by area, or on area, ask for."""

import dataclasses

import numpy as np
import pytest

from dse.hardware.presets import chip
from dse.optimize.blank import study_blank_mm2
from dse.physics.evaluate import chip_technology
from dse.study.metrics import METRICS, Limit, chip_state
from dse.study.study import load_study

CHIP = chip("trainium3")
TECH = chip_technology(CHIP)


@pytest.fixture(scope="module")
def study():
    return load_study("sweeps/trainium4.toml")


def limited(study, *limits):
    return dataclasses.replace(study, limits=tuple(Limit(*x) for x in limits))


def value(metric, blank):
    return float(np.asarray(METRICS[metric](chip_state(dataclasses.replace(CHIP, blank_mm2=blank), TECH))))


def test_a_limit_that_holds_buys_nothing(study):
    as_is = value("heat_W_per_mm2", 0.0)
    assert study_blank_mm2(limited(study, ("heat_W_per_mm2", "at_most", 1.01 * as_is)), CHIP, TECH) == 0.0
    assert study_blank_mm2(limited(study, ("silicon_mm2", "at_most", 1.0)), CHIP, TECH) == 0.0


@pytest.mark.parametrize("times", [0.99, 0.7, 0.3])
def test_watts_by_area_are_met_exactly(study, times):
    limit = times * value("heat_W_per_mm2", 0.0)
    blank = study_blank_mm2(limited(study, ("heat_W_per_mm2", "at_most", limit)), CHIP, TECH)
    assert value("heat_W_per_mm2", blank) == pytest.approx(limit, rel=1e-8)
    assert value("heat_W_per_mm2", blank) <= limit * (1 + 1e-9)
    # at least 1/times of the die; a little more, since wires across it burn
    assert blank >= value("die_mm2", 0.0) * (1 / times - 1) * (1 - 1e-9)


def test_area_at_least_is_blank_silicon(study):
    wanted = 2.0 * value("silicon_mm2", 0.0)
    blank = study_blank_mm2(limited(study, ("silicon_mm2", "at_least", wanted)), CHIP, TECH)
    assert value("silicon_mm2", blank) == pytest.approx(wanted, rel=1e-8)


def test_blank_silicon_costs_and_widens_the_die():
    assert value("package_cost_USD", 100.0) > value("package_cost_USD", 0.0)
    assert value("die_mm2", 100.0) == pytest.approx(value("die_mm2", 0.0) + 100.0)
