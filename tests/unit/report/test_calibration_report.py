"""Fitted numbers beside their priors."""

import dataclasses

import pytest

from dse.calibrate.fit import Fit
from dse.physics.calibration import calibration
from dse.report.calibration import calibration_json, calibration_view, write_calibration
from dse.report.terminal import screen


@pytest.fixture
def fits() -> dict[str, Fit]:
    name = "fit-ampere-megatron"
    fitted = dataclasses.replace(calibration("prior-cuda"), name=name, matmul_frac=0.8, host_s=2e-6)
    before = {"matmul_frac": 0.4, "host_s": 0.5}
    return {name: Fit(fitted, {"matmul_frac": 0.1, "host_s": 0.45}, before, 0.01, 12)}


def test_view_json_and_files(fits, tmp_path, capsys):
    screen().print(calibration_view(fits))
    out = capsys.readouterr().out
    assert "12 measurements" in out and "1.6 points" in out and "data" in out and "prior" in out
    assert calibration_json(fits)["fits"][0]["measurements"] == 12
    write_calibration(fits, tmp_path)
    assert "[fit-ampere-megatron]" in (tmp_path / "fits.toml").read_text()
    assert (tmp_path / "fits.json").exists()
