"""Collectives by hand: bytes, hops, algorithm choice, torus axes and hierarchy."""

import dataclasses

import pytest

from dse.hardware.presets import system
from dse.hardware.system import Fabric
from dse.lowering.collective import (
    Reference,
    Traffic,
    across_all_reduce,
    across_gather,
    all_gather,
    all_reduce,
    all_to_all,
    n_copies,
    send,
    to_experts,
)
from dse.lowering.groups import group, spread, stage_way
from dse.workload.blocks import Experts

SWITCH = Fabric("switched", (8,), (1.0,))
SHARP = Fabric("switched", (8,), (1.0,), in_network_reduction=True)
TRN2 = Fabric("torus", (4, 4, 4), (0.4, 0.4, 0.2))
REF = Reference(up_Bps=300e9, out_Bps=25e9, up_hop_s=2e-6, out_hop_s=10e-6, start_s=8e-6, exchange_s=4e-6)


def test_all_gather_moves_seven_eighths_of_the_result():
    """80 MB over 8 ranks at 300 GB/s: 70 MB, 233 us, and one hop of 2 us through a switch."""
    t = all_gather(group(SWITCH, 1, 8), 80e6, REF)
    assert t.up_B == pytest.approx(70e6)
    assert REF.time_s(t) == pytest.approx(70e6 / 300e9 + 2e-6)


def test_one_rank_needs_no_communication():
    for f in (all_gather, all_reduce):
        assert REF.time_s(f(group(SWITCH, 1, 1), 1e9, REF)) == 0.0


def test_large_all_reduce_moves_twice_as_much_and_small_ones_take_one_hop():
    large, small = (all_reduce(group(SWITCH, 1, 8), v, REF) for v in (1e9, 1e3))
    assert large.up_B == pytest.approx(2 * 7 / 8 * 1e9)
    assert (small.n_exchanges, small.up_hops, small.n_starts) == (1, 0, 0)
    assert small.up_B == pytest.approx(7e3)


def test_switches_that_add_halve_the_bytes():
    assert all_reduce(group(SHARP, 1, 8), 1e9, REF).up_B == pytest.approx(1.125e9)


@pytest.mark.parametrize(
    # ranks fill X, then Y, then Z; half an axis has no wrap-around and uses one of its two directions
    ("size", "share", "hops"),
    [(2, 0.2, 1), (4, 0.4, 3), (16, 0.8, 6), (64, 1.0, 9)],
)
def test_torus_groups_use_the_axes_they_span(size, share, hops):
    g = group(TRN2, 1, size)
    assert g.share == pytest.approx(share)
    assert g.ring_hops == hops


def test_outer_groups_start_where_inner_ones_end():
    """After 16 inner ranks only Z is left: 4 ranks on the thin axis."""
    assert group(TRN2, 16, 4).share == pytest.approx(0.2)


def test_hierarchy_sends_a_slice_across_the_network():
    """8 chips per domain, 4 domains, 80 MB: each chip sends 3/4 of its 10 MB slice across, 70 MB inside."""
    t = across_gather(group(SWITCH, 1, 8), 4, 80e6, REF)
    assert t.out_B == pytest.approx(10e6 * 3 / 4)
    assert t.up_B == pytest.approx(70e6)


def test_many_domains_and_little_data_use_a_tree():
    ring_hops = 1023
    t = across_gather(group(SWITCH, 1, 1), 1024, 1e3, REF)
    assert t.out_hops == 20 < ring_hops


def test_achieved_bandwidth_never_exceeds_the_configured_one():
    """Bus bandwidth 2 (n-1)/n V / t of an all-reduce, for any size."""
    for volume in (1e2, 1e4, 1e6, 1e8, 1e10):
        t = all_reduce(group(SWITCH, 1, 8), volume, REF)
        assert 2 * 7 / 8 * volume / REF.time_s(t) <= REF.up_Bps * (1 + 1e-12)


def test_messages_between_stages():
    assert send(5e6, group(SWITCH, 1, 2)).up_B == 5e6
    assert send(5e6, None).out_B == 5e6


@pytest.mark.parametrize(
    # a message to the next chip of a 4 x 4 x 4 torus has one of two directions of one axis; after 2 ranks of an axis
    # it passes two links either way around, which the two ranks share: 0.4/2; the last axis has a fifth of the links
    ("n_stage", "share", "links"),
    [(1, 0.2, 1.0), (2, 0.2, 2.0), (4, 0.2, 1.0), (16, 0.1, 1.0), (32, 0.1, 2.0)],
)
def test_stages_on_a_torus_have_the_links_between_them_alone(n_stage, share, links):
    t = send(5e6, stage_way(TRN2, n_stage))
    assert t.up_B == pytest.approx(5e6 / share)
    assert t.sent_B == pytest.approx(5e6 * links)


