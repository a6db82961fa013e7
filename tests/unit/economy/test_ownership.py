"""Racks, capital recovery, chip-hours, rent against own: by hand, in the sources' own units, and their limits."""

import dataclasses
import math

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.core.errors import ReceiptError, UnknownNameError
from dse.economy.ownership import (
    YEAR_s,
    break_even_s,
    chip_hour_USD,
    chip_rate,
    owning_USD,
    rate_USD_per_s,
    recovery,
    recovery_per_y,
)
from dse.economy.presets import chip_facts, economy, host, ownership, price_and_margin, rents
from dse.economy.server import capital_USD, server_cost, server_W
from dse.hardware.presets import chip, system

f = jnp.asarray


def test_capital_recovery_by_hand():
    """8 %, 5 years: 0.08 / (1 - 1.08^-5) = 0.08 / 0.319417 = 0.250456; 12 years 0.132695."""
    assert float(recovery_per_y(f(0.08), f(5.0))) == pytest.approx(0.250456, abs=1e-6)
    assert float(recovery_per_y(f(0.08), f(12.0))) == pytest.approx(0.132695, abs=1e-6)


def test_capital_recovery_limits():
    """Without interest 1/n; an infinite life pays interest only, and nothing without it."""
    assert float(recovery_per_y(f(0.0), f(5.0))) == pytest.approx(0.2)
    assert float(recovery_per_y(f(1e-9), f(5.0))) == pytest.approx(0.2, rel=1e-6)
    assert float(recovery_per_y(f(0.08), f(math.inf))) == pytest.approx(0.08)
    assert float(recovery_per_y(f(0.0), f(math.inf))) == 0.0


@given(st.floats(0.0, 0.3), st.floats(1.0, 20.0))
def test_payments_pay_back(interest, years):
    """The present value of n yearly payments is the capital: sum of c / (1 + i)^k, whole years."""
    n = round(years)
    c = float(recovery_per_y(f(interest), f(float(n))))
    assert sum(c / (1 + interest) ** k for k in range(1, n + 1)) == pytest.approx(1.0, rel=1e-9)


def test_rack_of_an_h100_by_hand():
    """28,000 + 300 + (17,391 + 2,048)/8 = 2,429.9; links 450 GB/s x 1.5625 = 703.1; network 50 GB/s x 177.27 = 8,863.5.

    1,274 W of server: supplies and rack 0.318 USD/W = 405.1, cooling 0.0454 USD/W = 57.8. In all 40,759.
    """
    c = server_cost(chip("h100"), f(28_000.0), f(700.0), host("x86-8"))
    assert float(server_W(f(700.0), host("x86-8"))) == pytest.approx(1274.0)
    assert float(c.host_USD) == pytest.approx(2429.9, abs=0.1)
    assert float(c.scaleup_USD) == pytest.approx(703.1, abs=0.1)
    assert float(c.network_USD) == pytest.approx(8863.5, abs=0.1)
    assert float(c.supply_USD) == pytest.approx(405.1, abs=0.1)
    assert float(c.cooling_USD) == pytest.approx(57.8, abs=0.1)
    assert float(capital_USD(c)) == pytest.approx(40_759, abs=1)


def test_server_lines_add_up_to_the_published_server():
    """5200 + 7860 + 3456 + 10908 + 563 + 875 + 463 + 1200 + 1485 = 32,010 USD beside the GPUs of a server."""
    h = host("x86-8")
    nics = 8 * 50e9 * float(h.nic_USD_per_Bps)
    power = 10_200 * float(h.supply_USD_per_W + h.cooling_USD_per_W)
    assert float(h.host_USD + h.chassis_USD) + nics + power == pytest.approx(32_010, rel=1e-3)


def h100_rate(**changes):
    own = dataclasses.replace(ownership(), **changes)
    return chip_rate(f(40_759.0), f(1274.0), f(955.5), own, recovery(own))


def test_chip_hour_by_hand():
    """Capital 40,759 x 0.250456 / 8760 = 1.1653; maintenance 3 % 0.1396;

    building 1,274 W x 10 x 0.132695 / 8760 = 0.1930; energy 0.9555 kW x 1.14 x 0.0826 = 0.0900. In all 1.588 USD.
    """
    hour = {k: float(v) * 3600 for k, v in h100_rate().__dict__.items()}
    assert hour["capital_USD_per_s"] == pytest.approx(1.1653, abs=1e-4)
    assert hour["maintenance_USD_per_s"] == pytest.approx(0.1396, abs=1e-4)
    assert hour["facility_USD_per_s"] == pytest.approx(0.1930, abs=1e-4)
    assert hour["energy_USD_per_s"] == pytest.approx(0.0900, abs=1e-4)
    assert float(chip_hour_USD(h100_rate())) == pytest.approx(1.588, abs=1e-3)


def test_an_h100_costs_less_to_own_than_to_rent_and_more_than_half():
    """Market rents, from 1.99 USD an hour, pay a lessor and his idle hours too."""
    low = rents("h100")["market"].low
    hour = float(chip_hour_USD(h100_rate()))
    assert low / 2 < hour < low


def test_limits_free_energy_infinite_life():
    """Free energy leaves capital, maintenance and building; no interest and an infinite life leave energy alone."""
    free = h100_rate(price_USD_per_J=0.0)
    assert float(free.energy_USD_per_s) == 0.0
    assert float(rate_USD_per_s(free)) == pytest.approx(
        float(rate_USD_per_s(h100_rate())) - float(h100_rate().energy_USD_per_s)
    )
    forever = h100_rate(interest_frac=0.0, life_s=math.inf, facility_life_s=math.inf, maintenance_frac=0.0)
    assert float(rate_USD_per_s(forever)) == pytest.approx(float(h100_rate().energy_USD_per_s))


def test_break_even_by_hand():
    """Running 1.588 - 1.1653 = 0.4226 USD/h; rent 4.916: 40,759 / 4.4934 = 9,071 h = 378 days."""
    at = float(break_even_s(f(40_759.0), h100_rate(), f(4.916 / 3600)))
    assert at / 3600 == pytest.approx(9071, rel=1e-3)
    assert float(owning_USD(f(40_759.0), h100_rate(), f(at))) == pytest.approx(4.916 * at / 3600)
    assert math.isinf(float(break_even_s(f(40_759.0), h100_rate(), f(0.3 / 3600))))


def test_years_have_8760_hours():
    assert YEAR_s == 8760 * 3600
    assert float(ownership().life_s) == 5 * YEAR_s


def test_prices_and_margins():
    """A bought chip has a price, a made one its maker's margin; another chip's is never borrowed."""
    assert price_and_margin("h100") == (28_000.0, None)
    assert price_and_margin("trainium2") == (None, 1.15)
    with pytest.raises(ReceiptError, match="no price of this chip"):
        chip_facts("maia-100")
    assert rents("maia-100") == {}
    with pytest.raises(UnknownNameError, match="graviton4-4"):
        economy(system("trn3-gen2-144"), "N2", 1.0, host_name="graviton4")
