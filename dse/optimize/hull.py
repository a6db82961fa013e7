"""One demand that no plan of a group undercuts, so that a single solve bounds the whole group.

Every coefficient of a demand declares at its field whether less or more of it is better. The best of each over a group
is faster and smaller than any of its plans. Splitting the group tightens the bound; a group of one is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.types import INERT, SOON_COMPILED
from ..lowering.plan import Plan
from ..lowering.step_demand import StepDemand
from ..study.convex import ConvexCore, Data
from .batch import in_batches, solve_batch
from .dominance import Bought, bought, declared_signs, signed_parts, undominated, with_signed_parts
from .ground import candidates, on_structures
from .interior import Optimum
from .pricing import PRICED, priced_on_s
from .search import WIDTH, Search
from .space import Space

TOLERANCE = 1e-9
"""Slope against a declared sign that counts as rounding: over the largest of its field, or in log units."""
Rows: TypeAlias = list[np.ndarray]
"""Coefficients with the problem as leading axis: of every workload's demand, then of what the technology buys."""
AGAINST = 1e-6
"""Slope of a Lagrangian against the sign of a coefficient that is rounding [log units]."""


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
    """Structure of a `StepDemand`."""
    shapes: tuple[tuple[int, ...], ...]
    """Shape of each leaf without batch axes."""
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
        return np.stack([self.rows[a, g].min(axis=0) for a, g in zip(arrays, groups, strict=True)])

    def flat(self, demands: StepDemand) -> np.ndarray:
        """Leaves of batched demands side by side, shape (batch, coefficients); signs as given."""
        leaves = [np.asarray(x) for x in jax.tree.leaves(demands)]
        return np.concatenate([x.reshape(x.shape[0], -1) for x in leaves], axis=1)


def plan_tables(space: Space) -> tuple[PlanTable, ...]:
    """Every valid plan of every workload of a study, dominated ones dropped."""
    return tuple(
        _table(tuple(every), [per_step(d) for d in on_structures(space.ground, space.structures, w, every)])
        for w, every in enumerate(candidates(space.ground))
    )


def wrong_signs(core: ConvexCore, data: Data, z: np.ndarray) -> tuple[str, ...]:
    """Coefficients by which goal or a ratio of one choice moves against the declared sign at a point of the box.

    Those of its demands, and of the parts of its technology that declare any (`dominance.SIGNED`).

    Measured by gradients, so a point that finds nothing proves nothing: ask at many, corners included.
    """
    moved = moved_by(data)
    signs = jax.tree.leaves(tuple(declared_signs(x) for x in moved))
    slopes = jax.tree_util.tree_flatten_with_path(_slopes(core, data, z))[0]
    found = []
    for (path, slope), value, sign in zip(slopes, jax.tree.leaves(moved), signs, strict=True):
        largest, size = float(np.max(np.abs(slope), initial=0.0)), float(np.max(np.abs(value), initial=0.0))
        rounding = TOLERANCE * (largest + (1.0 / size if size > 0.0 else 0.0))
        right = np.all(np.asarray(slope) * sign >= -rounding) and (sign != INERT or largest == 0.0)
        if not right:  # not a number is wrong too
            found.append(jax.tree_util.keystr(path))
    return tuple(found)


@partial(jax.jit, static_argnums=0, **SOON_COMPILED)
def _slopes(core: ConvexCore, data: Data, z: Array) -> tuple[Any, ...]:
    """Slope of every log ratio and of the log goal by every coefficient with a declared sign."""

    def logs(moved: tuple[Any, ...]) -> Array:
        goal, ratios = core.logs(z, moved_to(data, moved))
        return jnp.append(ratios, goal)

    return jax.jacrev(logs)(moved_by(data))


def moved_by(data: Data) -> tuple[Any, ...]:
    """All records of `data` whose numbers declare a sign: demands, then parts of the technology."""
    return (*data.demands, *signed_parts(data.tech))


def moved_to(data: Data, moved: tuple[Any, ...]) -> Data:
    """`data` with other records in place of those of `moved_by`."""
    n = len(data.demands)
    return dataclasses.replace(data, demands=moved[:n], tech=with_signed_parts(data.tech, moved[n:]))


