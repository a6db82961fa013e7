"""Array types used across the rooms: float64 scalars, batched only by `jax.vmap`.

Importing any room switches JAX to 64 bit: 1e27 FLOP times 1e12 bytes overflows float32.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

jax.config.update("jax_enable_x64", True)

FloatLike: TypeAlias = Array | np.ndarray | np.floating
Scalar: TypeAlias = Float[Array | np.ndarray, ""]
ScalarLike: TypeAlias = float | int | Float[Array | np.ndarray, ""]
Vector: TypeAlias = Float[Array | np.ndarray, " n"]


def as_float(x: Any) -> Array | np.ndarray:
    """`x` as a strongly typed float array (a bare `jnp.asarray(1.0)` is weakly typed).

    A host-side NumPy array stays on the host, so that loading a thousand presets compiles nothing.
    """
    if isinstance(x, (int, float, np.ndarray, np.floating)):
        return np.asarray(x, dtype=float)
    return jnp.asarray(x, dtype=float) if not hasattr(x, "dtype") else x


SIGN = "sign"
"""Key of a field's metadata: which way what is paid for (time, energy, memory) moves with the number."""
LESS_IS_BETTER, MORE_IS_BETTER, INERT = 1.0, -1.0, 0.0
"""Signs; an inert number only names a unit. Bounds on groups of plans rest on them, so a test measures every one."""

NAMES = ("name", "node", "hbm", "link")
"""Fields of records that name a thing, where they hold a text."""


def unnamed(record: Any) -> Any:
    """`record` with every name in it blank, at any depth: records of different things stack under `jax.vmap`."""
    if isinstance(record, tuple):
        return tuple(unnamed(x) for x in record)
    if not dataclasses.is_dataclass(record):
        return record
    made = object.__new__(type(record))  # no converter, no check of shapes: leaves may have leading axes
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        blank = f.name in NAMES and isinstance(value, str)
        object.__setattr__(made, f.name, "" if blank else unnamed(value))
    return made
