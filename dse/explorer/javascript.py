"""JavaScript from a traced JAX function, so that an offline page computes with the same formulas.

Arrays are flat Float64Arrays, loops have static bounds, constants are folded; an operation that is not supported is an
error with its name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core as jcore

from ..core.errors import DseError
from .emitter import Emitter, Value

UNARY = {
    "neg": "-({0})", "exp": "Math.exp({0})", "log": "Math.log({0})", "sqrt": "Math.sqrt({0})", "square": "({0})*({0})",
    "rsqrt": "1/Math.sqrt({0})", "abs": "Math.abs({0})", "sign": "Math.sign({0})", "floor": "Math.floor({0})",
    "ceil": "Math.ceil({0})", "log1p": "Math.log1p({0})", "expm1": "Math.expm1({0})", "tanh": "Math.tanh({0})",
    "copy": "{0}", "copy_p": "{0}", "stop_gradient": "{0}", "not": "({0}?0:1)",
    "is_finite": "(Number.isFinite({0})?1:0)",
}  # fmt: skip
BINARY = {
    "add": "{0}+{1}", "add_any": "{0}+{1}", "sub": "{0}-{1}", "mul": "{0}*{1}", "div": "{0}/{1}",
    "pow": "Math.pow({0},{1})", "max": "Math.max({0},{1})", "min": "Math.min({0},{1})", "gt": "({0}>{1}?1:0)",
    "lt": "({0}<{1}?1:0)", "ge": "({0}>={1}?1:0)", "le": "({0}<={1}?1:0)", "eq": "({0}==={1}?1:0)",
    "ne": "({0}!=={1}?1:0)", "and": "({0}&&{1}?1:0)", "or": "({0}||{1}?1:0)",
}  # fmt: skip
"""Operations on one number and on two, as expressions."""
CONVERTED = {"b": "({0}!==0?1:0)", "i": "Math.trunc({0})", "u": "Math.trunc({0})"}
"""Conversions that change a value, by the kind of number they make; every number here is a float."""
REDUCE = {
    "reduce_sum": ("0", "a+={0}"), "reduce_max": ("-Infinity", "a=Math.max(a,{0})"),
    "reduce_min": ("Infinity", "a=Math.min(a,{0})"), "reduce_prod": ("1", "a*={0}"),
    "reduce_and": ("1", "a=a&&{0}?1:0"), "reduce_or": ("0", "a=a||{0}?1:0"),
}  # fmt: skip
"""Reductions: where they begin, and one step."""
INLINE = ("pjit", "jit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint")
"""Calls of other traced functions."""
FEW_FACTORS = 4
"""Powers up to this are written as products."""


class EmitError(DseError):
    """An operation that the offline page cannot follow."""


def follow(em: Emitter, jaxpr: Any, consts: Sequence[Any], args: Sequence[Value]) -> list[Value]:
    """Values of a jaxpr's outputs."""
    known: dict[Any, Value] = {}
    for var, const in zip(jaxpr.constvars, consts, strict=True):
        known[var] = Value(np.shape(const), known=np.asarray(const))
    known.update(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Value:
        return Value(np.shape(v.val), known=np.asarray(v.val)) if isinstance(v, jcore.Literal) else known[v]

    for e in jaxpr.eqns:
        found = _equation(em, e, [read(v) for v in e.invars])
        known.update(zip(e.outvars, found, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation(em: Emitter, e: Any, ins: list[Value]) -> list[Value]:
    name = e.primitive.name
    if all(v.known is not None for v in ins) and name not in INLINE:
        # coefficients of a study depend on no slider: what is made of them alone is worked out here, once
        got = e.primitive.bind(*(jax.numpy.asarray(v.known) for v in ins), **e.params)
        return [Value(np.shape(g), known=np.asarray(g)) for g in (got if e.primitive.multiple_results else [got])]
    if name in INLINE:
        inner = e.params.get("jaxpr") or e.params.get("call_jaxpr") or e.params.get("fun_jaxpr")
        return follow(em, getattr(inner, "jaxpr", inner), getattr(inner, "consts", []), ins)
    if name == "scan":
        return _loop(em, e.params, ins)
    return [_operation(em, name, e.params, ins, e.outvars[0].aval.shape)]


def _loop(em: Emitter, params: dict[str, Any], ins: list[Value]) -> list[Value]:
    """A loop of known length that carries numbers, without arrays to run over."""
    n_consts, n_carried = params["num_consts"], params["num_carry"]
    if len(ins) != n_consts + n_carried or len(params["jaxpr"].jaxpr.outvars) != n_carried:
        raise EmitError("an offline page cannot hold a loop over arrays")
    carried = [Value(v.shape, name=em.name()) for v in ins[n_consts:]]
    for to, v in zip(carried, ins[n_consts:], strict=True):
        em.lines.append(f"let {to.name}={em.whole(v)};")
    # lines of the body are collected by themselves, to stand inside the braces
    outer, em.lines = em.lines, []
    found = follow(em, params["jaxpr"].jaxpr, params["jaxpr"].consts, [*ins[:n_consts], *carried])
    # all are read before any is written: a turn may move one carried number into another
    moved = [(em.name(), em.whole(v)) for v in found]
    inside = "".join([*em.lines, *(f"const {n}={v};" for n, v in moved)])
    inside += "".join(f"{to.name}={n};" for to, (n, _) in zip(carried, moved, strict=True))
    em.lines = [*outer, f"for(let turn=0;turn<{params['length']};turn++){{{inside}}}"]
    return carried


def _operation(em: Emitter, name: str, params: dict[str, Any], ins: list[Value], shape: tuple[int, ...]) -> Value:
    """One operation on values of which some depend on an argument."""
    if name in ("mul", "add") and (found := _neutral(name, ins, shape)) is not None:
        return found
    if name in UNARY or name in BINARY:
        return em.each(shape, ins, UNARY.get(name) or BINARY[name])
    if name == "integer_pow":
        y = params["y"]
        return em.each(shape, ins, "*".join(["({0})"] * y) if 0 < y <= FEW_FACTORS else f"Math.pow({{0}},{y})")
    if name == "convert_element_type":
        made = CONVERTED.get(np.dtype(params["new_dtype"]).kind)
        return em.each(shape, ins, made) if made else Value(shape, name=ins[0].name)
    if name == "select_n":
        # `select_n` takes its first case where the condition is 0, `?:` where it is not
        return em.each(shape, ins, "({0}?{2}:{1})")
    if name == "clamp":
        # its operands are least, value, most
        return em.each(shape, ins, "Math.min(Math.max({1},{0}),{2})")
    if name in REDUCE or name in ("argmax", "argmin"):
        return _reduced(em, name, params["axes"], ins[0], shape)
    if name == "dot_general":
        return _dot(em, params, ins, shape)
    if name in ("concatenate", "stack"):
        return _joined(em, name, params, ins, shape)
    return em.picked(shape, ins[0], _places(name, params, ins[0].shape, shape))


def _neutral(name: str, ins: list[Value], shape: tuple[int, ...]) -> Value | None:
    """What is left of a product with ones or a sum with zeros."""
    neutral = 1.0 if name == "mul" else 0.0
    for one, other in ((0, 1), (1, 0)):
        known = ins[one].known
        if known is not None and ins[other].shape == shape and np.all(known == neutral):
            return ins[other]
    return None


def _places(name: str, params: dict[str, Any], given: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Where each entry of a rearranged array comes from; EmitError for what is no rearrangement."""
    index = np.arange(math.prod(given)).reshape(given)
    if name == "broadcast_in_dim":
        dims = params["broadcast_dimensions"]
        view = index.reshape([given[dims.index(d)] if d in dims else 1 for d in range(len(shape))])
        return np.broadcast_to(view, shape)
    if name in ("reshape", "squeeze", "expand_dims"):
        return index.reshape(shape)
    if name == "transpose":
        return index.transpose(params["permutation"])
    if name == "rev":
        return np.flip(index, params["dimensions"])
    if name == "slice":
        strides = params["strides"] or [1] * len(given)
        each = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
        return index[tuple(slice(*cut) for cut in each)]
    raise EmitError(f"an offline page cannot hold the operation '{name}' ({given} to {shape})")


def _reduced(em: Emitter, name: str, axes: Sequence[int], source: Value, shape: tuple[int, ...]) -> Value:
    """Sums, products, extremes and their positions along some axes."""
    index = np.arange(source.size).reshape(source.shape)
    rest = [d for d in range(len(source.shape)) if d not in axes]
    # what is reduced last, so that terms of one entry lie side by side
    rows = index.transpose([*rest, *axes]).reshape(max(math.prod(shape), 1), -1)
    n, out, size = rows.shape[1], em.name(), rows.shape[0]
    # a sum over a whole array in its order needs no table of places, which would be as long as the array
    straight = size == 1 and np.array_equal(rows[0], np.arange(n))
    entry = em.at(source, "k" if straight else f"{em.table(rows)}[i*{n}+k]")
    if name in REDUCE:
        begin, step = REDUCE[name]
        loop = f"let a={begin};for(let k=0;k<{n};k++){step.format(entry)};"
    else:
        sign = ">" if name == "argmax" else "<"
        loop = f"let a=0,b=NaN;for(let k=0;k<{n};k++){{const c={entry};if(k===0||c{sign}b){{a=k;b=c;}}}}"
    if size == 1:
        em.lines.append(f"let {out};{{const i=0;{loop}{out}=a;}}")
    else:
        em.lines.append(f"const {out}=new Float64Array({size});for(let i=0;i<{size};i++){{{loop}{out}[i]=a;}}")
    return Value(shape, name=out)


def _dot(em: Emitter, params: dict[str, Any], ins: list[Value], shape: tuple[int, ...]) -> Value:
    """Sums of products over shared axes: of vectors, of matrices and vectors, batched or not."""
    (left_axes, right_axes), (left_batch, right_batch) = params["dimension_numbers"]
    left, n = _dot_rows(ins[0].shape, left_batch, left_axes)
    right, _ = _dot_rows(ins[1].shape, right_batch, right_axes)
    rows = np.broadcast_to(left[:, :, None], (left.shape[0], left.shape[1], right.shape[1], n)).reshape(-1)
    cols = np.broadcast_to(right[:, None], (left.shape[0], left.shape[1], right.shape[1], n)).reshape(-1)
    size, out = max(math.prod(shape), 1), em.name()
    if size == 1:
        a, b = (em.at(v, f"{em.table(places)}[k]") for v, places in zip(ins, (rows, cols), strict=True))
        em.lines.append(f"let {out}=0;for(let k=0;k<{n};k++){out}+={a}*{b};")
        return Value(shape, name=out)
    a, b = (em.at(v, f"{em.table(places)}[i*{n}+k]") for v, places in zip(ins, (rows, cols), strict=True))
    loop = f"let a=0;for(let k=0;k<{n};k++)a+={a}*{b};{out}[i]=a;"
    em.lines.append(f"const {out}=new Float64Array({size});for(let i=0;i<{size};i++){{{loop}}}")
    return Value(shape, name=out)


def _dot_rows(shape: tuple[int, ...], batch: Sequence[int], summed: Sequence[int]) -> tuple[np.ndarray, int]:
    """Positions in a flat array as (batch, free, summed), and how many are summed."""
    free = [d for d in range(len(shape)) if d not in (*batch, *summed)]
    n = math.prod(shape[d] for d in summed)
    index = np.arange(math.prod(shape)).reshape(shape).transpose([*batch, *free, *summed])
    return index.reshape(math.prod(shape[d] for d in batch), math.prod(shape[d] for d in free), n), n


def _joined(em: Emitter, name: str, params: dict[str, Any], ins: list[Value], shape: tuple[int, ...]) -> Value:
    """Arrays behind each other, or on top of each other."""
    axis = params["axis" if name == "stack" else "dimension"]
    out, order, start = em.name(), np.arange(math.prod(shape)).reshape(shape), 0
    em.lines.append(f"const {out}=new Float64Array({math.prod(shape)});")
    for v in ins:
        width = 1 if name == "stack" else v.shape[axis]
        where = order.take(range(start, start + width), axis=axis).ravel()
        start += width
        if where.size == 1:
            em.lines.append(f"{out}[{where[0]}]={em.at(v, '0')};")
        elif where.size and np.array_equal(where, np.arange(where[0], where[0] + where.size)):
            em.lines.append(f"for(let i=0;i<{where.size};i++){out}[{where[0]}+i]={em.at(v, 'i')};")
        elif where.size:
            em.lines.append(f"for(let i=0;i<{where.size};i++){out}[{em.table(where)}[i]]={em.at(v, 'i')};")
    return Value(shape, name=out)


@dataclasses.dataclass(frozen=True)
class Script:
    """A function as JavaScript: `code` defines `model(x, D)`, which returns one flat array."""

    code: str
    tables: list[np.ndarray]
    """What it reads as `D`."""


def emit(fun: Callable[[Any], Any], n_arguments: int) -> Script:
    """The JavaScript of a function of one vector that returns one; EmitError for an operation that a page lacks."""
    closed = jax.make_jaxpr(fun)(np.ones(n_arguments))
    em = Emitter()
    (out,) = follow(em, closed.jaxpr, closed.consts, [Value((n_arguments,), name="x")])
    body = "\n".join(em.lines)
    end = f"return {out.name};" if out.name else f"return {em.table(np.asarray(out.known))};"
    return Script(f"function model(x, D) {{\n{body}\n{end}\n}}\n", em.tables)
