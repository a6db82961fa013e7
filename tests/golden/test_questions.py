"""The questions under `sweeps/questions/`: the page says what the answers say, and the answers are solved again."""

import json
import math

import pytest

from dse.explore.questions import question_names, sides
from dse.report.questions import questions_page
from dse.study.study import load_study

from .conftest import AGAIN, ROOT

FOLDER = ROOT / "results" / "questions"
LOOSE = 0.01
"""Largest gap of a side, which its page names: goals of two runs differ by no more."""


def answers() -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted(FOLDER.glob("*.json"))]


def test_every_question_has_its_answer_and_every_side_its_proof():
    assert tuple(a["name"] for a in answers()) == question_names() and len(question_names()) == 10
    for a in answers():
        known = sides(load_study(ROOT / "sweeps" / "questions" / f"{a['name']}.toml"), a["by"])
        assert [x["name"] for x in a["sides"]] == list(known), a["name"]
        for x in a["sides"]:
            assert x["gap"] <= LOOSE and x["lower_bound"] <= x["goal"], (a["name"], x["name"])


def test_the_page_says_what_the_answers_say():
    assert (ROOT / "docs" / "questions.md").read_text() == questions_page(answers())


@AGAIN
@pytest.mark.slow
@pytest.mark.parametrize("name", question_names())
def test_a_question_is_answered_as_committed(name, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (again,) = answer("questions", name, "--results", str(tmp_path))["rows"]
    committed = json.loads((FOLDER / f"{name}.json").read_text())
    assert again["best"] == committed["best"]
    for new, old in zip(again["sides"], committed["sides"], strict=True):
        assert abs(math.log(new["goal"] / old["goal"])) <= LOOSE and new["lower_bound"] <= old["goal"]
