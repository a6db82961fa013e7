"""`dse validate` and `dse calibrate`, in process: answers, files, and one line for bad input."""

import json
from pathlib import Path

import pandas as pd
import pytest

from dse.calibrate import held_out, validate
from dse.calibrate.families import fits_of
from dse.cli import main
from dse.physics.calibration import default_calibration
from dse.physics.pooled import effects

from .conftest import refused

pytestmark = pytest.mark.usefixtures("cache_elsewhere")

TINY = Path(__file__).parents[1] / "data" / "training_tiny.csv"
SCORES = {
    "source",
    "points",
    "modelled",
    "median_abs_err",
    "p90_abs_err",
    "bias",
    "baseline_median_abs_err",
    "coverage",
}


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
    assert [(s["source"], s["points"], s["modelled"]) for s in out["sources"]] == [("lab-one", 1, 1), ("lab-two", 3, 1)]
    assert {c["chip"] for c in out["chips"]} == {"a100-80", "Abacus 9000"}
    assert all(s["median_abs_err"] < 0.6 for s in out["sources"])
    assert [w["point_id"] for w in out["worst"]] and len(out["worst"]) <= 3


def test_rows_without_prediction_stay_with_their_reason(run):
    folder, out = run
    why = {u["point_id"]: u["why"] for u in out["unmodelled"]}
    assert set(why) == {"tiny#3", "tiny#4"}
    assert "Abacus 9000" in why["tiny#3"] and "--all-rows" in why["tiny#4"]
    table = pd.read_parquet(folder / "training.parquet").set_index("point_id")
    assert set(table.index) == {"tiny#1", "tiny#2", "tiny#3", "tiny#4"}
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


@pytest.mark.parametrize(("flag", "held"), [("--leave-one-out", "source"), ("--leave-generation-out", "generation")])
def test_held_out_scores_ask_for_fits_without_the_group(capsys, tmp_path, monkeypatch, flag, held):
    asked = []

    def fake(kind, cases, held_, tell):
        asked.append((kind, held_, [c.point_id for c in cases]))
        served = {c.point_id: default_calibration(c.chip_name, c.stack) for c in cases[:1]}
        return served, {p: ("stack", 0.3) for p in served}

    monkeypatch.setattr(validate, "served_without", fake)
    assert main(["validate", "--data", str(TINY), "--results", str(tmp_path), flag, "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["held_out"] == held and out["total"]["modelled"] == 1
    assert asked == [("training", held, ["tiny#1", "tiny#2"])]
    table = pd.read_parquet(tmp_path / "validation" / f"training-without-{held}.parquet").set_index("point_id")
    assert table.novelty["tiny#1"] == "stack" and table.low_s["tiny#1"] < table.predicted_s["tiny#1"]


def test_two_held_out_scores_at_once_are_refused(capsys):
    assert "one at a time" in refused(capsys, "validate", "--leave-one-out", "--leave-generation-out")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["rows.csv", "cannot be read"]),
        ("", ["rows.csv"]),
        ("point_id,source\na,b\n", ["no column", "chip", "value"]),
        (TINY.read_text().splitlines()[0] + "\n", ["no rows"]),
        (TINY.read_text().replace(",unit,", ",units,"), ["no column unit"]),
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
    monkeypatch.setattr(held_out, "refit", lambda tell: effects())
    assert main(["calibrate", "--results", str(tmp_path)]) == 0
    assert "187 measurements, 2 models, 1 source" in capsys.readouterr().out
    assert main(["calibrate", "--results", str(tmp_path), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["fits"][0]
    assert first["name"] == min(fits_of(effects()))
    assert {"prior", "fit", "determined"} <= set(first["numbers"][0])
    assert (tmp_path / "calibration" / "effects.json").exists()


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
