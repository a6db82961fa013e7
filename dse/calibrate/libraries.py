"""Libraries on published chips: tiles of single matrix products, and protocols of collectives by message length.

Designs use the usual tile and, on average, half an idle tile at the end; a product timed alone ran in whole rounds over
the cores. They use one latency per hop; a library picks the fastest protocol by its own table, and both levels of a
hierarchy work at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from ..hardware.chip import Chip
from ..lowering.collective import Reference, Traffic, across_all_reduce, all_reduce, in_switch
from ..lowering.groups import Group
from ..lowering.tiling import INSTRUCTION_ROWS, ArrayShape, padded
from ..physics.calibration import family
from ..technology.node import PRECISION_BITS
from ..workload.op import PARTIAL_SUM_B, Op

SIDES = ((128.0, 256.0), (128.0, 128.0), (128.0, 64.0), (64.0, 64.0))
"""Lengths of the pieces of common libraries, along the shorter and the longer free side [nvidia2026cutlass]."""
SHORTEST = 512.0
"""Shortest contraction of a piece; the partial sums of shorter ones cost more than they save."""

CLUSTERED = ("hopper", "blackwell")
"""Families whose neighbouring cores get an operand by one read [nvidia2022hopper]."""
NEIGHBOURS = 2
"""Cores on a side of the usual cluster."""


@dataclasses.dataclass(frozen=True)
class Rounds:
    """The rounds in which the cores of a chip work off a product."""

    piece_cycles: float
    n_rounds: float
    """Pieces that the busiest core takes one after the other."""

    @property
    def n_cycles(self) -> float:
        """Cycles of the whole product."""
        return self.n_rounds * self.piece_cycles


def contractions(length: float, splits: bool) -> Iterator[float]:
    """Contracted lengths that a piece may have: all of `length`, or halves of it if cores share a contraction."""
    yield length
    while splits and length / 2 >= SHORTEST:
        length /= 2
        yield length


def rounds(op: Op, array: ArrayShape, chip: Chip, splits: bool) -> Rounds:
    """The fastest rounds of pieces for a linear layer whose weights are the stationary side.

        cycles = ceil(n / cores) max(multiplied, fed, widened)
        multiplied = w h k / (rows cols m_p),  fed = ((w b_w / c + h b_a / c') k + s w h) f / B,  widened = w k / lanes
    with w, h, k the piece and n how many there are, b bytes of stored weights and of activations, s those of a partial
    sum written and read where cores share a contraction (`splits`), B the bandwidth into a core, f the clock and c, c'
    how many neighbours get the same operand by one read. Weights stored narrower than multiplied are widened.
    Source: [nvidia2026cutlass] for pieces, split contractions and rounds; [osama2023streamk] section 2, the last.
    Assumes: what comes before and after a piece is hidden behind its neighbours.
    """
    product, executed = op.products[0], array.executed(op.precision)
    per_cycle = array.rows * array.cols * array.rates[executed]
    per_cycle_B, lanes = float(chip.core.dma_bandwidth_Bps / chip.clock_Hz), float(chip.core.vector_lanes)
    together = NEIGHBOURS if family(chip.name) in CLUSTERED else 1
    operand_B, widens = PRECISION_BITS[op.precision] / 8, PRECISION_BITS[op.precision] > op.stored_bits
    # the library has a heuristic of its own; taking the fastest piece assumes that it is good
    found = []
    for contract in contractions(product.contract, splits):
        shared_B = 2 * PARTIAL_SUM_B if contract < product.contract else 0.0
        for high, wide in (s for pair in SIDES for s in (pair, pair[::-1])):
            rows = min(high, padded(product.moving, INSTRUCTION_ROWS))
            down, across = math.ceil(product.moving / rows), math.ceil(product.stationary / wide)
            weights_B = wide * op.stored_bits / 8 / min(together, down)  # no more share than there are pieces
            fed_B = (weights_B + rows * operand_B / min(together, across)) * contract + shared_B * wide * rows
            widened = wide * contract / lanes if op.stored_elements and widens else 0.0
            cycles = max(wide * rows * contract / per_cycle, fed_B / per_cycle_B, widened)
            n = product.count * down * across * product.contract / contract
            found.append(Rounds(cycles, float(math.ceil(n / float(chip.n_cores) - 1e-9))))
    return min(found, key=lambda r: r.n_cycles)


def has_library(chip: Chip) -> bool:
    """Whether products on a chip are cut by a library at run time rather than by a compiler."""
    return chip.sram_kind == "cache" and chip.lane_kind == "simt"


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
    # bytes of the hidden level vanish, its latencies stay: chunks still pass through both
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
    # by the library's own table even where another way were faster here: its choice is what was timed
    found = min((levels_at_once(w, ref) for w in ways), key=_table(ref).time_s)
    direct = all_reduce(plain, message_B, ref)
    return min(found, direct, key=ref.time_s) if n_out == 1 and direct.n_exchanges else found
