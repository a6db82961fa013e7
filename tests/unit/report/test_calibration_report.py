"""Fitted numbers beside their priors."""

import json

import pytest

from dse.calibrate.families import fits_of
from dse.physics.pooled import effects
from dse.report.terminal import screen
from dse.report.validation import calibration_json, calibration_view, write_calibration


@pytest.fixture
def fits():
    name = "fit-a100-80-fastertransformer"
    return {name: fits_of(effects())[name]}


def test_view_json_and_files(fits, tmp_path, capsys):
    screen().print(calibration_view(fits))
    out = capsys.readouterr().out
    assert "187 measurements, 2 models, 1 source" in out and "points" in out and "data" in out and "prior" in out
    assert calibration_json(fits)["fits"][0]["measurements"] == 187
    write_calibration(effects(), fits, tmp_path)
    assert json.loads((tmp_path / "effects.json").read_text()) == json.loads(json.dumps(effects()))
    assert (tmp_path / "fits.json").exists()
