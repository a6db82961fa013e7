"""A small accelerator with made-up constants: 12 variables, 8 limits, three operators per group, p-norms throughout."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.core.free import Free
from dse.optimize.batch import WIDTH, solve_batch
from dse.optimize.elastic import cheapest_relaxations
from dse.optimize.search import search_of
from dse.optimize.space import space_of
from dse.optimize.tables import data_of_rows, plan_rows, tables_of
from dse.study.convex import Kind, all_strict, coordinates, model_of, ratio_rows

LOWER = np.log([1.0, 4096, 0.5, 4, 0.5, 100, 64, 16, 1, 50, 0.6, 1])
UPPER = np.log([64.0, 262144, 3, 256, 20, 5000, 8192, 512, 100, 1000, 1.1, 256])
GROUP = np.eye(4)[np.repeat(np.arange(4), 3)].T
FIT = np.array([3.0, 0.8, 3.0, 5.0, 5.0, 0.5, 3.0, 0.8, 5.0, 0.5, 0.3, 0.3]) * 1e5
CENTRE = {
    "work": np.array([12, 6, 4, 16, 16, 0.2, 24, 12, 32, 0.1, 0.5, 2.0]),
    "bytes": np.array([0.6, 0.35, 0.3, 0.8, 0.8, 1.1, 1.2, 0.9, 1.6, 5.5, 0.2, 0.4]),
    "vector": np.array([0.2, 9, 0.1, 0.4, 0.4, 14, 0.6, 18, 0.8, 6, 3, 1.5]),
    "comm": np.array([1.2, 2.4, 4.0, 2.0]),
    "defects": np.array(0.001),
    "budget": np.array([820.0, 750.0, 6500.0, 3000.0]),
}


def narrowed(study, **boxes):
    """The study with narrower boxes of some free numbers."""
    free = tuple(Free(f.name, *boxes[f.name]) if f.name in boxes else f for f in study.free)
    return dataclasses.replace(study, free=free)


def p_norm(p, *terms):
    return sum(t**p for t in terms) ** (1 / p)


def small_chip(x, d):
    """Time and eight ratios that must not exceed 1, for positive `x` (12,) and coefficients `d`."""
    n, a, f, s, b, link, w, cap, l2, net, u, batch = x
    load = batch**0.9
    compute = d["work"] * load / (2e-6 * n * a * f) * (1 + a / FIT)
    memory = (d["bytes"] * (1 + batch / 64) + 0.5 * d["work"] * load / jnp.sqrt(n * s)) / b
    vector = d["vector"] * batch**0.95 / (n * w * f) * 1e3
    shared = 400 * d["work"] * load / (l2 * jnp.sqrt(a))
    busy = GROUP @ p_norm(16, compute, memory, vector, shared) * (1 + 12 / cap)
    comm = d["comm"] * (1e3 / link + 200 / net) * load
    time = jnp.sum(p_norm(16, busy, comm + 0.35 * busy)) / batch
    area = (
        n * (a * 3.2e-4 * (1 + 0.03 * f**2) + w * 2.2e-3 + s * 0.28 + 8.5) + b * 14 + link * 0.035 + l2 * 2 + net * 0.1
    )
    switch = n * f * u**2 * (a * 6e-4 + w * 8e-3)
    power = switch + n * s * 0.06 + b * 32 + link * 0.012 + cap * 0.05 + area * 0.015 * jnp.exp(2 * u) + l2 * 0.5
    cost = area * 0.9 * (1 + area * d["defects"] / 4) ** 4 + cap * 14 + b * 120 + link * 0.25 + 300 + net * 2
    spent = jnp.stack([area, power, cost, time * batch]) / d["budget"]
    law = [(0.35 / u + f / (4 * u)) ** 2, (10 + batch * 0.4) / cap, (b * 3 + link * 0.01) / jnp.sqrt(n * s)]
    return time, jnp.concatenate([spent, jnp.stack(law)])


class SmallChip:
    """The small chip, its box, and data around its centre."""

    lower, upper, start = jnp.asarray(LOWER), jnp.asarray(UPPER), jnp.asarray((LOWER + UPPER) / 2)
    ratios = staticmethod(small_chip)

    @staticmethod
    def fun(z, data):
        time, ratios = small_chip(jnp.exp(z), data)
        return jnp.log(time), jnp.log(ratios)

    @staticmethod
    def data(n=None, seed=0):
        """Centre values, or `n` of them spread by about 30 %."""
        rng = np.random.default_rng(seed)
        batch = () if n is None else (n,)
        spread = 0.0 if n is None else 0.3
        return jax.tree.map(lambda c: jnp.asarray(c * np.exp(spread * rng.standard_normal((*batch, *c.shape)))), CENTRE)


@pytest.fixture(scope="session")
def chip():
    return SmallChip


COUNTS = ("n_cores", "n_stacks")


def whole_between(low, high):
    """Whole numbers between two logs."""
    return range(math.ceil(math.exp(low) - 1e-9), math.floor(math.exp(high) + 1e-9) + 1)


def can_be_built(name, k, n_dies):
    """Equally many on every die; the cores of a die fill a grid that is at most twice as long as wide."""
    each, rest = divmod(k, n_dies)
    grids = [(r, each // r) for r in range(1, each + 1) if each % r == 0]
    return rest == 0 and (name != "n_cores" or any(r <= c <= 2 * r for r, c in grids))


def every_point(study):
    """All choices, plans and whole counts of a study, by choice: model, data, and boxes with the counts fixed."""
    search = search_of(space_of(study))
    tables = tables_of(search)
    (table,) = tables.of_workloads
    names = coordinates(search.core)
    places = [names.index(n) for n in COUNTS]
    for i, choice in enumerate(study.choices):
        ranges = [
            [k for k in whole_between(search.box[0][p], search.box[1][p]) if can_be_built(name, k, choice.n_dies)]
            for name, p in zip(COUNTS, places, strict=True)
        ]
        points = list(itertools.product(*ranges, range(len(table.plans))))
        if points:
            lower, upper = (np.repeat(b[None], len(points), axis=0) for b in search.box)
            lower[:, places] = upper[:, places] = np.log([p[:2] for p in points])
            yield (
                search.core,
                data_of_rows(tables, [i] * len(points), plan_rows(tables, [(i, p[2]) for p in points])),
                (
                    lower,
                    upper,
                ),
            )


def brute_force(study):
    """Best goal over all choices, plans and whole counts, one convex solve each; infinite if there is no design."""
    best = math.inf
    for core, data, (lower, upper) in every_point(study):
        o = solve_batch(model_of(core), data, lower, upper, (lower + upper) / 2, loose=all_strict(core), size=WIDTH)
        best = min(best, float(np.where(o.feasible, o.objective, np.inf).min()))
    return math.exp(best)


def least_change(study):
    """Least sum of loosenings of the study's limits over all choices, plans and whole counts [log units]."""
    best = math.inf
    for core, data, box in every_point(study):
        user = np.asarray([r.kind is Kind.USER for r in ratio_rows(core)])
        found = cheapest_relaxations(model_of(core), data, *box, user, WIDTH)
        best = min(best, float(np.where(found.converged, found.total, np.inf).min()))
    return best


@pytest.fixture(scope="session")
def every_change():
    return least_change


@pytest.fixture(scope="session")
def every_design():
    return brute_force
