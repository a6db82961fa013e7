"""Rules of log-log curvature for sums, products, powers and maxima.

A term is constant (an interval, so that proofs hold for a sign class), monomial, convex or concave in logarithms.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

INF = math.inf


class Verdict(enum.Enum):
    """Curvature of log f as a function of the logs of the variables."""

    CONST = "const"
    MONOMIAL = "monomial"
    CONVEX = "convex"
    CONCAVE = "concave"
    NEGATIVE = "minus convex"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Term:
    """What is known of an intermediate value, elementwise."""

    verdict: Verdict
    """Curvature; zero entries are allowed unless `positive`."""
    positive: bool
    """Whether every entry is above zero."""
    low: float = 0.0
    high: float = INF
    """Ends of a constant's interval; 0 and infinity for anything else."""
    reason: str = ""

    @property
    def is_const(self) -> bool:
        """Whether it depends on coefficients alone."""
        return self.verdict is Verdict.CONST

    @property
    def is_zero(self) -> bool:
        """Whether it is the constant 0."""
        return self.is_const and self.low == self.high == 0.0


def const(low: float, high: float, positive: bool = False) -> Term:
    """A constant in an interval; what is not a number may be anything."""
    low, high = -INF if math.isnan(low) else low, INF if math.isnan(high) else high
    return Term(Verdict.CONST, positive or low > 0.0, low, high)


def known(value: Any) -> Term:
    """A constant written in the program, as the interval of its entries."""
    array = np.asarray(value)
    array = array.astype(float, copy=False) if array.dtype.kind in "biuf" else np.asarray(np.nan)
    return const(float(array.min()), float(array.max())) if array.size else const(1.0, 1.0)


def broken(reason: str) -> Term:
    """Membership cannot be proved."""
    return Term(Verdict.UNKNOWN, False, -INF, INF, reason)


def _kinds(terms: Sequence[Term]) -> set[Verdict]:
    return {t.verdict for t in terms} - {Verdict.CONST}


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0.0 or b == 0.0 else a * b  # 0 of an endless interval is 0, not NaN


def _exp(x: float) -> float:
    return math.exp(x) if x < 709.0 else INF  # the largest float is e^709.8


def join(terms: Sequence[Term]) -> Term:
    """A value that is, entry by entry, one of several terms."""
    kinds, positive = _kinds(terms), all(t.positive for t in terms)
    if not kinds:
        return const(min(t.low for t in terms), max(t.high for t in terms), positive)
    if any(t.is_const and t.low < 0.0 for t in terms):
        return broken("puts a constant that may be negative beside variables")
    if Verdict.NEGATIVE in kinds and (len(kinds) > 1 or any(t.is_const for t in terms)):
        return broken("puts positive and negative terms side by side")
    bent = kinds - {Verdict.MONOMIAL} or kinds  # a monomial is straight: convex and concave
    if len(bent) == 1:
        return Term(next(iter(bent)), positive)
    return broken("puts convex and concave terms side by side")


def total(terms: Sequence[Term]) -> Term:
    """A sum: convex terms and nonnegative constants stay convex."""
    terms = [t for t in terms if not t.is_zero] or list(terms[:1])  # 0 leaves a monomial one
    kinds, nonnegative = _kinds(terms), all(t.low >= 0.0 for t in terms)
    positive = nonnegative and any(t.positive for t in terms)
    if not kinds:
        return const(sum(t.low for t in terms), sum(t.high for t in terms), positive)
    if len(terms) == 1:
        return terms[0]
    if kinds == {Verdict.NEGATIVE} and all(not t.is_const or t.high <= 0.0 for t in terms):
        return Term(Verdict.NEGATIVE, False)
    if not nonnegative:
        return broken("adds a constant that may be negative")
    if kinds <= {Verdict.MONOMIAL, Verdict.CONVEX}:  # log sum exp of convex functions is convex
        return Term(Verdict.CONVEX, positive)
    return broken("adds a concave or negative term")


