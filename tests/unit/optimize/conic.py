"""An outside witness: a convex core rewritten as exponential cones and solved by another solver (Clarabel).

Nothing of the package's solver or walker is used: every operation of the core is followed on posynomials, sums of
monomials with positive coefficients. Where one is raised to a power, enters a maximum or a product of sums, it gets a
variable of its own that must exceed it. Dividing by anything but a monomial of the core's own variables is refused, so
a core that is not log-log convex cannot be written down at all.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings

import cvxpy as cp
import jax
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr

from dse.study.convex import coordinates, separate


@dataclasses.dataclass
class Cones:
    """A program in log variables: the core's own, then those that stand for sums."""

    n: int
    size: int
    sums: list = dataclasses.field(default_factory=list)
    """Further variables, each with monomials whose sum it must exceed."""
    exps: list = dataclasses.field(default_factory=list)
    """Further variables, each with monomials whose sum its log must exceed."""

    def above(self, *sums):
        """One monomial, a new variable, that exceeds each of some sums."""
        self.size += 1
        self.sums += [(self.size - 1, terms) for terms in sums if terms]
        return ({self.size - 1: 1.0}, 0.0)

    def lifted(self, terms):
        """One monomial that stands for a sum."""
        return terms[0] if len(terms) == 1 else self.above(terms)

    def power(self, terms, p):
        """A sum to a power, negative only of monomials of the core's own variables."""
        if p == 1.0:
            return terms
        exponents, log = self.lifted(terms)
        powered = {k: e * p for k, e in exponents.items()}
        assert all(e > 0 for k, e in powered.items() if k >= self.n), "a sum in a denominator"
        return [(powered, log * p)]

    def product(self, a, b):
        if len(a) > 1 and len(b) > 1:
            a = [self.lifted(a)]
        return [(_sum(x, y), p + q) for (x, p), (y, q) in itertools.product(a, b)]


def _sum(x, y):
    out = dict(x)
    for k, e in y.items():
        out[k] = out.get(k, 0.0) + e
    return out


def _constant(x):
    return isinstance(x, float | int | bool | np.generic)


def _terms(x):
    """A value as a list of monomials; a zero has none."""
    if not _constant(x):
        return x
    assert x >= 0.0, "a negative constant beside variables"
    return [({}, float(np.log(x)))] if x > 0.0 else []


def _add(c, a, b):
    return a + b if _constant(a) and _constant(b) else _terms(a) + _terms(b)


def _mul(c, a, b):
    if _constant(a) and _constant(b):
        return a * b
    return c.product(_terms(a), _terms(b))


def _div(c, a, b):
    if _constant(a) and _constant(b):
        return a / b
    return c.product(_terms(a), c.power(_terms(b), -1.0))


def _max(c, a, b):
    if _constant(a) and _constant(b):
        return max(a, b)
    return [c.above(_terms(a), _terms(b))]


def _pow(c, a, p):
    return a**p if _constant(a) else c.power(_terms(a), float(p)) if _terms(a) else 0.0


def _sub(c, a, b):
    assert _constant(b) and (_constant(a) or b == 0.0), "a difference of variables"
    return a - b if _constant(a) else a


EXP_TERMS = 12
"""Terms of the series of exp: a power series with positive coefficients is a posynomial."""


def _exp(c, a):
    if _constant(a):
        return np.exp(a)
    grown = c.above()
    c.exps.append((c.size - 1, _terms(a)))
    return [grown]


def _expm1(c, a):
    if _constant(a):
        return np.expm1(a)
    out, power, factorial = [], _terms(a), 1.0
    base = [c.lifted(power)]
    for k in range(1, EXP_TERMS):
        factorial *= k
        out += [(e, log - np.log(factorial)) for e, log in c.power(base, float(k))]
    return out


TWO = {"add": _add, "mul": _mul, "div": _div, "max": _max, "pow": _pow, "sub": _sub, "add_any": _add}
ONE = {
    "sqrt": lambda c, a: _pow(c, a, 0.5), "square": lambda c, a: _pow(c, a, 2.0),
    "exp": _exp, "log": lambda c, a: np.log(a), "expm1": _expm1, "neg": lambda c, a: -a,
}  # fmt: skip


