"""What a point changes of a study."""

from pathlib import Path

import pytest

import dse
from dse.core.errors import SpecError
from dse.optimize.solution import Relaxation, Solution, Status
from dse.sweep.studies import answer_row, changed

TINY = dse.load_study(Path(__file__).parents[2] / "data" / "tiny.toml")


def test_limits_free_numbers_and_choices_change():
    study = changed(TINY, {"study": "x", "limits.power_W": 500.0, "free.n_cores": 16.0, "choices.n_dies": 1})
    assert next((x.metric, x.value) for x in study.limits) == ("power_W", 500.0)
    assert [(x.metric, x.value) for x in study.limits][1:] == [(x.metric, x.value) for x in TINY.limits][1:]
    assert [(f.lower, f.upper) for f in study.free if f.name == "n_cores"] == [(16.0, 16.0)]
    # tiny has one and two dies: with one alone both become the same choice, which counts once
    assert len(TINY.choices) == 2 and [c.n_dies for c in study.choices] == [1]
    assert study.core() == TINY.core()  # nothing to compile anew but the number of choices


def test_a_choice_may_be_new_to_the_study():
    assert {c.node for c in changed(TINY, {"choices.node": "N2"}).choices} == {"N2"}


def test_what_a_study_does_not_leave_open_cannot_be_set():
    with pytest.raises(SpecError, match="study tiny limits power_W, silicon_mm2, hbm_capacity_B; 'die_mm2' is not"):
        changed(TINY, {"limits.die_mm2": 300.0})


def test_an_infeasible_study_is_a_row_that_says_what_would_do():
    nothing = Solution(
        study=TINY, status=Status.INFEASIBLE, goal=float("inf"), choice=None, chip=None, continuous={}, silicon=None,
        workloads=(), limits=(), certificate=None, alternatives=(), relaxations=(Relaxation("power_W", 20.0, 63.3),),
    )  # fmt: skip
    told = "infeasible; the cheapest relaxation takes power_W 20 to 63.3"
    assert answer_row(nothing) == {"status": "infeasible", "reason": told}


def test_one_value_cannot_set_both_sides_of_a_metric():
    """600 mm2 as the most and the least was a die of exactly that, where the study allows 400 to 800."""
    both = TINY.changed(limits=["die <= 800 mm2", "die >= 400 mm2"])
    with pytest.raises(SpecError, match="limits die_mm2 at most and at least"):
        changed(both, {"limits.die_mm2": 600.0})
    assert changed(both, {"limits.power_W": 500.0}).limits[0].value == 500.0


def test_an_array_that_nothing_can_feed_is_refused_as_in_a_study():
    """An SM of an A100 delivers 128 bytes a cycle; 64 x 64 takes 256 with any of the instructions of this study."""
    study = dse.load_study("backtest_h100")
    with pytest.raises(SpecError, match="128 bytes a cycle"):
        study.changed(choices={"pe_array": "64x64"})
    with pytest.raises(SpecError, match="128 bytes a cycle"):  # before, it was solved
        changed(study, {"choices.pe_array": "64x64"})
