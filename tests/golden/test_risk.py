"""The risk study that ships, and that the offline page draws: of today's study, drawn again where asked for."""

import json

import pytest

from dse.core.origin import digest

from .conftest import AGAIN, ROOT, differences

FOLDER = ROOT / "results" / "trainium4"
DRAWS = 400
"""As the target `golden` asks for them."""
RELATIVE = 1e-3
"""Largest difference of two runs: each draw is solved to less, and a rank of facts follows from all."""


def test_it_answers_the_study_of_today():
    told = json.loads((FOLDER / "risk_manifest.json").read_text())
    assert told["study_sha256"] == digest((ROOT / "sweeps" / "trainium4.toml").read_bytes())
    risk = json.loads((FOLDER / "risk.json").read_text())
    assert risk["samples"] == DRAWS and not risk["unfinished"] and risk["target"] == 6
    assert f"--samples {DRAWS} " in (ROOT / "Makefile").read_text()


@AGAIN
@pytest.mark.slow
def test_it_is_drawn_as_committed(answer, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    asked = ("--samples", str(DRAWS), "--seconds", "900", "--no-figures", "--results", str(tmp_path))
    again = answer("risk", "sweeps/trainium4.toml", *asked)
    committed = json.loads((FOLDER / "risk.json").read_text())
    for name in ("probability", "feasible", "nominal_goal", "merit_quantiles", "design_quantiles"):
        assert differences(committed[name], again[name], RELATIVE) == [], name
