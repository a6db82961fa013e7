"""Points: a product of axes whose every slice is the same wherever it is made."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import qmc

from dse.sweep.points import UNSET, SampleAxis, Sweep, points
from dse.sweep.spec import load_sweep


def column(sweep: Sweep, made, key: str):
    if key in made.numbers:
        return list(made.numbers[key])
    return [None if c == UNSET else sweep.choices[key][c] for c in made.codes[key]]


def test_the_last_axis_is_fastest(write):
    sweep = load_sweep(write())
    made = points(sweep, range(sweep.size))
    assert column(sweep, made, "plan") == ["tp=2,pp=1,dp=4"] * 12 + ["tp=8,pp=1,dp=1"] * 12
    np.testing.assert_allclose(made.numbers["hbm_bandwidth_Bps"][:12], np.repeat([1e12, 2e12, 4e12], 4), rtol=1e-12)
    np.testing.assert_array_equal(made.numbers["clock_Hz"][:4], made.numbers["clock_Hz"][20:])
    assert column(sweep, made, "chips") == [8] * 24


def test_samples_lie_in_their_box_evenly(write):
    """A Sobol sequence of 2^10 points puts 2^9 of them in each half of every key, on its own scale."""
    sweep = load_sweep(write(("points = 4", "points = 1024"), ('["tp=2,pp=1,dp=4", "tp=8,pp=1,dp=1"]', '["auto"]')))
    made = points(sweep, range(1024))
    clock, cores = made.numbers["clock_Hz"], made.numbers["n_cores"]
    assert clock.min() >= 1e9 and clock.max() <= 2e9 and cores.min() >= 50 and cores.max() <= 150
    assert np.sum(clock < np.sqrt(2) * 1e9) == 512  # logarithmic: the middle of 1 to 2 GHz is 1.41 GHz
    assert np.sum(cores < 100) == 512  # linear: the middle of 50 to 150 is 100


@pytest.mark.parametrize("method", ["sobol", "latin_hypercube"])
def test_any_slice_is_that_of_the_whole(write, method):
    sweep = load_sweep(write(("sobol", method), ("points = 4", "points = 37")))
    whole = points(sweep, range(sweep.size))
    rng = np.random.default_rng(0)
    for _ in range(20):
        lo, hi = sorted(rng.integers(0, sweep.size, 2))
        part = points(sweep, range(lo, hi + 1))
        for key, values in whole.numbers.items():
            np.testing.assert_array_equal(part.numbers[key], values[lo : hi + 1])


def test_a_latin_hypercube_has_one_point_in_every_stratum(write):
    axis = load_sweep(write(("sobol", "latin_hypercube"), ("points = 4", "points = 64"))).axes[2]
    assert isinstance(axis, SampleAxis)
    cores = axis.numbers(np.arange(64))[1]  # keys in the order linear, logarithmic
    assert set(np.floor((axis.numbers(np.arange(64))[0] - 50) / 100 * 64)) == set(range(64)) and cores.size == 64


def test_seeds_differ(write):
    one, other = (load_sweep(write(('"small"', f'"small"\nseed = {s}'))).axes[2] for s in (0, 1))
    assert isinstance(one, SampleAxis) and isinstance(other, SampleAxis)
    assert not np.any(one.numbers(np.arange(4)) == other.numbers(np.arange(4)))
    again = qmc.Sobol(2, rng=np.random.default_rng((0, 2))).random(4)
    np.testing.assert_allclose(one.numbers(np.arange(4))[0], 50 + 100 * again[:, 0], rtol=1e-12)


RULES = """
[[rules]]
if = { plan = "tp=8,pp=1,dp=1" }
set = { batch = 16, power_limit = "300 W" }

[[rules]]
if = { hbm_bandwidth = { at_least = "3 TBps" } }
skip = true
"""


def test_rules_set_and_skip(write):
    sweep = load_sweep(write(text=write().read_text() + RULES))
    made = points(sweep, range(sweep.size))
    assert list(made.index) == [i for i in range(24) if i % 12 < 8]  # a third of the bandwidths is 4 TB/s
    assert column(sweep, made, "batch") == [32] * 8 + [16] * 8
    power = made.numbers["power_limit_W"]
    assert np.isnan(power[:8]).all() and (power[8:] == 300).all()
    assert sweep.varied[-2:] == ("batch", "power_limit_W")


def test_zipped_values_move_together(write):
    axes = '[[axes]]\nzip = { batch = [8, 16], hbm_bandwidth = ["1 TBps", "2 TBps"] }\n'
    text = write().read_text()
    sweep = load_sweep(write(text=text[: text.index("[[axes]]")] + axes))
    made = points(sweep, range(sweep.size))
    assert column(sweep, made, "batch") == [8, 16] and list(made.numbers["hbm_bandwidth_Bps"]) == [1e12, 2e12]


def test_an_empty_slice_and_a_sweep_without_axes(write):
    text = write().read_text()
    sweep = load_sweep(write(text=text[: text.index("[[axes]]")]))
    assert sweep.size == 1 and points(sweep, range(1)).index.size == 1
    assert points(dataclasses.replace(sweep, shard_points=4), range(0)).index.size == 0