def test_a_stage_that_fills_its_domain_sends_over_the_network():
    assert stage_way(TRN2, 64) is None and stage_way(SWITCH, 8) is None
    assert send(5e6, stage_way(SWITCH, 4)).up_B == 5e6


def test_an_even_exchange_on_a_torus_passes_chips_between():
    """1 MB a rank. Rings of 4: n/4 = 1 link a byte and axis, so that 2.5 and 2.5 and 5 times the bytes at 40, 40, 20 %.

    Half an axis is a line of 2, whose one link half of the bytes cross, with 20 % of the speed.
    """
    for size, up, sent in ((2, 2.5, 0.5), (4, 2.5, 1.0), (16, 2.5, 2.0), (64, 5.0, 3.0)):
        t = all_to_all(group(TRN2, 1, size), 1, 1e6)
        assert (t.up_B, t.sent_B) == (pytest.approx(up * 1e6), pytest.approx(sent * 1e6))
    behind = all_to_all(group(SWITCH, 1, 8), 1, 1e6)
    assert behind.up_B == behind.sent_B == pytest.approx(7 / 8 * 1e6)


def test_ranks_further_apart_share_links():
    """Rings of 16, ranks of 4 inside: the next is 4 links away and 4 groups share them, so a quarter of 50 %."""
    g = group(Fabric("torus", (16, 16), (0.5, 0.5)), 4, 4)
    assert (g.share, g.n_links) == (pytest.approx(0.125), 4.0)


RING = Fabric("torus", (8,), (1.0,))


def test_all_gather_on_a_ring_of_eight():
    """(n - 1)/n V / B: 80 MB at 300 GB/s is 7/8 x 266.7 us = 233.3 us, and 7 steps of 2 us."""
    t = all_gather(group(RING, 1, 8), 80e6, REF)
    assert t.up_B / REF.up_Bps == pytest.approx(233.3e-6, rel=1e-3)
    assert t.up_hops == 7
    assert REF.time_s(t) == pytest.approx(7 / 8 * 80e6 / 300e9 + 7 * 2e-6)


def test_all_reduce_on_a_ring_is_twice_the_all_gather():
    one, two = all_gather(group(RING, 1, 8), 1e9, REF), all_reduce(group(RING, 1, 8), 1e9, REF)
    assert dataclasses.replace(two, n_starts=0.0) == one.times(2.0)
    assert two.n_starts == 1


def test_short_messages_on_a_ring_go_to_all_and_middling_ones_are_halved_and_doubled():
    """16 ranks of a slow-hop ring of 300 GB/s, hops of 10 us: 8 hops either way, and 15 V or (2 x 4 - 1) V.

    24 is no power of two: 1 MB goes whole, 23 V and 12 hops, where a ring takes 46.
    """
    ref = Reference(300e9, 25e9, 1e-5, 1e-5)
    t = all_reduce(group(Fabric("torus", (16,), (1.0,)), 1, 16), 1e6, ref)
    assert (t.up_B, t.up_hops) == (pytest.approx(7e6), 8)
    t = all_reduce(group(Fabric("torus", (24,), (1.0,)), 1, 24), 1e6, ref)
    assert (t.up_B, t.up_hops) == (pytest.approx(23e6), 12)


def test_short_messages_on_a_torus_pass_every_axis_whole():
    """4 x 4 at half the speed each: parts of V begin on either axis: 3 V / (1/2), 2 + 2 hops. A line of 2: 1 hop."""
    t = all_reduce(group(Fabric("torus", (4, 4), (0.5, 0.5)), 1, 16), 2048.0, REF)
    assert (t.up_B, t.up_hops, t.n_starts) == (pytest.approx(6 * 2048), 4, 1)
    t = all_reduce(group(Fabric("torus", (4, 4), (0.5, 0.5)), 1, 2), 2048.0, REF)
    assert (t.up_B, t.up_hops) == (pytest.approx(2048 / 0.25), 1)


def test_all_reduce_time_never_falls_with_volume_and_is_subadditive():
    """It is the least of straight lines in the volume."""
    g = group(SHARP, 1, 8)
    volumes = [10**k for k in range(2, 11)]
    seconds = [REF.time_s(all_reduce(g, v, REF)) for v in volumes]
    assert seconds == sorted(seconds)
    assert all(REF.time_s(all_reduce(g, 2 * v, REF)) <= 2 * s for v, s in zip(volumes, seconds, strict=True))


