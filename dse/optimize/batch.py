"""Batched solves of many convex problems of one shape: splitting into batches, padding, transfer to the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core.errors import SpecError
from ..core.program import compiled
from .aim import Aim, no_aim
from .interior import DEFAULTS, Optimum, Settings, solve_convex
from .newton import Model

WIDEST = 256
"""Most problems solved side by side unless told otherwise: bounds memory."""
WIDTH = 64
"""Problems of a search or a proof that are solved side by side: one program."""
ON_CORE = 8
"""Problems that one core solves side by side: a call takes as long as its longest."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Calls at once: a program of few problems keeps one core busy."""


@cache
def _cores() -> ThreadPoolExecutor:
    # threads are enough: a compiled program lets go of the interpreter's lock while it runs
    return ThreadPoolExecutor(CORES, thread_name_prefix="solver")


def in_batches(fun: Callable[..., Any], args: tuple[Any, ...], size: int) -> Any:
    """`fun` over the leading axis of all arrays in `args`, `size` rows at a time, as host arrays: it compiles once."""
    n = len(jax.tree.leaves(args)[0])

    def some(first: int) -> Any:
        rows = np.minimum(np.arange(first, first + size), n - 1)  # the last batch repeats its last row: one shape
        return jax.device_get(fun(*jax.tree.map(lambda x: np.asarray(x)[rows], args)))

    firsts = range(0, n, size)
    if len(firsts) == 1:
        return jax.tree.map(lambda x: x[:n], some(0))
    answers = list(_cores().map(some, firsts))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *answers)


@compiled
def _solve_chunk(
    fun: Model,
    data: Any,
    boxes: list[Array | np.ndarray],
    too_much: Array | np.ndarray,
    loose: Array | np.ndarray | None,
    aim: Aim | None,
    settings: Settings,
) -> Optimum:

    def one(data: Any, box: list[Array | np.ndarray], most: Array, aim: Aim | None) -> Optimum:
        lower, upper, start = box
        return solve_convex(fun, data, lower, upper, start, loose, most, aim, settings=settings)

    return eqx.filter_vmap(one, in_axes=(eqx.if_array(0), 0, 0, 0))(data, boxes, too_much, aim)


def solve_batch(
    fun: Model,
    data: Any,
    lower: Float[Array | np.ndarray, "... n"],
    upper: Float[Array | np.ndarray, "... n"],
    start: Float[Array | np.ndarray, "... n"],
    *,
    loose: Bool[Array | np.ndarray, " m"] | None = None,
    too_much: Float[Array | np.ndarray, " b"] | float = np.inf,
    aim: Aim | None = None,
    settings: Settings = DEFAULTS,
    size: int | None = None,
) -> Optimum:
    """Many optima of one model, `solve_convex` over the leading axis of every array in `data`, as host arrays.

    Bounds and `start` are shared `(n,)` or per problem `(b, n)`, and so is `too_much`, `()` or `(b,)`. `loose` is
    shared; all False is the same program, None another. Where it is given, `aim` may be, with a leading axis, too: the
    same program with it and without. `fun` that compares equal (as of `model_of`) compiles once.
    `size` problems are solved side by side, by default the batch's next power of two, at most `WIDEST`; processors
    solve `ON_CORE` of them at a time.
    SpecError: no argument has a batch axis, or the axes differ; an aim without `loose`.
    """
    arrays, shared = eqx.partition(data, lambda x: isinstance(x, (jax.Array, np.ndarray)))
    boxes = [np.asarray(x, dtype=float) for x in (lower, upper, start)]
    # an array without this axis would be broadcast in silence, one problem's number in all of them
    axes = {np.shape(x)[:1] for x in [*jax.tree.leaves(arrays), *(x for x in boxes if x.ndim == 2)]}
    if len(axes) != 1 or () in axes:
        raise SpecError(f"a batch needs one leading axis, got {sorted(axes)}; give every array in data the same one")
    ((n_batch,),) = axes
    boxes = [np.broadcast_to(x, (n_batch, x.shape[-1])) for x in boxes]
    most = np.broadcast_to(np.asarray(too_much, dtype=float), (n_batch,))
    if loose is None and aim is not None:
        raise SpecError("an aim needs loose limits, which may all be False: it is a number of that program")
    aim = no_aim(n_batch, boxes[0].shape[-1]) if aim is None and loose is not None else aim

    def solve(some: Any, box: list[Array | np.ndarray], most: np.ndarray, aim: Aim | None) -> Optimum:
        return _solve_chunk(fun, eqx.combine(some, shared), box, most, loose, aim, settings)

    # powers of two: few sizes are compiled, and less than half of a call is padding
    size = size or min(WIDEST, 2 ** (n_batch - 1).bit_length())
    return in_batches(solve, (arrays, boxes, most, aim), _at_once(size))


def _at_once(size: int) -> int:
    # side by side all run until the slowest has ended: few at a time on a core, many where cores are thousands
    return min(size, ON_CORE) if jax.default_backend() == "cpu" else size


def prepare_batch(
    fun: Model, data: Any, n: int, *, loose: np.ndarray | None = None, settings: Settings = DEFAULTS
) -> None:
    """Make the program by which `solve_batch` solves `WIDTH` problems side by side, where programs are kept."""
    rows = _at_once(WIDTH)
    # a program depends on shapes alone, so that one row stands for all
    batch = jax.tree.map(lambda x: np.broadcast_to(x, (rows, *np.shape(x))), data)
    aim = None if loose is None else no_aim(rows, n)
    _solve_chunk.prepare(fun, batch, [np.zeros((rows, n))] * 3, np.zeros(rows), loose, aim, settings)
