"""Draws of receipts: within their ranges, most likely at the value, moving together where the facts say so."""

from pathlib import Path

import numpy as np
import pytest

from dse.core.provenance import Sourced
from dse.explore.unknowns import Unknown, at_score, correlations, draw, study_facts, unknowns
from dse.study.study import load_study, names_of_fits

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


def fact(low, value, high):
    return Sourced("x_W", value, low, high, "guess", "dse2026", "")


def test_quantiles_of_a_triangle_by_hand():
    # Linear, since 0 is no logarithm: low 0, value 1, high 4. The share below the value is (1 - 0) / (4 - 0) = 1/4;
    # at 1/16, x^2 / (4 x 1) = 1/16 gives x = 1/2; at 13/16, 1 - (4 - x)^2 / (4 x 3) = 13/16 gives 4 - x = 3/2.
    drawn = at_score(fact(0.0, 1.0, 4.0), np.asarray([0.0, 1 / 16, 1 / 4, 13 / 16, 1.0]))
    assert drawn == pytest.approx([0.0, 0.5, 1.0, 2.5, 4.0])


def test_positive_ranges_are_triangular_in_the_logarithm():
    # 1 to 100 with the value 10: symmetric in the logarithm, so the median is the value and 1/8 lies below 10^(1/2).
    drawn = at_score(fact(1.0, 10.0, 100.0), np.asarray([0.0, 1 / 8, 1 / 2, 1.0]))
    assert drawn == pytest.approx([1.0, 10**0.5, 10.0, 100.0])


@pytest.mark.parametrize("value", [1.0, 100.0])
def test_a_value_at_the_end_of_its_range_stays_the_most_likely(value):
    drawn = at_score(fact(1.0, value, 100.0), np.linspace(0, 1, 101))
    assert np.all(np.diff(drawn) >= 0) and drawn[0] == pytest.approx(1.0) and drawn[-1] == pytest.approx(100.0)
    near = np.abs(np.log(drawn / value)) < np.log(10)
    assert near.mean() == pytest.approx(0.75, abs=0.02)  # half the log range holds 1 - (1/2)^2 of a falling triangle


def test_every_fact_of_both_chips_with_a_range_is_drawn_once():
    study = load_study(TINY)
    what = unknowns(study)
    assert len({(u.scope, u.fact) for u in what}) == len(what)
    names = {u.name for u in what}
    assert {"node: mac_energy_fp8_J", "memory HBM4: phy_area_mm2", "memory HBM3E: phy_area_mm2"} <= names
    assert names_of_fits(study) and {f"calibration {c}: matmul_frac" for c in names_of_fits(study)} <= names
    assert {"chip trainium3: power_limit_W", "headroom: usable_frac"} <= names
    assert not any("vendor" in n or "granule" in n for n in names)
    ranged = {(s, f.name) for s, f in study_facts(study) if not isinstance(f.value, str) and f.low < f.high}
    assert {(u.scope, u.fact) for u in what} == ranged


def test_facts_named_in_groups_exist_and_stand_in_one_group():
    facts = [f for members, _ in correlations().values() for f in members]
    assert len(facts) == len(set(facts))
    known = {f.name for _, f in study_facts(load_study(TINY))}
    assert set(facts) <= known


def test_draws_repeat_with_the_seed_and_fill_every_slice():
    what = (Unknown("node", "alpha"), Unknown("node", "placement_frac"))
    a, b, c = (draw(what, 100, seed).scores for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    for column in a.T:
        assert sorted(np.floor(column * 100).astype(int)) == list(range(100))


def test_members_of_a_group_move_together_and_others_do_not():
    what = unknowns(load_study(TINY))
    scores = draw(what, 4000, 3).scores
    column = {u.name: scores[:, i] for i, u in enumerate(what)}
    r = lambda a, b: float(np.corrcoef(column[a], column[b])[0, 1])  # noqa: E731
    # Rank correlation of a normal copula: 6/pi asin(r/2); r = .6 gives .582, r = .8 gives .786.
    assert r("node: mac_energy_fp8_J", "node: mac_energy_bf16_J") == pytest.approx(0.582, abs=0.04)
    assert r("memory HBM4: price_USD_per_B", "memory HBM3E: price_USD_per_B") == pytest.approx(0.786, abs=0.04)
    assert r("node: mac_energy_fp8_J", "node: pe_area_fp8_mm2") == pytest.approx(0.0, abs=0.05)
