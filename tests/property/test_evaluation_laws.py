"""Laws of a whole evaluation under a power limit: time, energy and power of two steps over a wide range of chips."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dse
from dse.core.types import unnamed
from dse.evaluation.assembly import chip_reference
from dse.lowering.demand import demand
from dse.physics.calibration import calibration
from dse.physics.evaluate import chip_technology, evaluate_demand, silicon
from dse.physics.power import energy_J

pytestmark = pytest.mark.slow

SYSTEM = dse.system("trn2-16")
C = calibration("prior-neuron")
MODEL = dse.model("llama-3.1-8b")
CASES = {
    "training": (dse.Training(MODEL, 32, 4096), dse.Plan(tp=4, pp=2, dp=2)),
    "prefill": (dse.Prefill(MODEL, 4, 4096), dse.Plan(tp=4, dp=4)),
}
SCALED = ("power_limit_W", "hbm_bandwidth_Bps", "n_cores", "scaleup_bandwidth_per_dir_Bps")
"""What is scaled, the power limit first."""
WIDE = np.log(8.0)
CHIP, TECH = unnamed((SYSTEM.chip, chip_technology(SYSTEM.chip)))


def scaled(z):
    """The chip with each of `SCALED` times exp(z)."""
    changes = {n: getattr(CHIP, n) * jnp.exp(x) for n, x in zip(SCALED, z, strict=True)}
    return dataclasses.replace(CHIP, **changes)


def evaluation(name):
    workload, plan = CASES[name]
    d = demand(workload, plan, SYSTEM, chip_reference(SYSTEM.chip, C))

    def totals(z):
        chip = scaled(z)
        e, s = evaluate_demand(d, chip, TECH, C), silicon(chip, TECH)
        return {
            "step_s": e.step_s, "free_s": e.step.total_s, "power_W": e.power_W, "mfu_frac": e.mfu_frac,
            "tokens_per_s": e.tokens_per_s, "dynamic_J": energy_J(e.energy), "static_W": s.static_W,
            "hottest_W": e.hottest_W, "limit_W": chip.power_limit_W, "memory_B": e.memory_B,
        }  # fmt: skip

    return d, totals


FOUND = {name: evaluation(name) for name in CASES}
MANY = {name: jax.jit(jax.vmap(totals)) for name, (_, totals) in FOUND.items()}
SLOPES = {
    name: jax.jit(jax.vmap(jax.grad(lambda z, t=totals: jnp.log(t(z)["step_s"]))))
    for name, (_, totals) in FOUND.items()
}


def points(n, seed):
    """Chips around the preset, a third of them corners; limits of a quarter to eight times its own.

    A limit below what leaks at no load can be kept by no step, and is another chip's question.
    """
    rng = np.random.default_rng(seed)
    unit = rng.random((n, len(SCALED)))
    unit[: n // 3] = rng.integers(0, 2, (n // 3, len(SCALED)))
    low, high = -WIDE / 3 * np.ones(len(SCALED)), WIDE / 3 * np.ones(len(SCALED))
    low[0], high[0] = -np.log(2.0), WIDE
    return low + (high - low) * unit


def evaluated(name, z):
    return {k: np.asarray(v) for k, v in MANY[name](z).items()}


@pytest.mark.parametrize("name", CASES)
def test_no_step_draws_more_than_its_limit_and_a_longer_one_draws_it(name):
    e = evaluated(name, points(600, 1))
    assert (e["power_W"] <= e["limit_W"] * (1 + 1e-9)).all() and (e["step_s"] >= e["free_s"] * (1 - 1e-12)).all()
    held = e["step_s"] > e["free_s"] * (1 + 1e-9)
    assert 0 < held.sum() < held.size  # both kinds are among the chips
    np.testing.assert_allclose(e["power_W"][held], e["limit_W"][held], rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_power_is_energy_over_time_and_what_leaks(name):
    """(E / t + static) times what voltage conversion loses, which is the same factor for every chip."""
    e = evaluated(name, points(300, 2))
    at_die = e["dynamic_J"] / e["step_s"] + e["static_W"]
    lost = e["power_W"] / at_die
    np.testing.assert_allclose(lost, lost[0], rtol=1e-9)
    assert 1.0 <= lost[0] < 1.5


@pytest.mark.parametrize("name", CASES)
def test_throughput_times_time_is_the_tokens_of_a_step(name):
    e = evaluated(name, points(300, 3))
    np.testing.assert_allclose(e["tokens_per_s"] * e["step_s"], float(FOUND[name][0].tokens), rtol=1e-12)
    assert (e["mfu_frac"] > 0).all() and (e["mfu_frac"] <= 1).all()


@pytest.mark.parametrize("name", CASES)
def test_the_limit_decides_nothing_but_time(name):
    """Twice the limit: the same energy, memory and free time, and never slower; far above it the free time itself."""
    z = points(300, 4)
    more, free = z.copy(), z.copy()
    more[:, 0] += np.log(2.0)
    free[:, 0] = np.log(1e3)
    a, b, c = (evaluated(name, x) for x in (z, more, free))
    for same in ("dynamic_J", "memory_B", "free_s", "static_W", "hottest_W"):
        np.testing.assert_array_equal(a[same], b[same], err_msg=same)
    assert (b["step_s"] <= a["step_s"] * (1 + 1e-12)).all() and (b["step_s"] < a["step_s"] * 0.999).any()
    np.testing.assert_allclose(c["step_s"], c["free_s"], rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_time_under_a_limit_is_convex_in_its_log(name):
    """t = max(free, E / (L - s)): along the limit alone, log t lies below its chords in log L."""
    a = points(400, 5)
    b = a.copy()
    b[:, 0] = points(400, 6)[:, 0]
    ends = [np.log(evaluated(name, z)["step_s"]) for z in (a, b)]
    middle = np.log(evaluated(name, (a + b) / 2)["step_s"])
    assert (middle <= (ends[0] + ends[1]) / 2 + 1e-9).all()
    assert (middle < (ends[0] + ends[1]) / 2 - 1e-3).any()  # and bent somewhere


@pytest.mark.parametrize("name", CASES)
def test_slopes_are_differences_and_finite_at_the_corners(name):
    """A step of 1e-5 in logs, but where the limit begins to bind between the two ends: there is a kink."""
    z, h = points(200, 7), 1e-5
    slope = np.asarray(SLOPES[name](z))
    assert np.isfinite(slope).all() and (slope[:, 0] <= 1e-12).all()
    for i in range(len(SCALED)):
        e = h * np.eye(len(SCALED))[i]
        up, down = (evaluated(name, x) for x in (z + e, z - e))
        same = (up["step_s"] > up["free_s"] * (1 + 1e-12)) == (down["step_s"] > down["free_s"] * (1 + 1e-12))
        difference = (np.log(up["step_s"]) - np.log(down["step_s"])) / (2 * h)
        assert same.sum() > 150
        np.testing.assert_allclose(slope[same, i], difference[same], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_the_hottest_operator_draws_at_least_the_mean(name):
    """At full speed the mean over operators lies below the hottest; under a limit the mean is lower still."""
    e = evaluated(name, points(300, 8))
    assert (e["hottest_W"] >= e["power_W"] * (1 - 1e-6)).all()
