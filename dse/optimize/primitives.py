"""Which rule of disciplined convexity each JAX primitive follows, for the walker of `curvature`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from . import curvature_rules as algebra
from .curvature_rules import INF, Term, Verdict, broken, const

Rule: TypeAlias = Callable[[Any, Sequence[Term]], Term]
"""An equation and the terms of its operands to the term of its outputs."""


def _first(_: Any, terms: Sequence[Term]) -> Term:
    """Moves entries about; index operands must not depend on variables."""
    return terms[0] if all(t.is_const for t in terms[1:]) else broken("an index depends on variables")


def _converted(equation: Any, terms: Sequence[Term]) -> Term:
    (t,) = terms
    old, new = equation.invars[0].aval.dtype, equation.params["new_dtype"]
    if jnp.issubdtype(new, jnp.inexact) or (jnp.issubdtype(old, jnp.integer) and jnp.issubdtype(new, jnp.integer)):
        return t
    if t.is_const and t.low >= 0.0:  # cut off below, or, of a truth value, 1 for any small number
        return const(min(np.floor(t.low), 1.0), max(t.high, 1.0) if new.kind == "b" else t.high)
    return constants_only(equation, terms)


def constants_only(equation: Any, terms: Sequence[Term]) -> Term:
    """An operation without a rule: fine on constants, whose value is then anything."""
    del equation
    return const(-INF, INF) if all(t.is_const for t in terms) else broken("no rule keeps convexity here")


def _entries(equation: Any) -> float:
    return equation.invars[0].aval.size / max(equation.outvars[0].aval.size, 1)


def _dot(equation: Any, terms: Sequence[Term]) -> Term:
    (axes, _), _ = equation.params["dimension_numbers"]
    n = int(np.prod([equation.invars[0].aval.shape[i] for i in axes]))
    # a contraction is a sum of products, and `product` has seen to it that none is negative
    return algebra.repeated(algebra.product(*terms), n)


def _reduced(reduce: Callable[[Sequence[Term]], Term]) -> Rule:
    # of one entry there is nothing to reduce, so that a monomial stays one; more are two of the same kind
    return lambda equation, terms: terms[0] if _entries(equation) <= 1 else reduce([terms[0], terms[0]])


def _reduced_product(equation: Any, terms: Sequence[Term]) -> Term:
    (t,) = terms
    if _entries(equation) <= 1:
        return t
    if t.verdict is Verdict.NEGATIVE:
        return broken("multiplies by a negative term")  # an even number of them is positive
    # logs of the entries add, which keeps their curvature; of constants any power of the interval may come out
    return algebra.power(t, const(0.0, INF)) if t.is_const else t


def _to_the(exponent: float) -> Rule:
    return lambda _, terms: algebra.power(terms[0], const(exponent, exponent))


def _integer_power(equation: Any, terms: Sequence[Term]) -> Term:
    y = float(equation.params["y"])
    # the only power of a negative constant whose sign is known
    even = terms[0].is_const and terms[0].low < 0.0 and y % 2 == 0
    return const(0.0, INF) if even else algebra.power(terms[0], const(y, y))


def _absolute(_: Any, terms: Sequence[Term]) -> Term:
    (t,) = terms
    if t.is_const and t.low < 0.0:
        return const(max(-t.high, 0.0), max(-t.low, t.high))
    return algebra.negate(t) if t.verdict is Verdict.NEGATIVE else t


def _compared(equation: Any, terms: Sequence[Term]) -> Term:
    if not all(t.is_const for t in terms):
        return broken("compares variables")
    a, b = (terms[1], terms[0]) if equation.primitive.name in ("gt", "ge") else (terms[0], terms[1])
    # decided only where the intervals do not touch, for all coefficients of the class at once
    if a.high < b.low and equation.primitive.name not in ("eq", "ne"):
        return const(1.0, 1.0)
    return const(0.0, 0.0) if a.low > b.high and equation.primitive.name != "ne" else const(0.0, 1.0)


def _truth(equation: Any, terms: Sequence[Term]) -> Term:
    if not all(t.is_const for t in terms):
        return broken("compares variables")
    return const(0.0, 1.0) if equation.outvars[0].aval.dtype == bool else const(-INF, INF)


def _selected(_: Any, terms: Sequence[Term]) -> Term:
    which, *branches = terms
    if not which.is_const:
        return which if which.verdict is Verdict.UNKNOWN else broken("chooses by variables")
    # decided for the whole class: the other branch is never taken, and may break every rule
    if which.low == which.high:
        return branches[int(which.low)]
    unknown = [t for t in branches if t.verdict is Verdict.UNKNOWN]
    return unknown[0] if unknown else algebra.join(branches)


def _scattered(equation: Any, terms: Sequence[Term]) -> Term:
    """Every entry is the operand's, or an update; where updates are added, with as many of them as name its place."""
    operand, index, update = terms
    if not index.is_const:
        return broken("an index depends on variables")
    if equation.primitive.name == "scatter":
        return algebra.join([operand, update])
    # an entry that no update reaches stays as it is, perhaps 0, and one that two reach is a sum, no monomial
    return algebra.join([operand, algebra.total([operand, algebra.repeated(update, equation.invars[2].aval.size)])])


