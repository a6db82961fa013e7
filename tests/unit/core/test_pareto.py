"""The front against its definition, pair by pair."""

import numpy as np
import pytest

from dse.core.pareto import is_unbeaten


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
