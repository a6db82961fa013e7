import dataclasses
import functools
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.core.types import INERT, LESS_IS_BETTER, MORE_IS_BETTER, SIGN, as_float, stack_records
from dse.evaluation.assembly import lowered
from dse.lowering.step_demand import StepDemand, TrafficDemand
from dse.optimize.hull import (
    PlanTable,
    bought,
    declared_signs,
    moved_by,
    moved_to,
    per_step,
    plan_tables,
    undominated,
    worth_a_proof,
)
from dse.optimize.search import leaders
from dse.optimize.space import data_of, own_plans, space_of, with_plans
from dse.optimize.tables import HullError, Tables, hull_costs
from dse.physics.evaluate import chip_technology
from dse.physics.power import energy_J, step_energy
from dse.physics.step import step_time
from dse.study.convex import core_logs
from dse.study.design import choice_technology

pytestmark = pytest.mark.slow

TOLERANCE = 1e-9
"""Slope against a declared sign that counts as rounding: over the largest of its field, or in log units."""


@pytest.fixture(scope="module")
def space(solved):
    return solved.space


@pytest.fixture(scope="module")
def training():
    """Demands of a training step under many plans, with pipelines and micro batches."""
    import dse

    workload = dse.Training(dse.model("llama-3.1-8b"), 64, 4096)
    system = dse.system("trn2-ultraserver", 16)
    c = dse.calibration("prior-neuron")
    return stack_records(lowered(system, workload, c)[1]), system.chip, c


def times(demands, chip, c):
    tech = chip_technology(chip)

    def one(d):
        step = step_time(d, chip, c)
        return step.total_s, energy_J(step_energy(d, step, chip, tech, np.float64(0.8), np.float64(500.0)))

    return [np.asarray(x) for x in jax.jit(jax.vmap(one))(demands)]


def test_counting_per_step_changes_neither_time_nor_energy(training):
    demands, chip, c = training
    assert len(np.unique(demands.n_micro)) > 3
    # the host's waits count per micro batch too: of 8 micro batches, a wait of 1 ms takes 8 ms of a step
    demands = dataclasses.replace(demands, wait_s=np.full_like(demands.n_micro, 1e-3))
    for own, per in zip(times(demands, chip, c), times(per_step(demands), chip, c), strict=True):
        np.testing.assert_allclose(per, own, rtol=1e-12)


def test_a_hull_undercuts_every_plan_of_its_group(training):
    """Time, energy and memory of the hull of random groups, on chips of other shapes."""
    demands, chip, c = training
    per = per_step(demands)
    n = per.n_micro.size
    rng = np.random.default_rng(0)
    for factor in (0.3, 1.0, 5.0):
        other = dataclasses.replace(
            chip, hbm_bandwidth_Bps=chip.hbm_bandwidth_Bps * factor, n_cores=chip.n_cores / factor
        )
        own = times(per, other, c)
        for _ in range(5):
            group = rng.choice(n, size=12, replace=False)
            smallest = jax.tree.map(lambda x, g=group: x[g].min(axis=0, keepdims=True), per)
            widest = dataclasses.replace(smallest, window_micro=per.window_micro[group].max(keepdims=True))
            for hull, plans in zip(times(widest, other, c), own, strict=True):
                assert hull[0] <= plans[group].min() * (1 + 1e-12)
            assert widest.memory_B[0] == per.memory_B[group].min()


