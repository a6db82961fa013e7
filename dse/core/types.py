"""Array types: float64 scalars, batched by `vmap` (1e27 FLOP times 1e12 B overflows float32); stacking of records."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias, TypeVar, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# on import: arrays that were made before would stay float32
jax.config.update("jax_enable_x64", True)
EXTRA = "--xla_backend_extra_options="
if EXTRA not in (flags := os.environ.get("XLA_FLAGS", "")):
    plain_loops = "xla_cpu_disable_loop_unrolling=true,xla_cpu_disable_slp_vectorizer=true"
    os.environ["XLA_FLAGS"] = f"{flags} {EXTRA}{plain_loops}".strip()
"""Loops become vectors but are not unrolled: a third less to compile, and as fast (`tests/bench`). XLA reads its flags
once, when a process first uses it; a user's own options of its back end stay."""

SOON_COMPILED: dict[str, Any] = {
    "compiler_options": {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
}
"""Keywords of `jax.jit` for programs that run for less time than they compile: XLA's older emitter of loops."""
FloatLike: TypeAlias = Array | np.ndarray | np.floating
Scalar: TypeAlias = Float[Array | np.ndarray, ""]
Vector: TypeAlias = Float[Array | np.ndarray, " n"]


def as_float(x: Any) -> Array | np.ndarray:
    """`x` as a strongly typed float array; NumPy's stay on the host: loading a thousand presets compiles nothing."""
    if isinstance(x, (int, float, np.ndarray, np.floating)):
        return np.asarray(x, dtype=float)
    # what is traced or on a device keeps its type: another would be another program
    return jnp.asarray(x, dtype=float) if not hasattr(x, "dtype") else x


def where(is_so: Any, yes: Any, no: Any) -> Any:
    """`jnp.where`; of host numbers `np.where`, which makes no program."""
    on_host = not any(isinstance(x, jax.Array) for x in (is_so, yes, no))
    return np.where(is_so, yes, no) if on_host else jnp.where(is_so, yes, no)


SIGN = "sign"
"""Key of a field's metadata: which way what is paid for (time, energy, memory) moves with the number."""
LESS_IS_BETTER, MORE_IS_BETTER, INERT = 1.0, -1.0, 0.0
"""Signs; an inert number only names a unit. Bounds on groups of plans rest on them, so a test measures every one."""
Record = TypeVar("Record", bound=eqx.Module)


def host_record(kind: type[Record], *in_order: Any, **values: Any) -> Record:
    """`kind(*in_order, **values)` of host numbers, without its constructor's checks, which take twenty times as long.

    TypeError: a field that `kind` lacks, or one without a value.
    """
    names, defaults = _fields(kind)
    made = object.__new__(kind)
    held: dict[str, Any] = vars(made)
    # first, so that what is given replaces them
    held.update(defaults)
    # fewer than there are fields: the rest comes by name or by default
    given = dict(zip(names, in_order, strict=False)) | values
    held.update((n, _held(v)) for n, v in given.items())
    if held.keys() != names.keys():
        raise TypeError(f"{kind.__name__}: fields {sorted(held.keys() ^ names.keys())} are unknown or have no value")
    return made


def _held(value: Any) -> Any:
    """What a host record holds; to ask whether a number is a module takes longer than to make an array of it."""
    is_number = isinstance(value, (float, int, np.floating))
    return value if not is_number and isinstance(value, (np.ndarray, eqx.Module)) else np.asarray(value, dtype=float)


class Stacked(Sequence[Record]):
    """Host records of one kind, held as one whose numbers have a leading axis; each is made where it is asked for."""

    def __init__(self, record: Record, n: int) -> None:
        self.record, self.n = record, n

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, i: int) -> Record: ...
    @overload
    def __getitem__(self, i: slice) -> list[Record]: ...
    def __getitem__(self, i: int | slice) -> Record | list[Record]:
        places = range(self.n)[i]
        return row_of(self.record, places) if isinstance(places, int) else [row_of(self.record, k) for k in places]


def row_of(stacked: Record, i: Any) -> Record:
    """Record `i` of a stack, or several where `i` is an array of positions; as `jax.tree.map` in less time."""
    made = object.__new__(type(stacked))
    held = vars(stacked).items()
    vars(made).update((n, row_of(x, i) if isinstance(x, eqx.Module) else np.asarray(x[i])) for n, x in held)
    return made


def stack_records(records: Sequence[Record]) -> Record:
    """Host records of one kind as one, every number with a leading axis over them; as `jax.tree.map` in less time."""
    if isinstance(records, Stacked):
        return records.record
    first = vars(records[0])
    held = [vars(r) for r in records]
    made = object.__new__(type(records[0]))
    vars(made).update(
        (n, (stack_records if isinstance(x, eqx.Module) else np.array)([h[n] for h in held])) for n, x in first.items()
    )
    return made


@cache
def _fields(kind: type[eqx.Module]) -> tuple[dict[str, None], dict[str, Any]]:
    """Names of a record's fields in order, and the defaults of those that have one."""
    fields = dataclasses.fields(kind)
    given = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    defaults = {name: x if isinstance(x, eqx.Module) else as_float(x) for name, x in given.items()}
    return dict.fromkeys(f.name for f in fields), defaults


NAMES = ("name", "node", "hbm", "link", "package")
"""Fields of records that name a thing, where they hold a text."""


def unnamed(record: Any, names: Sequence[str] = NAMES) -> Any:
    """`record` with its texts in `names` blank, at any depth: records of different things stack under `jax.vmap`."""
    if isinstance(record, tuple):
        return tuple(unnamed(x, names) for x in record)
    if not dataclasses.is_dataclass(record):
        return record
    made = object.__new__(type(record))  # no converter, no check of shapes: leaves may have leading axes
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        blank = f.name in names and isinstance(value, str)
        object.__setattr__(made, f.name, "" if blank else unnamed(value, names))
    return made
