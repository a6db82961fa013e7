"""Failure rates by component, checkpoint times and intervals, by hand; what scales with the design."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest

from dse.core.provenance import number
from dse.economy.presets import host, n_blast_chips, observed, reliability
from dse.economy.reliability import (
    daly_interval_s,
    failure_rates,
    hardware_per_s,
    total_per_s,
    transfer_s,
    young_interval_s,
)
from dse.hardware.presets import chip, system

f = jnp.asarray
GPU_HOURS = 16_384 * 54 * 24


def h100_rates(level=None):
    r = reliability()
    r = r if level is None else dataclasses.replace(r, level=level)
    return failure_rates(chip("h100"), f(814.0), f(8.0), r)


def test_counts_of_llama_3_come_back_by_component():
    """At level 1 the rates give the counts they were derived from: 196, 72, 42, 46, 63; 419 in all."""
    rates = h100_rates(level=1.0)
    counts = {k: float(v) * 3600 * GPU_HOURS for k, v in rates.__dict__.items()}
    assert counts["die_per_s"] == pytest.approx(196, abs=0.1)
    assert counts["hbm_per_s"] == pytest.approx(72, abs=0.1)
    assert counts["network_per_s"] == pytest.approx(42 + 2e-19 * 450e9 * GPU_HOURS, abs=0.1)  # NVLink: 2 more
    assert counts["host_per_s"] == pytest.approx(46, abs=0.1)
    assert counts["software_per_s"] == pytest.approx(63, abs=0.1)


def test_fit_per_stack():
    """72 HBM failures / (16,384 x 5 stacks x 1,296 h) = 678 per 10^9 h."""
    assert float(reliability().hbm_failures_per_s_per_stack) * 3600e9 == pytest.approx(678.2, abs=0.5)


def test_level_of_another_operator_predicts_llama_3(capsys):
    """sqrt(6.50 x 2.34) = 3.900 per 1000 node-days on 2,048 nodes for 54 days: 431; the links of a GPU add 2."""
    run = observed("llama-3-405b")
    n, seconds = number(run, "n_chips"), number(run, "duration_s")
    expected = n * seconds * float(total_per_s(h100_rates()))
    with capsys.disabled():
        print(f"\nLlama 3 405B: {expected:.0f} interruptions, observed {number(run, 'n_interruptions'):.0f}")
    assert expected == pytest.approx(433, abs=1)
    assert expected == pytest.approx(number(run, "n_interruptions"), rel=0.3)


def test_node_day_rates_of_the_research_clusters(capsys):
    """A100 servers: between the two clusters, which differ by 2.8 times; their geometric mean within a tenth."""
    rates = failure_rates(chip("a100-80"), f(826.0), f(8.0), reliability())
    per_node_day = 8 * 86_400 * float(total_per_s(rates))
    ends = [number(observed(c), "failures_per_node_day_frac") for c in ("rsc-2", "rsc-1")]
    with capsys.disabled():
        print(f"\nA100: {1000 * per_node_day:.2f} per 1000 node-days; RSC-1 6.50, RSC-2 2.34")
    assert ends[0] < per_node_day < ends[1]
    assert per_node_day == pytest.approx(math.sqrt(ends[0] * ends[1]), rel=0.1)
    # the range of the level covers both clusters
    r, low_high = reliability(), (0.6176, 1.7156)
    for end, level in zip(ends, low_high, strict=True):
        assert per_node_day * level / float(r.level) == pytest.approx(end, rel=0.1)


def test_gradients_see_what_can_fail():
    """One more stack adds 678 FIT, one more mm2 adds 11.3 FIT, at the level of 1.029."""
    c, r = chip("h100"), reliability()

    def rate(stacks, area):
        return total_per_s(failure_rates(dataclasses.replace(c, n_stacks=stacks), area, f(8.0), r))

    by_stack, by_area = jax.grad(rate, argnums=(0, 1))(f(5.0), f(814.0))
    assert float(by_stack) * 3600e9 == pytest.approx(678.2 * 1.0294, rel=1e-3)
    assert float(by_area) * 3600e9 == pytest.approx(11.34 * 1.0294, rel=1e-3)


def test_hardware_leaves_software_and_network_out():
    rates = h100_rates()
    rest = float(rates.software_per_s + rates.network_per_s)
    assert float(hardware_per_s(rates)) == pytest.approx(float(total_per_s(rates)) - rest)


def test_young_and_daly_by_hand():
    """w = 60 s, M = 3.09 h = 11,124 s: Young sqrt(2 x 60 x 11,124) = 1,155 s.

    Daly: w/2M = 0.0026969; 1,155.4 (1 + 0.051932/3 + 0.0026969/9) - 60 = 1,155.4 x 1.017610 - 60 = 1,115.7 s.
    """
    assert float(young_interval_s(f(60.0), f(11_124.0))) == pytest.approx(1155.4, abs=0.1)
    assert float(daly_interval_s(f(60.0), f(11_124.0))) == pytest.approx(1115.7, abs=0.2)
    assert float(daly_interval_s(f(300.0), f(100.0))) == 100.0  # w above 2M: once per failure


def test_transfer_takes_the_slower_of_network_and_storage():
    """1 GB: storage 122 MB/s takes 8.2 s; a network of 0.1 GB/s takes 10 s."""
    c, r = chip("h100"), reliability()
    assert float(transfer_s(f(1e9), c, r)) == pytest.approx(1e9 / 1.22e8)
    slow = dataclasses.replace(c, scaleout_bandwidth_per_dir_Bps=1e8)
    assert float(transfer_s(f(1e9), slow, r)) == pytest.approx(10.0)


def test_blast_radius():
    """A torus of cables goes down whole, a switched domain loses a host."""
    assert n_blast_chips(system("trn2-ultraserver"), host("x86-16")) == 64
    assert n_blast_chips(system("trn3-gen2-144"), host("graviton4-4")) == 4
    assert n_blast_chips(system("dgx-h100"), host("x86-8")) == 8
    assert n_blast_chips(system("tpu-v4-4096"), host("x86-8")) == 64  # optical switches leave out a block
