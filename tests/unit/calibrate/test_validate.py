"""Scores of measurements: what is predicted, what is not and why."""

from pathlib import Path

import pandas as pd
import pytest

from dse.calibrate import validate as validation
from dse.calibrate.validate import checked, reasons, source_medians, worst
from dse.core.errors import SpecError


def test_worst_are_ordered_by_ratio_so_that_too_short_counts_as_too_long(scored):
    # 1/4 is a factor of four off, 12/10 and 11/10 much less
    assert [w["point_id"] for w in worst(scored)] == ["b#1", "b#2", "a#2"]
    assert worst(scored)[0]["error_frac"] == pytest.approx(-0.75)


def test_total_is_the_median_over_sources_with_predictions(scored):
    total = source_medians(scored)
    # a: errors 10 %, 10 %; b: 75 %, 20 %, median 47.5 %; c has none
    assert (total["points"], total["modelled"]) == (7, 4)
    assert total["median_abs_err"] == pytest.approx((0.10 + 0.475) / 2)


def test_reasons_that_differ_in_numbers_are_one_and_names_keep_theirs(scored):
    assert reasons(scored) == [
        ("global batch N below dp", 2, "a, c", "a#3"),
        ("no preset for chip 'B 200'", 1, "c", "c#2"),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": "fast"}, ["row 1", "value", "fast"]),
        ({"source": None}, ["row 1", "source"]),
        ({"point_id": None}, ["row 1", "point_id"]),
    ],
)
def test_bad_cells_are_named(change, words):
    rows = pd.read_csv(Path(__file__).parents[2] / "data" / "training_tiny.csv").astype(object)
    for column, value in change.items():
        rows.loc[0, column] = value
    with pytest.raises(SpecError) as caught:
        checked(rows, "training", Path("tiny.csv"))
    assert all(w in str(caught.value) for w in words)


def test_a_kind_without_a_scorer_is_refused(monkeypatch):
    monkeypatch.delitem(validation.SCORERS, "kernels")
    with pytest.raises(SpecError, match="kernels"):
        validation.validate("kernels")
