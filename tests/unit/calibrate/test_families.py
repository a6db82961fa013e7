"""What ships of a fit: effects, how much they rest on, and the calibrations that they mean."""

import json

import pytest

from dse.calibrate.families import effects_text, fits_of, numbers
from dse.physics.calibration import calibration, kin_of, prior_of
from dse.physics.pooled import effects


@pytest.fixture(scope="module")
def fits():
    return fits_of(effects())


def test_fits_are_the_calibrations_that_serve(fits):
    for name in ("fit-h100-nanotron", "fit-a100-80-fastertransformer", "fit-trainium1-neuronx"):
        served = calibration(name)
        assert float(fits[name].calibration.hbm_frac) == pytest.approx(float(served.hbm_frac))
        assert fits[name].calibration.overlap_p == served.overlap_p


def test_a_fit_says_on_what_it_rests(fits):
    f = fits["fit-a100-80-fastertransformer"]
    assert (f.n_measurements, f.n_models, f.n_sources) == (187, 2, 1)


def test_deviations_come_in_the_unit_of_the_number_and_shrink_where_much_was_measured(fits):
    rows = {r["name"]: r for r in numbers(fits["fit-h100-nanotron"])}
    share = rows["matmul_frac"]
    assert share["deviation_in_unit"] == pytest.approx(share["fit"] * (1 - share["fit"]) * share["deviation"])
    assert rows["host_s"]["deviation_in_unit"] == pytest.approx(rows["host_s"]["fit"] * rows["host_s"]["deviation"])
    assert share["prior"] == pytest.approx(prior_of(kin_of("h100", "nanotron"))["matmul_frac"].value)
    assert any(r["determined"] for r in rows.values())


def test_the_file_reads_back_as_written():
    assert json.loads(effects_text(effects())) == json.loads(json.dumps(effects()))
