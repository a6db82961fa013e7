"""`dse risk` and `dse backtest`: answers, files, JSON, and one line for bad input."""

import json
from pathlib import Path

import pytest

from dse.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cache_elsewhere")]

TINY = str(Path(__file__).parents[1] / "data" / "tiny.toml")


def test_risk_writes_its_answer_its_manifest_and_its_figures(tmp_path, capsys):
    where = ["--results", str(tmp_path), "--samples", "40"]
    assert main(["risk", TINY, *where, "--target", "1.6", "--robust", "p50", "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    folder = tmp_path / "tiny"
    assert out == {"schema_version": out["schema_version"], **json.loads((folder / "risk.json").read_text())}
    assert 0 <= out["probability"] <= out["feasible"] <= 1.0 and out["samples"] == 40 and out["target"] == 1.6
    assert out["feasible"] > 0.9  # in a few worlds the clock needs more than the drawn supply may be
    assert out["robust"]["share"] == 0.5 and out["robust"]["free"]["n_cores"] % 1 == 0
    assert json.loads((folder / "risk_manifest.json").read_text())["seed"] == 0
    for name in ("risk_verdict", "risk_design", "risk_drivers"):
        assert (folder / f"{name}.png").stat().st_size > 5_000 and (folder / f"{name}.svg").exists()
    assert main(["risk", TINY, *where, "--no-figures"]) == 0
    page = capsys.readouterr().out
    assert "6x delivered is within reach in 0 % of 40 samples" in page and "what drives it" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["risk", TINY, "--samples", "1"], "samples = 1: give at least 2"),
        (["risk", TINY, "--target", "-2"], "target = -2: give a positive speed-up"),
        (["risk", TINY, "--robust", "best"], "robust 'best': give worst, or a percentile such as p90"),
        (["risk", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["backtest", "--sweeps", "nowhere"], "nowhere: no study backtest_*.toml there"),
        (["backtest", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["backtest", TINY], "study 'tiny': no chip that was built; add a table [built]"),
    ],
)
def test_bad_input_is_one_line(words, said, tmp_path, capsys):
    assert main([*words, "--results", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("dse: ") and err.count("\n") == 1 and said in err
