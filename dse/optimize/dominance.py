"""Dominance: removes plans and choices that another equals or beats in every coefficient.

Fields of demands, links and memories declare whether less or more is better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..core.types import SIGN
from ..technology.presets import Technology
from .space import Space

SIGNED = ("link", "memory")
"""Parts of a technology in which every number declares whether less or more is better."""


def signed_parts(tech: Technology) -> tuple[Any, ...]:
    """The parts of `tech` whose numbers declare a sign."""
    return tuple(getattr(tech, part) for part in SIGNED)


def with_signed_parts(tech: Technology, parts: Sequence[Any]) -> Technology:
    """`tech` with other parts in place of those."""
    return dataclasses.replace(tech, **dict(zip(SIGNED, parts, strict=True)))


def declared_signs(demand: Any) -> Any:
    """The declared sign of every leaf of a demand, in its structure; TypeError where a field declares none."""
    signs = object.__new__(type(demand))
    for f in dataclasses.fields(demand):
        value = getattr(demand, f.name)
        if f.metadata.get("static"):
            object.__setattr__(signs, f.name, value)
            continue
        if not dataclasses.is_dataclass(value) and SIGN not in f.metadata:
            raise TypeError(
                f"{type(demand).__name__}.{f.name} declares no sign: give the field metadata {{SIGN: ...}} (core.types)"
            )
        object.__setattr__(signs, f.name, declared_signs(value) if SIGN not in f.metadata else f.metadata[SIGN])
    return signs


def undominated(rows: np.ndarray) -> np.ndarray:
    """Positions of the rows that no other row undercuts or equals in every column; of equal rows the first stays."""
    columns = np.stack(list({x.tobytes(): x for x in rows.T}.values()), axis=1)
    order = np.lexsort(columns.T)  # whoever undercuts a row in every column comes before it
    kept, best, n = np.empty(len(rows), dtype=int), np.empty_like(columns), 0
    for i in order:
        if not np.any(np.all(best[:n] <= columns[i], axis=1)):
            kept[n], best[n] = i, columns[i]
            n += 1
    return np.sort(kept[:n])


@dataclasses.dataclass(frozen=True)
class Bought:
    """Signed parts of every choice's technology as rows of coefficients."""

    rows: np.ndarray
    """Coefficients, shape (choices, coefficients)."""
    form: Any
    signs: np.ndarray

    @property
    def turned(self) -> np.ndarray:
        """-1 where more is better, else 1; shape (coefficients,)."""
        return np.where(self.signs < 0.0, -1.0, 1.0)

    def hulls(self, groups: Sequence[np.ndarray]) -> np.ndarray:
        """The best of each coefficient over each group of choices, shape (groups, coefficients)."""
        return np.stack([self.rows[g].min(axis=0) for g in groups])

    def parts(self, rows: np.ndarray) -> tuple[Any, ...]:
        """Rows, shape (n, coefficients), as parts with a leading axis."""
        return jax.tree.unflatten(self.form, list((rows * self.turned).T))

    def flat(self, parts: tuple[Any, ...]) -> np.ndarray:
        """Leaves of parts with a leading axis side by side, shape (n, coefficients); signs as given."""
        return np.stack([np.asarray(x) for x in jax.tree.leaves(parts)], axis=1)


def bought(space: Space) -> Bought:
    """The signed parts of all choices of a study."""
    parts = signed_parts(space.without_plans.tech)
    signs = np.asarray(jax.tree.leaves(tuple(declared_signs(x) for x in parts)))
    table = Bought(np.zeros((0, len(signs))), jax.tree.structure(parts), signs)
    return dataclasses.replace(table, rows=table.flat(parts) * table.turned)


def worth_a_proof(space: Space, table: Bought) -> list[np.ndarray]:
    """Groups of choices that differ in signed parts alone, without those that another undercuts or equals in all.

    With a metric of the user's own, which may read any number either way, every choice stands by itself.
    """
    n = len(space.study.choices)
    if space.study.core().own:
        return [np.asarray([i]) for i in range(n)]
    data = space.without_plans
    signed = {id(x) for x in jax.tree.leaves(signed_parts(data.tech))}
    rest = [x for x in jax.tree.leaves(data) if id(x) not in signed]
    alike: dict[Any, list[int]] = {}
    for i in range(n):
        same = (int(space.structure_of_choice[i]), *(np.asarray(x)[i].tobytes() for x in rest))
        alike.setdefault(same, []).append(i)
    counted = table.rows[:, table.signs != 0.0]
    return [np.asarray(members)[undominated(counted[members])] for members in alike.values()]