def _array(x):
    """An array as it is, one value as an array without axes."""
    if isinstance(x, np.ndarray):
        return x
    out = np.empty((), dtype=object)
    out[()] = x
    return out


def _each(fun, c, *args):
    """`fun` on every entry of arrays of values."""
    args = np.broadcast_arrays(*map(_array, args))
    out = np.empty(args[0].shape, dtype=object)
    for i in np.ndindex(out.shape):
        out[i] = fun(c, *(a[i] for a in args))
    return out


def _boxed(x):
    """A host array as an array of numbers."""
    x = np.asarray(x)
    out = np.empty(x.shape, dtype=object)
    for i in np.ndindex(x.shape):
        out[i] = x[i].item()
    return out


def _reduce(fun, c, x, axes):
    moved = np.moveaxis(x, axes, range(len(axes)))
    flat = moved.reshape(-1, *moved.shape[len(axes) :])
    out = _array(flat[0])
    for row in flat[1:]:
        out = _each(fun, c, out, row)
    return out


def _inside(c, e, values):
    inner = e.params.get("jaxpr") or e.params["call_jaxpr"]
    return follow(c, inner.jaxpr, inner.consts, values)


def _chosen(c, e, values):
    which, *branches = values
    return [branches[int(which.flat[0])] if which.size == 1 else _pick(which, branches)]


def _beside(c, e, values):
    axis = e.params.get("axis", e.params.get("dimension", 0))
    return [np.stack(values, axis) if e.primitive.name == "stack" else np.concatenate(values, axis)]


RULES = {
    **dict.fromkeys(("jit", "pjit", "closed_call", "custom_jvp_call"), _inside),
    **{name: lambda c, e, v, fun=fun: [_each(fun, c, *v)] for name, fun in (TWO | ONE).items()},
    "integer_pow": lambda c, e, v: [_each(lambda c, a: _pow(c, a, float(e.params["y"])), c, v[0])],
    "reduce_sum": lambda c, e, v: [_reduce(_add, c, v[0], e.params["axes"])],
    "reduce_max": lambda c, e, v: [_reduce(_max, c, v[0], e.params["axes"])],
    "select_n": _chosen,
    **dict.fromkeys(("convert_element_type", "copy", "stop_gradient"), lambda c, e, v: [v[0]]),
    **dict.fromkeys(("reshape", "squeeze", "broadcast_in_dim", "expand_dims"), lambda c, e, v: [_placed(v[0], e)]),
    **dict.fromkeys(("stack", "concatenate"), _beside),
}


def _plainly(e, values):
    """An operation on constants only: JAX's own."""
    pairs = zip(values, e.invars, strict=True)
    plain = [np.asarray(v.tolist(), dtype=i.aval.dtype).reshape(i.aval.shape) for v, i in pairs]
    out = e.primitive.bind(*plain, **e.params)
    return [_boxed(x) for x in (out if e.primitive.multiple_results else [out])]


