"""The front against its definition, pair by pair."""

import numpy as np
import pytest

from dse.core.pareto import is_end, is_unbeaten, is_worth_showing


@pytest.mark.parametrize("n_columns", [2, 3, 4])
@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_unbeaten_rows_against_every_pair(n, n_columns):
    rows = np.random.default_rng(n).integers(0, 5, (n, n_columns)).astype(float)
    told = is_unbeaten(rows)
    each = [tuple(r) for r in rows]
    alive = {r for r in each if not any(q != r and all(x <= y for x, y in zip(q, r, strict=True)) for q in each)}
    assert {each[i] for i in np.flatnonzero(told)} == alive
    assert told.sum() == len(alive)  # of equal rows one stays


def test_of_equal_rows_the_first_stays():
    assert list(is_unbeaten(np.asarray([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]]))) == [True, True, False, False]


def test_infinite_rows_lose_against_finite_ones():
    assert list(is_unbeaten(np.asarray([[1.0, np.inf], [1.0, 3.0]]))) == [False, True]


@pytest.mark.parametrize("near", [0.0, 0.02, 0.3])
def test_rows_left_out_are_hardly_better_than_one_that_is_shown(near):
    rows = np.random.default_rng(0).random((200, 2))
    rows = rows[is_unbeaten(rows)] * [3.0, 0.1]
    shown = is_worth_showing(rows, near)
    width = np.ptp(rows, axis=0)
    covered = [(rows[shown] <= r + near * width + 1e-12).all(axis=1).any() for r in rows]
    assert all(covered) and (shown.all() if near == 0.0 else not shown.all())


def test_an_end_that_gives_much_for_nothing_is_left_out():
    """Half the speed for a ten-thousandth of the cost is no choice that anyone takes."""
    assert list(is_worth_showing(np.asarray([[0.0, 1.0], [0.4, 0.0001], [0.9, 0.0]]), 0.01)) == [True, True, False]


def test_one_row_is_shown():
    assert list(is_worth_showing(np.asarray([[1.0, 2.0]]), 0.1)) == [True]
    assert list(is_worth_showing(np.zeros((0, 2)), 0.1)) == []


def test_ends_are_the_least_of_each_column_that_gives_least_away():
    """The second row has the least of the first column to within 0.01 as the first does, and less of the other."""
    rows = np.asarray([[0.0, 3.0], [0.005, 2.0], [0.5, 1.0], [1.0, 0.0]])
    assert list(is_end(rows, 0.01)) == [False, True, False, True]
    assert list(is_end(rows, 0.0)) == [True, False, False, True]
    assert list(is_end(rows[:1], 0.0)) == [True] and list(is_end(np.zeros((0, 2)), 0.1)) == []
