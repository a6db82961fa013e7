"""Scores of measurements: what is predicted, what is not and why, and the figures."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.score import Scores
from dse.core.errors import SpecError
from dse.report import validation
from dse.report.parity import factor_ticks, part_groups, write_figures
from dse.report.validation import Validation, as_json, reasons, source_medians, worst

PARTS = ("compute_s", "host_exposed_s", "tensor_exposed_s", "pipeline_exposed_s", "data_exposed_s", "optimizer_s")


@pytest.fixture
def found() -> Validation:
    """Four predictions of two sources, two rows without one."""
    predicted = np.asarray([1.1, 1.8, 1.0, 12.0])
    done = pd.DataFrame(
        {
            "point_id": ["a#1", "a#2", "b#1", "b#2"],
            "source": ["a", "a", "b", "b"],
            "chip": ["a100-80", "h100", "h100", "own-chip"],
            "calibration": "fit",
            "measured_s": [1.0, 2.0, 4.0, 10.0],
            "predicted_s": predicted,
            **{p: predicted * share for p, share in zip(PARTS, (0.5, 0.1, 0.1, 0.1, 0.1, 0.05), strict=True)},
            "bubble_s": predicted * 0.05,
            "baseline_s": [2.0, 2.0, 4.0, 5.0],
            "memory_B": [50e9, 60e9, 40e9, 90e9],
            "measured_memory_B": [40e9, 60e9, np.nan, np.nan],
            "usable_memory_B": 79e9,
            "why": "",
        }
    )
    rest = pd.DataFrame(
        {
            "point_id": ["a#3", "c#1", "c#2"],
            "source": ["a", "c", "c"],
            "chip": "h100",
            "why": ["global batch 8 below dp", "global batch 12 below dp", "no preset for chip 'B 200'"],
        }
    )
    return Validation("training", False, Path("tiny.csv"), Scores(pd.concat([done, rest], ignore_index=True)))


def test_worst_are_ordered_by_ratio_so_that_too_short_counts_as_too_long(found):
    # 1/4 is a factor of four off, 12/10 and 11/10 much less
    assert [w["point_id"] for w in worst(found)] == ["b#1", "b#2", "a#2"]
    assert worst(found)[0]["error_frac"] == pytest.approx(-0.75)


def test_total_is_the_median_over_sources_with_predictions(found):
    total = source_medians(found)
    # a: errors 10 %, 10 %; b: 75 %, 20 %, median 47.5 %; c has none
    assert (total["points"], total["modelled"]) == (7, 4)
    assert total["median_abs_err"] == pytest.approx((0.10 + 0.475) / 2)


def test_reasons_that_differ_in_numbers_are_one_and_names_keep_theirs(found):
    assert reasons(found) == [
        ("global batch N below dp", 2, "a, c", "a#3"),
        ("no preset for chip 'B 200'", 1, "c", "c#2"),
    ]


def test_json_has_every_row_without_prediction(found):
    out = as_json(found)
    assert {"kind", "sources", "chips", "unmodelled", "worst"} <= set(out)
    assert [u["point_id"] for u in out["unmodelled"]] == ["a#3", "c#1", "c#2"]
    assert [s["source"] for s in out["sources"]] == ["a", "b", "c"]


def test_memory_is_scored_where_it_is_printed_and_feasibility_everywhere(found):
    """a: 50 for 40 GB and 60 for 60, so 25 % and nothing; b prints none, and 90 of 79 GB would have been refused."""
    a, b = as_json(found)["memory"]
    assert (a["source"], a["points"], a["median_abs_err"], a["bias"], a["refused"]) == ("a", 2, 0.125, 0.125, 0)
    assert (b["source"], b["points"], b["modelled"], b["refused"]) == ("b", 0, 2, 1)
    assert np.isnan(b["median_abs_err"])
    assert as_json(dataclasses.replace(found, kind="kernels"))["memory"] == []


def test_figures_are_written_and_do_not_depend_on_the_time(found, tmp_path):
    names = {p.name for p in write_figures(found.modelled, "training", tmp_path)}
    assert names == {"parity.png", "parity.svg", "parts.png", "parts.svg"}
    first = (tmp_path / "parity.svg").read_bytes()
    write_figures(found.modelled, "training", tmp_path)
    assert (tmp_path / "parity.svg").read_bytes() == first


def test_part_groups_lead_with_the_best_and_the_worst_quarter(found):
    groups = part_groups(found.modelled)
    assert [name for name, _ in groups] == ["best quarter of points", "worst quarter", "a", "b"]
    assert list(groups[1][1].point_id) == ["b#1"]


def test_ticks_are_powers_of_ten_of_the_unit():
    assert factor_ticks(0.4e-6, 25e-6, 1e-6) == pytest.approx([5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5])
    assert factor_ticks(0.4, 250, 1.0) == pytest.approx([1, 10, 100])


def test_a_kind_without_a_scorer_is_refused(monkeypatch):
    monkeypatch.delitem(validation.SCORERS, "kernels")
    with pytest.raises(SpecError, match="kernels"):
        validation.validate("kernels")
