import itertools
import math

import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.optimize.deadline import Deadline, check_stop
from dse.optimize.regions import halves
from dse.optimize.search import search_of
from dse.optimize.solve import solve
from dse.optimize.space import space_of
from dse.optimize.tables import tables_of
from dse.optimize.tree import Tree, n_designs

from .conftest import narrowed

pytestmark = pytest.mark.slow


def prove(study, gap, seconds):
    """Branch and bound on its own, without the search that usually comes before it."""
    check_stop(gap, seconds)
    return Tree(tables_of(search_of(space_of(study))), gap, Deadline(seconds)).run()


@pytest.fixture(scope="module")
def small(tiny):
    return narrowed(tiny, n_cores=(8.0, 12.0), n_stacks=(3.0, 5.0))


@pytest.fixture(scope="module")
def proof(small):
    return prove(small, 1e-4, 120.0)


def test_the_proved_design_is_that_of_brute_force(small, proof, every_design):
    assert proof.finished and proof.best is not None
    assert math.exp(proof.best.log_goal) == pytest.approx(every_design(small), rel=1e-4)


def test_bounds_rise_and_designs_improve(proof):
    bounds, bests = [p.bound for p in proof.log], [p.best for p in proof.log]
    assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(bounds))
    assert all(a >= b for a, b in itertools.pairwise(bests))
    assert all(p.bound <= proof.log[-1].best * (1 + 1e-9) for p in proof.log)
    assert 0 <= proof.end.gap <= 1e-4


def test_out_of_time_means_a_gap_not_a_wrong_answer(small, proof):
    hasty = prove(small, 1e-9, 1e-6)
    assert len(hasty.log) <= 2 and not hasty.finished  # the first batch compiles and is not counted
    assert hasty.log[-1].bound <= proof.log[-1].best


def test_an_exact_solution_says_what_was_proved(small):
    s = solve(small, gap_frac=1e-3, limit_s=600.0)
    assert s.certificate is not None and s.certificate.overall is not None
    overall = s.certificate.overall
    assert overall.gap <= 1e-3 and overall.lower_bound <= s.goal
    # one die: cores 8, 9, 12 (grids 2x4, 3x3, 3x4), stacks 3 to 5: 3 x 3; two dies: cores 8, 12, stacks 4: 2 x 1
    search = search_of(space_of(small))
    assert n_designs(search, prove(small, 0.5, 60.0)) == 11 * len(search.space.ground.lowered[0][0])


@pytest.mark.parametrize(("gap", "seconds"), [(0.0, 1.0), (1e-3, 0.0), (-1.0, 1.0)])
def test_gap_and_time_are_positive(small, gap, seconds):
    with pytest.raises(SpecError, match="both must be positive"):
        prove(small, gap, seconds)


@pytest.mark.parametrize("costs", [np.zeros((3, 2)), np.eye(4), np.arange(10.0)[:, None], np.full((2, 1), 5.0)])
def test_halves_part_a_group(costs):
    a, b = halves(costs)
    assert sorted([*a, *b]) == list(range(len(costs))) and len(a) and len(b)


def test_halves_part_where_both_sides_get_dearer():
    """The first leaf spreads most, but cutting by it leaves each part a member that is cheap in all else."""
    costs = np.asarray([[0.0, 0.0, 0.2], [0.9, 0.0, 0.2], [0.8, 0.3, 0.0], [0.0, 0.3, 0.0]])
    a, b = halves(costs)
    assert {tuple(a), tuple(b)} == {(0, 1), (2, 3)}
