"""All plans of a study as rows of coefficients, and the convex problems of single plans and of hulls of groups."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, TypeAlias

import jax
import numpy as np

from ..core.program import compiled
from ..lowering.step_demand import StepDemand
from ..study.convex import ConvexCore, Data, all_strict, core_logs, model_of, ratio_rows
from .batch import WIDTH, in_batches, solve_batch
from .hull import Bought, PlanTable, bought, moved_by, moved_to, plan_tables, with_signed_parts
from .interior import Optimum
from .pricing import PRICED, priced_on_s
from .search import Search
from .space import data_of

Rows: TypeAlias = list[np.ndarray]
"""Coefficients with the problem as leading axis: of every workload's demand, then of what the technology buys."""
AGAINST = 1e-6
"""Slope of a Lagrangian against the sign of a coefficient that is rounding [log units]."""


class HullError(Exception):
    """A hull that bounds nothing, so that there is no proof over plans."""


@compiled
def hull_slopes(core: ConvexCore, data: Data, z: jax.Array, multipliers: jax.Array) -> tuple[Any, ...]:
    """Slope of each Lagrangian by every coefficient of its demands and of what its technology buys (`SIGNED`)."""

    def lagrangian(moved: tuple[Any, ...], data_: Data, z_: jax.Array, lam: jax.Array) -> jax.Array:
        f, g = core_logs(core, z_, moved_to(data_, moved))
        return f + lam @ g

    return jax.vmap(jax.grad(lagrangian))(moved_by(data), data, z, multipliers)


def prepare_hulls(search: Search) -> None:
    """Make the program of `row_slopes`."""
    core, n = search.core, len(search.box[0])
    one = data_of(search.space, 0, tuple(0 for _ in search.space.plans))
    data = jax.tree.map(lambda x: np.broadcast_to(x, (WIDTH, *np.shape(x))), one)
    hull_slopes.prepare(core, data, np.zeros((WIDTH, n)), np.zeros((WIDTH, len(ratio_rows(core)))))


@dataclasses.dataclass(frozen=True)
class Tables:
    """All plans of a study as rows of coefficients, and the convex problems that they make."""

    search: Search
    of_workloads: tuple[PlanTable, ...]
    every: tuple[StepDemand, ...]
    bought: Bought


def tables_of(search: Search) -> Tables:
    """All plans of a study, its demands on the device."""
    tables = plan_tables(search.space)
    # sent once, and priced at every chip
    every = tuple(jax.device_put(t.demands(t.rows)) for t in tables)
    return Tables(search, tables, every, bought(search.space))


def solve_whole(
    tables: Tables, boxes: tuple[np.ndarray, np.ndarray], points: list[tuple[int, ...]], too_much: float = np.inf
) -> Optimum:
    """Optima in boxes of their own, as far as they may be below `too_much`; points are a choice and its plans each."""
    return solve_rows(tables, [p[0] for p in points], plan_rows(tables, points), *boxes, too_much)


def plan_rows(tables: Tables, points: list[tuple[int, ...]]) -> Rows:
    """Rows of choices under single plans: each point is a choice and a plan per workload."""
    choices = [p[0] for p in points]
    arrays = tables.search.space.structure_of_choice[choices]
    # the choice stands first in a point, its plans follow
    plans = [t.rows[arrays, [p[1 + w] for p in points]] for w, t in enumerate(tables.of_workloads)]
    return [*plans, tables.bought.rows[choices]]


def hull_rows(tables: Tables, choices: list[int], groups: Sequence[tuple[np.ndarray, ...]]) -> Rows:
    """Rows that no member of a group undercuts: groups of plans per workload, then of choices like that given."""
    arrays = tables.search.space.structure_of_choice[choices]
    plans = [t.hulls(arrays, [g[w] for g in groups]) for w, t in enumerate(tables.of_workloads)]
    return [*plans, tables.bought.hulls([g[-1] for g in groups])]


