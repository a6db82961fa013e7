"""Dominance and hulls: plans and choices that another beats are dropped, and groups of the rest get one bound.

A plan or choice is dropped where another equals or beats it in every coefficient; fields of demands, links and memories
declare whether less or more is better. A hull is a demand with the best of each coefficient over a group, so that one
solve bounds the whole group. Splitting a group tightens the bound; a group of one plan is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..core.kept import kept_record
from ..core.types import SIGN
from ..lowering.plan import Plan
from ..lowering.step_demand import StepDemand
from ..study.convex import Data
from ..technology.presets import Technology
from .ground import candidates, on_structures, text_of
from .space import Space

SIGNED = ("link", "memory")
"""Parts of a technology in which every number declares whether less or more is better."""


def signed_parts(tech: Technology) -> tuple[Any, ...]:
    """Link and memory of `tech`: its records whose numbers declare whether less or more is better."""
    return tuple(getattr(tech, part) for part in SIGNED)


def with_signed_parts(tech: Technology, parts: Sequence[Any]) -> Technology:
    """`tech` with other parts in place of those."""
    return dataclasses.replace(tech, **dict(zip(SIGNED, parts, strict=True)))


def declared_signs(demand: Any) -> Any:
    """The declared sign of every leaf of a demand, in its structure; TypeError where a field declares none."""
    # neither converted nor checked: what is filled in are signs, no numbers with units
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


def least_demand(demands: StepDemand) -> StepDemand:
    """The best of each coefficient over plans, of demands with leading axes (structures, plans): one per structure."""
    return jax.tree.map(
        lambda x, sign: x.max(axis=1) if sign < 0.0 else x.min(axis=1), demands, declared_signs(demands)
    )


def undominated(rows: np.ndarray) -> np.ndarray:
    """Positions of the rows that no other row undercuts or equals in every column; of equal rows the first stays."""
    # equal columns would ask the same question over and over
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
    """What each choice buys: the parts of its technology with declared signs (`SIGNED`), as rows of coefficients."""

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
    # by identity: two fields may hold equal numbers
    signed = {id(x) for x in jax.tree.leaves(signed_parts(data.tech))}
    rest = [x for x in jax.tree.leaves(data) if id(x) not in signed]
    alike: dict[Any, list[int]] = {}
    for i in range(n):
        same = (int(space.structure_of_choice[i]), *(np.asarray(x)[i].tobytes() for x in rest))
        alike.setdefault(same, []).append(i)
    # what tells choices apart beyond signed numbers (a node, dies) has no better side, so that it makes its own group
    # a number of sign 0 is read by no row, so that it must not keep a beaten choice alive
    counted = table.rows[:, table.signs != 0.0]
    return [np.asarray(members)[undominated(counted[members])] for members in alike.values()]


@dataclasses.dataclass(frozen=True)
class PlanTable:
    """All plans of one workload as rows of coefficients, for every PE array and system of a study."""

    plans: tuple[Plan, ...]
    """Plans that no other plan beats in every coefficient."""
    n_valid: int
    """Plans that divide model and system, before the dominated ones were dropped."""
    rows: np.ndarray
    """Coefficients, signed so that less is better: shape (structures, plans, coefficients)."""
    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    signs: np.ndarray
    """-1 where more is better, 0 where it does not matter, else 1; shape (coefficients,)."""

    def demands(self, rows: np.ndarray) -> StepDemand:
        """Rows of coefficients, shape (..., coefficients), as demands with the same leading axes."""
        values = rows * np.where(self.signs < 0, -1.0, 1.0)
        ends = np.cumsum([int(np.prod(s)) for s in self.shapes])
        parts = np.split(values, ends[:-1], axis=-1)
        leaves = [p.reshape(*rows.shape[:-1], *s) for p, s in zip(parts, self.shapes, strict=True)]
        return jax.tree.unflatten(self.treedef, leaves)

    def hulls(self, arrays: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
        """Smallest coefficients of each group of plans on its structure, shape (groups, coefficients)."""
        # rows are turned so that less is better: the least of each undercuts all members, and so does its optimum
        return np.stack([self.rows[a, g].min(axis=0) for a, g in zip(arrays, groups, strict=True)])

    def flat(self, demands: StepDemand) -> np.ndarray:
        """Leaves of batched demands side by side, shape (batch, coefficients); signs as given."""
        leaves = [np.asarray(x) for x in jax.tree.leaves(demands)]
        return np.concatenate([x.reshape(x.shape[0], -1) for x in leaves], axis=1)


def plan_tables(space: Space) -> tuple[PlanTable, ...]:
    """Every valid plan of every workload of a study, dominated ones dropped."""
    return tuple(_table_of(space, w, tuple(every)) for w, every in enumerate(candidates(space.ground)))


def _table_of(space: Space, w: int, every: tuple[Plan, ...]) -> PlanTable:
    """The plans of one workload, from an earlier run where one had the same."""
    ground, structures = space.ground, space.structures
    empty = _empty(on_structures(ground, structures[:1], w, every[:1])[0], len(every))

    def make() -> tuple[np.ndarray, np.ndarray]:
        return _undominated(empty, [per_step(d) for d in on_structures(ground, structures, w, every, keeps=False)])

    said = "\n".join(text_of(ground, w, at, every) for at in structures)
    keep, rows = kept_record("optimize", f"table of {said}", make)
    return dataclasses.replace(empty, plans=tuple(every[i] for i in keep), rows=rows)


def moved_by(data: Data) -> tuple[Any, ...]:
    """All records of `data` whose numbers declare a sign: demands, then parts of the technology."""
    return (*data.demands, *signed_parts(data.tech))


def moved_to(data: Data, moved: tuple[Any, ...]) -> Data:
    """`data` with other records in place of those of `moved_by`."""
    n = len(data.demands)
    return dataclasses.replace(data, demands=moved[:n], tech=with_signed_parts(data.tech, moved[n:]))


def per_step(d: StepDemand) -> StepDemand:
    """The same demands (leading axis) per step: all plans do about the same work per step, so hulls are tight."""
    # Times are p-norms, which are homogeneous: a factor on all coefficients of a micro batch is one on its time. So
    # every coefficient that counts per micro batch moves here, and one left out would make the bound too low or high.
    each = d.n_micro
    runs = d.ops.runs * each[:, None]
    ops = jax.tree.map(
        lambda x: x * runs.reshape(runs.shape + (1,) * (x.ndim - runs.ndim)),
        dataclasses.replace(d.ops, runs=np.ones_like(runs)),
    )
    # those of other stages follow the scale of the operators: a stage of the plans in question runs each of them
    ops = dataclasses.replace(ops, runs=np.ones_like(runs), idle_runs=d.ops.idle_runs / d.ops.runs)
    tensor, pipeline, shard, stream = (
        jax.tree.map(lambda x: x * each, t) for t in (d.tensor, d.pipeline, d.shard, d.stream)
    )
    # what waits in SRAM is a state, not an amount of work: it does not grow with the number of micro batches
    stream = dataclasses.replace(stream, share=d.stream.share, ahead_B=d.stream.ahead_B)
    return dataclasses.replace(
        d, ops=ops, tensor=tensor, pipeline=pipeline, shard=shard, stream=stream,
        n_host=d.n_host * each, wait_s=d.wait_s * each, n_micro=np.ones_like(each),
        bubble_micro=d.bubble_micro / each, window_micro=d.window_micro / each,
        macs=d.macs * each[:, None],
    )  # fmt: skip


def _empty(demands: StepDemand, n_valid: int) -> PlanTable:
    leaves, treedef = jax.tree.flatten(demands)
    shapes = tuple(np.shape(x)[1:] for x in leaves)
    declared = jax.tree.leaves(declared_signs(demands))
    signs = np.concatenate([np.full(int(np.prod(s)), sign) for s, sign in zip(shapes, declared, strict=True)])
    return PlanTable((), n_valid, np.zeros((0, 0, 0)), treedef, shapes, signs)


def _undominated(table: PlanTable, on_arrays: list[StepDemand]) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the plans that no other beats, and their rows on every structure."""
    signs = table.signs
    rows = np.stack([table.flat(d) for d in on_arrays]) * np.where(signs < 0, -1.0, 1.0)
    # a plan goes only where another beats it on every structure: structures side by side are one long row
    keep = undominated(np.concatenate(list(rows[:, :, signs != 0]), axis=1))
    return keep, rows[:, keep]
