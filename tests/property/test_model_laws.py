"""Laws of two shipped studies: terms convex in logs, finite at the corners, gradients true, resources only help."""

import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.optimize.box import bounds
from dse.optimize.space import data_of, space_of
from dse.physics.step import stream_traffic_B
from dse.study.convex import WORK, coordinates, core_logs, ratio_rows
from dse.study.study import load_study

pytestmark = pytest.mark.slow

SWEEPS = Path(__file__).parents[2] / "sweeps"
STUDIES = ("trainium4.toml", "backtest_trainium3.toml")
"""The second has what the first has not: depth of pipelines, rates of FP8, and full load as one limit."""
RESOURCES = (
    "n_cores", "clock_Hz", "scratchpad_B", "vector_lanes", "dma_bandwidth_Bps", "hbm_bandwidth_Bps",
    "scaleup_bandwidth_per_dir_Bps",
)  # fmt: skip


@pytest.fixture(scope="module", params=STUDIES)
def core_data_box(request):
    study = load_study(SWEEPS / request.param)
    space = space_of(dataclasses.replace(study, choices=study.choices[:1]))
    own = tuple(kept.index(plan) for kept, (plan, _) in zip(space.plans, space.ground.baselines, strict=True))
    core = space.study.core()
    return core, data_of(space, 0, own), bounds(space)


@pytest.fixture(scope="module")
def logs(core_data_box):
    core, data, _ = core_data_box

    def all_terms(z):
        goal, ratios = core_logs(core, z, data)
        return jnp.concatenate([goal[None], ratios])

    return all_terms


def points(box, n, seed):
    """Random points of the box, a third of them corners."""
    rng = np.random.default_rng(seed)
    unit = rng.random((n, box[0].size))
    unit[: n // 3] = rng.integers(0, 2, (n // 3, box[0].size))
    return box[0] + (box[1] - box[0]) * unit


def test_midpoint_convexity_at_ten_thousand_pairs(core_data_box, logs):
    _, _, box = core_data_box
    a, b = points(box, 10_000, 1), points(box, 10_000, 2)[::-1]
    f = jax.jit(jax.vmap(logs))
    middle, mean = np.asarray(f((a + b) / 2)), (np.asarray(f(a)) + np.asarray(f(b))) / 2
    assert np.isfinite(mean).all()
    assert (middle <= mean + 1e-9 * (1 + np.abs(mean))).all()


def test_gradients_are_finite_at_corners_and_equal_differences(core_data_box, logs):
    _, _, box = core_data_box
    z = points(box, 60, 3)
    jacobian = np.asarray(jax.jit(jax.vmap(jax.jacrev(logs)))(z))
    assert np.isfinite(jacobian).all()
    step = 1e-5
    f = jax.jit(jax.vmap(logs))
    for i in range(z.shape[1]):
        e = step * np.eye(z.shape[1])[i]
        difference = (np.asarray(f(z + e)) - np.asarray(f(z - e))) / (2 * step)
        np.testing.assert_allclose(jacobian[:, :, i], difference, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("name", RESOURCES)
def test_more_of_a_resource_is_never_slower(core_data_box, name):
    """Ratio of step time to a fixed step time falls, or stays, when one resource grows by 10 %.

    At a fixed power for work more cores are slower where cooling binds, since bytes travel further between them; and
    cores that each stream all weights read them once more per core. Cores are asked with neither.
    """
    core, data, box = core_data_box
    z = points(box, 300, 4)
    if name == "n_cores":
        if WORK in coordinates(core):  # a study that limits no operator has no power to share
            z[:, coordinates(core).index(WORK)] = np.log(1e12)
        data = dataclasses.replace(data, demands=tuple(shared_reads(d) for d in data.demands))
    more = z.copy()
    more[:, coordinates(core).index(name)] += np.log(1.1)
    rows = [[r.label for r in ratio_rows(core)].index(f"step:{w}") for w in core.workloads]
    f = jax.jit(jax.vmap(lambda x: core_logs(core, x, data)[1]))
    change = np.asarray(f(more))[:, rows] - np.asarray(f(z))[:, rows]
    assert (change <= 1e-12).all()
    assert change.min() < -1e-6


def shared_reads(d):
    """A demand whose cores share what they stream."""
    return dataclasses.replace(d, stream=dataclasses.replace(d.stream, core_B=0.0 * d.stream.core_B))


def test_cores_that_read_alone_read_more(core_data_box):
    """The other side of the law above: doubled cores add the private reads of as many again, and nothing else."""
    _, data, _ = core_data_box
    demand = next(d for d in data.demands if float(d.stream.core_B) > 0)
    chip = data.chip
    c = data.calibrations[0]
    twice = dataclasses.replace(chip, n_cores=2.0 * chip.n_cores)
    added = stream_traffic_B(demand.stream, twice, c) - stream_traffic_B(demand.stream, chip, c)
    pools = float(chip.n_cores / chip.cores_per_pool)
    assert float(added) == pytest.approx(float(demand.stream.core_B) * pools, rel=1e-9)


def test_vmap_equals_a_loop(core_data_box, logs):
    _, _, box = core_data_box
    z = points(box, 8, 5)
    together = np.asarray(jax.jit(jax.vmap(logs))(z))
    one = jax.jit(logs)
    np.testing.assert_allclose(together, np.stack([np.asarray(one(x)) for x in z]), rtol=1e-12)


def test_corner_pairs_of_every_two_variables_stay_convex(core_data_box, logs):
    """The worst midpoints lie between opposite corners of two variables; all pairs, others in the middle."""
    _, _, box = core_data_box
    low, high = box
    ends = []
    for i, j in itertools.combinations(range(low.size), 2):
        for first, second in ((low, high), (high, low)):
            a, b = (low + high) / 2, (low + high) / 2
            a[i], a[j], b[i], b[j] = low[i], first[j], high[i], second[j]
            ends.append((a, b))
    a, b = (np.stack(x) for x in zip(*ends, strict=True))
    f = jax.jit(jax.vmap(logs))
    assert (np.asarray(f((a + b) / 2)) <= (np.asarray(f(a)) + np.asarray(f(b))) / 2 + 1e-9).all()