MOVES = (
    "broadcast_in_dim", "reshape", "squeeze", "expand_dims", "slice", "dynamic_slice", "gather", "transpose", "rev",
    "split", "copy", "copy_p", "stop_gradient", "reduce_precision", "optimization_barrier",
)  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(MOVES, _first),
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), _compared),
    **dict.fromkeys(("and", "or", "not", "is_finite"), _truth),
    "convert_element_type": _converted,
    "concatenate": lambda _, t: algebra.join(t),
    "stack": lambda _, t: algebra.join(t),
    "pad": lambda _, t: algebra.join(t),
    "dynamic_update_slice": lambda _, t: algebra.join(t[:2]) if all(x.is_const for x in t[2:]) else broken("index"),
    **dict.fromkeys(("scatter", "scatter-add"), _scattered),
    "select_n": _selected,
    "add": lambda _, t: algebra.total(t),
    "add_any": lambda _, t: algebra.total(t),
    "sub": lambda _, t: algebra.difference(*t),
    "neg": lambda _, t: algebra.negate(t[0]),
    "abs": _absolute,
    "mul": lambda _, t: algebra.product(*t),
    "div": lambda _, t: algebra.product(t[0], algebra.reciprocal(t[1])),
    "dot_general": _dot,
    "max": lambda _, t: algebra.maximum(t),
    "min": lambda _, t: algebra.minimum(t),
    "pow": lambda _, t: algebra.power(*t),
    "integer_pow": _integer_power,
    "square": _to_the(2.0),
    "sqrt": _to_the(0.5),
    "cbrt": _to_the(1.0 / 3.0),
    "rsqrt": _to_the(-0.5),
    "exp": lambda _, t: algebra.exponential(t[0]),
    "exp2": lambda _, t: algebra.power(const(2.0, 2.0), t[0]),
    "expm1": lambda _, t: algebra.series(t[0]),
    "sinh": lambda _, t: algebra.series(t[0]),
    "log": lambda _, t: algebra.logarithm(t[0]),
    "reduce_sum": lambda e, t: algebra.repeated(t[0], _entries(e)),
    "cumsum": lambda e, t: algebra.repeated(t[0], e.invars[0].aval.size),
    "reduce_prod": _reduced_product,
    "reduce_max": _reduced(algebra.maximum),
    "reduce_min": _reduced(algebra.minimum),
    "cummax": lambda _, t: algebra.maximum([t[0], t[0]]),
}
"""Rule of each JAX primitive; without a rule, constants stay constant and all else is unknown."""
