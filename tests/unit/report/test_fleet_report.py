"""What people see about owning: tables add up, JSON is strict, figures draw, money reads as money."""

import json
import math

import pytest
from rich.console import Console

from dse.core.files import json_text
from dse.economy.bill import bill_lines, chip_cost
from dse.economy.curves import break_even, goodputs
from dse.economy.knobs import Turned
from dse.report import fleet_figures
from dse.report.fleet_tables import (
    against_json,
    against_view,
    cost_json,
    cost_view,
    dollars,
)
from dse.report.style import STYLE, draw, plt
from dse.serving.comparison import Answer, usual


def text(view, width=120):
    console = Console(width=width, record=True, file=None, highlight=False)
    with console.capture() as shown:
        console.print(view)
    return shown.get()


def test_cost_of_an_h100_on_screen():
    shown = text(cost_view(chip_cost("h100"), 120))
    for words in (
        "40,800 USD in its rack",
        "maker's margin",
        "rented, capacity block",
        "378 days",
        "814 mm2 (published)",
    ):
        assert words in shown
    assert "none sold" in shown and "702" in shown  # the bill without spare blocks
    assert "rented, guessed" in text(cost_view(chip_cost("trainium3"), 120))


def test_cost_json_adds_up():
    c = json.loads(json_text(cost_json(chip_cost("trainium2"))))
    assert sum(c["capital_USD"].values()) == pytest.approx(c["capital_total_USD"])
    assert sum(c["chip_hour_USD"].values()) == pytest.approx(c["chip_hour_total_USD"])
    low, high = c["chip_hour_range_USD"]
    assert 0.5 * c["chip_hour_total_USD"] < low < c["chip_hour_total_USD"] < high < 2 * c["chip_hour_total_USD"]
    assert c["die_is_modelled"] is True and c["bill_of_materials_USD"] == []
    assert c["rent_USD_per_h"]["capacity_block"] == 2.235


def test_break_even_days_by_hand():
    """11,000 USD of a Trainium2 against 2.235 USD/h less 0.20 USD/h of running: about 226 days."""
    c = chip_cost("trainium2")
    capital, hour = float(c.purchase.capital_USD), c.hour_parts_USD
    running = hour["maintenance"] + hour["facility"] + hour["energy"]
    assert c.break_even_s["capacity_block"] / 3600 == pytest.approx(capital / (2.235 - running), rel=1e-6)


def test_totals_count_losses_only_where_the_source_does():
    rows = {x.part: x.harvested_USD for x in bill_lines("h100")}
    assert "loss" not in rows and rows["total"] == pytest.approx(sum(v for n, v in rows.items() if n != "total"))
    assert "loss" in {x.part for x in bill_lines("b200")}


@pytest.mark.parametrize(
    ("value", "words"), [(1234.0, "1,230 USD"), (3.31e7, "33.1 M USD"), (0.5, "0.5 USD"), (math.nan, "-")]
)
def test_money_reads_as_money(value, words):
    assert dollars(value) == words


def answer(ratio, low, high, paying="owned"):
    return Answer("training", paying, ratio, 1.0, low, high, (Turned("x (y)", 0.5, 2.0),), "so much")


@pytest.mark.parametrize(
    ("case", "verdict"),
    [((0.4, 0.3, 0.55), "yes"), ((0.5, 0.3, 0.9), "likely"), ((0.8, 0.5, 1.2), "unlikely"), ((0.9, 0.7, 1.2), "no"),
     ((math.nan, math.nan, math.nan), "unknown")],
)  # fmt: skip
def test_verdicts(case, verdict):
    assert answer(*case).verdict == verdict


def test_an_unknown_rent_is_said_and_null_in_json():
    answers = [answer(math.nan, math.nan, math.nan, "rented"), answer(0.5, 0.3, 0.9)]
    assert "no public price" in text(against_view("trainium3", "b200", "fp8", answers, usual("fp8")))
    found = json.loads(json_text(against_json("trainium3", "b200", "fp8", answers, usual("fp8"))))
    assert found["answers"][0]["ratio"] is None and found["answers"][1]["ratio"] == 0.5


def test_figures_are_drawn(tmp_path):
    h100, older = chip_cost("h100"), chip_cost("a100-80")
    paths = fleet_figures.write_cost_figures(h100, break_even(h100), tmp_path)
    paths += draw(tmp_path, goodput=lambda: fleet_figures.goodput_figure(goodputs(8)))
    assert {p.name for p in paths} == {
        f"{n}.{e}" for n in ("waterfall", "break_even", "goodput") for e in ("png", "svg")
    }
    assert all(p.stat().st_size > 5000 for p in paths)
    assert len(fleet_figures.write_cost_figures(older, break_even(older), tmp_path)) == 2  # no rent, no break-even


def test_waterfall_ends_at_the_capital():
    c = chip_cost("b200")
    with plt.rc_context(STYLE):
        ax = fleet_figures.waterfall_figure(c).axes[0]
    bars = [(b.get_x(), b.get_width()) for b in ax.patches]
    assert bars[-2][0] + bars[-2][1] == pytest.approx(bars[-1][1]) == pytest.approx(float(c.purchase.capital_USD))
    plt.close("all")