def per_step(d: StepDemand) -> StepDemand:
    """The same demands (leading axis), counted per step instead of per run of an operator and per micro batch.

    Step time and energy are homogeneous in what a micro batch does, so nothing changes but the hull: all plans do
    about the same work per step, in many small micro batches or in few large ones.
    """
    each = d.n_micro
    runs = d.ops.runs * each[:, None]
    ops = jax.tree.map(
        lambda x: x * runs.reshape(runs.shape + (1,) * (x.ndim - runs.ndim)),
        dataclasses.replace(d.ops, runs=np.ones_like(runs)),
    )
    tensor, pipeline, shard, stream = (
        jax.tree.map(lambda x: x * each, t) for t in (d.tensor, d.pipeline, d.shard, d.stream)
    )
    stream = dataclasses.replace(stream, share=d.stream.share, ahead_B=d.stream.ahead_B)
    return dataclasses.replace(
        d, ops=dataclasses.replace(ops, runs=np.ones_like(runs)), tensor=tensor, pipeline=pipeline, shard=shard,
        stream=stream,
        n_host=d.n_host * each, n_sync=d.n_sync * each, n_micro=np.ones_like(each),
        bubble_micro=d.bubble_micro / each, window_micro=d.window_micro / each,
        macs=d.macs * each[:, None], sram_B=d.sram_B * each,
    )  # fmt: skip


def _table(every: tuple[Plan, ...], on_arrays: list[StepDemand]) -> PlanTable:
    leaves, treedef = jax.tree.flatten(on_arrays[0])
    shapes = tuple(np.shape(x)[1:] for x in leaves)
    declared = jax.tree.leaves(declared_signs(on_arrays[0]))
    signs = np.concatenate([np.full(int(np.prod(s)), sign) for s, sign in zip(shapes, declared, strict=True)])
    table = PlanTable(every, len(every), np.zeros((0, 0, 0)), treedef, shapes, signs)
    rows = np.stack([table.flat(d) for d in on_arrays]) * np.where(signs < 0, -1.0, 1.0)
    keep = undominated(np.concatenate(list(rows[:, :, signs != 0]), axis=1))
    return dataclasses.replace(table, plans=tuple(every[i] for i in keep), rows=rows[:, keep])


class HullError(Exception):
    """A hull that bounds nothing, so that there is no proof over plans."""


@partial(jax.jit, static_argnums=0, **SOON_COMPILED)
def hull_slopes(core: ConvexCore, data: Data, z: jax.Array, multipliers: jax.Array) -> tuple[Any, ...]:
    """Slope of each Lagrangian by every coefficient of its demands and of what its technology buys (`SIGNED`)."""

    def lagrangian(moved: tuple[Any, ...], data_: Data, z_: jax.Array, lam: jax.Array) -> jax.Array:
        f, g = core.logs(z_, moved_to(data_, moved))
        return f + lam @ g

    return jax.vmap(jax.grad(lagrangian))(moved_by(data), data, z, multipliers)


