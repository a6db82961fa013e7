"""Collective libraries on published chips: protocols by message length, both levels of a hierarchy at once.

The library picks the fastest by its own table; designs use one latency per hop instead.
"""

from __future__ import annotations

import dataclasses

from ..lowering.collective import Group, Reference, Traffic, across_all_reduce, all_reduce, in_switch

TABLE = Reference(up_Bps=1.0, out_Bps=1.0, up_hop_s=0.47e-6, out_hop_s=2.7e-6, start_s=3.6e-6)
"""Latencies by which the library chooses, of its lowest-latency protocol [nvidia2021nccl]; speeds are the chip's."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a protocol compares with the one of lowest latency; every number is a ratio of the library's table."""

    start: float
    """Start of a collective."""
    up_hop: float
    """One step inside a scale-up domain."""
    out_hop: float
    """One step over the network."""
    bytes: float
    """Bytes on the wire per byte of message."""


PROTOCOLS = (
    Protocol(1.0, 1.0, 1.0, 4.0),
    Protocol(10.0 / 3.6, 1.9 / 0.47, 4.0 / 2.7, 1 / 0.92),
    Protocol(8.4 / 3.6, 3.4 / 0.47, 9.6 / 2.7, 1.0),
)
"""A flag per word, a flag per 128 bytes, whole chunks [nvidia2021nccl] (rings)."""


def in_protocol(t: Traffic, p: Protocol) -> Traffic:
    """A ring's traffic in a protocol; what is really sent, for energy, stays as it is."""
    return dataclasses.replace(
        t, up_B=t.up_B * p.bytes, out_B=t.out_B * p.bytes, n_starts=t.n_starts * p.start,
        up_hops=t.up_hops * p.up_hop, out_hops=t.out_hops * p.out_hop,
    )  # fmt: skip


def _table(ref: Reference) -> Reference:
    """The library's own latencies with the speeds of a chip's links."""
    return dataclasses.replace(TABLE, up_Bps=ref.up_Bps, out_Bps=ref.out_Bps)


def as_library_runs(ring: Traffic, ref: Reference) -> Traffic:
    """A ring's traffic in the protocol that the library's own table calls fastest.

        t = start s_p + hops alpha_p + bytes w_p / B
    Source: [nvidia2021nccl] tuning.cc: latencies and bandwidths of LL, LL128 and Simple, NVLink and network.
    Assumes: what the table says of NVLink holds for other switched domains.
    """
    return min((in_protocol(ring, p) for p in PROTOCOLS), key=_table(ref).time_s)


def levels_at_once(t: Traffic, ref: Reference) -> Traffic:
    """A hierarchical collective whose chunks cross the domain and the network side by side: the slower level counts.

        t = max(up / B_up, out / B_out) + latencies of both
    Source: [nvidia2021nccl]: one kernel per channel passes chunks on as they arrive, through both kinds of links.
    Assumes: the slower level, chosen at the reference, hides the other wholly.
    """
    if t.up_B / ref.up_Bps >= t.out_B / ref.out_Bps:
        return dataclasses.replace(t, out_B=0.0)
    return dataclasses.replace(t, up_B=0.0)


def library_all_reduce(g: Group, n_out: int, message_B: float, ref: Reference) -> Traffic:
    """All-reduce over `n_out` switched domains as a library runs it: direct, in the switch, or as a ring in a protocol.

    Sums in the switch move whole chunks, over domains too, where a ring crosses between; a torus is as in steps.
    """
    if not g.switched:
        return across_all_reduce(g, n_out, message_B, ref)
    plain = dataclasses.replace(g, reduces_in_network=False)
    ring = across_all_reduce(plain, n_out, message_B, dataclasses.replace(ref, has_direct=False))
    ways = [as_library_runs(ring, ref)]
    if g.reduces_in_network:
        between = Traffic(out_B=ring.out_B, out_hops=ring.out_hops)
        ways.append(in_protocol(in_switch(g, message_B) + between, PROTOCOLS[-1]))
    found = min((levels_at_once(w, ref) for w in ways), key=_table(ref).time_s)
    direct = all_reduce(plain, message_B, ref)
    return min(found, direct, key=ref.time_s) if n_out == 1 and direct.n_exchanges else found
