"""Fronts of whole counts, each point proved over all choices, plans and counts, against a proof of its own."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from dse.explore.front import front
from dse.explore.points import buildable
from dse.explore.proved import UNPROVED, Ledger, grove_of, proved
from dse.explore.ray import Rays
from dse.explore.samples import batched
from dse.optimize.deadline import Deadline
from dse.optimize.interior import Optimum
from dse.optimize.regions import Region
from dse.optimize.solve import solve
from dse.report.front import front_json, proof_text
from dse.study.metrics import Limit

pytestmark = pytest.mark.slow
METRICS = ("delivered_time", "package_cost_USD")
GAP = 1e-3


@pytest.fixture(scope="module")
def whole(tiny):
    return buildable(front(tiny, METRICS, 8))


@pytest.fixture(scope="module")
def found(whole):
    return proved(whole, gap_frac=GAP)


def test_every_point_is_proved(found, whole):
    assert found.whole and np.all(found.room <= GAP * (1 + 1e-6)) and len(found.room) == len(found.points)
    # where a proof finds a better design, that takes the place of the point
    for values in whole.values:
        assert np.any(np.all(found.values <= values * (1 + 1e-5), axis=1))


def test_what_is_proved_of_one_point_bounds_all_others(found):
    """Each is proved to `GAP`: a bound above what it reaches, whichever caps it was found under, would be false."""
    for k in (0, len(found.points) // 2, len(found.points) - 1):
        grove = grove_of(found.rays)
        assert grove.proof(found.points[k], GAP, Deadline()).finished
        assert grove.gap(found.points[k]) <= GAP * (1 + 1e-6)
        for p in found.points:
            assert grove.log_goals(p).min() <= math.log(p.values[0]) + 1e-6


def test_a_proof_begins_where_another_ended(found):
    first, second = found.points[-2:]
    alone, after = grove_of(found.rays), grove_of(found.rays)
    after.proof(first, GAP, Deadline())
    nodes = [g.proof(second, GAP, Deadline()).end.n_nodes for g in (alone, after)]
    assert nodes[1] < nodes[0]


def test_a_bound_that_the_model_reads_a_cap_for_holds_for_no_looser_one():
    """Two limits, the first fixed in the model: at twice its cap nothing is known, at half of it what was known."""
    ledger = Ledger([[0], [1]], np.asarray([True, False]))
    ledger.logs = np.zeros(2)
    prices, z, one = np.asarray([[3.0, 0.5]] * 2), np.zeros((2, 1)), np.ones(2)
    rest = (one, one, one.astype(int), one > 0.0, one > 0.0)
    solved = batched(Optimum, z, prices, z, z, one, prices, one, *rest)
    notes = ledger.note(solved, np.asarray([False, True]))
    region, empty = (Region((), (), 0.0, (n,)) for n in notes)
    # half a log unit of goal per log unit of the second cap: 1 - 0.5 log 2 where it doubles
    for first, second, expected in (
        (1.0, 1.0, (1.0, math.inf)),
        (0.5, 2.0, (1.0 - 0.5 * math.log(2.0), -math.inf)),
        (2.0, 1.0, (-math.inf, -math.inf)),
        (0.5, 0.5, (1.0 + 0.5 * math.log(2.0), math.inf)),
    ):
        assert ledger.log_goals([region, empty], np.log([first, second])) == pytest.approx(expected)


def test_a_point_is_the_answer_of_its_own_study(found, tiny):
    i = len(found.points) // 2
    budget = Limit("package_cost_USD", "at_most", float(found.values[i, 1]) * (1 + 1e-6))
    alone = solve(dataclasses.replace(tiny, limits=(*tiny.limits, budget)), gap_frac=GAP)
    assert found.values[i, 0] == pytest.approx(alone.goal, rel=2 * GAP)


def test_no_whole_point_is_beyond_what_the_front_allows(whole):
    """The last was 1.21 times as slow as the baseline, at which the front ends."""
    assert np.all(whole.values[:, 0] <= 1 + 2e-6)


def test_a_worse_point_gives_way_to_what_its_proof_finds(whole, found):
    """Half the time of a point that costs as much as another is known: its own proof must find it."""
    last = whole.points[-1]
    slow = dataclasses.replace(whole.points[0], values=(0.99, whole.points[0].values[1]))
    told = proved(dataclasses.replace(whole, points=(slow, last), values=np.asarray([slow.values, last.values])))
    assert told.values[0, 0] == pytest.approx(found.values[0, 0], rel=2 * GAP)


def test_without_time_nothing_is_proved(whole):
    deadline = Deadline(1.0, itertools.count().__next__)
    late = proved(dataclasses.replace(whole, rays=dataclasses.replace(whole.rays, deadline=deadline)))
    assert not np.isfinite(late.room).any() and late.rays.deadline.undone == [UNPROVED]
    assert front_json(late)["proved_gap"] == [None] * len(late.points)
    assert proof_text(late.room).startswith("Over all choices, plans and whole counts 0 of ")
    assert proof_text(np.asarray([0.001, math.inf])).endswith(
        "1 of 2 points are proved, none better by more than 0.1 %."
    )


def test_a_front_of_rays_keeps_the_limits_of_its_own_metrics(tiny):
    rays = Rays(tiny, METRICS)
    caps = [(x.metric, x.value) for x in rays.space.study.limits if x.metric == "delivered_time"]
    assert caps[0][1] == pytest.approx(1.0, rel=2e-6) and len(caps) == 2
