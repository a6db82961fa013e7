"""How far sides of a question are apart, by hand."""

import pytest

from dse.explore.questions import apart_saves_frac, behind_frac


def test_a_side_is_behind_by_its_goal_and_surely_by_its_bound():
    """1.3 over 1 is 30 % behind, of which 20 % are proved; without a bound nothing is."""
    assert behind_frac({"goal": 1.0}, {"goal": 1.3, "lower_bound": 1.2}) == pytest.approx((0.3, 0.2))
    assert behind_frac({"goal": 2.0}, {"goal": 3.0, "lower_bound": None}) == pytest.approx((0.5, -1.0))


def test_chips_apart_save_by_their_geometric_mean():
    """sqrt(0.4 * 0.9) = 0.6 beside 0.8: a quarter; bounds 0.3 and 0.3: at most 62.5 %."""
    alone = [{"goal": 0.4, "lower_bound": 0.3}, {"goal": 0.9, "lower_bound": 0.3}]
    assert apart_saves_frac(0.8, alone) == pytest.approx((0.25, 0.625))
    # three parts and one, as the goal of the chip for all: 0.4^0.75 0.9^0.25 = 0.4899 beside 0.8; bounds as before
    assert apart_saves_frac(0.8, alone, (0.75, 0.25)) == pytest.approx((0.38763, 0.625), abs=1e-5)


def test_chips_apart_weigh_their_workloads_as_the_goal_does():
    """16 counts three times what 1 does: 16^0.75 = 8 beside 10 saves 20 %; alike it would be 4, that is 60 %."""
    alone = [{"goal": 16.0, "lower_bound": 16.0}, {"goal": 1.0, "lower_bound": 0.0}]
    assert apart_saves_frac(10.0, alone, (0.75, 0.25)) == pytest.approx((0.2, 1.0))
    assert apart_saves_frac(10.0, alone) == pytest.approx((0.6, 1.0))
