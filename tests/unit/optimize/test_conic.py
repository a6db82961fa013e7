"""The solver beside an outside witness: the same core as exponential cones, solved by Clarabel."""

import dataclasses
import math

import numpy as np
import pytest

from dse.optimize.search import n_choices
from dse.optimize.space import data_of, own_plans
from dse.study.convex import all_strict, model_of, ratio_rows

from .conic import witness

pytestmark = pytest.mark.slow


def tightened(search, factor):
    """Data of the first choice with the power limit multiplied."""
    data = data_of(search.space, 0, own_plans(search.space))
    return dataclasses.replace(data, limits=np.asarray(data.limits) * np.asarray([factor, 1.0, 1.0]))


def solved_with(search, data):
    import jax

    from dse.optimize.batch import WIDTH, solve_batch
    from dse.optimize.space import element

    lower, upper = search.box
    batch = jax.tree.map(lambda x: np.asarray(x)[None], data)
    o = solve_batch(
        model_of(search.core),
        batch,
        lower,
        upper,
        ((lower + upper) / 2)[None],
        loose=all_strict(search.core),
        size=WIDTH,
    )
    return element(o, 0)


@pytest.mark.parametrize("factor", [1.0, 0.6])
def test_optimum_and_prices_are_those_of_another_solver(solved, factor):
    agree(solved, tightened(solved, factor))


@pytest.mark.parametrize("seed", [1, 2])
def test_random_limits_too(solved, seed):
    data = data_of(solved.space, seed % n_choices(solved), own_plans(solved.space))
    factors = np.exp(np.random.default_rng(seed).uniform(0.0, 0.5, 3)) ** [1.0, 1.0, -1.0]  # looser, so feasible
    agree(solved, dataclasses.replace(data, limits=np.asarray(data.limits) * factors))


def agree(solved, data):
    """The same optimum to 1e-6 and the same price of every limit of the user."""
    o = solved_with(solved, data)
    status, log_goal, prices = witness(solved.core, data, *solved.box)
    assert status == "optimal" and bool(o.converged)
    assert float(o.objective) == pytest.approx(log_goal, abs=1e-6)
    user = np.asarray([r.limit is not None for r in ratio_rows(solved.core)])
    np.testing.assert_allclose(np.asarray(o.multipliers)[user], prices[user], atol=1e-5)


def test_infeasible_is_infeasible_for_another_solver_too(solved):
    data = tightened(solved, 0.03)
    o = solved_with(solved, data)
    status, log_goal, _ = witness(solved.core, data, *solved.box)
    assert status.startswith("infeasible") and math.isinf(log_goal)
    assert not bool(o.feasible) and float(o.violation_bound) > 0.0
