"""The shipped study's convex core: prices equal re-solves, optax agrees, proof holds, nonsense is refused."""

import dataclasses
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.optimize.box import bounds
from dse.optimize.curvature import curvature, curvature_batch
from dse.optimize.first_order import solve_first_order
from dse.optimize.interior import solve_convex
from dse.optimize.space import batch_of, data_of, space_of
from dse.study.convex import coordinates, core_logs, ratio_rows, separate
from dse.study.study import load_study

pytestmark = pytest.mark.slow

SHIPPED = Path(__file__).parents[2] / "sweeps" / "trainium4.toml"


@pytest.fixture(scope="module")
def problem():
    """Core, data of the first feasible-looking choice (2 x N2, native FP4) under the first kept plans, and its box."""
    study = load_study(SHIPPED)
    index = next(i for i, c in enumerate(study.choices) if c.node == "N2" and c.n_dies == 2 and c.native_fp4)
    space = space_of(dataclasses.replace(study, choices=(study.choices[index],)))
    own = tuple(kept.index(plan) for kept, (plan, _) in zip(space.plans, space.ground.baselines, strict=True))
    core = space.study.core()
    return space, core, data_of(space, 0, own), bounds(space)


@pytest.fixture(scope="module")
def solver(problem):
    _, core, _, (lower, upper) = problem
    return jax.jit(lambda d: solve_convex(partial(core_logs, core), d, lower, upper, (lower + upper) / 2))


def test_optimum_is_certified_to_a_millionth(problem, solver):
    _, _, data, _ = problem
    o = solver(data)
    assert bool(o.converged) and bool(o.feasible)
    assert 0 <= float(o.gap) <= 1e-6
    assert float(jnp.max(o.limits)) <= 0


def rows_of(core, limit):
    return [i for i, r in enumerate(ratio_rows(core)) if r.what == limit.metric]


def tightened(space, core, data, o):
    """`data` with the limit nearest to binding 2 % beyond the optimum `o`, so that more than one limit has a price."""
    slack = {
        k: float(max(o.limits[i] for i in rows_of(core, x)))
        for k, x in enumerate(space.study.limits)
        if float(sum(o.multipliers[i] for i in rows_of(core, x))) < 1e-3
    }
    k = max(slack, key=lambda k: slack[k])
    limits = np.asarray(data.limits).copy()
    limits[k] *= np.exp((slack[k] - 0.02) * (1.0 if space.study.limits[k].sense == "at_most" else -1.0))
    return dataclasses.replace(data, limits=limits)


def test_prices_equal_finite_differences_of_solved_studies(problem, solver):
    """d log goal / d log limit from the multiplier against a small change either way, for every limit that binds.

    Where two limits ask for the same stacks the goal has a kink, and the price lies between the slopes of its sides.
    """
    space, core, data, _ = problem
    data = tightened(space, core, data, solver(data))
    o = solver(data)
    step = 2e-4  # small, since another limit may start or stop binding nearby
    here = float(o.objective)
    checked, smooth = 0, 0
    for k, limit in enumerate(space.study.limits):
        rows = rows_of(core, limit)
        price = float(sum(o.multipliers[i] for i in rows))
        if price < 1e-3:
            continue
        sign = -1.0 if limit.sense == "at_most" else 1.0
        goals = []
        for factor in (np.exp(step), np.exp(-step)):
            limits = np.asarray(data.limits).copy()
            limits[k] *= factor
            goals.append(float(solver(dataclasses.replace(data, limits=limits)).objective))
        sides = sorted(((goals[0] - here) / step, (here - goals[1]) / step))
        room = 1e-2 * price + 1e-4
        assert sides[0] - room <= sign * price <= sides[1] + room, limit.name
        smooth += sides[1] - sides[0] <= room
        checked += 1
    assert checked >= 2 and smooth >= 2


def test_optax_finds_the_same_optimum(problem, solver):
    _, core, data, (lower, upper) = problem
    exact = float(solver(data).objective)
    first = jax.jit(lambda d: solve_first_order(partial(core_logs, core), d, lower, upper, (lower + upper) / 2))(data)
    assert float(first.violation) <= 1e-3
    assert float(first.objective) == pytest.approx(exact, abs=1e-3)


def test_every_term_of_the_shipped_study_is_proved(problem):
    """One walk proves all choices and all kept plans at once: only signs of coefficients count."""
    study = load_study(SHIPPED)
    space = space_of(study)
    core = study.core()
    n = len(study.choices)
    some = batch_of(space, range(n), [(i % len(space.plans[0]), i % len(space.plans[1])) for i in range(n)])
    x = {name: np.asarray(1.0) for name in coordinates(core)}
    verdicts = curvature_batch(partial(separate, core), x, some)
    assert len(verdicts) == 1 + len(ratio_rows(core))
    assert [str(v) for v in verdicts if not v.is_convex] == []


def test_what_registers_deliver_is_proved_and_holds_lanes():
    """A study of GPUs has one row more: convex in the logarithms, twofold with half the lanes, and met by P100's units.

    P100 reads all its 64 lanes deliver for 128 products; twice of it take twice the lanes.
    """
    study = load_study(SHIPPED.with_name("backtest_v100.toml"))
    index = next(i for i, c in enumerate(study.choices) if (c.pe_array, c.matrix_instruction) == ("8x16", "1x1"))
    space = space_of(dataclasses.replace(study, choices=(study.choices[index],)))
    core, data = space.study.core(), data_of(space, 0, tuple(0 for _ in study.workloads))
    x = {name: np.asarray(1.0) for name in coordinates(core)}
    assert all(v.is_convex for v in curvature(partial(separate, core), x, data))
    row = 1 + [r.what for r in ratio_rows(core)].index("register ports")
    loads = [float(separate(core, x | {"vector_lanes": np.asarray(n)}, data)[row]) for n in (32.0, 64.0, 128.0)]
    assert loads == pytest.approx([2.0, 1.0, 0.5], rel=2e-3)


@pytest.mark.parametrize(
    ("spoil", "operation"),
    [
        (lambda t, x: t - x["n_cores"], "sub"),
        (lambda t, x: t * jax.nn.sigmoid(x["clock_Hz"]), "mul"),
        (lambda t, x: t + jnp.ceil(x["n_cores"]), "ceil"),
        (lambda t, x: (t + 1.0) / (1.0 + x["n_stacks"]), "div"),
    ],
)
def test_planted_nonmembers_are_named(problem, spoil, operation):
    _, core, data, _ = problem
    x = {name: np.asarray(1.0) for name in coordinates(core)}
    (verdict,) = curvature(lambda x, d: spoil(separate(core, x, d)[0], x), x, data)
    assert not verdict.is_convex
    assert operation in verdict.reason or "logistic" in verdict.reason


def test_more_of_a_budget_never_hurts(problem, solver):
    _, _, data, _ = problem
    base = float(solver(data).objective)
    for k, sense in enumerate(x.sense for x in load_study(SHIPPED).limits):
        limits = np.asarray(data.limits).copy()
        limits[k] *= 1.05 if sense == "at_most" else 0.95
        assert float(solver(dataclasses.replace(data, limits=limits)).objective) <= base + 1e-7
