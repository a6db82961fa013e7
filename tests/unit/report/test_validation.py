"""Scores as JSON and figures."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.error_groups import error_group, part_groups, source_errors, within_frac
from dse.report.parity import factor_ticks, write_figures
from dse.report.validation import error_text, validation_json


def test_json_has_every_row_without_prediction(scored):
    out = validation_json(scored)
    assert {"kind", "sources", "chips", "unmodelled", "worst"} <= set(out)
    assert [u["point_id"] for u in out["unmodelled"]] == ["a#3", "c#1", "c#2"]
    assert [s["source"] for s in out["sources"]] == ["a", "b", "c"]


def test_memory_is_scored_where_it_is_printed_and_feasibility_everywhere(scored):
    """a: 50 for 40 GB and 60 for 60, so 25 % and nothing; b prints none, and 90 of 79 GB would have been refused."""
    a, b = validation_json(scored)["memory"]
    assert (a["source"], a["points"], a["median_abs_err"], a["bias"], a["refused"]) == ("a", 2, 0.125, 0.125, 0)
    assert (b["source"], b["points"], b["modelled"], b["refused"]) == ("b", 0, 2, 1)
    assert np.isnan(b["median_abs_err"])
    assert validation_json(dataclasses.replace(scored, kind="kernels"))["memory"] == []


def test_figures_are_written_and_do_not_depend_on_the_time(scored, tmp_path):
    names = {p.name for p in write_figures(scored.modelled, "training", tmp_path)}
    assert names == {"parity.png", "parity.svg", "parts.png", "parts.svg"}
    first = (tmp_path / "parity.svg").read_bytes()
    write_figures(scored.modelled, "training", tmp_path)
    assert (tmp_path / "parity.svg").read_bytes() == first


def test_part_groups_lead_with_the_best_and_the_worst_quarter(scored):
    groups = part_groups(scored.modelled)
    assert [g.name for g in groups] == ["best quarter of points", "worst quarter", "a", "b"]
    assert list(groups[1].points.point_id) == ["b#1"]


def test_a_group_of_errors_by_hand():
    """Errors -50, 0 and +100 %: median 0, 80 % between -40 and +80; a part that one point of three lacks."""
    points = pd.DataFrame(
        {"source": ["a", "a", "b"], "measured_s": [2.0, 2.0, 2.0], "predicted_s": [1.0, 2.0, 4.0],
         "compute_s": [0.5, 1.0, np.nan]}
    ).assign(error_frac=[-0.5, 0.0, 1.0])  # fmt: skip
    group = error_group("all", points, ["compute_s"])
    assert (group.low_frac, group.middle_frac, group.high_frac) == pytest.approx((-0.4, 0.0, 0.8))
    assert group.shares == pytest.approx({"compute_s": 1 / 3})
    assert source_errors(points) == {"a": 0.25, "b": 1.0} and within_frac(points, 0.5) == pytest.approx(2 / 3)


def test_ticks_are_powers_of_ten_of_the_unit():
    assert factor_ticks(0.4e-6, 25e-6, 1e-6) == pytest.approx([5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5])
    assert factor_ticks(0.4, 250, 1.0) == pytest.approx([1, 10, 100])


def test_what_rounding_leaves_is_noerror_text():
    assert error_text(1e-16) == "0 %" and error_text(0.066, "+") == "+6.6 %" and error_text(float("nan")) == "-"
