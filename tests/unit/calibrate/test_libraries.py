"""How a library runs collectives on published chips, by hand."""

import dataclasses

import pytest

from dse.calibrate.libraries import PROTOCOLS, as_library_runs, levels_at_once, library_all_reduce
from dse.lowering.collective import Reference, Traffic, across_all_reduce
from dse.lowering.groups import Group

REF = Reference(up_Bps=360e9, out_Bps=40e9, up_hop_s=2e-6, out_hop_s=10e-6, start_s=8e-6, exchange_s=4e-6)
NODE = Group(size=8, share=1.0, switched=True, reduces_in_network=False, ring_hops=7.0)
SWITCH = dataclasses.replace(NODE, reduces_in_network=True)
LIBRARY = dataclasses.replace(REF, has_direct=False)


def test_a_short_ring_carries_a_flag_with_every_word_and_a_long_one_waits_for_chunks():
    """2 KiB on 8 ranks: 14 hops of the lowest latency and four times the bytes. 1 GiB: bytes once, 7.2 times a hop."""
    short, long = (as_library_runs(Traffic(up_B=m, up_hops=14.0, n_starts=1.0), REF) for m in (2048.0, 2.0**30))
    assert (short.up_B, short.up_hops, short.n_starts) == (4 * 2048, 14, 1)
    assert (long.up_B, long.up_hops, long.n_starts) == (
        2.0**30,
        pytest.approx(14 * 3.4 / 0.47),
        pytest.approx(8.4 / 3.6),
    )


def test_between_them_a_flag_guards_128_bytes():
    """4 MiB: 10 + 27 us and 109 % of 12 us, against 47 us of four times the bytes, and 8 + 48 us of chunks."""
    middle = as_library_runs(Traffic(up_B=2.0**22, up_hops=14.0, n_starts=1.0), REF)
    assert middle.up_B == pytest.approx(2.0**22 / 0.92)


def test_the_slower_level_of_a_hierarchy_hides_the_other():
    both = Traffic(up_B=360e9, out_B=80e9, up_hops=2.0, out_hops=3.0)
    assert levels_at_once(both, REF) == dataclasses.replace(both, up_B=0.0)
    assert levels_at_once(dataclasses.replace(both, out_B=1.0), REF).out_B == 0


def test_sums_in_the_switch_serve_long_messages_and_rings_short_ones():
    short, long = (library_all_reduce(SWITCH, 1, m, LIBRARY) for m in (2048.0, 2.0**30))
    assert short == as_library_runs(across_all_reduce(NODE, 1, 2048.0, LIBRARY), LIBRARY)
    assert long.up_B == pytest.approx((1 + 1 / 8) * 2.0**30) and long.n_starts == pytest.approx(2 * PROTOCOLS[-1].start)


def test_over_nodes_sums_in_the_switch_leave_the_network():
    """1 GiB on 2 x 8: an eighth over the network and (1 + 1/8) GiB inside take 3.4 ms each: one counts."""
    found = library_all_reduce(SWITCH, 2, 2.0**30, LIBRARY)
    assert min(found.up_B, found.out_B) == 0 < max(found.up_B, found.out_B) <= (1 + 1 / 8) * 2.0**30
    assert LIBRARY.time_s(found) < LIBRARY.time_s(across_all_reduce(NODE, 2, 2.0**30, LIBRARY))


def test_stacks_that_exchange_directly_do_so_where_it_is_faster():
    assert library_all_reduce(NODE, 1, 2048.0, REF).n_exchanges > 0
    assert library_all_reduce(NODE, 1, 2048.0, LIBRARY).n_exchanges == 0


def test_a_torus_keeps_the_algorithms_of_steps():
    torus = Group(size=8, share=0.5, switched=False, reduces_in_network=False, ring_hops=7.0)
    assert library_all_reduce(torus, 1, 2.0**20, REF) == across_all_reduce(torus, 1, 2.0**20, REF)
