"""What can never be best, because something else is at least as good in every number that moves an answer.

Numbers say at their field whether less or more of them is better: those of what a plan asks for, and those of the parts
of a technology that are bought as they are, links and memory.
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
"""Parts of a technology whose every number declares a sign."""


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
    columns = np.unique(rows, axis=1)
    order = np.lexsort(columns.T)  # whoever undercuts a row in every column comes before it
    kept: list[int] = []
    for i in order:
        if not kept or not np.any(np.all(columns[kept] <= columns[i], axis=1)):
            kept.append(int(i))
    return np.sort(np.asarray(kept))


def worth_a_proof(space: Space) -> list[int]:
    """Positions of the choices that no other choice of equal structure undercuts or equals in every signed number.

    Which of two links is better where one takes less of everything needs no search. A metric of the user's own may
    read any number either way, so that with one all choices stay.
    """
    n = len(space.study.choices)
    if space.study.core().own:
        return list(range(n))
    data = space.without_plans
    signed = signed_parts(data.tech)
    signs = jax.tree.leaves(tuple(declared_signs(x) for x in signed))
    rows = np.stack([np.asarray(x) * s for x, s in zip(jax.tree.leaves(signed), signs, strict=True)], axis=1)
    rest = jax.tree.leaves(dataclasses.replace(data, tech=with_signed_parts(data.tech, [None] * len(SIGNED))))
    alike: dict[Any, list[int]] = {}
    for i in range(n):
        same = (int(space.structure_of_choice[i]), *(np.asarray(x)[i].tobytes() for x in rest))
        alike.setdefault(same, []).append(i)
    return sorted(members[k] for members in alike.values() for k in undominated(rows[members]))
