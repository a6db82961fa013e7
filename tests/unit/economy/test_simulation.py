"""Discrete events against the closed form over four decades of cluster size, and where they should differ."""

import math

import jax.numpy as jnp
import pytest

from dse.economy.reliability import n_spare_units, slowdown, sparing
from dse.economy.simulation import Cluster, simulate

f = jnp.asarray
HARDWARE, SOFTWARE = 1.5e-5 / 3600, 0.5e-5 / 3600
WRITE_s, RESTART_s, REPAIR_s = 20.0, 600.0, 86_400.0


def cluster(n, n_spares=None):
    rate = n * (HARDWARE + SOFTWARE)
    spares = float(n_spare_units(f(HARDWARE), f(float(n)), f(REPAIR_s), sparing(f(0.999))))
    return Cluster(
        hardware_per_s=n * HARDWARE, software_per_s=n * SOFTWARE, interval_s=math.sqrt(2 * WRITE_s / rate),
        write_s=WRITE_s, restart_s=RESTART_s, repair_s=REPAIR_s,
        n_spares=math.ceil(spares) if n_spares is None else n_spares,
    )  # fmt: skip


@pytest.mark.parametrize(("n", "n_failures"), [(16, 60), (160, 150), (1600, 500), (16_000, 3000), (160_000, 12_000)])
def test_closed_form_within_two_per_cent(n, n_failures):
    """16 to 160,000 chips: mean time between failures from 130 days to 19 minutes."""
    got = simulate(cluster(n), n_failures, seed=n)
    closed = 1 / float(slowdown(f(n * (HARDWARE + SOFTWARE)), f(WRITE_s), f(RESTART_s)))
    assert got.n_failures == n_failures
    assert got.goodput_frac == pytest.approx(closed, rel=0.02)


def test_without_spares_a_job_waits_for_repairs():
    """16,000 chips, no spares: each of its 0.24 hardware failures an hour costs a day; the closed form counts none."""
    got = simulate(cluster(16_000, n_spares=0), 300, seed=1)
    assert got.waiting_frac > 0.7
    assert simulate(cluster(16_000), 300, seed=1).waiting_frac < 0.02


def test_software_alone_needs_no_spares():
    c = cluster(16_000, n_spares=0)
    only = Cluster(0.0, c.hardware_per_s + c.software_per_s, c.interval_s, WRITE_s, RESTART_s, REPAIR_s, 0)
    got = simulate(only, 2000, seed=2)
    assert got.waiting_frac == 0.0
    closed = 1 / float(slowdown(f(only.software_per_s), f(WRITE_s), f(RESTART_s)))
    assert got.goodput_frac == pytest.approx(closed, rel=0.02)


def test_a_seed_repeats_itself():
    assert simulate(cluster(1600), 50, seed=3) == simulate(cluster(1600), 50, seed=3)
    assert simulate(cluster(1600), 50, seed=3) != simulate(cluster(1600), 50, seed=4)
