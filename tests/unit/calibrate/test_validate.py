"""Scores of measurements: what is predicted, what is not and why."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from dse.calibrate import validate as validation
from dse.calibrate.validate import checked, left_aside, reasons, source_medians, worst
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


def test_a_source_outside_its_band_counts_in_the_total(scored):
    """Three sources with all, all and a quarter of their points inside: 75 %, where a median says 100 %."""
    shares = {"a": [1, 1, 1, 1], "b": [1, 1], "c": [1, 0, 0, 0]}
    rows = [(s, x) for s, inside in shares.items() for x in inside]
    frame = pd.DataFrame(
        {
            "source": [s for s, _ in rows], "predicted_s": 1.0, "measured_s": [1.0 if x else 9.0 for _, x in rows],
            "baseline_s": 1.0, "low_s": 0.5, "high_s": 2.0,
        }
    )  # fmt: skip
    wide = dataclasses.replace(scored, scores=dataclasses.replace(scored.scores, predictions=frame))
    assert source_medians(wide)["coverage"] == pytest.approx(0.75)


def test_reasons_that_differ_in_numbers_are_one_and_names_keep_theirs(scored):
    assert reasons(scored) == [
        ("global batch N below dp", 2, "a, c", "a#3"),
        ("no preset for chip 'B 200'", 1, "c", "c#2"),
    ]


def test_an_empty_table_or_one_without_a_column_is_refused():
    rows = pd.read_csv(Path(__file__).parents[2] / "data" / "training_tiny.csv")
    with pytest.raises(SpecError, match="no rows"):
        checked(rows.iloc[:0], "training", Path("tiny.csv"))
    with pytest.raises(SpecError, match="no column layers"):
        checked(rows.drop(columns="layers"), "training", Path("tiny.csv"))


def test_points_that_are_not_complete_are_listed_with_that_reason():
    rows = pd.read_csv(Path(__file__).parents[2] / "data" / "training_tiny.csv").assign(spec="partial")
    assert {u.point_id for u in left_aside(rows)} == set(rows.point_id)
    assert left_aside(rows.assign(spec="complete")) == []


def test_a_kind_without_a_scorer_is_refused(monkeypatch):
    monkeypatch.delitem(validation.SCORERS, "kernels")
    with pytest.raises(SpecError, match="kernels"):
        validation.validate("kernels")
