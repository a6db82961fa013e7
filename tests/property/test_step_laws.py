"""Laws of step time at a fixed plan, over the whole box of the shipped study and its corners.

More of anything is never slower; time has one unit; gradients are true and finite; logs are convex; parts add up.
"""

import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.evaluation.assembly import chip_reference
from dse.hardware.presets import system
from dse.lowering.demand import demand
from dse.lowering.plan import Plan
from dse.physics.calibration import calibration, extreme
from dse.physics.step import step_time
from dse.study.design import with_free
from dse.study.study import load_study
from dse.workload.presets import model
from dse.workload.transformer import Decode, Training

STUDY = load_study(Path(__file__).parents[2] / "sweeps" / "trainium4.toml")
# the study's box and the network, which the study holds fixed
BOX = {f.name: (f.lower, f.upper) for f in STUDY.free} | {"scaleout_bandwidth_per_dir_Bps": (5e9, 400e9)}
NAMES = tuple(BOX)
LOW, HIGH = (np.log([BOX[n][i] for n in NAMES]) for i in (0, 1))
# every name that buys time; capacity and number of stacks only buy room
RESOURCES = tuple(n for n in NAMES if n not in ("n_stacks", "hbm_capacity_B"))
CALIBRATION = calibration("prior-neuron")

CASES = {
    "pipeline": (Training(model("gpt-3-175b"), 1024, 2048), 512, Plan(tp=16, pp=8, dp=4, interleave=3)),
    "fp8 training": (Training(model("llama-3.1-405b"), 2304, 8192, "fp8"), 2304, Plan(tp=16, pp=18, dp=8)),
    "across nodes": (Training(model("llama-3.1-8b"), 1024, 4096), 1024, Plan(tp=1, dp=1024, zero=1)),
    "experts": (Training(model("mixtral-8x7b"), 512, 4096), 256, Plan(tp=4, dp=64, ep=8)),
    "decode": (Decode(model("llama-3.1-70b"), 256, 8192, "fp4", "fp8"), 16, Plan(tp=16, micro_batch=256)),
    "decode of one": (Decode(model("llama-3.1-8b"), 1, 1, "fp4"), 1, Plan()),
}  # fmt: skip


def lowered(name):
    """Coefficients of a case, and the chip that its free numbers are put into."""
    workload, n_chips, plan = CASES[name]
    on = system("trn2-16", n_chips) if n_chips % 144 else system(STUDY.baseline.name, n_chips)
    return demand(workload, plan, on, chip_reference(on.chip, CALIBRATION)), STUDY.baseline.chip


def timer(name, c=CALIBRATION, quicker=1.0):
    """Step of a case as a function of log coordinates; latencies that come with the demand over `quicker`."""
    d, base = lowered(name)
    traffics = {n: getattr(d, n) for n in ("tensor", "pipeline", "shard", "data")}
    d = dataclasses.replace(d, **{n: dataclasses.replace(t, upper_s=t.upper_s / quicker) for n, t in traffics.items()})

    def step(z):
        x = dict(zip(NAMES, jnp.exp(z), strict=True))
        out = x.pop("scaleout_bandwidth_per_dir_Bps")
        return step_time(d, dataclasses.replace(with_free(base, x), scaleout_bandwidth_per_dir_Bps=out), c)

    return step


TIMERS = {name: timer(name) for name in CASES}
TOTAL = {name: jax.jit(lambda z, f=f: f(z).total_s) for name, f in TIMERS.items()}
MANY = {name: jax.jit(jax.vmap(lambda z, f=f: jnp.log(f(z).total_s))) for name, f in TIMERS.items()}
SLOPE = {name: jax.jit(jax.vmap(jax.grad(lambda z, f=f: jnp.log(f(z).total_s)))) for name, f in TIMERS.items()}

cases = st.sampled_from(sorted(CASES))
# corners are as likely as the inside
shares = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=len(NAMES), max_size=len(NAMES))


def at(share):
    return LOW + (HIGH - LOW) * np.asarray(share)


def corners():
    return np.asarray(list(itertools.product(*zip(LOW, HIGH, strict=True))))


def pairs(n, seed):
    """Points of the box, a third of them corners."""
    rng = np.random.default_rng(seed)
    unit = rng.random((n, len(NAMES)))
    unit[: n // 3] = rng.integers(0, 2, (n // 3, len(NAMES)))
    return LOW + (HIGH - LOW) * unit


@given(cases, shares, st.sampled_from(RESOURCES), st.floats(1e-3, 2.0))
def test_more_of_any_resource_is_never_slower(name, share, resource, growth):
    z = at(share)
    more = z + growth * np.asarray([n == resource for n in NAMES])
    before, after = float(TOTAL[name](z)), float(TOTAL[name](more))
    assert after <= before * (1 + 1e-12)
    # and never a better bargain than proportional
    assert after >= before * np.exp(-growth) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("pipeline", "scaleup_bandwidth_per_dir_Bps"),
        ("pipeline", "scaleout_bandwidth_per_dir_Bps"),
        ("across nodes", "scaleout_bandwidth_per_dir_Bps"),
        ("fp8 training", "n_cores"),
        ("fp8 training", "clock_Hz"),
        ("fp8 training", "vector_lanes"),
        ("fp8 training", "scratchpad_B"),
        ("decode", "hbm_bandwidth_Bps"),
        ("decode of one", "dma_bandwidth_Bps"),
    ],
)
def test_what_should_matter_does(name, resource):
    """Somewhere in the box a tenth more of the resource buys at least 1 % of the step."""
    z = pairs(400, 1)
    more = z + 0.1 * np.asarray([n == resource for n in NAMES])
    assert float(np.min(MANY[name](more) - MANY[name](z))) < -0.01


