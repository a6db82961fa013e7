import numpy as np
import pytest

from dse.core.counts import check_count, check_whole, n_peak
from dse.core.errors import SpecError


@pytest.mark.parametrize("n", [1, 2, 10])
def test_both_ends_may_be_asked_for(n):
    check_count("points", n, 1, 10)


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "points = 0: give at least 1"), (-3, "points = -3"), (11_000, "points = 11,000: give at most 10")],
)
def test_what_lies_outside_is_named(n, said):
    with pytest.raises(SpecError, match=said):
        check_count("points", n, 1, 10)


@pytest.mark.parametrize("n", ["8", 8.0, True, [8], None])
def test_what_is_no_whole_number_is_named(n):
    """Before: `dse.system("trn2-16", "8")` was a TypeError of Python's, and 8.0 or True a system of so many chips."""
    with pytest.raises(SpecError, match=r"n_chips = .*: give a whole number"):
        check_whole("trn2-16: n_chips", n)
    check_whole("n", np.int64(8))


def test_a_peak_by_hand():
    """100 on average are seldom more than 100 + 2 x 10; at no sigma the mean itself."""
    assert (
        float(n_peak(np.float64(100.0), np.float64(2.0))) == 120.0
        and float(n_peak(np.float64(7.0), np.float64(0.0))) == 7.0
    )


@pytest.mark.parametrize("mean", [20.0, 60.0, 200.0])
def test_a_peak_is_exceeded_as_seldom_as_it_says(mean):
    """Poisson draws above the peak of 1.645 sigmas: one in twenty, by a seed and a third of that."""
    drawn = np.random.default_rng(0).poisson(mean, 200_000)
    assert np.mean(drawn > n_peak(np.float64(mean), np.float64(1.645))) == pytest.approx(0.05, rel=0.34)