def product(a: Term, b: Term) -> Term:
    """A product: exponents add, so curvatures of one kind stay; a negative constant turns convex into its negative."""
    if Verdict.UNKNOWN in (a.verdict, b.verdict):
        return a if a.verdict is Verdict.UNKNOWN else b
    if a.is_const and b.is_const:
        ends = [_times(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        return const(min(ends), max(ends), a.positive and b.positive)
    if a.is_zero or b.is_zero:
        return const(0.0, 0.0)
    factor, other = (a, b) if a.is_const else (b, a)
    if factor.is_const and factor.low >= 0.0:
        return Term(other.verdict, factor.positive and other.positive)  # log c f = log c + log f
    if factor.is_const:
        return negate(other) if factor.high <= 0.0 else broken("multiplies by a constant of unknown sign")
    if Verdict.NEGATIVE in (a.verdict, b.verdict):
        return broken("multiplies by a negative term")
    result = join([a, b])
    return broken("multiplies convex by concave") if result.verdict is Verdict.UNKNOWN else result


def reciprocal(t: Term) -> Term:
    """One over a term: convex and concave swap."""
    if t.is_const and t.low < 0.0:
        return const(1.0 / t.high, 1.0 / t.low) if t.high < 0.0 else const(-INF, INF)  # 0 lies inside
    if not t.positive:
        return broken(f"division by a {'coefficient' if t.is_const else 'term'} that may be zero")
    if t.is_const:
        return const(1.0 / t.high, INF if t.low == 0.0 else 1.0 / t.low, True)
    swap = {Verdict.CONVEX: Verdict.CONCAVE, Verdict.CONCAVE: Verdict.CONVEX}  # log 1/f = -log f
    return Term(swap.get(t.verdict, t.verdict), True)


def negate(t: Term) -> Term:
    """Minus a term: remembered for `exp`, useless elsewhere."""
    if t.is_const:
        return const(-t.high, -t.low)
    if t.verdict in (Verdict.MONOMIAL, Verdict.CONVEX):
        return Term(Verdict.NEGATIVE, False)
    return Term(Verdict.CONVEX, False) if t.verdict is Verdict.NEGATIVE else broken("negates a concave term")


def difference(a: Term, b: Term) -> Term:
    """A difference of constants, or one in which everything has the same sign after all."""
    if a.is_const and b.is_const:
        return const(a.low - b.high, a.high - b.low)
    result = total([a, negate(b)])
    return broken("subtracts") if result.verdict is Verdict.UNKNOWN else result


def power(base: Term, exponent: Term) -> Term:
    """A constant power of a term, or a power with a term in the exponent of a constant."""
    if not exponent.is_const:
        return _exponential(base, exponent)
    if base.is_const:
        return _constant_power(base, exponent)
    if base.verdict is Verdict.NEGATIVE:
        return broken("power of a negative term")
    if exponent.low >= 0.0 or (base.verdict is Verdict.MONOMIAL and base.positive):  # log f^a = a log f
        return base
    return reciprocal(base) if exponent.high <= 0.0 else broken("exponent of unknown sign")


def _constant_power(base: Term, exponent: Term) -> Term:
    if base.low < 0.0 or (not base.positive and exponent.low < 0.0):
        return const(-INF, INF)
    grows, shrinks = exponent.low >= 0.0, exponent.high <= 0.0
    above, below = base.low >= 1.0, base.high <= 1.0
    low = 1.0 if (above and grows) or (below and shrinks) else 0.0
    high = 1.0 if (below and grows) or (above and shrinks) else INF
    return const(low, high, base.positive)


def _exponential(base: Term, exponent: Term) -> Term:
    if not base.is_const:
        return broken("variables in base and exponent")
    if base.low >= 1.0 or (base.positive and base.high <= 1.0):
        return exponential(exponent if base.low >= 1.0 else negate(exponent))  # b^f = e^(f log b)
    return broken("exponential whose base may lie on either side of 1")


def exponential(t: Term) -> Term:
    """Exponential of a term: convex of convex, concave of minus convex."""
    if t.is_const:
        return const(_exp(t.low), _exp(t.high), True)
    # log exp f = f, and a log-log convex f is convex in z itself; a log-log concave one need not be concave there
    if t.verdict is Verdict.NEGATIVE:
        return Term(Verdict.CONCAVE, True)
    return broken("exp of a concave term") if t.verdict is Verdict.CONCAVE else Term(Verdict.CONVEX, True)


def series(t: Term) -> Term:
    """A power series with nonnegative coefficients and no constant, such as e^x - 1 or sinh x."""
    if t.is_const:
        return const(-INF if t.low < 0.0 else 0.0, INF, t.positive)
    convex = t.verdict in (Verdict.MONOMIAL, Verdict.CONVEX)
    return Term(Verdict.CONVEX, t.positive) if convex else broken("of a term that is not convex")


def maximum(terms: Sequence[Term]) -> Term:
    """A maximum of convex terms; a negative constant never wins."""
    kinds, positive = _kinds(terms), any(t.positive for t in terms)
    if not kinds:
        return const(max(t.low for t in terms), max(t.high for t in terms), positive)
    convex = kinds <= {Verdict.MONOMIAL, Verdict.CONVEX}
    return Term(Verdict.CONVEX, positive) if convex else broken("max of a concave term")


def minimum(terms: Sequence[Term]) -> Term:
    """A minimum of concave terms."""
    kinds, positive = _kinds(terms), all(t.positive for t in terms)
    if not kinds:
        return const(min(t.low for t in terms), min(t.high for t in terms), positive)
    if any(t.low < 0.0 for t in terms):
        return broken("min with a constant that may be negative")
    concave = kinds <= {Verdict.MONOMIAL, Verdict.CONCAVE}
    return Term(Verdict.CONCAVE, positive) if concave else broken("min of a convex term")


def logarithm(t: Term) -> Term:
    """A constant's logarithm; that of a variable leaves the class."""
    if not t.is_const:
        return broken("log of variables")
    if t.low < 0.0 or t.high <= 0.0:
        return const(-INF, INF)
    return const(math.log(t.low) if t.low > 0.0 else -INF, math.log(t.high))


def repeated(t: Term, n: float) -> Term:
    """A sum of one to `n` entries of a term; of none it is 0."""
    if n < 1:
        return const(0.0, 0.0)
    if t.is_const:
        return const(min(t.low, _times(n, t.low)), max(t.high, _times(n, t.high)), t.positive)
    return t if n <= 1 else total([t, t])
