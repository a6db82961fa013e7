"""The price of an hour: one basis for all who are compared, none that stands in for another, and why one is missing."""

import math

import pytest

from dse.economy.bill import chip_cost
from dse.economy.knobs import knobs
from dse.economy.owning import GIVEN, OWNED, RENTED, chip_hour, deal, hours, million_tokens_USD, price_basis, range_USD
from dse.economy.presets import rents
from dse.hardware.presets import chip_names, chip_system

LISTED = [name for name in chip_names() if set(rents(name)) & set(RENTED)]


def test_a_million_tokens_by_hand():
    """3.60 USD an hour at 1000 tokens/s: 0.001 USD a second, a millionth of a dollar each, 1 USD per million."""
    assert million_tokens_USD(1000.0, 3.6) == pytest.approx(1.0, rel=1e-15)
    assert million_tokens_USD(2000.0, 3.6) == pytest.approx(0.5, rel=1e-15)


def test_a_range_is_a_factor_either_way():
    assert range_USD(2.0, 1.25) == (1.6, 2.5)
    assert range_USD(None, 1.25) is None and range_USD(2.0, math.nan) is None


@pytest.mark.parametrize("basis", [*RENTED, OWNED])
def test_what_the_user_gives_comes_first(basis):
    found = chip_hour("h100", basis, {"h100": 1.23})
    assert (found.chip_hour_USD, found.basis, found.is_guess, found.gap) == (1.23, GIVEN, False, "")


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("basis", RENTED)
def test_a_price_is_the_one_that_is_listed_or_a_gap_with_its_way_out(name, basis):
    """Another contract never stands in: a basis that is not listed gives none, and says what is known."""
    found, known = chip_hour(name, basis, {}), rents(name)
    if basis in known:
        fact = known[basis]
        assert (found.chip_hour_USD, found.basis, found.range_USD) == (fact.value, basis, (fact.low, fact.high))
        assert fact.low <= fact.value <= fact.high and found.is_guess == (fact.kind == "guess")
    elif found.chip_hour_USD is None:
        assert found.gap.startswith(f"no {basis.replace('_', ' ')} price of {name}; known: ")
        assert all(k.replace("_", " ") in found.gap for k in known)
        assert found.gap.endswith(f"give --rent {name}=USD")
    else:
        assert found.basis not in RENTED


def test_a_stranger_has_no_price_to_an_owner_and_is_told_what_to_give():
    found = chip_hour("nobody's", OWNED, {})
    assert found.chip_hour_USD is None and found.gap.endswith("give --rent nobody's=USD")


def test_a_chip_file_that_says_server_and_price_needs_no_facts_of_its_base(tmp_path):
    """An L4 for 2,500 USD: 72 W x 0.75 x 1.82 x 1.14 at the meter; it pays after C / (0.7 USD - running costs)."""
    mine = tmp_path / "l4.toml"
    mine.write_text('[l4]\nbase = "l40s"\nn_cores = 58\npower_limit = "72 W"\nrent = "0.7 USD"\n')
    assert 'add host = "x86-8" and price = "30 kUSD"' in chip_hour(str(mine), OWNED, {}).gap
    mine.write_text(mine.read_text() + 'host = "x86-8"\nprice = "2500 USD"\n')
    c = chip_cost(str(mine))
    assert c.hour_parts_USD["energy"] == pytest.approx(0.072 * 0.75 * 1.82 * 1.14 * 0.0826)
    capital, running = sum(c.capital_parts_USD.values()), c.hour_USD - c.hour_parts_USD["capital"]
    assert c.break_even_days["given"] * 24 == pytest.approx(capital / (0.7 - running))
    assert chip_hour(str(mine), OWNED, {}).chip_hour_USD == c.hour_USD


def test_the_basis_of_all_is_what_most_are_listed_under():
    """Ties go to the contract that comes first; a chip with a given price has no voice."""
    for names in (LISTED, LISTED[:1], LISTED[-2:]):
        counts = {k: sum(k in rents(n) for n in names) for k in RENTED}
        assert counts[price_basis(names)] == max(counts.values())
    assert price_basis([]) == RENTED[0]
    one = LISTED[0]
    mine = hours([one, "h100"], given_USD={one: 9.0})
    assert mine[0].basis == GIVEN and mine[1].basis == price_basis(["h100"])


@pytest.mark.parametrize("basis", RENTED)
def test_a_stated_basis_is_kept_for_all(basis):
    assert {h.basis for h in hours(LISTED, basis)} <= {basis, "", "given", "guessed"}


def test_a_chip_at_cost_does_not_turn_the_margin_it_has_not():
    """Trainium2's margin is a guess from 1.0 to 1.3; at cost it is 1. Before, its range stood in the band at cost."""
    system = chip_system("trainium2", 64)
    turned = [{k.fact.name for k in knobs(d) if k.kind == "chip"} for d in (deal(system), deal(system, margin=1.0))]
    assert turned == [{"margin"}, set()]
