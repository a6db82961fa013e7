"""Every shipped study is solved again and compared with what is committed; `make golden` writes the answers anew."""

import json
import tomllib

import pytest

from dse.hardware.own_chip import chip_facts
from dse.hardware.presets import chip

from .conftest import AGAIN, ROOT, differences

SOLVED = {p.parent.name for p in (ROOT / "results").glob("*/solution.json")}
STUDIES = sorted(p.stem for p in (ROOT / "sweeps").glob("*.toml") if "study" in tomllib.loads(p.read_text()))
PROOF = ("--seconds", "240")
"""Time for the proof of `trainium4_cost`, twice as long as it takes on two cores."""
RELATIVE = 1e-5
"""Largest difference: designs sit where the goal is flat, so they are known less well than the goal."""


def committed(name: str) -> dict:
    return json.loads((ROOT / "results" / name / "solution.json").read_text())


def test_every_study_is_found():
    assert len(STUDIES) >= 6 and (ROOT / "results" / "trainium4" / "solution.json").exists()


@AGAIN
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SOLVED & set(STUDIES)))
def test_a_study_answers_as_committed(name, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = committed(name)
    exact = [] if (found.get("certificate") or {}).get("overall") else ["--continuous"]
    again = answer("optimize", f"sweeps/{name}.toml", "--results", str(tmp_path), "--no-figures", *PROOF, *exact)
    assert differences(found, again, RELATIVE) == []


def test_the_design_shipped_as_a_chip_is_the_answer():
    shipped, found = (
        chip(ROOT / place) for place in ("sweeps/chips/trainium4_design.toml", "results/trainium4/chip.toml")
    )
    assert chip_facts(shipped) == chip_facts(found)
    design = committed("trainium4")["design"]
    assert float(found.n_cores) == pytest.approx(design["n_cores"])
    assert float(found.clock_Hz) == pytest.approx(design["clock_Hz"])


def test_the_comparison_bites():
    assert differences({"a": [1.0, "x"]}, {"a": [1.1, "x"]}, 1e-3) == [".a[0]: 1.0 committed, 1.1 computed"]
    assert differences({"a": 1.0}, {"b": 1.0}, 1e-3) == [".a: only on one side", ".b: only on one side"]
    assert differences([1.0], [1.0, 2.0], 1e-3) and not differences({"seconds": 1.0}, {"seconds": 2.0}, 1e-3)
