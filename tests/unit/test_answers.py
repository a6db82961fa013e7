"""Every answer that ships keeps the limits of its study, as reported and not only as solved."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOLUTIONS = sorted((ROOT / "results").glob("*/solution.json"))
ROOM = 1e-6
"""A whole number of stacks meets capacities exactly, with so much room to search in."""


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda p: p.parent.name)
def test_no_limit_of_a_shipped_answer_is_broken(path):
    limits = json.loads(path.read_text())["limits"]
    assert limits
    assert {x["name"]: x["margin"] for x in limits if x["margin"] < -ROOM} == {}


def test_answers_ship():
    names = {p.parent.name for p in SOLUTIONS}
    assert names >= {"trainium4", "trainium4_announced", "trainium4_cost", "trainium4_serving"}