def test_a_torus_of_rings_has_no_more_than_all_its_links():
    for size in (2, 4, 8, 16, 32, 64):
        assert group(TRN2, 1, size).share <= 1.0 + 1e-12


def test_the_whole_hierarchy_reduces_twice():
    """Reduce-scatter, then all-gather: bytes across and inside both double."""
    g = group(SWITCH, 1, 8)
    once, twice = across_gather(g, 4, 80e6, REF), across_all_reduce(g, 4, 80e6, REF)
    assert (twice.out_B, twice.up_B) == (2 * once.out_B, 2 * once.up_B)
    assert across_all_reduce(g, 1, 80e6, REF) == all_reduce(g, 80e6, REF)


def test_traffic_adds_and_scales():
    t = Traffic(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8e-6)
    assert (t + t).parts() == t.times(2.0).parts() == (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16e-6)
    ref = Reference(10.0, 30.0, 1e-3, 1e-2, start_s=1e-4, exchange_s=1e-5)
    assert ref.time_s(t) == pytest.approx(0.1 + 2e-3 + 0.1 + 4e-2 + 6e-4 + 7e-5 + 8e-6)


A100 = Reference(240e9, 25e9, up_hop_s=0.97e-6, out_hop_s=10e-6, start_s=8.1e-6, exchange_s=3.7e-6)
"""Latencies of eight A100: intercepts and slopes of measured small all-reduces over 2, 4 and 8 ranks."""


@pytest.mark.parametrize(
    # NCCL on 2, 4, 8 A100 takes 10.0, 14.2 and 21.5 us for 2 KiB; TensorRT-LLM's own kernel 4.0, 4.2 and 4.8 us
    ("ranks", "library_s", "direct_s"),
    [(2, 10.0e-6, 4.0e-6), (4, 14.2e-6, 4.2e-6), (8, 21.5e-6, 4.8e-6)],
)
def test_small_all_reduces_of_a_library_and_of_a_kernel(ranks, library_s, direct_s):
    g = group(SWITCH, 1, ranks)
    without = dataclasses.replace(A100, has_direct=False)
    assert A100.time_s(all_reduce(g, 2048.0, A100)) == pytest.approx(direct_s, rel=0.25)
    assert without.time_s(all_reduce(g, 2048.0, without)) == pytest.approx(library_s, rel=0.03)


LEAVES = Fabric("switched", (144,), (1.0,), n_leaf_chips=72, upper_share=1 / 9)


def test_a_second_level_of_switches_takes_time_where_it_is_crossed():
    """72 chips behind one group of switches wait for none; 144 cross once in an exchange, a ring once and back."""
    far = dataclasses.replace(LEAVES, upper_share=1.0, upper_hop_s=6e-7)
    near, across = group(far, 1, 72), group(far, 1, 144)
    assert (near.upper_s, near.ring_upper_s) == (0.0, 0.0) and (across.upper_s, across.ring_upper_s) == (6e-7, 6e-7)
    # tensor ranks of 8 first: a leaf holds 9 such groups, 18 of them take both
    assert group(far, 8, 9).upper_s == 0.0 and group(far, 8, 18).upper_s == 6e-7
    # four leaves of 72 in a ring: three crossings on the way round
    assert group(dataclasses.replace(far, dims=(288,)), 1, 288).ring_upper_s == pytest.approx(3 * 6e-7)
    assert all_to_all(across, 1, 1e6).upper_s == 6e-7
    assert all_reduce(across, 1e3, REF).upper_s == pytest.approx(6e-7)  # one-shot: a single exchange
    library = dataclasses.replace(REF, has_direct=False)
    assert all_reduce(across, 1e9, library).upper_s == pytest.approx(2 * 6e-7)  # a ring there and back
    assert all_gather(group(LEAVES, 1, 144), 1e6, REF).upper_s == 0.0


def test_a_second_level_carries_what_it_has_ports_for():
    """144 ranks: 72 of 143 parts cross at a ninth: 143/72/9 = 0.221; pairs of racks: all crosses; inside, nothing."""
    assert group(LEAVES, 1, 144).share == pytest.approx(143 / 72 / 9)
    assert group(LEAVES, 72, 2).share == pytest.approx(1 / 9)
    assert group(LEAVES, 8, 9).share == group(LEAVES, 1, 72).share == 1.0
    assert group(dataclasses.replace(LEAVES, upper_share=1.0), 1, 144).share == 1.0


