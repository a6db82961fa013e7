"""One clock for every search: the first batch is always answered, and what is left out is said."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.explore.readings import READINGS, Answer, readings
from dse.explore.samples import CHUNK, batched, solve_in_turn
from dse.optimize.around import near, what_if
from dse.optimize.deadline import Deadline
from dse.optimize.interior import Optimum
from dse.optimize.pricing import alternate
from dse.optimize.search import best_goal, leaders
from dse.optimize.tables import tables_of
from dse.optimize.tree import Tree
from dse.report.readings import readings_json
from dse.report.terminal import unfinished


def at_once() -> Deadline:
    """Over with the first question, whatever the machine: its clock moves a second when it is read."""
    return Deadline(1.0, itertools.count().__next__)


def test_time_runs_from_the_first_question_on():
    deadline = Deadline(2.5, itertools.count().__next__)
    assert deadline.spent_s == 0.0
    assert [deadline.over("the rest") for _ in range(4)] == [False, False, True, True]
    assert deadline.undone == ["the rest"]
    assert not any(Deadline().over() for _ in range(3))


@pytest.mark.parametrize("limit_s", [0.0, -1.0, math.nan])
def test_a_time_at_which_nothing_could_stop_is_refused(limit_s):
    with pytest.raises(SpecError, match="must be positive"):
        Deadline(limit_s)


def test_what_is_left_out_is_one_line():
    (line,) = unfinished(["2 of 3 points", "plans"])
    assert str(line) == "Unfinished: time was up. Left out: 2 of 3 points; plans. More --seconds go on."
    assert unfinished([]) == []


def test_draws_are_solved_in_their_order(monkeypatch):
    """Two problems a draw, four batches: time is up after the second, and the draws before the third are whole."""

    def solved(model, data, lower, upper, start, settings, size):
        return batched(Optimum, *(data for _ in dataclasses.fields(Optimum)))

    monkeypatch.setattr("dse.explore.samples.solve_batch", solved)
    n = 2 * CHUNK
    draws = np.repeat(np.arange(n), 2)
    problems = (draws, draws, np.zeros((2 * n, 1)), np.ones((2 * n, 1)))
    found, ready = solve_in_turn(lambda z, d: (z[0], z), problems, n, Deadline(1.5, itertools.count().__next__))
    assert ready == draws[2 * CHUNK] == CHUNK and found.z.tolist() == draws[: 2 * CHUNK].tolist()
    whole, ready = solve_in_turn(lambda z, d: (z[0], z), problems, n, Deadline())
    assert ready == n and whole.z.tolist() == draws.tolist()


def test_plans_that_are_cut_have_an_answer_each():
    """Three chips whose best plan moves with every solve: after the first round each has one."""

    def solve(which, plans, best):
        return [p[0] for p in plans]

    def price(_, found):
        return [(x - 1,) for x in found]

    deadline = at_once()
    start = [(5,), (3,), (4,)]
    assert alternate(start, solve, price, float, deadline) == [5, 3, 4]
    assert deadline.undone == ["plans of 3 problems may not be the fastest"]
    assert alternate(start, solve, price, float) == [0, -2, -1]


@pytest.mark.slow
def test_a_proof_that_is_cut_has_a_bound(solved):
    proof = Tree(tables_of(solved), 1e-9, at_once()).run(leaders(solved))
    assert len(proof.log) == 1 and not proof.finished and proof.best is not None
    assert 0 < proof.end.bound <= proof.end.best


@pytest.mark.slow
def test_ranges_and_moved_limits_that_are_cut(tiny, solved):
    deadline = at_once()
    assert near(tiny, best_goal(solved), 0.01, solved.space, deadline=deadline) == ()
    assert "ranges of" in deadline.undone[-1]
    deadline = at_once()
    assert what_if(tiny, (), solved.space, deadline=deadline) == ()
    assert f"{len(tiny.limits)} of {len(tiny.limits)} limits were not moved" in deadline.undone


@pytest.mark.slow
def test_readings_that_are_cut_before_any_design_say_so(tiny, monkeypatch):
    """No design at 1 W, and no time for more: before, there were no winners to unpack."""
    monkeypatch.setattr("dse.explore.readings.TOGETHER", 1)
    points = readings(tiny, [1.0, 700.0, 800.0], deadline=at_once())
    assert [(p.tdp_W, p.speedup) for p in points] == [(1.0, None)]


@pytest.mark.slow
def test_readings_that_are_cut_have_the_first_points(tiny, solved, monkeypatch):
    """The solves are another test's; here every one of them has the same answer."""
    monkeypatch.setattr("dse.explore.readings.TOGETHER", 1)
    answer = Answer(leaders(solved)[0], {})
    monkeypatch.setattr("dse.explore.readings.solve_problems", lambda search, problems: [answer for _ in problems])
    monkeypatch.setattr("dse.explore.readings.varied", lambda search, best, limits: best)
    monkeypatch.setattr("dse.explore.readings._told", lambda search, best, limits: [Answer(c, {}) for c in best])
    deadline = at_once()
    points = readings(tiny, [300.0, 500.0, 700.0], deadline=deadline)
    assert [(p.reading, p.tdp_W) for p in points] == [(READINGS[0], 300.0)]
    assert "8 of 9 points" in readings_json(points, deadline.undone)["unfinished"]
    whole = readings(tiny, [300.0, 500.0, 700.0], deadline=Deadline())
    assert [(p.reading, p.tdp_W) for p in whole] == list(itertools.product(READINGS, (300.0, 500.0, 700.0)))
