"""Measurements that are in a table more than once: the same rule for steps, requests, operators and collectives."""

import pandas as pd
import pytest

from dse.calibrate.columns import KINDS
from dse.calibrate.repeats import once

ROW = {"id": 1, "point_id": "a", "source": "lab", "chip": "H100", "tp": 8, "metric": "latency", "unit": "ms",
       "value": 3.0, "note": None}  # fmt: skip


def table(*changes):
    return pd.DataFrame([ROW | {"id": i} | c for i, c in enumerate(changes)])


def kept(rows):
    return [(r.point_id, r.metric, r.value) for r in rows.itertuples()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_there_twice_counts_once_and_says_so(kind):
    rows, rest = once(table({}, {}, {"metric": "memory"}), kind)
    assert kept(rows) == [("a", "latency", 3.0), ("a", "memory", 3.0)]
    name = "a:latency" if kind == "inference" else "a"
    assert [(u.point_id, u.chip_name) for u in rest] == [(name, "h100")]
    assert rest[0].why == "latency = 3 ms is in the file twice; it counts once"


@pytest.mark.parametrize("kind", KINDS)
def test_two_values_of_a_point_are_not_chosen_between(kind):
    """As for training before; of operators and collectives the first was taken, of requests both."""
    rows, rest = once(table({}, {"value": 3.5}, {"metric": "memory"}, {"point_id": "b", "tp": 4}), kind)
    alone = kind == "inference"  # each of its rows is a prediction
    assert [r[:2] for r in kept(rows)] == [("a", "memory"), ("b", "latency")][0 if alone else 1 :]
    assert len(rest) == (2 if alone else 1) and all("printed twice, 3 and 3.5 ms; keep one" in u.why for u in rest)


@pytest.mark.parametrize("kind", KINDS)
def test_of_runs_of_one_point_the_median_counts_once(kind):
    runs = [{"point_id": p, "metric": m, "value": v} for p, vs in (("a", (3, 9)), ("b", (4, 8)), ("c", (3.5, 7)))
            for m, v in zip(("latency", "memory"), vs, strict=True)]  # fmt: skip
    rows, rest = once(table(*runs, {"point_id": "d", "tp": 4}), kind)
    assert kept(rows) == [("a", "latency", 3.5), ("a", "memory", 8.0), ("d", "latency", 3.0)]
    assert {u.point_id.split(":")[0] for u in rest} == {"b", "c"} and len(rest) == (4 if kind == "inference" else 2)
    assert all(u.why == "3 points differ in their values alone: the median counts once, as a" for u in rest)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_column_or_a_note_tells_apart_stays_apart(kind):
    rows, rest = once(table({}, {"point_id": "b", "tp": 4}, {"point_id": "c", "note": "offload"},
                            {"point_id": "d", "metric": "throughput"}), kind)  # fmt: skip
    assert len(rows) == 4 and not rest


@pytest.mark.parametrize("kind", KINDS)
def test_points_too_far_apart_to_be_runs_of_one_are_refused_together(kind):
    rows, rest = once(table({}, {"point_id": "b", "value": 9.0}, {"point_id": "c", "tp": 4}), kind)
    assert [r[0] for r in kept(rows)] == ["c"]
    assert len(rest) == 2 and all("differ in their values alone, by a factor of 3" in u.why for u in rest)
