"""`dse front`, `dse sensitivity` and `dse optimize --gap` as a user runs them."""

import json
import re
from pathlib import Path

import pytest

from dse.cli import main
from dse.explore import remedy

pytestmark = pytest.mark.slow

TINY = str(Path(__file__).parents[1] / "data" / "tiny.toml")


def answer(capsys, *argv):
    code = main(list(argv))
    return code, capsys.readouterr()


def test_front_writes_points_figures_and_pages_and_resumes(capsys, tmp_path):
    metrics = "delivered_time,package_cost"
    argv = ("front", TINY, "--metrics", metrics, "--points", "6", "--results", str(tmp_path), "--json")
    code, said = answer(capsys, *argv)
    found = json.loads(said.out)
    assert code == 0 and len(found["points"]) >= 5 and found["worst_gap"] < 1e-5
    folder = tmp_path / "tiny" / "front_delivered_time_package_cost_USD"
    names = {p.name for p in folder.iterdir()}
    wanted = {"front.parquet", "front.json", "manifest.json", "front.png", "front.svg", "designs.png", "front.html"}
    assert wanted <= names
    assert "<script src" not in (folder / "front.html").read_text()
    code, said = answer(capsys, *argv, "--resume", "--no-figures")
    assert code == 0 and json.loads(said.out)["points"] == found["points"]
    assert "resumed with" in said.err and "0 finished" not in said.err


def test_sensitivity_ranks_and_says_what_a_target_needs(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(remedy, "LEVERS", 3)
    code, said = answer(capsys, "sensitivity", TINY, "--target", "1.4", "--results", str(tmp_path), "--json")
    found = json.loads(said.out)
    assert code == 0
    swings = [p["swing"] for p in found["parameters"]]
    assert swings == sorted(swings, reverse=True) and swings[0] > 0
    assert found["remedy"]["speedup"] == 1.4 and found["remedy"]["levers"]
    assert (tmp_path / "tiny" / "sensitivity.png").exists()
    code, said = answer(capsys, "sensitivity", TINY, "--results", str(tmp_path), "--no-figures")
    assert code == 0 and "what the optimum rests on" in said.out
    # One die as large as may be: no range says what the reticle is worth, so that it stands among the limits.
    _, _, limits = said.out.partition("and most of all")
    assert "reticle" in limits and "HBM capacity >= " in limits
    raw = re.findall(r"\S*_(?:mm2|frac|J|s|W|B|Bps|V)\b", said.out.partition("Written")[0])
    assert not raw and not re.search(r"0\.000\d* mm2", said.out), "words and readable units, no names of fields"


def test_optimize_with_a_gap_proves_all_designs(capsys, tmp_path):
    code, said = answer(capsys, "optimize", TINY, "--gap", "0.01", "--results", str(tmp_path), "--no-figures", "--json")
    overall = json.loads(said.out)["certificate"]["overall"]
    assert code == 0 and overall["gap"] <= 0.01 and overall["n_nodes"] >= 2
    assert "bound" in said.err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("front", TINY, "--metrics", "delivered_time"), "two to four"),
        (("front", TINY, "--metrics", "delivered_time,package_price"), "unknown metric 'package_price'"),
        (("front", TINY, "--points", "1"), "at least 2"),
        (("optimize", TINY, "--gap", "0"), "both must be positive"),
        (("sensitivity", "nowhere.toml"), "cannot be read"),
        (("sensitivity", TINY, "--target", "-2"), "target = -2: give a positive speed-up"),
        (("sensitivity", "trainium4_cost", "--target", "6"), "no speed-up to reach"),
    ],
)
def test_bad_input_is_one_line(capsys, tmp_path, argv, text):
    code, said = answer(capsys, *argv, "--results", str(tmp_path))
    assert code == 2 and text in said.err and said.err.strip().count("\n") == 0
