"""Axes of fronts: ticks that people read, and chips beside the front that stay legible and on the page."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from dse.report import hover
from dse.report.front_axes import frame, log_axes, log_ticks, mark_chips, round_ticks


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


def test_pages_have_the_same_ticks_as_figures():
    """Plotly's own read "6 5 4 3" on a log axis."""
    ticks = log_ticks(900.0, 6000.0)
    assert ticks["tickvals"] == [1000.0, 2000.0, 5000.0] and ticks["ticktext"] == ["1,000", "2,000", "5,000"]
    assert hover._axis("x", [1000.0, 9000.0])["ticktext"][0] == "500"
