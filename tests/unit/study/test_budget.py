"""Budgets of a chip that was built: its metrics by hand, its die the reticle, and one line for what is none."""

from pathlib import Path

import numpy as np
import pytest

from dse.core.errors import DseError
from dse.core.files import read_toml
from dse.hardware.presets import chip
from dse.physics.evaluate import chip_technology, silicon
from dse.study.design import choice_technology, steps, template, with_free
from dse.study.study import load_study, study_from

SWEEPS = Path(__file__).parents[3] / "sweeps"


def test_limits_are_those_of_the_built_chip():
    study = load_study(SWEEPS / "backtest_a100.toml")
    built = chip("a100-40")
    die = silicon(built, chip_technology(built, "CoWoS-S")).die_mm2
    limits = {x.metric: x.value for x in study.limits}
    assert study.built == "a100-40" and limits["silicon_mm2"] == pytest.approx(float(die))
    # 967 mm2 by the model, more than the printed reticle of 858: the die was built, so it fits
    tech = choice_technology(study.choices[0], study.package)
    assert float(tech.package.reticle_mm2) == pytest.approx(float(die)) and float(die) > 858
    small = load_study(SWEEPS / "backtest_trainium2.toml")
    assert float(choice_technology(small.choices[0], "CoWoS-S").package.reticle_mm2) == 858


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"built": None}, "'built' means the chip in a table \\[built\\]"),
        ({"metric": "full_load_fp8"}, "v100 has no fp8 rate"),
        ({"metric": "power"}, "power_W depends on the workload"),
        ({"built": {"chip": "v101"}}, "v100"),
        ({"built": {"chip": "nowhere.toml"}}, "nowhere.toml"),
        ({"built": {"chips": "v100"}}, "built"),
    ],
)
def test_what_is_no_budget_is_named(change, said):
    raw = read_toml(SWEEPS / "backtest_v100.toml")
    if "metric" in change:
        raw["limits"][0]["metric"] = change["metric"]
    elif change["built"] is None:
        del raw["built"]
    else:
        raw["built"] = change["built"]
    with pytest.raises(DseError, match=said) as error:
        study_from(raw)
    assert "\n" not in str(error.value)


def test_a_cache_grows_in_slices_and_a_scratchpad_in_macros():
    assert steps("scratchpad_B", 1, 16 * 2**10, 40 * 2**10).tolist() == [2 * 2**13, 3 * 2**13, 4 * 2**13, 5 * 2**13]
    assert steps("scratchpad_B", 1, 2**20, 3 * 2**20).tolist() == [2**20, 2 * 2**20, 3 * 2**20]


def test_a_shared_cache_is_shared_by_all_cores_of_the_design():
    study = load_study(SWEEPS / "backtest_a100.toml")
    base = study.baseline.chip
    design = with_free(template(study.choices[0], base, study.scaleout_Bps), {"n_cores": np.float64(120.0)})
    assert float(base.cores_per_pool) == 80 and float(design.cores_per_pool) == 120
    # one pool per die: 110 of 220 cores on two dies; of 200 cores on four dies 50 share one
    four = load_study(SWEEPS / "backtest_mi300x.toml")
    choice = next(c for c in four.choices if c.n_dies == 4)
    split = with_free(template(choice, four.baseline.chip, four.scaleout_Bps), {"n_cores": np.float64(200.0)})
    assert float(split.cores_per_pool) == 50
    # private scratchpads stay private
    own = load_study(SWEEPS / "backtest_trainium2.toml")
    alone = with_free(template(own.choices[0], own.baseline.chip, own.scaleout_Bps), {"n_cores": np.float64(8.0)})
    assert float(alone.cores_per_pool) == 1