def test_tables_hold_every_plan_that_can_be_best(space):
    """The fastest plan at random chips is among those kept, and rows turn back into the demands they came from."""
    (table,), (demands,) = plan_tables(space), [stack_records(space.ground.lowered[0][1])]
    every = space.ground.lowered[0][0]
    assert table.n_valid == len(every) >= len(table.plans)
    chip, (c,) = space.study.baseline.chip, space.ground.calibrations
    rng = np.random.default_rng(1)
    for _ in range(6):
        other = dataclasses.replace(
            chip,
            n_cores=chip.n_cores * np.exp(rng.normal()),
            hbm_bandwidth_Bps=chip.hbm_bandwidth_Bps * np.exp(rng.normal()),
            scaleup_bandwidth_per_dir_Bps=chip.scaleup_bandwidth_per_dir_Bps * np.exp(rng.normal()),
        )
        kept = times(table.demands(table.rows[0]), other, c)[0]
        np.testing.assert_allclose(kept.min(), times(demands, other, c)[0].min(), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_undominated_rows_against_every_pair(seed):
    rows = np.random.default_rng(seed).integers(0, 4, size=(40, 3)).astype(float)
    kept = undominated(rows)
    for i in range(len(rows)):
        better = [j for j in range(len(rows)) if np.all(rows[j] <= rows[i]) and np.any(rows[j] < rows[i])]
        assert (i not in kept) or not better
        assert any(np.all(rows[k] <= rows[i]) for k in kept)
    assert len({tuple(r) for r in rows[kept]}) == len(kept)


def test_space_keeps_the_plans_it_is_told_to(space):
    last = space.ground.lowered[0][0][-1]
    assert last in with_plans(space_of(space.study), (last,)).plans[0]


def test_signs_are_those_declared_at_the_fields(space):
    signs = declared_signs(space.ground.lowered[0][1][0])
    assert (signs.tokens, signs.window_micro) == (MORE_IS_BETTER, MORE_IS_BETTER)
    assert (signs.model_FLOP, signs.rate) == (INERT, INERT)
    assert (signs.memory_B, signs.ops.hbm_B, signs.data.out_hops) == (LESS_IS_BETTER,) * 3


def points(search, n):
    """Random points of the box and random corners of it."""
    lower, upper = search.box
    rng = np.random.default_rng(3)
    return [*rng.uniform(lower, upper, (n, lower.size)), *np.where(rng.random((n, lower.size)) < 0.5, lower, upper)]


def groups(per, n):
    """Single plans and hulls of random groups: corners of the coefficients, zeros included."""
    rng = np.random.default_rng(4)
    for size in (1, 1, 4, 40):
        for _ in range(n):
            some = rng.choice(per.n_micro.size, size=min(size, per.n_micro.size), replace=False)
            hull = jax.tree.map(lambda x, s=some: x[s].min(axis=0), per)
            yield dataclasses.replace(hull, window_micro=per.window_micro[some].max())


@functools.partial(jax.jit, static_argnums=0)
def slopes_of(core, data, z):
    """Slope of every log ratio and of the log goal by every coefficient with a declared sign."""

    def logs(moved):
        goal, ratios = core_logs(core, z, moved_to(data, moved))
        return jnp.append(ratios, goal)

    return jax.jacrev(logs)(moved_by(data))


def wrong_signs(core, data, z):
    """Coefficients of demands and bought parts by which goal or a ratio moves against the declared sign.

    Measured by gradients, so a point that finds nothing proves nothing: ask at many, corners included.
    """
    moved = moved_by(data)
    signs = jax.tree.leaves(tuple(declared_signs(x) for x in moved))
    slopes = jax.tree_util.tree_flatten_with_path(slopes_of(core, data, z))[0]
    found = []
    for (path, slope), value, sign in zip(slopes, jax.tree.leaves(moved), signs, strict=True):
        largest, size = float(np.max(np.abs(slope), initial=0.0)), float(np.max(np.abs(value), initial=0.0))
        # a share is of size 1 even where it is 0: of messages that take no time it moves nothing but the last digit
        size = 1.0 if jax.tree_util.keystr(path).endswith("_frac") else size
        rounding = TOLERANCE * (largest + (1.0 / size if size > 0.0 else 0.0))
        right = np.all(np.asarray(slope) * sign >= -rounding) and (sign != INERT or largest == 0.0)
        if not right:  # not a number is wrong too
            found.append(jax.tree_util.keystr(path))
    return tuple(found)


def test_every_declared_sign_is_true(solved, training):
    """Goal and ratios never move against a declared sign: at random chips and corners, single plans and hulls."""
    data = data_of(solved.space, 0, own_plans(solved.space))
    decode = stack_records(solved.space.ground.lowered[0][1])
    for per in (per_step(decode), per_step(training[0])):
        for demand in groups(per, 2):
            for z in points(solved, 3):
                assert wrong_signs(solved.core, dataclasses.replace(data, demands=(demand,)), z) == ()


def test_a_wrong_sign_is_found(solved, monkeypatch):
    data, z = data_of(solved.space, 0, own_plans(solved.space)), leaders(solved)[0].optimum.z
    metadata = StepDemand.__dataclass_fields__["tokens"].metadata
    monkeypatch.setattr(StepDemand.__dataclass_fields__["tokens"], "metadata", {**metadata, "sign": LESS_IS_BETTER})
    assert wrong_signs(solved.core, data, z) == ("[0].tokens",)


def test_a_field_without_a_sign_is_an_error():
    class Undeclared(TrafficDemand):
        lost_B: float = 0.0

    class Declared(TrafficDemand):
        lost_B: float = eqx.field(converter=as_float, metadata={SIGN: MORE_IS_BETTER}, default=0.0)

    with pytest.raises(TypeError, match=r"Undeclared\.lost_B declares no sign"):
        declared_signs(Undeclared(1.0, 1.0, 1.0, 1.0, 1.0))
    assert declared_signs(Declared(1.0, 1.0, 1.0, 1.0, 1.0)).lost_B == MORE_IS_BETTER


def test_a_choice_that_another_undercuts_in_everything_is_not_searched(space):
    """Of two links only the one that takes less area and edge; a dearer memory stays if it is faster."""
    study = space.study
    link, memory = ("UALink224G", "NVLink6"), ("HBM4-9600", "HBM4-10700")
    own = study.choices[0]
    every = tuple(dataclasses.replace(own, node="N2", link=x, hbm=m) for x in link for m in memory)
    of_all = space_of(dataclasses.replace(study, choices=every))
    (group,) = worth_a_proof(of_all, bought(of_all))
    assert [(every[i].link, every[i].hbm) for i in group] == [("NVLink6", m) for m in memory]
    twice = space_of(dataclasses.replace(study, choices=(every[0], every[0], dataclasses.replace(own, node="N3P"))))
    assert [g.tolist() for g in worth_a_proof(twice, bought(twice))] == [[0], [2]]


def test_what_a_group_of_choices_buys_undercuts_every_member(space):
    every = tuple(dataclasses.replace(space.study.choices[0], hbm=m) for m in ("HBM4-9600", "HBM4-10700", "HBM4E"))
    table = bought(space_of(dataclasses.replace(space.study, choices=every)))
    link, memory = table.parts(table.hulls([np.arange(3)]))
    each = [choice_technology(c, space.study.package).memory for c in every]
    assert float(memory.stack_bandwidth_Bps[0]) == max(float(m.stack_bandwidth_Bps) for m in each)
    assert float(memory.price_USD_per_B[0]) == min(float(m.price_USD_per_B) for m in each)
    assert float(link.area_mm2_per_Bps[0]) > 0.0


def test_with_a_metric_of_ones_own_every_choice_is_searched(space):
    own = (("lane_Bps", lambda s: s.tech.link.lane_bandwidth_per_dir_Bps),)
    every = tuple(dataclasses.replace(space.study.choices[0], link=x) for x in ("UALink224G", "NVLink6"))
    asked = space_of(dataclasses.replace(space.study, choices=every, own=own))
    assert [g.tolist() for g in worth_a_proof(asked, bought(asked))] == [[0], [1]]


def test_a_hull_that_a_member_undercuts_is_refused():
    """A coefficient of 0 in the hull and 3 in a plan, of which a limit wants more: -1 by unit, the plan costs -3.

    Slope times the hull's own coefficient, 0, was all that was looked at.
    """
    table = PlanTable((), 2, np.asarray([[[0.0], [3.0]]]), None, ((),), np.ones(1))
    space = SimpleNamespace(structure_of_choice=np.zeros(1, dtype=int))
    tables = object.__new__(Tables)  # what the costs read of it, without a study
    bought_ = SimpleNamespace(rows=np.zeros((1, 1)))
    parts = {"search": SimpleNamespace(space=space), "of_workloads": (table,), "bought": bought_}
    for name, part in parts.items():
        object.__setattr__(tables, name, part)
    groups, hull = (np.arange(2), np.zeros(1, dtype=int)), [np.zeros(1), np.zeros(1)]
    with pytest.raises(HullError):
        hull_costs(tables, 0, groups, hull, [np.asarray([-1.0]), np.zeros(1)])
    costs, _ = hull_costs(tables, 0, groups, hull, [np.asarray([2.0]), np.zeros(1)])
    np.testing.assert_array_equal(costs, [[0.0], [6.0]])
