"""A sweep from Python is the sweep of the command line."""

import pandas as pd

import dse


def test_rows_are_those_on_disk_and_are_not_computed_twice(write, tmp_path):
    path, told = write(), []
    rows = dse.results.run(path, tmp_path / "results")
    assert len(rows) == 24 and rows.ok.all()  # 2 plans x 3 bandwidths x 4 samples
    again = dse.results.run(path, tmp_path / "results", tell=lambda points, failed, before: told.append(before))
    assert told and all(told)
    pd.testing.assert_frame_equal(rows, again)
    pd.testing.assert_frame_equal(rows, dse.results.load(tmp_path / "results" / "small"))


def test_fresh_computes_anew(write, tmp_path):
    path, told = write(), []
    dse.results.run(path, tmp_path / "results")
    dse.results.run(path, tmp_path / "results", fresh=True, tell=lambda points, failed, before: told.append(before))
    assert told and not any(told)