@dataclasses.dataclass
class Tables:
    """All plans of a study as rows of coefficients, and the convex problems that they make."""

    search: Search
    """The study with its convex core."""

    @cached_property
    def of_workloads(self) -> tuple[PlanTable, ...]:
        """Plans of each workload."""
        return plan_tables(self.search.space)

    @cached_property
    def every(self) -> tuple[StepDemand, ...]:
        """Demands of all plans of each workload where they are priced: leading axes (structures, plans)."""
        return tuple(jax.device_put(t.demands(t.rows)) for t in self.of_workloads)

    def arrays(self, choices: list[int]) -> np.ndarray:
        """Position of the PE array and system of each choice."""
        return self.search.space.structure_of_choice[np.asarray(choices)]

    @cached_property
    def bought(self) -> Bought:
        """What the technology of each choice buys."""
        return bought(self.search.space)

    def whole(self, boxes: tuple[np.ndarray, np.ndarray], points: list[tuple[int, ...]]) -> Optimum:
        """Optima in boxes of their own; each point is a choice and a plan per workload."""
        return self.solve([p[0] for p in points], self.rows(points), *boxes)

    def rows(self, points: list[tuple[int, ...]]) -> Rows:
        """Rows of choices under single plans: each point is a choice and a plan per workload."""
        choices = [p[0] for p in points]
        arrays = self.arrays(choices)
        plans = [t.rows[arrays, [p[1 + w] for p in points]] for w, t in enumerate(self.of_workloads)]
        return [*plans, self.bought.rows[choices]]

    def hulls(self, choices: list[int], groups: Sequence[tuple[np.ndarray, ...]]) -> Rows:
        """Rows that no member of a group undercuts: groups of plans per workload, then of choices like that given."""
        arrays = self.arrays(choices)
        plans = [t.hulls(arrays, [g[w] for g in groups]) for w, t in enumerate(self.of_workloads)]
        return [*plans, self.bought.hulls([g[-1] for g in groups])]

    def costs(self, choice: int, groups: tuple[np.ndarray, ...], rows: Rows, slopes: Rows) -> list[np.ndarray]:
        """What members of each group cost over its hull, to first order, by leaf: shape (members, leaves) each.

        Args:
            choice: any of the group's.
            groups: plans per workload, then choices.
            rows: the hull, one row each.
            slopes: what one unit of each coefficient costs, likewise.
        """
        (array,) = self.arrays([choice])
        found = [
            leaf_costs(t, (t.rows[array, g] - r) * s)
            for t, g, r, s in zip(self.of_workloads, groups[:-1], rows[:-1], slopes[:-1], strict=True)
        ]
        return [*found, (self.bought.rows[groups[-1]] - rows[-1]) * slopes[-1]]

    def data(self, choices: list[int], rows: Rows) -> Data:
        """Coefficients of choices with given rows of demands and of what is bought."""
        demands = tuple(t.demands(r) for t, r in zip(self.of_workloads, rows[:-1], strict=True))
        base = jax.tree.map(lambda x: x[np.asarray(choices)], self.search.space.without_plans)
        tech = with_signed_parts(base.tech, self.bought.parts(rows[-1]))
        return dataclasses.replace(base, demands=demands, tech=tech)

    def solve(self, choices: list[int], rows: Rows, lower: np.ndarray, upper: np.ndarray) -> Optimum:
        """Optima of any number of problems."""
        data, core = self.data(choices, rows), self.search.core
        return solve_batch(core.model, data, lower, upper, (lower + upper) / 2, loose=core.strict, size=WIDTH)

    def seconds(self, choices: list[int], rows: Rows, z: np.ndarray) -> list[np.ndarray]:
        """Time per token of every plan of every workload at given designs."""
        price = partial(priced_on_s, self.search.core, every=self.every)
        return in_batches(price, (z, self.data(choices, rows), self.arrays(choices)), PRICED)

    def slopes(self, choices: list[int], rows: Rows, optima: Optimum) -> Rows:
        """Slope of each Lagrangian by the rows: what one unit more of a coefficient costs, at least 0.

        Raises:
            HullError: a slope is negative, so a hull bounds nothing: a limit asks for more of what plans spend.
        """
        args = (self.data(choices, rows), optima.z, optima.multipliers)
        found = in_batches(partial(hull_slopes, self.search.core), args, WIDTH)
        n = len(self.of_workloads)
        slopes = [t.flat(s) * t.signs for t, s in zip(self.of_workloads, found[:n], strict=True)]
        slopes.append(self.bought.flat(found[n:]) * self.bought.signs)
        for slope, row in zip(slopes, rows, strict=True):
            if np.any(slope * np.abs(row) < -AGAINST):
                raise HullError("a limit asks for at least some of what a plan spends (power, cost)")
        return slopes


def leaf_costs(table: PlanTable, costs: np.ndarray) -> np.ndarray:
    """Costs of plans summed over the entries of each leaf, shape (plans, leaves)."""
    starts = np.cumsum([0, *(int(np.prod(s)) for s in table.shapes[:-1])])
    return np.add.reduceat(costs, starts, axis=1)
