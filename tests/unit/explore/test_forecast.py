"""What a forecast draws: shares as asked, readings that bind the milder ones, announced ratios met or exceeded."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from dse.core.errors import SpecError
from dse.explore.forecast import load_forecast, worlds
from dse.explore.reading_limits import ANNOUNCED, OPEN, limits_of
from dse.explore.unknowns import draw, unknowns
from dse.study.metrics import HEAT, LOADS

SHIPPED = Path(__file__).parents[3] / "sweeps" / "forecast_trainium4.toml"


@pytest.fixture(scope="module")
def asked():
    return load_forecast(SHIPPED)


def test_readings_come_as_often_as_asked(asked):
    w = worlds(asked, 1000, seed=0)
    for reading, share in asked.readings.items():
        assert w.reading.count(reading) / 1000 == pytest.approx(share, abs=0.002)  # a hypercube


def test_a_reading_binds_the_milder_ones_and_no_stricter(asked):
    w = worlds(asked, 200, seed=0)
    names = [x.metric for x in asked.study.limits]
    for i, reading in enumerate(w.reading):
        full = reading not in LOADS[:2]
        for load in LOADS:
            bound = w.limits[i, names.index(load)] == w.tdp_W[i]
            assert bound == (full or LOADS.index(load) <= LOADS.index(reading))
        # a package that is not sized for full load is not cooled for it; draws had the limit under every reading
        assert w.limits[i, names.index(HEAT)] == (1.5 if full else 1.5 * OPEN)
    values = limits_of(asked.study, "hottest_operator_W", 1800.0)
    assert values[:3] == [1800.0, 1800.0, OPEN * 1800.0]


def test_budgets_stay_in_their_ranges_and_announced_ratios_are_met(asked):
    w = worlds(asked, 500, seed=1)
    low, high = asked.budgets["tdp_W"].low, asked.budgets["tdp_W"].high
    assert low <= w.tdp_W.min() < 1.1 * low and 0.9 * high < w.tdp_W.max() <= high
    senses = {(x.metric, x.sense): w.limits[:, k] for k, x in enumerate(asked.study.limits)}
    for metric in ANNOUNCED:
        least, most = senses[metric, "at_least"], senses[metric, "at_most"]
        assert np.all(most >= least)
        assert np.mean(most < 2 * least) == pytest.approx(asked.built_frac, abs=0.01)


@pytest.mark.parametrize("seed", [0, 3])
def test_budgets_know_nothing_of_the_facts(asked, seed):
    # both hypercubes once came of one seed: a large TDP went with dear energy (rank correlation .77), silicon with area
    n = 1000
    w, facts = worlds(asked, n, seed), draw(unknowns(asked.study), n, seed)
    words = [[list(shares).index(x) for x in w.supply[what]] for what, shares in asked.supply.items()]
    own = np.column_stack([w.limits, w.tdp_W, [LOADS.index(r) for r in w.reading], *words])
    ranks = rankdata(np.hstack([own[:, np.ptp(own, axis=0) > 0], facts.scores]), axis=0)
    k = ranks.shape[1] - facts.scores.shape[1]
    chance = np.corrcoef(ranks, rowvar=False)[:k, k:]
    assert np.abs(chance).max() < 5.0 / math.sqrt(n - 1)  # standard errors of no correlation


def test_same_seed_same_worlds(asked):
    np.testing.assert_array_equal(worlds(asked, 50, 3).limits, worlds(asked, 50, 3).limits)


def test_shares_that_do_not_add_up_are_refused(tmp_path):
    text = SHIPPED.read_text().replace("full_load_fp8_W_frac = { value = 0.6", "full_load_fp8_W_frac = { value = 0.7")
    path = tmp_path / "f.toml"
    path.write_text(text)
    (tmp_path / "trainium4.toml").write_text((SHIPPED.parent / "trainium4.toml").read_text())
    with pytest.raises(SpecError, match="add up to 1"):
        load_forecast(path)


def test_a_file_without_a_study_is_refused(tmp_path):
    path = tmp_path / "f.toml"
    path.write_text("[forecast]\n")
    with pytest.raises(SpecError, match="names no study"):
        load_forecast(path)


def test_how_far_built_chips_stray_is_what_the_back_tests_found(asked):
    """Half of the errors of a bell curve are below .674 of its deviation."""
    found = json.loads((SHIPPED.parents[1] / "results" / "backtest" / "backtest.json").read_text())
    factors = {k["name"]: k["factor"] for k in found["kinds"]}
    for name in ("n_cores", "scratchpad_B", "sram_B", "vector_lanes", "clock_Hz"):
        assert asked.taste[name] == pytest.approx(math.log(factors[name]) / 0.674, abs=0.1), name
