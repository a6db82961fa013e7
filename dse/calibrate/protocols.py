"""Protocols of a library's ring on a published chip: short messages carry a flag with every word, long ones wait for
whole chunks; a library times them by a table of its own and takes the fastest.

Steps of designs take one latency per hop; a collective timed alone ran in the protocol that suited its length.
"""

from __future__ import annotations

import dataclasses

from ..lowering.collective import Reference, Traffic

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


def as_library_runs(ring: Traffic, ref: Reference) -> Traffic:
    """A ring's traffic in the protocol that the library's own table calls fastest.

        t = start s_p + hops alpha_p + bytes w_p / B

    Source: [nvidia2021nccl] tuning.cc: latencies and bandwidths of LL, LL128 and Simple, NVLink and network.
    Assumes: what the table says of NVLink holds for other switched domains.

    Args:
        ring: traffic of a ring at full speed and lowest latency.
        ref: achievable speeds of the links.
    """
    table = dataclasses.replace(TABLE, up_Bps=ref.up_Bps, out_Bps=ref.out_Bps)
    return min((in_protocol(ring, p) for p in PROTOCOLS), key=table.time_s)
