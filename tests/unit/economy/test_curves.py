"""Buying against renting, day by day, and what jobs of many sizes keep."""

import numpy as np
import pytest

from dse.economy.curves import SYSTEMS, BreakEven, goodputs

DAYS = np.asarray([0.0, 100.0, 200.0, 300.0])


def bought_for(capital, per_day, **rent_per_day):
    return BreakEven(DAYS, capital + per_day * DAYS, {k: v * DAYS for k, v in rent_per_day.items()})


def test_the_day_that_pays_a_chip_back_by_hand():
    """1000 USD and 2 a day against 7 a day: 1000 / 5 = 200 days, the third position, where both have cost 1400."""
    b = bought_for(1000.0, 2.0, on_demand=7.0)
    assert b.crossing("on_demand") == 2 and b.bought_USD[2] == b.rented_USD["on_demand"][2] == 1400.0


@pytest.mark.parametrize(("rent", "day"), [(2.0, None), (1.0, None), (5.0, None), (5.34, 3), (12.0, 1), (1e6, 1)])
def test_dearer_rents_pay_back_sooner_and_cheap_ones_never(rent, day):
    assert bought_for(1000.0, 2.0, spot=rent).crossing("spot") == day


def test_a_gift_is_paid_back_at_once():
    assert bought_for(0.0, 1.0, spot=1.0).crossing("spot") == 0


@pytest.mark.slow
def test_larger_jobs_keep_less_and_spares_take_more():
    """Six sizes on three fabrics: useful time falls with chips, and counted per chip held it is less still."""
    g = goodputs(6)
    assert g.n_chips[0] == pytest.approx(16) and g.n_chips[-1] == pytest.approx(262_144) and set(g.kept) == set(SYSTEMS)
    for kept in g.kept.values():
        fractions = [k.goodput_frac for k in kept]
        assert fractions == sorted(fractions, reverse=True) and 0 < fractions[-1] < fractions[0] < 1
        for k in kept:
            assert 0 < k.per_held_frac < k.goodput_frac
            assert k.goodput_range[0] <= k.goodput_frac <= k.goodput_range[1]
    assert (g.observed_n_chips, g.observed_frac) == (16_384.0, 0.9)