@pytest.mark.parametrize("resource", ["n_stacks", "hbm_capacity_B"])
def test_room_buys_no_time_at_a_fixed_plan(resource):
    z = pairs(50, 2)
    more = z + 1.0 * np.asarray([n == resource for n in NAMES])
    np.testing.assert_array_equal(MANY["pipeline"](more), MANY["pipeline"](z))


@settings(max_examples=25)
@given(cases, shares, st.sampled_from([0.5, 2.0, 10.0]))
def test_time_is_homogeneous(name, share, k):
    """Every rate times k and every latency over k: time over k, exactly. No unit hides in a smoother."""
    rates = [n for n in NAMES if n.endswith("_Bps") or n == "clock_Hz"]
    z = at(share)
    faster = z + np.log(k) * np.asarray([n in rates for n in NAMES])
    latencies = [f for f in CALIBRATION.__dataclass_fields__ if f.endswith("_s")]
    quick = dataclasses.replace(CALIBRATION, **{f: getattr(CALIBRATION, f) / k for f in latencies})
    assert float(timer(name, quick, k)(faster).total_s) == pytest.approx(float(TOTAL[name](z)) / k, rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_gradient_equals_central_difference(name):
    """h = 1e-5 in logs: truncation h^2/6 and rounding 1e-16/h are both below 1e-10 of a smooth step."""
    z, h = pairs(200, 3), 1e-5
    slope = np.asarray(SLOPE[name](z))
    for i in range(len(NAMES)):
        e = h * np.eye(len(NAMES))[i]
        difference = (np.asarray(MANY[name](z + e)) - np.asarray(MANY[name](z - e))) / (2 * h)
        np.testing.assert_allclose(slope[:, i], difference, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_finite_at_every_corner_of_the_box(name):
    """All 2^10 corners: slopes of log time lie between -1 (that resource alone binds) and 0."""
    slope = np.asarray(SLOPE[name](corners()))
    assert np.isfinite(slope).all()
    assert (slope <= 1e-12).all()
    # traffic that falls as 1 / SRAM with the cores' SRAM pooled can pay at most proportionally
    assert (slope >= -1 - 1e-9).all()


@pytest.mark.parametrize("name", ["pipeline", "decode"])
def test_vmap_equals_a_loop(name):
    z = pairs(9, 4)
    together = jax.jit(jax.vmap(TIMERS[name]))(z)
    one, atol = jax.jit(TIMERS[name]), 1e-12 * float(np.max(together.total_s))
    for i in range(9):
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(one(z[i])), strict=True):
            # what is exposed is a difference of times: known to the rounding of the step, not of itself
            np.testing.assert_allclose(a if a.ndim == b.ndim else a[i], b, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("name", CASES)
def test_parts_add_up_and_are_not_negative(name):
    steps = jax.jit(jax.vmap(TIMERS[name]))(np.concatenate([pairs(300, 5), corners()[::7]]))
    parts = [
        np.asarray(getattr(steps, f.name))
        for f in dataclasses.fields(steps)
        if f.name.endswith("_s") and f.name != "total_s"
    ]
    total = np.asarray(steps.total_s)
    np.testing.assert_allclose(sum(parts), total, rtol=1e-9)
    assert all((p >= -1e-12 * total).all() for p in parts)


@pytest.mark.parametrize("name", CASES)
def test_each_operator_lies_between_its_worst_limit_and_the_sum_of_its_limits(name):
    """Roofline: max <= t <= sum, plus launches."""
    ops = jax.jit(jax.vmap(TIMERS[name]))(pairs(300, 6)).ops
    limits = np.stack(
        [
            np.broadcast_to(getattr(ops, f), ops.total_s.shape)
            for f in ("compute_s", "tile_s", "hbm_s", "vector_s", "dma_s")
        ]
    )
    launches = np.asarray(lowered(name)[0].ops.n_launches * CALIBRATION.launch_s)
    total = np.asarray(ops.total_s) - launches
    assert (total >= limits.max(axis=0) * (1 - 1e-9)).all()
    assert (total <= limits.sum(axis=0) * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", CASES)
def test_log_time_is_convex_in_log_resources(name):
    """Midpoints of 10,000 pairs, a third of them corners: g((a + b)/2) <= (g(a) + g(b))/2 + 1e-9."""
    a, b = pairs(10_000, 7), pairs(10_000, 8)[::-1]
    g = MANY[name]
    middle, mean = np.asarray(g((a + b) / 2)), (np.asarray(g(a)) + np.asarray(g(b))) / 2
    assert (middle <= mean + 1e-9).all()
    # and not because it is a straight line
    assert (middle < mean - 1e-2).any()


@settings(max_examples=25)
@given(cases, shares)
def test_better_software_is_never_slower(name, share):
    z = at(share)
    good, bad = (
        dataclasses.replace(extreme("prior-neuron", g), overlap_p=CALIBRATION.overlap_p) for g in (True, False)
    )
    assert float(timer(name, good)(z).total_s) <= float(TOTAL[name](z)) <= float(timer(name, bad)(z).total_s)


@pytest.mark.parametrize("factor", [2, 4])
def test_twice_the_batch_takes_less_than_twice_the_time(factor):
    """The bubble and the gradients' exchange are paid once a step: more than proportional is a bug, less a saving."""
    workload, n_chips, plan = CASES["pipeline"]
    on = system("trn2-16", n_chips)
    seconds = []
    for batch in (workload.global_batch, factor * workload.global_batch):
        d = demand(dataclasses.replace(workload, global_batch=batch), plan, on, chip_reference(on.chip, CALIBRATION))
        seconds.append(float(step_time(d, on.chip, CALIBRATION).total_s))
    assert seconds[0] < seconds[1] < factor * seconds[0]
