"""What is read off a limit and its loosening, by hand."""

import dataclasses
import math

import pytest

from dse.explore.designed import Compared
from dse.explore.remedy import Lever
from dse.lowering.plan import Plan
from dse.lowering.plan_keys import ORDERS
from dse.optimize.prices import LimitReport
from dse.optimize.shown import plan_words
from dse.optimize.solution import Relaxation


def test_a_step_is_worth_its_share_times_the_price():
    """Ten of 1,200 W are 1/120; at a price of 0.3 that is 0.25 % of the goal, whichever way the limit looks."""
    for sense, price in (("at_most", -0.3), ("at_least", 0.3)):
        x = LimitReport("power_W", sense, 1200.0, 1200.0, price, price)
        assert x.gain_frac(10.0) == pytest.approx(0.0025)


@pytest.mark.parametrize(("needed", "share"), [(110.0, 0.1), (80.0, 0.2), (100.0, 0.0)])
def test_a_relaxation_moves_by_a_share_of_its_limit(needed, share):
    assert Relaxation("power_W", 100.0, needed).change_frac == pytest.approx(share)


def test_a_lever_says_by_what_factor_it_moves():
    x = Lever("limit power_W <= 100 W", 100.0, 1600.0, 150.0, 125.0)
    assert (x.alone_frac, x.together_frac, x.changes) == (1.5, 1.25, True)
    assert not Lever("fact", 2.0, 1.0, math.nan, 2.0).changes and not Lever("fact", 2.0, 1.0, 1.0, math.nan).changes


def test_a_ratio_needs_something_to_compare_with():
    assert Compared(4.0, 6.0).ratio == 1.5 and Compared(0.0, 6.0).ratio is None


def test_a_plan_in_words_says_all_that_is_not_usual():
    """The page left out the order, recomputation and ZeRO 0: two plans that differ by them looked alike."""
    plan = Plan(tp=8, pp=2, zero=0, recompute="full", recompute_frac=0.5, order=ORDERS[1], sequence_parallel=False)
    words = plan_words(dataclasses.asdict(plan))
    assert words == f"tp 8, pp 2, zero 0, recompute full, no sequence parallel, order {ORDERS[1]}, recompute 50 %"
    assert plan_words(dataclasses.asdict(Plan())) == ""
