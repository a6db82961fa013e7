"""Packing of a tree of arrays into one vector and back, for one device transfer instead of two hundred."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.types import Vector


@dataclasses.dataclass(frozen=True)
class Place:
    """One leaf of a tree: where it stands and how large it is."""

    path: tuple[str | int, ...]
    """Names of fields, keys and positions, from the root."""
    shape: tuple[int, ...]

    @property
    def n_numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def layout(tree: Any) -> list[Place]:
    """Places of all leaves of `tree` (arrays or their shapes), in the order in which `packed` writes them."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [Place(tuple(_step(k) for k in path), tuple(leaf.shape)) for path, leaf in leaves]


def packed(tree: Any) -> Vector:
    """All numbers of `tree` as one vector of floats."""
    return jnp.concatenate([jnp.ravel(jnp.asarray(leaf)).astype(float) for leaf in jax.tree.leaves(tree)])


def nested(places: list[Place], numbers: np.ndarray) -> Any:
    """The tree as plain dictionaries, lists and numbers, as JSON has it; what is not finite is None."""
    root: dict[Any, Any] = {}
    at = 0
    for place in places:
        # JSON has neither NaN nor infinities
        values = [v if math.isfinite(v) else None for v in numbers[at : at + place.n_numbers].tolist()]
        at += place.n_numbers
        inside = root
        for step in place.path[:-1]:
            inside = inside.setdefault(step, {})
        inside[place.path[-1]] = values if place.shape else values[0]
    return _listed(root)


def _step(key: Any) -> str | int:
    # JAX has a class for each: fields of records, keys, positions
    for kind in ("name", "key", "idx"):
        if hasattr(key, kind):
            return getattr(key, kind)
    return str(key)


def _listed(node: Any) -> Any:
    """Dictionaries whose keys are positions as lists."""
    if not isinstance(node, dict):
        return node
    inside = {k: _listed(v) for k, v in node.items()}
    return list(inside.values()) if inside and all(isinstance(k, int) for k in inside) else inside