RACK = Fabric("switched", (72,), (1.0,))


@pytest.mark.parametrize(
    # ranks before, ranks of the group, of them inside a domain: 64 of 72; nine groups of 8; 128 as two times 64
    ("fabric", "inner", "size", "inside"),
    [(RACK, 1, 64, 64), (RACK, 8, 8, 8), (RACK, 8, 9, 9), (RACK, 1, 128, 64), (RACK, 8, 16, 8), (SWITCH, 1, 64, 8)],
)
def test_groups_behind_a_switch_stay_in_a_domain_where_they_fit(fabric, inner, size, inside):
    g, domains = spread(fabric, inner, size)
    assert (g.size, domains) == (inside, size // inside)


def test_on_a_torus_groups_divide_what_is_left():
    """4 x 4 x 4 after 4 ranks leaves 16: a group of 24 has 8 inside (6 or 12 would not ring an axis)."""
    g, domains = spread(TRN2, 4, 24)
    assert (g.size, domains) == (8, 3)


def test_each_rank_adds_what_a_run_measured_to_rings_between_domains():
    """0.3 ms per rank: 64 of eight nodes 19.2 ms; inside a node nothing, and sums go up and down a tree."""
    slow = dataclasses.replace(SHARP, rank_s=3e-4)
    assert all_gather(group(slow, 1, 8), 1e6, REF).upper_s == all_reduce(group(slow, 1, 8), 1e6, REF).upper_s == 0.0
    assert across_gather(*spread(slow, 1, 64), 1e6, REF).upper_s == pytest.approx(64 * 3e-4)
    assert across_gather(*spread(slow, 8, 8), 1e6, REF).upper_s == pytest.approx(8 * 3e-4)  # one chip of each node
    assert across_all_reduce(*spread(slow, 1, 64), 1e6, REF).upper_s == pytest.approx(0.0, abs=1e-12)
    assert all_to_all(*spread(slow, 1, 64), 1e6).upper_s == pytest.approx(64 * 3e-4)


def test_a_rank_gets_a_token_once_however_many_of_its_experts_it_visits():
    """2 of 8 experts, one on each of 8 ranks: 2 ranks. All on one: 1. 8 of 128 on 2 ranks: 2 but for C(64,8)/C(128,8).

    Before, two ranks of 128 experts exchanged each token 8 times.
    """
    mixtral, qwen = Experts(8, 2, 14336), Experts(128, 8, 768)
    assert (n_copies(mixtral, 8), n_copies(mixtral, 1)) == (pytest.approx(2.0), 1.0)
    assert n_copies(qwen, 2) == pytest.approx(2 * (1 - 4426165368 / 1429702652400))
    sent = to_experts(group(SWITCH, 1, 2), 1, 1e6, qwen, REF)
    assert sent.sent_B == pytest.approx(1e6 * n_copies(qwen, 2) / 2)


def test_copies_grow_with_ranks_up_to_visits():
    qwen = Experts(128, 8, 768)
    found = [n_copies(qwen, 2**i) for i in range(8)]
    assert found == sorted(found) and found[-1] == pytest.approx(8.0)
    assert all(n <= min(8, 2**i) for i, n in enumerate(found[:-1]))


@pytest.mark.parametrize(
    ("pod", "n", "dims", "share"),
    [
        ("tpu-v6e-256", 4, (2, 2), 1 / 2), ("tpu-v6e-256", 8, (2, 4), 1 / 2), ("tpu-v6e-256", 64, (8, 8), 1 / 2),
        ("tpu-v6e-256", 128, (8, 16), 3 / 4), ("tpu-v6e-256", 256, (16, 16), 1), ("tpu-v6e-256", 512, (16, 16), 1),
        ("tpu-v4-4096", 8, (2, 2, 2), 1 / 2), ("tpu-v4-4096", 64, (4, 4, 4), 1), ("trn2-16", 4, (4, 4), 1 / 2),
    ],
)  # fmt: skip
def test_slices_of_a_pod_close_into_rings_from_a_length_on(pod, n, dims, share):
    """Of two axes with half of the links each, a line uses one of its two; a corner of 2 x 4 has two of four links.

    Source: [austin2025] TPU chapter. Trainium's tori are not cut: four chips are a ring of an axis.
    """
    cut = system(pod, n).fabric
    assert cut.dims == dims
    assert group(cut, 1, min(n, cut.n_chips)).share == pytest.approx(share)
