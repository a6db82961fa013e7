"""Every command that answers in JSON: an object with the version of its schema; what is in it, conftest looks at."""

import json
import re
from pathlib import Path

import pytest
from python_texts import PYTHON, texts

from dse.cli import main
from dse.core.files import ANSWER_VERSION
from dse.explore import ablation, readings
from dse.study.design import Choice

from .sweep.conftest import SMALL

pytestmark = pytest.mark.usefixtures("cache_elsewhere")

TESTS = Path(__file__).parents[1]
SHORT = {
    "chips": (),
    "compare": ("h100,trainium2", "llama-3.1-8b", "--tpot", "20ms"),
    "cost": ("trainium2",),
    "evaluate": ("h100", "llama-3.1-8b"),
    "fleet": ("h100", "llama-3.1-8b", "--chips", "64", "--weeks", "1"),
    "models": ("llama-3.1-8b",),
    "report": (str(TESTS.parent / "results" / "trainium4"), "--out", "page.html"),
    "studies": (),
}
"""Commands that answer in seconds, with their arguments."""
IN = {
    "backtest": "unit/test_cli_risk.py",
    "calibrate": "unit/test_cli_validate.py",
    "front": "unit/test_cli_explore.py",
    "optimize": "unit/test_cli.py",
    "portfolio": "unit/test_cli_serve.py",
    "risk": "unit/test_cli_risk.py",
    "sensitivity": "unit/test_cli_explore.py",
    "serve": "unit/test_cli_serve.py",
    "validate": "unit/test_cli_validate.py",
}
"""Commands that solve or fit, and the tests that ask them for JSON and read it."""
HERE = {"ablation", "forecast", "query", "questions", "readings", "sweep"}
"""Those of tests of their own here."""


def answer(capsys, *argv: str) -> dict:
    capsys.readouterr()
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == ANSWER_VERSION
    return found


def test_no_command_is_forgotten():
    """The list of flags, which another test holds against the program, names every command that answers in JSON."""
    listed = (TESTS / "contracts" / "surface.txt").read_text()
    assert set(re.findall(r"^dse (\w+) json$", listed, re.MULTILINE)) == {*SHORT, *IN, *HERE}


@pytest.mark.parametrize("command", IN)
def test_a_longer_command_is_asked_elsewhere(command):
    text = (TESTS / IN[command]).read_text()
    assert f'"{command}"' in text and '"--json"' in text and "json.loads(" in text


@pytest.mark.slow
@pytest.mark.parametrize("command", SHORT)
def test_a_short_command(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(answer(capsys, command, *SHORT[command])) > 1


@pytest.mark.slow
def test_a_rent_that_nobody_asks(capsys, tmp_path, monkeypatch):
    """Before: "at most nan USD per chip-hour against nan (no price of a100-80)"."""
    monkeypatch.chdir(tmp_path)
    found = answer(capsys, "cost", "trainium2", "--against", "a100-80", "--no-figures")["answers"]
    assert {a["needed"] for a in found if a["paying"] == "rented"} == {"not known: no price of a100-80"}


@pytest.mark.slow
def test_sweeps_and_queries(capsys, tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    where = (str(tmp_path / "small.toml"), "--results", str(tmp_path))
    assert answer(capsys, "sweep", *where)["rows"] == 24
    assert answer(capsys, "sweep", *where, "--resume", "--dry-run")["points"] == 24
    assert answer(capsys, "sweep", "--status", str(tmp_path / "small"))["finished"]
    rows = answer(capsys, "query", "select plan, ok, step_s from results limit 2", str(tmp_path / "small"))["rows"]
    assert [sorted(r) for r in rows] == [["ok", "plan", "step_s"]] * 2


def test_the_score_of_a_forecast(capsys, tmp_path):
    folder = tmp_path / "2026-11-27"
    folder.mkdir()
    (folder / "draws.csv").write_text("n_cores,node\n" + "".join(f"{n},N2\n" for n in range(10, 30)))
    (tmp_path / "facts.toml").write_text('n_cores = 16\nnode = "N2"\n')
    assert answer(capsys, "forecast", "score", str(tmp_path / "facts.toml"), "--results", str(tmp_path))


CHOICE = Choice("N3P", "HBM4", "SerDes224G", 2, "128x128", True).text()
UNSOLVED = {
    "readings": (readings, [readings.Point("power_W", 1200.0, None, CHOICE, {})]),
    "ablation": (ablation, [ablation.Variant("none", None, CHOICE, {})]),
}
"""Commands that solve for minutes, with one record of those that their solver answers with."""


@pytest.mark.parametrize("command", UNSOLVED)
def test_a_command_of_minutes_without_its_solver(command, capsys, tmp_path, monkeypatch):
    solver, records = UNSOLVED[command]
    monkeypatch.setattr(solver, command, lambda *_, **__: records)
    sweeps = ("--sweeps", str(TESTS.parent / "sweeps"))
    argv = sweeps if command == "ablation" else (str(TESTS / "data" / "tiny.toml"), "--no-figures")
    assert answer(capsys, command, *argv, "--results", str(tmp_path))


@pytest.mark.slow
def test_a_question_of_ones_own(capsys, tmp_path):
    asked = (TESTS / "data" / "tiny.toml").read_text() + '\n[question]\nasks = "One die or two?"\nby = "n_dies"\n'
    (tmp_path / "dies.toml").write_text(asked)
    (found,) = answer(capsys, "questions", str(tmp_path / "dies.toml"), "--results", str(tmp_path))["rows"]
    assert [x["name"] for x in found["sides"]] == ["1 die", "2 dies"] and all(x["gap"] <= 0.01 for x in found["sides"])
    assert found["best"] == min(found["sides"], key=lambda x: x["goal"])["name"]
    page = tmp_path / "page.md"
    assert main(["questions", str(tmp_path / "dies.toml"), "--results", str(tmp_path), "--page", str(page)]) == 0
    assert "One die or two?" in page.read_text()


def test_committed_answers_hold_no_python():
    for path in sorted((TESTS.parent / "results").rglob("*.json")):
        odd = [t for t in texts(json.loads(path.read_text())) if PYTHON.search(t)]
        assert not odd, (path, odd[:3])
