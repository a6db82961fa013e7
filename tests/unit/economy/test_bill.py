"""Bills of materials of products: published lines, harvesting on and off, one die by hand."""

import dataclasses

import pytest

from dse.core.errors import UnknownNameError
from dse.economy.bill import bill, bill_names, counts_loss, good_die_USD, product, published, wafer

LINES = {"dies": "dies_USD", "hbm": "hbm_USD", "package": "package_USD", "test": "test_USD"}


def total(name, money):
    parts = [*LINES.values(), *(["loss_USD"] if counts_loss(name) else [])]
    return sum(float(getattr(money, p)) for p in parts)


@pytest.mark.parametrize("name", ["h100", "b200"])
def test_bills_lie_in_the_published_range_with_harvesting(name, capsys):
    m, line = bill(product(name), wafer()), published(name)["total"]
    with capsys.disabled():
        print(f"\n{name}: {total(name, m):.0f} USD, published {line.value:.0f} ({line.low:.0f} to {line.high:.0f})")
    assert line.low <= total(name, m) <= line.high
    dies = published(name)["dies"]
    assert dies.low <= float(m.dies_USD) <= dies.high


def test_without_harvesting_h100_misses_by_the_known_factor():
    """Raw yield: 18,500 / (57.6 x 0.458) = 702 USD against 300 published, 2.3 times; with spares 369, 1.2 times."""
    raw = float(bill(product("h100"), wafer(), harvest=False).dies_USD)
    assert raw / published("h100")["dies"].value == pytest.approx(2.34, abs=0.03)
    sold = float(bill(product("h100"), wafer()).dies_USD)
    assert sold / published("h100")["dies"].value < 1.35
    # B200 without harvesting leaves the range of its logic line too
    raw = float(bill(product("b200"), wafer(), harvest=False).dies_USD)
    assert raw > published("b200")["dies"].high


def test_mi300x_within_a_sixth_of_its_published_bill(capsys):
    """One published figure, no range: 5,300 USD; its lines count nothing lost in assembly.

    Memory at 17 USD/GB is 3,264, published 2,900 (15.1); test 920 as for H100, published 600: these two make the gap.
    At the low ends of those two facts the bill is 5,400.
    """
    m, line = bill(product("mi300x"), wafer()), published("mi300x")
    with capsys.disabled():
        print(f"\nmi300x: {total('mi300x', m):.0f} USD, published {line['total'].value:.0f}")
    assert total("mi300x", m) == pytest.approx(line["total"].value, rel=0.17)
    assert float(m.dies_USD) == pytest.approx(line["dies"].value, rel=0.15)
    assert float(m.package_USD) == pytest.approx(line["package"].value, rel=0.1)
    p = product("mi300x")
    cheap = dataclasses.replace(
        p,
        memory=dataclasses.replace(p.memory, price_USD_per_B=15e-9),
        package=dataclasses.replace(p.package, test_assembly_USD=600.0),
    )
    assert total("mi300x", bill(cheap, wafer())) == pytest.approx(line["total"].value, rel=0.03)


def test_one_io_die_by_hand():
    """MI300X IO die: 370 mm2 on N6, no spares. A' = 370 + 0.4 x 19.235 + 0.04 = 377.73 mm2.

    66,052 / 377.73 - 911.06 / sqrt(755.5) = 174.86 - 33.15 = 141.7 dies; yield (1 + 3.7 x 0.09 / 10)^-10 = 0.7206.
    9,500 / (141.7 x 0.7206) = 93.0 USD.
    """
    p = product("mi300x")
    assert float(good_die_USD(p.dies[1], p.package.yield_clustering, wafer())) == pytest.approx(93.0, abs=0.3)


def test_the_critical_area_of_the_core_agrees_with_counted_spares():
    """The share of critical area in use (0.2) gives the yield that counting spare blocks gives, within 4 points."""
    p = product("h100")
    d, a = p.dies[0], float(p.package.yield_clustering)
    folded = (1 + 814 * float(p.package.critical_area_frac) * float(d.node.defect_density_per_mm2) / a) ** -a
    counted = 18_500 / 57.6 / float(good_die_USD(d, p.package.yield_clustering, wafer()))
    assert folded == pytest.approx(counted, abs=0.04)


def test_names():
    assert bill_names() == ("h100", "b200", "mi300x")
    with pytest.raises(UnknownNameError, match="did you mean"):
        product("h10")
