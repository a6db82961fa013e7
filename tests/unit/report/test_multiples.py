"""The page of small multiples: a panel per source and per dimension that varies."""

import pandas as pd
import pytest

from dse.calibrate.error_groups import fifths, with_dimensions
from dse.report.multiples import multiples_figure, title
from dse.report.style import plt

DONE = pd.DataFrame(
    {
        "point_id": ["a", "b", "c", "d"],
        "source": ["one", "one", "one", "two"],
        "measured_s": [1.0, 2.0, 4.0, 8.0],
        "predicted_s": [1.0, 1.0, 4.0, 9.0],
        "low_s": [0.5, 0.5, 2.0, 4.5],
        "high_s": [2.0, 1.5, 8.0, 18.0],
    }
).assign(error_frac=lambda f: f.predicted_s / f.measured_s - 1)
ROWS = pd.DataFrame(
    {"point_id": list("abcd"), "global_batch": [64, 64, 64, 64], "micro_batch": [1, 2, 4, 1], "dp": [4, 4, 4, "x"]}
)


def test_micro_batches_of_a_replica_are_derived_and_text_is_no_number():
    found = with_dimensions(DONE, ROWS, "training")
    assert found.n_micro.tolist()[:3] == [16, 8, 4] and pd.isna(found.n_micro.iloc[3])


def test_rows_of_requests_are_found_by_their_point():
    done = DONE.assign(point_id=["a:ttft", "b:tpot", "c:ttft", "d:ttft"])
    rows = ROWS.assign(batch=[1, 2, 3, 4])
    assert with_dimensions(done, rows, "inference").batch.tolist() == [1, 2, 3, 4]


def test_a_title_says_error_and_coverage():
    assert title(DONE[DONE.source == "one"], "one") == "one\n3; 0 %; 67 % in band"


def test_a_panel_for_every_source_and_every_dimension_that_varies():
    figure = multiples_figure(with_dimensions(DONE, ROWS, "training"), "training")
    shown = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes if ax.get_visible()]
    plt.close(figure)
    assert [s.split("\n")[0] for s in shown] == ["one", "two", "micro_batch", "n_micro"]
    assert figure.axes[0].get_ylim()[1] == pytest.approx(3.15)


def test_every_panel_has_ticks_that_can_be_read():
    """Sources measured within a factor of two stood over one tick or none; a million ran into its neighbour."""
    rows = ROWS.assign(global_batch=[64, 128, 4096, 4_000_000])
    figure = multiples_figure(
        with_dimensions(DONE.assign(measured_s=[1.1, 1.3, 1.8, 8.0]), rows, "training"), "training"
    )
    figure.canvas.draw()
    shown = [ax for ax in figure.axes if ax.get_visible()]
    ticks = [[t for t in ax.get_xticks() if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]] for ax in shown]
    words = [t.get_text() for ax in shown for t in ax.get_xticklabels()]
    plt.close(figure)
    assert min(len(t) for t in ticks) >= 2
    assert "1M" in words and max(len(w) for w in words) <= 5
    assert [ax.get_xlabel() for ax in shown[:3]] == ["measured [s]", "measured [s]", ""]


def test_fifths_have_a_fifth_of_the_points_each():
    x = pd.Series(range(1, 11))
    at, middle = fifths(x, 2.0 * x)
    assert at.tolist() == [1.5, 3.5, 5.5, 7.5, 9.5] and middle.tolist() == [3.0, 7.0, 11.0, 15.0, 19.0]
