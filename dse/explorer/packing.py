"""Packing of a tree of arrays into one vector and back, for one device transfer instead of two hundred, and of rows."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

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


def grouped(rows: np.ndarray) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Numbers of all rows without what several share: groups of columns, and which value of each group a row has.

    Columns of a group are alike in the same rows, such as everything that a node decides: a page holds each of its
    values once, not with every choice that has the node. `rows` is of shape (rows, numbers), the second of what is
    returned (rows, groups).
    """
    alike: dict[bytes, list[int]] = {}
    for k, column in enumerate(rows.T):
        # by first appearance, so that equal patterns have equal codes whatever the values are
        codes, _ = pd.factorize(column, use_na_sentinel=False)
        alike.setdefault(codes.tobytes(), []).append(k)
    groups, of_group = [], []
    for pattern, columns in alike.items():
        codes = np.frombuffer(pattern, dtype=np.intp)
        first = np.unique(codes, return_index=True)[1]
        groups.append({"at": columns, "values": rows[first][:, columns].tolist()})
        of_group.append(codes)
    return groups, np.stack(of_group, axis=1) if of_group else np.zeros((len(rows), 0), dtype=int)


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
