"""Designs that are nearly as good, against studies solved again with one number held at either end and beyond it."""

import dataclasses
import itertools

import numpy as np
import pytest

from dse.core.free import Free
from dse.optimize.around import _ends, directions_of, near
from dse.optimize.descent import run_search
from dse.optimize.search import best_goal, leaders, search_of
from dse.optimize.space import relative
from dse.study.convex import coordinates

pytestmark = pytest.mark.slow
SHARE = 0.01


@pytest.fixture(scope="module")
def found(tiny, solved):
    return {n.name: n for n in near(tiny, best_goal(solved), SHARE, solved.space)}


def held(study, space, name, lower, upper):
    """Best goal with one free number between two values."""
    free = tuple(Free(f.name, lower, upper) if f.name == name else f for f in study.free)
    search = search_of(relative(space, dataclasses.replace(study, free=free)))
    run_search(search)
    return best_goal(search)


def test_every_range_holds_the_optimum_and_is_proved(tiny, solved, found):
    best = min(leaders(solved), key=lambda c: c.log_goal)
    x = dict(zip(coordinates(solved.core), np.exp(best.optimum.z), strict=True))
    assert set(found) >= {f.name for f in tiny.free}
    for f in tiny.free:
        n = found[f.name]
        assert n.lower_bound <= n.lower * (1 + 1e-9) and n.upper <= n.upper_bound * (1 + 1e-9)
        assert n.lower <= x[f.name] * (1 + 1e-6) and x[f.name] <= n.upper * (1 + 1e-6)
        assert n.lower_bound == pytest.approx(n.lower, rel=1e-4)
        assert n.upper_bound == pytest.approx(n.upper, rel=1e-4)


def test_beyond_either_end_every_design_is_worse(tiny, solved, found):
    most = best_goal(solved) * (1 + SHARE)
    checked = 0
    for f in tiny.free:
        n = found[f.name]
        for end, beyond in ((n.lower, (f.lower, n.lower * 0.97)), (n.upper, (n.upper * 1.03, f.upper))):
            if not f.lower * 1.05 < end < f.upper / 1.05:
                continue  # the box itself is the end
            assert held(tiny, solved.space, f.name, *beyond) > most
            assert held(tiny, solved.space, f.name, end / 1.0001, end * 1.0001) <= most * (1 + 1e-3)
            checked += 1
    assert checked >= 4


def test_ranges_are_those_of_every_point_solved_to_its_end(tiny, solved, found):
    """Points that reach no farther are left early, and so are plans that lose: no range is narrower by it."""
    patient = search_of(solved.space, wanted=np.inf)
    run_search(patient)
    most = np.log(best_goal(patient) * (1 + SHARE))
    points = [c for c in patient.seen.values() if c.log_goal <= most]
    ways = directions_of(patient.core)
    for name, way in ways.items():
        for sign, mine in ((1.0, found[name].lower), (-1.0, found[name].upper)):
            each = [_ends(patient, [c], [sign * way], float(most))[0][0] for c in points]
            assert mine == pytest.approx(np.exp(sign * min(each)), rel=1e-6)


def test_a_wider_share_widens_every_range(tiny, solved, found):
    wider = {n.name: n for n in near(tiny, best_goal(solved), 3 * SHARE, solved.space)}
    for name, n in found.items():
        assert wider[name].lower <= n.lower * (1 + 1e-6) and wider[name].upper >= n.upper * (1 - 1e-6)
    assert any(wider[name].upper > n.upper * 1.001 for name, n in found.items())


def test_ranges_are_those_of_an_enumeration_of_the_box(tiny, solved, found):
    """Eight cells cover the box of a number; those with a design within 1 % are those that its range meets."""
    most, cells = best_goal(solved) * (1 + SHARE), 0
    for f in tiny.free:
        n, edges = found[f.name], np.geomspace(f.lower, f.upper, 9)
        for lower, upper in itertools.pairwise(edges):
            good = held(tiny, solved.space, f.name, lower, upper) <= most
            if good:
                assert lower <= n.upper * 1.001 and n.lower / 1.001 <= upper, (f.name, lower, upper)
            elif lower < n.upper / 1.01 and n.lower * 1.01 < upper:
                raise AssertionError(f"{f.name} between {lower:g} and {upper:g} has no design within 1 %")
            cells += good
    assert len(tiny.free) <= cells < 8 * len(tiny.free)
