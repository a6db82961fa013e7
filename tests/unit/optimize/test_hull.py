import dataclasses

import jax
import numpy as np
import pytest

from dse.evaluation.assembly import lowered
from dse.lowering.demand import stack_demands
from dse.optimize.hull import per_step, plan_tables, undominated
from dse.optimize.space import Space
from dse.physics.evaluate import chip_technology
from dse.physics.power import energy_J, step_energy
from dse.physics.step import step_time

pytestmark = pytest.mark.slow


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
    return stack_demands(lowered(system, workload, c)[1]), system.chip, c


def times(demands, chip, c):
    tech = chip_technology(chip)

    def one(d):
        step = step_time(d, chip, c)
        return step.total_s, energy_J(step_energy(d, step, chip, tech, np.float64(0.8), np.float64(500.0)))

    return [np.asarray(x) for x in jax.jit(jax.vmap(one))(demands)]


def test_counting_per_step_changes_neither_time_nor_energy(training):
    demands, chip, c = training
    assert len(np.unique(demands.n_micro)) > 3
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
    (table,), (demands,) = plan_tables(space), [stack_demands(space.lowered[0][1])]
    every = space.lowered[0][0]
    assert table.n_valid == len(every) >= len(table.plans)
    chip, (c,) = space.study.baseline.chip, space.calibrations
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
    last = space.lowered[0][0][-1]
    assert last in Space(space.study, also=(last,)).plans[0]
