"""A study whose baseline is the user's own chip."""

from pathlib import Path

import pytest

import dse
from dse.core.errors import SpecError
from dse.hardware.own_chip import chip_toml
from dse.optimize.ground import ground_of
from dse.study.basis import study_basis
from dse.study.study import load_study, names_of_fits

TINY = (Path(__file__).parents[2] / "data" / "tiny.toml").read_text()
SAME = '[mine]\nbase = "trainium3"\nn_dies = { value = 2, kind = "guess", source = "dse2026" }\n'


def study(folder: Path, chip: str = SAME, calibration: str = 'calibration = "prior-neuron"'):
    (folder / "mine.toml").write_text(chip)
    own = f'baseline = "{folder / "mine.toml"}"\n{calibration}'
    (folder / "study.toml").write_text(TINY.replace('baseline = "trainium3"', own))
    return load_study(folder / "study.toml")


def like(folder: Path):
    """The preset's study under the same calibration."""
    path = folder / "preset.toml"
    path.write_text(TINY.replace('baseline = "trainium3"', 'baseline = "trainium3"\ncalibration = "prior-neuron"'))
    return load_study(path)


def test_an_own_chip_equal_to_a_preset_gives_the_same_baseline(tmp_path):
    own, preset = ground_of(study(tmp_path)), ground_of(like(tmp_path))
    assert [s for _, s in own.baselines] == pytest.approx([s for _, s in preset.baselines])


def test_the_own_chip_is_what_runs_in_the_fabric(tmp_path):
    slow = SAME + 'hbm_bandwidth_TBps = { value = 2.45, kind = "guess", source = "dse2026" }\n'
    own, preset = ground_of(study(tmp_path, slow)), ground_of(like(tmp_path))
    assert own.baselines[0][1] > 1.2 * preset.baselines[0][1]  # decode at half of 4.9 TB/s
    assert own.systems[""][0].fabric == preset.systems[""][0].fabric


def test_its_receipts_and_calibration_are_told(tmp_path):
    basis = study_basis(study(tmp_path), None)
    assert {"chip " + str(tmp_path / "mine.toml"), "calibration prior-neuron"} <= {b.thing for b in basis}


def test_without_a_calibration_it_has_that_of_its_family(tmp_path):
    assert names_of_fits(study(tmp_path, calibration="")) == (f"fit-{tmp_path / 'mine.toml'}-vllm-neuron",)


def test_without_base_and_calibration_it_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"mine\.toml: no base and no system"):
        study(tmp_path, chip=chip_toml(dse.chip("trainium3"), "a test"), calibration="")


def test_an_unknown_calibration_is_refused(tmp_path):
    with pytest.raises(SpecError, match="unknown calibration 'prior-neurone'; did you mean prior-neuron"):
        study(tmp_path, calibration='calibration = "prior-neurone"')


def test_a_named_calibration_is_used(tmp_path):
    assert names_of_fits(study(tmp_path, calibration='calibration = "prior-cuda"')) == ("prior-cuda",)
    assert dse.load_study(tmp_path / "study.toml").at_size(4).n_chips == 4


def test_the_own_chip_is_wired_as_its_system_wires_it(tmp_path):
    """A server of 16 Trainium2 leaves 128 of 640 GB/s of links to other servers unused; `dse evaluate` says so too."""
    mine = tmp_path / "mine.toml"
    mine.write_text('[mine]\nbase = "trainium2"\nsystem = "trn2-16"\n')
    text = TINY.replace('baseline = "trainium3"', f'baseline = "{mine}"').replace('system = "trn3-gen2-144"', "")
    (tmp_path / "study.toml").write_text(text)
    baseline = load_study(tmp_path / "study.toml").baseline
    assert float(baseline.chip.scaleup_bandwidth_per_dir_Bps) == 512e9
    assert baseline.chip.name == str(mine) and baseline.name == "trn2-16"
