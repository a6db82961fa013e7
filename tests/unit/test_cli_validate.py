"""`dse validate` and `dse calibrate`, in process: answers, files, and one line for bad input."""

import json
from pathlib import Path

import pandas as pd
import pytest

from dse.calibrate import families
from dse.calibrate.fit import Fit
from dse.cli import main
from dse.physics.calibration import calibration, default_calibration

TINY = Path(__file__).parents[1] / "data" / "training_tiny.csv"
SCORES = {"source", "points", "modelled", "median_abs_err", "p90_abs_err", "bias", "baseline_median_abs_err"}


@pytest.fixture(autouse=True)
def cache_elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "140")


def refused(capsys, *argv: str) -> str:
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dse: ") and err.count("\n") == 1, err
    return err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of one run over the tiny table, and what it printed as JSON."""
    import contextlib
    import io

    folder, said = tmp_path_factory.mktemp("run"), io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["validate", "--data", str(TINY), "--results", str(folder), "--json"]) == 0
    return folder / "validation", json.loads(said.getvalue())


def test_json_has_scores_by_source_and_by_chip(run):
    out = run[1]
    assert out["kind"] == "training"
    assert set(out["sources"][0]) == SCORES
    assert [(s["source"], s["points"], s["modelled"]) for s in out["sources"]] == [("lab-one", 1, 1), ("lab-two", 2, 1)]
    assert {c["chip"] for c in out["chips"]} == {"a100-80", "Abacus 9000"}
    assert all(s["median_abs_err"] < 0.6 for s in out["sources"])
    assert [w["point_id"] for w in out["worst"]] and len(out["worst"]) <= 3


def test_rows_without_prediction_stay_with_their_reason(run):
    folder, out = run
    assert [(u["point_id"], u["source"]) for u in out["unmodelled"]] == [("tiny#3", "lab-two")]
    assert "Abacus 9000" in out["unmodelled"][0]["why"]
    table = pd.read_parquet(folder / "training.parquet").set_index("point_id")
    assert set(table.index) == {"tiny#1", "tiny#2", "tiny#3"}
    assert "Abacus 9000" in table.why["tiny#3"]
    assert pd.isna(table.predicted_s["tiny#3"])
    # 64 sequences of 2048 tokens at 125000 tokens/s
    assert table.measured_s["tiny#2"] == pytest.approx(64 * 2048 / 125000)


def test_figures_and_provenance_are_written(run):
    folder = run[0] / "training"
    for name in ("parity.png", "parity.svg", "parts.png", "parts.svg"):
        assert (folder / name).stat().st_size > 5000
    assert json.loads((folder / "scores.json").read_text())["data_sha256"]


def test_the_screen_shows_scores_worst_rows_and_reasons(capsys, tmp_path):
    assert main(["validate", "--data", str(TINY), "--results", str(tmp_path), "--all-rows"]) == 0
    out = capsys.readouterr().out
    for word in ("lab-one", "median over sources", "90th percentile", "baseline", "tiny#4", "no preset for chip"):
        assert word in out


def test_nothing_modelled_is_an_answer_without_figures(capsys, tmp_path):
    rows = pd.read_csv(TINY)
    rows[rows.point_id == "tiny#3"].to_csv(tmp_path / "one.csv", index=False)
    assert main(["validate", "--data", str(tmp_path / "one.csv"), "--results", str(tmp_path)]) == 0
    assert "no preset" in capsys.readouterr().out
    assert not (tmp_path / "validation" / "training" / "parity.png").exists()


def test_leave_one_out_asks_for_fits_without_the_source(capsys, tmp_path, monkeypatch):
    asked = []

    def fake(cases, tell):
        asked.extend(c.point_id for c in cases)
        return {c.point_id: default_calibration(c.chip_name, c.stack) for c in cases}

    monkeypatch.setattr(families, "leave_one_out", fake)
    argv = ["validate", "--data", str(TINY), "--results", str(tmp_path), "--leave-one-out", "--json"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["held_out"] is True
    assert asked == ["tiny#1", "tiny#2"]
    assert (tmp_path / "validation" / "training-held-out.parquet").exists()


def test_leave_one_out_that_is_not_there_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.delattr(families, "leave_one_out")
    assert main(["validate", "--data", str(TINY), "--results", str(tmp_path), "--leave-one-out"]) == 2
    assert "--leave-one-out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["rows.csv", "cannot be read"]),
        ("", ["rows.csv"]),
        ("point_id,source\na,b\n", ["no column", "chip", "value"]),
        (TINY.read_text().splitlines()[0] + "\n", ["no rows"]),
        (TINY.read_text().replace(",unit,", ",units,"), ["no column unit"]),
        (TINY.read_text().replace("0.95", "quick"), ["row 1", "value", "quick"]),
        (TINY.read_text().replace("complete", "partial"), ["complete", "--all-rows"]),
    ],
)
def test_bad_tables_are_one_clear_line(capsys, tmp_path, text, words):
    path = tmp_path / "rows.csv"
    if text is not None:
        path.write_text(text)
    line = refused(capsys, "validate", "--data", str(path), "--results", str(tmp_path / "out"))
    for word in words:
        assert word in line
    assert not (tmp_path / "out").exists()


def test_unknown_kind_is_one_line(capsys):
    assert "kernel" in refused(capsys, "validate", "--kind", "kernel")


def test_calibrate_shows_every_number_beside_its_prior(capsys, tmp_path, monkeypatch):
    name = "fit-hopper-megatron"
    fit = Fit(calibration("prior-cuda"), {"matmul_frac": 0.1}, {"matmul_frac": 0.4}, 0.01, 12)
    monkeypatch.setattr(families, "refit", lambda tell: {name: fit})
    assert main(["calibrate", "--results", str(tmp_path)]) == 0
    assert "12 measurements" in capsys.readouterr().out
    assert main(["calibrate", "--results", str(tmp_path), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["fits"][0]
    assert first["name"] == name
    assert first["numbers"][0]["determined"] is True
    assert (tmp_path / "calibration" / "fits.toml").exists()


def test_inference_is_scored_by_what_was_timed(capsys, tmp_path):
    data = TINY.with_name("inference_tiny.csv")
    argv = ["validate", "--kind", "inference", "--data", str(data), "--results", str(tmp_path)]
    assert main([*argv, "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert {m["what"] for m in out["metrics"] if m["modelled"]} == {
        "ttft on trainium1", "tpot on trainium1", "request on a100-80", "tpot on h100",
    }  # fmt: skip
    assert (out["total"]["points"], out["total"]["modelled"]) == (10, 5)
    assert (tmp_path / "validation" / "inference" / "parity.png").stat().st_size > 5000
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert "(weights + KV cache)/bandwidth/u" in shown and "ttft on trainium1" in shown


def test_inference_file_without_a_column_is_one_line(capsys, tmp_path):
    pd.read_csv(TINY.with_name("inference_tiny.csv")).drop(columns="in_len").to_csv(tmp_path / "x.csv", index=False)
    assert "no column in_len" in refused(capsys, "validate", "--kind", "inference", "--data", str(tmp_path / "x.csv"))
