"""Curves of served chips: every known number is a point in its chip's colour, and what is not known is not drawn."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from dse.report.serving_figures import MARKERS, PANELS, handles, panel
from dse.report.style import plt

COLORS = {"trainium2": "#1f77b4", "trainium3": "#d62728"}


def at(tpot_s, rate, scheduler="chunked", dollars=None):
    return {
        "tpot_s": tpot_s, "chip_tokens_per_s": rate, "tokens_per_J": rate / 500,
        "tokens_per_s_per_USD_per_h": dollars, "scheduler": scheduler,
    }  # fmt: skip


ROWS = {
    "trainium2": [at(0.010, 100.0), at(0.020, 400.0, "prefill first"), at(0.050, 900.0, "apart")],
    "trainium3": [at(0.010, 300.0), at(0.020, 1000.0, dollars=250.0)],
}


@pytest.fixture
def axes():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_a_curve_per_chip_in_tokens_per_second_of_a_user(axes):
    panel(axes, ROWS, COLORS, "chip_tokens_per_s")
    curves = {to_rgba(line.get_color()): line.get_xydata() for line in axes.get_lines()}
    assert set(curves) == {to_rgba(c) for c in COLORS.values()}
    # 10, 20 and 50 ms a token are 100, 50 and 20 tokens a second
    assert curves[to_rgba(COLORS["trainium2"])] == pytest.approx(np.asarray([[100, 100], [50, 400], [20, 900]]))
    assert curves[to_rgba(COLORS["trainium3"])] == pytest.approx(np.asarray([[100, 300], [50, 1000]]))
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_every_point_has_the_marker_of_its_scheduler(axes):
    panel(axes, ROWS, COLORS, "tokens_per_J")
    drawn = [len(c.get_offsets()) for c in axes.collections]
    # per chip, in the order of MARKERS: prompts first, chunked, apart
    assert list(MARKERS) == ["prefill first", "chunked", "apart"]
    assert drawn == [1, 1, 1, 0, 2, 0]


def test_a_number_that_is_not_known_is_no_point(axes):
    panel(axes, ROWS, COLORS, "tokens_per_s_per_USD_per_h")
    (line,) = axes.get_lines()
    assert to_rgba(line.get_color()) == to_rgba(COLORS["trainium3"])
    assert line.get_xydata().tolist() == [[50.0, 250.0]]


def test_the_legend_names_chips_and_the_schedulers_that_occur():
    found = [h.get_label() for h in handles(COLORS, {"chunked", "apart"})]
    assert found == ["trainium2", "trainium3", "prompts in chunks", "prompts on chips apart"]


def test_panels_ask_for_numbers_that_every_point_has():
    assert {key for key, _, _ in PANELS} <= set(at(1.0, 1.0))


def test_an_axis_of_half_a_decade_has_ticks_and_none_that_touch(axes):
    """It had two, 50 and 100, of which the first is the limit."""
    panel(axes, {"trainium2": [at(1 / x, 10 * x) for x in (51, 89, 160)]}, COLORS, "chip_tokens_per_s")
    low, high = axes.get_xlim()
    ticks = np.asarray([t for t in axes.get_xticks() if low <= t <= high])
    assert ticks.size >= 3 and (ticks[1:] / ticks[:-1]).min() > 1.3
