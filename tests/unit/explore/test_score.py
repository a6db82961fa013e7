"""Scores of a forecast by hand: a normal sample, choices, coverage, and facts that nobody forecast."""

import math

import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.explore.score import coverage, log_density, mean_log_score, read_draws, read_facts, score
from dse.report.forecast import DRAWS as FILE
from dse.report.forecast import last_version, next_version

DRAWS = {
    "hbm_bandwidth_Bps": [str(x) for x in np.exp(np.linspace(np.log(15e12), np.log(25e12), 101))],
    "node": ["N2"] * 60 + ["N3P"] * 41,
}


def test_density_of_a_normal_sample():
    """Kernels of width 0.9 n^-1/5 around 20,000 standard normals: nearly the normal density, log 0.3989 = -0.919."""
    draws = np.random.default_rng(0).normal(size=20_000)
    assert log_density(draws, 0.0) == pytest.approx(math.log(1 / math.sqrt(2 * math.pi)), abs=0.06)
    assert log_density(draws, 2.0) == pytest.approx(math.log(1 / math.sqrt(2 * math.pi)) - 2.0, abs=0.1)


def test_quantities_that_never_vary_have_a_density_too():
    assert np.isfinite(log_density(np.zeros(10), 0.0)) and log_density(np.zeros(10), 1.0) < -1000


def test_facts_are_placed_among_the_draws():
    """19.4 TB/s is the middle of 15 to 25 on a log axis; N3P has 41 of 101 draws, one more for what was not seen."""
    found = {s.name: s for s in score(DRAWS, {"hbm_bandwidth_Bps": math.sqrt(15 * 25) * 1e12, "node": "N3P"})}
    assert found["hbm_bandwidth_Bps"].quantile == pytest.approx(0.5, abs=0.01)
    assert found["hbm_bandwidth_Bps"].covered is True
    assert found["node"].log_score == pytest.approx(math.log(42 / 104))
    assert found["node"].covered is None


def test_a_fact_nearer_to_the_forecast_scores_more():
    near, far = (score(DRAWS, {"hbm_bandwidth_Bps": x})[0] for x in (19e12, 40e12))
    assert near.log_score > far.log_score
    assert coverage((near, far)) == 0.5
    assert mean_log_score((near, far)) == pytest.approx((near.log_score + far.log_score) / 2)


def test_facts_in_their_units(tmp_path):
    path = tmp_path / "facts.toml"
    path.write_text('hbm_bandwidth_Bps = "19.6 TBps"\nnode = "N3P"\n')
    assert read_facts(path, DRAWS) == {"hbm_bandwidth_Bps": pytest.approx(19.6e12), "node": "N3P"}


def test_names_without_their_unit_and_dies_that_are_a_choice(tmp_path):
    """Dies were a quantity with a density: 0.78 nats for two dies that 62 % of the draws had, ln .62 = -.48."""
    drawn = {**DRAWS, "n_dies": ["2"] * 62 + ["4"] * 38, "speedup:decode": ["3.0"] * 100}
    path = tmp_path / "facts.toml"
    path.write_text('hbm_bandwidth = "19.6 TB/s"\nn_dies = 2\nnode = "N2P"\n"speedup:decode" = 3.5\n')
    facts = read_facts(path, drawn)
    assert facts == {"hbm_bandwidth_Bps": pytest.approx(19.6e12), "n_dies": "2", "node": "N2P", "speedup:decode": 3.5}
    found = {s.name: s for s in score(drawn, facts)}
    # one draw more for either word and one for any other: 63 of 103
    assert found["n_dies"].log_score == pytest.approx(math.log(63 / 103)) and found["n_dies"].covered is None
    assert (found["n_dies"].drawn_frac, found["node"].drawn_frac) == (0.62, 0.0)
    assert found["hbm_bandwidth_Bps"].drawn_frac is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hbm_bandwidth = 1e13\nhbm_bandwidth_Bps = 1e13", "there twice"),
        ("[facts]\nn_cores = 16", "give one name, or one number"),
        ("clock_Hz = 1e9", "'clock_Hz' was not forecast"),
        ('hbm_bandwidth_Bps = "19.6 W"', "hbm_bandwidth_Bps"),
        ("node = ", "facts.toml"),
    ],
)
def test_bad_facts(tmp_path, text, words):
    path = tmp_path / "facts.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=words):
        read_facts(path, DRAWS)


def test_no_draws(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        read_draws(tmp_path / "draws.csv")


def test_versions_stand_beside_each_other(tmp_path):
    for name in ("2026-11-27", "2026-11-27-2", "2026-11-27-10", "2026-11-26-30"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text("x\n1\n")
    assert last_version(tmp_path).name == "2026-11-27-10"
    assert last_version(tmp_path / "2026-11-27").name == "2026-11-27"
    first = next_version(tmp_path / "new")
    first.mkdir(parents=True)
    assert next_version(tmp_path / "new").name == f"{first.name}-2"
    with pytest.raises(SpecError, match="holds no forecast"):
        last_version(tmp_path / "nothing")
