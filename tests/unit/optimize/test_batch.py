"""Batches cut to size, on a thread per core: every answer in its place, whatever the size and whoever calls."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest

from dse.core.errors import SpecError
from dse.core.program import Program
from dse.optimize.aim import Aim
from dse.optimize.batch import CORES, in_batches, solve_batch


@pytest.mark.parametrize("n", [1, 7, 8, 9, 37])
def test_answers_come_home_in_order_and_every_call_has_the_size(n):
    sizes, threads = [], set()

    def doubled(x, pair):
        sizes.append(len(x))
        threads.add(threading.get_ident())
        return 2 * x, {"sum": pair.sum(axis=1)}

    x, pair = np.arange(n, dtype=float), np.arange(2.0 * n).reshape(n, 2)
    twice, rest = in_batches(doubled, (x, pair), 8)
    assert np.array_equal(twice, 2 * x)
    assert np.array_equal(rest["sum"], pair.sum(axis=1))
    assert sizes == [8] * -(-n // 8)
    assert len(threads) <= CORES


def test_the_last_call_is_filled_with_its_last_row():
    seen = []
    in_batches(lambda x: seen.append(x.tolist()) or x, (np.arange(5.0),), 3)
    assert sorted(seen) == [[0, 1, 2], [3, 4, 4]]


def test_what_goes_wrong_on_a_thread_is_what_the_caller_sees():
    def picky(x):
        if 11 in x:
            raise SpecError("eleven is not solved")
        return x

    with pytest.raises(SpecError, match="eleven"):
        in_batches(picky, (np.arange(32.0),), 4)
    assert in_batches(picky, (np.arange(8.0),), 4).tolist() == list(range(8))


def least_sum(z, data):
    """min x + y subject to x y >= c, in logs: 2 sqrt(c) at x = y."""
    return jnp.logaddexp(z[0], z[1]), jnp.stack([data - z[0] - z[1]])


@pytest.mark.parametrize("size", [1, 4, 16, None])
def test_optima_are_those_of_closed_form_whatever_the_size(size):
    log_c, far = np.linspace(-2.0, 2.0, 11), np.full(2, np.log(100.0))
    found = solve_batch(least_sum, log_c, -far, far, np.zeros(2), size=size)
    assert found.converged.all()
    assert found.objective == pytest.approx(np.log(2.0) + log_c / 2, abs=1e-7)
    assert found.z == pytest.approx(np.stack([log_c / 2] * 2, axis=1), abs=1e-4)
    assert found.multipliers[:, 0] == pytest.approx(np.full(11, 0.5), abs=1e-6)


def test_with_an_aim_a_straight_line_is_minimised_within_the_objective_and_without_one_nothing_changes():
    """With x y >= c and x + y <= 3 sqrt(c), x is least where both bind: x^2 - 3 sqrt(c) x + c = 0."""
    log_c, far, none = np.linspace(-2.0, 2.0, 9), np.full(2, np.log(100.0)), np.zeros(1, dtype=bool)
    most = np.log(3.0) + log_c / 2
    aim = Aim(np.tile([1.0, 0.0], (9, 1)), most)
    least = solve_batch(least_sum, log_c, -far, far, np.zeros(2), loose=none, aim=aim)
    assert least.converged.all() and least.limits.shape == least.multipliers.shape == (9, 1)
    assert least.objective == pytest.approx(np.log((3.0 - np.sqrt(5.0)) / 2.0) + log_c / 2, abs=1e-6)
    assert np.all(least.lower_bound <= least.objective) and np.all(least.gap < 1e-6)
    # less than 2 sqrt(c) is the sum of no two such numbers
    never = solve_batch(least_sum, log_c, -far, far, np.zeros(2), loose=none, aim=Aim(aim.direction, most - 0.5))
    assert never.impossible.all() and not never.feasible.any()
    own, plain = (solve_batch(least_sum, log_c, -far, far, np.zeros(2), loose=x) for x in (none, None))
    assert own.objective == pytest.approx(plain.objective, abs=1e-9)
    assert own.lower_bound == pytest.approx(plain.lower_bound, abs=1e-9)
    with pytest.raises(SpecError, match="an aim needs loose"):
        solve_batch(least_sum, log_c, -far, far, np.zeros(2), aim=aim)


def test_a_problem_has_the_same_bits_whichever_its_neighbours_are():
    far = np.full(2, np.log(100.0))
    log_c = np.linspace(-2.0, 2.0, 24)
    together = solve_batch(least_sum, log_c, -far, far, np.zeros(2))
    backwards = solve_batch(least_sum, log_c[::-1].copy(), -far, far, np.zeros(2))
    assert np.array_equal(together.z, backwards.z[::-1])
    assert np.array_equal(together.objective, backwards.objective[::-1])


def test_a_batch_without_one_leading_axis_is_refused():
    far = np.full(2, 4.0)
    with pytest.raises(SpecError, match="one leading axis"):
        solve_batch(least_sum, np.zeros(3), -far, far, np.zeros((4, 2)))


def test_a_program_that_many_threads_ask_for_at_once_is_traced_once():
    traced, together = [], threading.Barrier(4)

    def slow_to_trace(x):
        traced.append(threading.get_ident())
        for _ in range(200):
            x = x * 1.0 + 0.0
        return x

    run = Program(slow_to_trace)

    def ask(_):
        together.wait()
        return np.asarray(run(np.ones(3))).tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [[1.0] * 3] * 4
    assert len(traced) == 1
