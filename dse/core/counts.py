"""Counts: bounds of user-given counts, a bound of Poisson counts, and padded batch sizes."""

from __future__ import annotations

from numbers import Integral

from .errors import SpecError
from .types import FloatLike


def check_whole(what: str, n: object) -> None:
    """SpecError unless `n` is a whole number, of Python or NumPy."""
    if isinstance(n, bool) or not isinstance(n, Integral):
        raise SpecError(f"{what} = {n!r}: give a whole number")


def check_count(what: str, n: int, least: int, most: int) -> None:
    """SpecError unless `n` is a whole number and `least <= n <= most`."""
    check_whole(what, n)
    if n < least:
        raise SpecError(f"{what} = {n}: give at least {least}")
    if n > most:
        raise SpecError(f"{what} = {n:,}: give at most {most:,}")


def n_peak(n_mean: FloatLike, n_sigmas: FloatLike) -> FloatLike:
    """Number that a Poisson count of mean `n_mean` seldom exceeds, on the host or in compiled code.

        n + z sqrt(n)
    with z the standard normal quantile of the chance that it stays below, for decoding sequences and prefills.
    Source: [kleinrock1975] section 3.6 for M/M/infinity (only the mean stay matters); normal approximation of Poisson.
    Valid for: counts of some ten; lower ones come out a little small.
    """
    # a power, which NumPy's numbers and traced ones both have, in place of either library's root
    return n_mean + n_sigmas * n_mean**0.5


def n_padded(n: int) -> int:
    """The smallest power of two that is at least `n`."""
    # of n - 1, so that a power of two is not doubled
    return 1 << max(n - 1, 0).bit_length()
