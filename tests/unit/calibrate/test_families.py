"""Fitted numbers beside their priors."""

import dataclasses

import pytest

from dse.calibrate.families import numbers, prior_of
from dse.calibrate.fit import Fit
from dse.physics.calibration import calibration


@pytest.fixture
def fits() -> dict[str, Fit]:
    name = "fit-ampere-megatron"
    fitted = dataclasses.replace(calibration("prior-cuda"), name=name, matmul_frac=0.8, host_s=2e-6)
    before = {"matmul_frac": 0.4, "host_s": 0.5}
    return {name: Fit(fitted, {"matmul_frac": 0.1, "host_s": 0.45}, before, 0.01, 12)}


def test_deviations_come_in_the_unit_of_the_number(fits):
    rows = {r["name"]: r for r in numbers(fits["fit-ampere-megatron"])}
    # d sigmoid = v (1-v) dx = 0.8 * 0.2 * 0.1; d exp = v dx = 2 us * 0.45
    assert rows["matmul_frac"]["deviation_in_unit"] == pytest.approx(0.016)
    assert rows["host_s"]["deviation_in_unit"] == pytest.approx(0.9e-6)
    assert (rows["matmul_frac"]["determined"], rows["host_s"]["determined"]) == (True, False)
    assert rows["matmul_frac"]["prior"] == pytest.approx(float(calibration("prior-cuda").matmul_frac))
    assert rows["overlap_p"]["deviation"] is None


def test_a_fit_of_no_family_has_no_prior():
    assert prior_of("fit-abacus-megatron") is None