def follow(c, jaxpr, consts, args):
    """Outputs of a jaxpr on arrays of constants and posynomials."""
    env = dict(zip(jaxpr.constvars, map(_boxed, consts), strict=True)) | dict(zip(jaxpr.invars, args, strict=True))
    read = lambda v: _boxed(v.val) if hasattr(v, "val") else env[v]  # noqa: E731
    for e in jaxpr.eqns:
        values = [read(v) for v in e.invars]
        known = all(_constant(x) for v in values for x in v.flat) and RULES.get(e.primitive.name) is not _inside
        found = _plainly(e, values) if known else RULES[e.primitive.name](c, e, values)
        env |= dict(zip(e.outvars, found, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _pick(which, branches):
    out = np.empty(which.shape, dtype=object)
    for i in np.ndindex(out.shape):
        out[i] = branches[int(which[i])][i]
    return out


def _placed(x, equation):
    shape = equation.outvars[0].aval.shape
    if equation.primitive.name != "broadcast_in_dim":
        return x.reshape(shape)
    dims = equation.params["broadcast_dimensions"]
    inner = [1] * len(shape)
    for axis, d in enumerate(dims):
        inner[d] = x.shape[axis]
    return np.broadcast_to(x.reshape(inner), shape)


def _rows(terms, size):
    """Exponents of terms, a row each, and their logs."""
    rows = np.zeros((len(terms), size))
    for r, (exponents, _) in enumerate(terms):
        rows[r, list(exponents)] = list(exponents.values())
    return rows, np.asarray([log for _, log in terms])


def _anchor(c, middle):
    """Where all numbers stand in the middle of the box: the other solver sees distances from there, which are small."""
    at = np.zeros(c.size)
    at[: c.n] = middle
    sums = {place: (terms, np.logaddexp.reduce) for place, terms in c.sums}
    sums |= {place: (terms, lambda logs: np.exp(logs).sum()) for place, terms in c.exps}
    for place in sorted(sums):
        terms, total = sums[place]
        rows, logs = _rows(terms, c.size)
        at[place] = total(rows @ at + logs)
    return at


def witness(core, data, lower, upper):
    """Status, log goal, multiplier of each ratio: the core solved as exponential cones in its box.

    A rough answer is asked for once more near where it lies, where distances are small and digits many: a convex
    problem has no other answer elsewhere.
    """
    *found, point = _solved(core, data, lower, upper)
    if found[0] == "optimal_inaccurate":
        near = np.maximum(lower, point - REACH), np.minimum(upper, point + REACH)
        *again, point = _solved(core, data, *near)
        found = found if point is None else again
    return tuple(found)


REACH = 0.5
"""Half a side of the box around a rough answer, in logs."""


def _solved(core, data, lower, upper):
    """Status, log goal, multipliers and point in one box; no point where the solver gave up."""
    names = coordinates(core)
    c = Cones(len(names), len(names))
    x = {n: np.float64(1.0) for n in names}
    closed = jax.make_jaxpr(lambda x: separate(core, x, data))(x)
    order = jax.tree.leaves({n: i for i, n in enumerate(names)})
    args = [_each(lambda _c, _, i=i: [({i: 1.0}, 0.0)], c, _boxed(1.0)) for i in order]
    jaxpr, _ = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)  # breakdowns subtract
    goal, *ratios = (value[()] for value in follow(c, jaxpr, closed.consts, args))
    at, z = _anchor(c, (np.asarray(lower) + np.asarray(upper)) / 2), cp.Variable(c.size)

    def logs_of(terms):
        rows, logs = _rows(terms, c.size)
        return rows @ z + (rows @ at + logs)

    def log_of(terms):
        return cp.log_sum_exp(logs_of(terms)) if len(terms) > 1 else logs_of(terms)[0]

    limits = [log_of(_terms(r)) <= 0 for r in ratios]
    sums = [log_of(terms) <= z[place] + at[place] for place, terms in c.sums]
    sums += [cp.sum(cp.exp(logs_of(terms))) <= z[place] + at[place] for place, terms in c.exps]
    box = [z[: c.n] >= lower - at[: c.n], z[: c.n] <= upper - at[: c.n]]
    problem = cp.Problem(cp.Minimize(log_of(_terms(goal))), [*limits, *sums, *box])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Solution may be inaccurate")
            problem.solve(solver=cp.CLARABEL)
        if problem.status == cp.OPTIMAL_INACCURATE:
            # its own scaling of rows may stop it a digit short; without it the path is another one
            problem.solve(solver=cp.CLARABEL, equilibrate_enable=False)
    except cp.SolverError:
        return "gave up", np.nan, np.full(len(limits), np.nan), None
    prices = [float(np.sum(x.dual_value)) if x.dual_value is not None else np.nan for x in limits]
    point = None if z.value is None else z.value[: c.n] + at[: c.n]
    return problem.status, problem.value, np.asarray(prices), point