def hull_costs(
    tables: Tables, choice: int, groups: tuple[np.ndarray, ...], rows: Rows, slopes: Rows
) -> list[np.ndarray]:
    """What members of each group cost over its hull, to first order, by leaf: shape (members, leaves) each.

    HullError where a member costs less than the hull in some coefficient.
    """
    array = tables.search.space.structure_of_choice[choice]
    members = [t.rows[array, g] for t, g in zip(tables.of_workloads, groups[:-1], strict=True)]
    members.append(tables.bought.rows[groups[-1]])
    costs = [(m - r) * s for m, r, s in zip(members, rows, slopes, strict=True)]
    for cost in costs:  # of a coefficient that is 0 in the hull, its slope alone could not tell by how much
        _check_none_gains(cost)
    # by field: one coefficient of hundreds of operators tells little when a group is split
    by_leaf = [np.add.reduceat(c, _starts(t.shapes), axis=1) for c, t in zip(costs, tables.of_workloads, strict=False)]
    return [*by_leaf, costs[-1]]


def _check_none_gains(by_coefficient: np.ndarray) -> None:
    """HullError unless all of them, of a Lagrangian by coefficients that get worse, are rises; NaN is none."""
    if not np.all(by_coefficient >= -AGAINST):
        raise HullError("a limit asks for at least some of what a plan spends (power, cost)")


def data_of_rows(tables: Tables, choices: list[int], rows: Rows) -> Data:
    """Coefficients of choices with given rows of demands and of what is bought."""
    demands = tuple(t.demands(r) for t, r in zip(tables.of_workloads, rows[:-1], strict=True))
    # choices of a group differ in what they buy alone: for all else the first stands for them
    base = jax.tree.map(lambda x: x[np.asarray(choices)], tables.search.space.without_plans)
    tech = with_signed_parts(base.tech, tables.bought.parts(rows[-1]))
    return dataclasses.replace(base, demands=demands, tech=tech)


def solve_rows(
    tables: Tables, choices: list[int], rows: Rows, lower: np.ndarray, upper: np.ndarray, too_much: float = np.inf
) -> Optimum:
    """Optima of any number of problems, as far as they may be below `too_much`."""
    data, core = data_of_rows(tables, choices, rows), tables.search.core
    middle, loose = (lower + upper) / 2, all_strict(core)
    return solve_batch(model_of(core), data, lower, upper, middle, loose=loose, too_much=too_much, size=WIDTH)


def plan_seconds(tables: Tables, choices: list[int], rows: Rows, z: np.ndarray) -> list[np.ndarray]:
    """Time per token of every plan of every workload at given designs."""
    price = partial(priced_on_s, tables.search.core, every=tables.every)
    structures = tables.search.space.structure_of_choice[choices]
    return in_batches(price, (z, data_of_rows(tables, choices, rows), structures), PRICED)


def row_slopes(tables: Tables, choices: list[int], rows: Rows, optima: Optimum) -> Rows:
    """Derivative of the Lagrangian by each coefficient; HullError if negative, since a hull is then no bound."""
    args = (data_of_rows(tables, choices, rows), optima.z, optima.multipliers)
    found = in_batches(partial(hull_slopes, tables.search.core), args, WIDTH)
    # L = f + lam . g at the optimum: if it falls where a coefficient gets worse, a limit wants more of what the hull
    # takes away, and the hull could be worse than its members
    n = len(tables.of_workloads)
    slopes = [t.flat(s) * t.signs for t, s in zip(tables.of_workloads, found[:n], strict=True)]
    slopes.append(tables.bought.flat(found[n:]) * tables.bought.signs)
    for slope, row in zip(slopes, rows, strict=True):
        _check_none_gains(slope * np.abs(row))
    return slopes


@cache
def _starts(shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Where each leaf begins in a row."""
    return np.cumsum([0, *(math.prod(s) for s in shapes[:-1])])
