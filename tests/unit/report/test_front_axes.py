"""Axes of fronts: ticks that people read, and chips beside the front that stay legible and on the page."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text

from dse.explore.front import front
from dse.report import hover
from dse.report.front_axes import frame, log_axes, log_ticks, mark_chips, round_ticks
from dse.report.front_pages import write_pages
from dse.study.study import load_study

TINY = Path(__file__).parents[2] / "data" / "tiny.toml"


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    log_axes(axes)
    frame(axes, np.asarray([5000.0, 9000.0]), np.asarray([3.0, 6.0]))
    yield axes
    plt.close(figure)


def test_ticks_are_round_and_at_least_three():
    assert round_ticks(0.9, 110) == [1, 2, 5, 10, 20, 50, 100]
    narrow = round_ticks(0.85, 1.35)
    assert len(narrow) >= 3 and 1.0 in narrow and all(0.85 <= t <= 1.35 for t in narrow)


def test_a_chip_far_away_stands_at_the_edge_with_its_numbers_and_moves_no_limit(ax):
    before = ax.get_xlim(), ax.get_ylim()
    mark_chips(ax, [("near", 6000.0, 4.0), ("far", 1000.0, 0.5)])
    assert (ax.get_xlim(), ax.get_ylim()) == before
    words = {t.get_text(): t.xy for t in ax.texts}
    assert words["near"] == (6000.0, 4.0)
    assert words["far (1,000, 0.5)"] == (before[0][0], before[1][0])


def test_labels_of_neighbours_do_not_cover_each_other(ax):
    mark_chips(ax, [("h100", 6000.0, 4.0), ("trainium2", 6010.0, 4.01)])
    ax.figure.canvas.draw()
    first, second = (t.get_window_extent() for t in ax.texts)
    assert not first.overlaps(second)


@pytest.mark.parametrize("shown", [(6.4, 4.8), (7.2, 4.6)])
def test_labels_of_many_chips_beyond_the_edge_do_not_cover_each_other(shown):
    """Chips beside the front of trainium4: two alike in speed, two below, and one more at every height."""
    low = [("trainium1", 1200.0, 0.11), ("trainium2", 3400.0, 0.52), ("h100", 3500.0, 1.037), ("h200", 4000.0, 1.05)]
    chips = [
        *low,
        ("trainium3", 4200.0, 1.0),
        ("mi300x", 5000.0, 1.02),
        ("tpu-v7", 5600.0, 1.28),
        ("b200", 6100.0, 1.82),
    ]
    figure, axes = plt.subplots(figsize=shown)
    log_axes(axes)
    frame(axes, np.asarray([9950.0, 14400.0]), np.asarray([1.0, 3.73]))
    mark_chips(axes, chips)
    figure.canvas.draw()
    words = [Text.get_window_extent(t) for t in axes.texts]
    assert len(words) == len(chips)
    assert not any(a.overlaps(b) for i, a in enumerate(words) for b in words[:i])
    plt.close(figure)


def test_pages_have_the_same_ticks_as_figures():
    """Plotly's own read "6 5 4 3" on a log axis."""
    ticks = log_ticks(900.0, 6000.0)
    assert ticks["tickvals"] == [1000.0, 2000.0, 5000.0] and ticks["ticktext"] == ["1,000", "2,000", "5,000"]
    assert hover._axis("x", [1000.0, 9000.0])["ticktext"][0] == "500"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_designs_are_read_without_scrolling_sideways(browser, tmp_path, width):
    f = front(load_study(str(TINY)), ("delivered_time", "package_cost_USD", "full_load_fp8_W", "die_mm2"), 6)
    (page,) = (p for p in write_pages(f, [], tmp_path) if p.name == "designs.html")
    tab = browser.new_page(viewport={"width": width, "height": 900})
    said = []
    tab.on("console", lambda m: m.type == "error" and said.append(m.text))
    tab.on("pageerror", lambda e: said.append(str(e)))
    tab.goto(page.as_uri(), wait_until="load")
    tab.wait_for_selector(".main-svg:visible")
    moved = "[document.body, ...document.querySelectorAll('html, div')].some(e => (e.scrollLeft = 9, e.scrollLeft))"
    assert said == [] and not tab.evaluate(moved)
    words = tab.evaluate("""[...document.querySelectorAll('.main-svg text')].filter(t => t.checkVisibility()).map(t => {
      const box = t.getBoundingClientRect();
      return [t.textContent, box.left >= 0 && box.right <= innerWidth];
    })""")
    for name in ("delivered [x]", "package cost [USD]", "full-load FP8 [W]", "die area [mm2]", "cores"):
        assert [name, True] in words
    tab.close()
