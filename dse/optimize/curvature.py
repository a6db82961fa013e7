"""`curvature`: proof that a JAX function is log-log convex (then local optima are global), by walking its jaxpr.

The walker uses sign classes of coefficients, never values, and names the first operation that breaks the rules.
Read more: [boyd2007tutorial] sections 2 and 3 (generalized posynomials).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from . import curvature_rules as algebra
from .curvature_rules import INF, Term, Verdict, broken, const
from .primitives import RULES, constants_only


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
    result = RULES.get(name, constants_only)(equation, operands)
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
