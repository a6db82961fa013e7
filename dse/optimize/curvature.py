"""`curvature`: proof that a JAX function is log-log convex (then local optima are global), by walking its jaxpr.

The walker uses sign classes of coefficients, never values, and names the first operation that breaks the rules.
Read more: [boyd2007tutorial] sections 2 and 3 (generalized posynomials).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import curvature_rules as algebra
from .curvature_rules import INF, Term, Verdict, broken, const


@dataclasses.dataclass(frozen=True)
class Curvature:
    """Log-log curvature of one output: constant, monomial, convex, ... or unknown with a reason."""

    verdict: Verdict
    """Curvature of its log as a function of the logs of the variables."""
    reason: str = ""
    """If unknown: the first operation that breaks the rules, its operands and its source line."""

    @property
    def is_convex(self) -> bool:
        """Whether it is proved log-log convex (including constants and monomials)."""
        return self.verdict in (Verdict.CONST, Verdict.MONOMIAL, Verdict.CONVEX)

    def __str__(self) -> str:
        return f"{self.verdict.value}: {self.reason}" if self.reason else self.verdict.value


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
    return _constants_only(equation, terms)


def _constants_only(equation: Any, terms: Sequence[Term]) -> Term:
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
CALLS = (
    "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "remat2", "checkpoint",
)  # fmt: skip
"""Primitives whose inner program is walked in place."""


def _place(equation: Any, caller: str) -> str:
    """Source line of an equation; that of its caller if JAX knows none."""
    try:
        # private, and so perhaps gone one day: messages then lose their line, and nothing else
        from jax._src.source_info_util import summarize

        line = summarize(equation.source_info)
    except (ImportError, AttributeError, TypeError):
        return caller
    return caller if line.startswith(":") or not line else f" at {line}"


def _apply(equation: Any, operands: list[Term], caller: str) -> list[Term]:
    name, params = equation.primitive.name, equation.params
    place = _place(equation, caller)
    if name in CALLS:
        # of a `custom_jvp` this is the value, not the derivative rule, which may do as it likes
        inner = next(params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params)
        return _walk(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), operands, place)
    unknown = [t for t in operands if t.verdict is Verdict.UNKNOWN]
    if unknown and name != "select_n":  # which may drop the branch that is unknown
        return [unknown[0]] * len(equation.outvars)
    result = RULES.get(name, _constants_only)(equation, operands)
    if result.verdict is Verdict.UNKNOWN and not unknown:
        kinds = ", ".join(t.verdict.value for t in operands)
        result = broken(f"{name}({kinds}){place}: {result.reason}")
    return [result] * len(equation.outvars)


def _walk(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Term], caller: str = "") -> list[Term]:
    """Terms of the outputs of a program, `caller` being the source line that calls it."""
    known: dict[Any, Term] = dict(zip(jaxpr.constvars, map(algebra.known, consts), strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Term:
        return algebra.known(atom.val) if hasattr(atom, "val") else known[atom]

    for equation in jaxpr.eqns:
        terms = _apply(equation, [read(a) for a in equation.invars], caller)
        known.update(zip(equation.outvars, terms, strict=True))
    return [read(a) for a in jaxpr.outvars]


def sign_class(values: Any) -> Term:
    """All constants with the signs of `values`: positive or not negative, and at least or at most 1 if they all are."""
    # whether all are above 1, or none is, decides how powers and comparisons of constants come out; values do not
    array = np.asarray(values, dtype=float)
    low, high = (float(array.min()), float(array.max())) if array.size else (1.0, 1.0)
    if np.asarray(values).dtype == bool:
        return const(0.0, 1.0)
    # NaN compares as false, and belongs here too
    if not low >= 0.0:
        return const(-INF, INF)
    return const(1.0 if low >= 1.0 else 0.0, 1.0 if high <= 1.0 else INF, low > 0.0)


def _verdict(t: Term) -> Curvature:
    # what may be negative has no logarithm, however it is curved
    if t.verdict is Verdict.NEGATIVE or t.low < 0.0:
        return Curvature(Verdict.UNKNOWN, t.reason or "the output may be negative")
    return Curvature(t.verdict, t.reason)


def curvature(fn: Callable[..., Any], variables: Any, coefficients: Any = None) -> list[Curvature]:
    """Log-log curvature of every output leaf of `fn(variables, coefficients)`, by disciplined convexity rules.

        f(x) convex in z = log x  if built from  c x^a (c >= 0),  +,  *,  max,  f^a (a >= 0),  exp f,  f / monomial
    Proved for all positive `variables` and all coefficients of the same `sign_class`, leaf by leaf; arrays that `fn`
    closes over count by value. With `coefficients` None, `fn` takes `variables` alone.
    Source: [boyd2007tutorial] sections 2.2 and 5.1 (posynomials, generalized posynomials, exponentials).
    Assumes: real arithmetic; rounding is ignored.
    """
    return _prove(fn, variables, coefficients, lambda x: x)


def curvature_batch(fn: Callable[..., Any], variables: Any, coefficients: Any) -> list[Curvature]:
    """As `curvature`, for coefficients with a leading batch axis: one proof for all, by their common sign classes."""
    return _prove(fn, variables, coefficients, lambda x: x[0] if np.ndim(x) else x)


def proved_of(coefficients: Any) -> str:
    """All of a batch of coefficients that a proof depends on, in words: their form, and shapes and signs of each."""
    arrays, program = eqx.partition(coefficients, _is_number)
    each = [(np.shape(x)[1:], sign_class(x)) for x in jax.tree.leaves(arrays)]
    return f"{jax.tree.structure(arrays)} {program} {each}"


def _is_number(x: Any) -> bool:
    return isinstance(x, (jax.Array, np.ndarray, np.generic, float))


def _prove(fn: Callable[..., Any], variables: Any, coefficients: Any, one: Callable[[Any], Any]) -> list[Curvature]:
    """Walk `fn` traced with `one` of the coefficients."""
    arrays, program = eqx.partition(coefficients, _is_number)
    x = jax.tree.map(lambda leaf: np.asarray(leaf, dtype=float), variables)
    # traced with one entry of a batch, judged by the classes of all of them: so that it holds for each
    example = jax.tree.map(lambda leaf: np.asarray(one(leaf)), arrays)

    def flat(x: Any, c: Any) -> list[Any]:
        return jax.tree.leaves(fn(x) if coefficients is None else fn(x, eqx.combine(c, program)))

    closed = jax.make_jaxpr(flat)(x, example)
    monomials = [Term(Verdict.MONOMIAL, True)] * len(jax.tree.leaves(x))
    classes = [sign_class(leaf) for leaf in jax.tree.leaves(arrays)]
    return [_verdict(t) for t in _walk(closed.jaxpr, closed.consts, [*monomials, *classes])]
