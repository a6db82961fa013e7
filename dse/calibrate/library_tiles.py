"""Tiling of single matrix products by libraries on published chips, in whole rounds over the cores.

Designs use the usual tile and, on average, half an idle tile at the end; a product timed alone ran in whole rounds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from ..hardware.chip import Chip
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
    found = []
    for contract in contractions(product.contract, splits):
        shared_B = 2 * PARTIAL_SUM_B if contract < product.contract else 0.0
        for high, wide in (s for pair in SIDES for s in (pair, pair[::-1])):
            rows = min(high, padded(product.moving, INSTRUCTION_ROWS))
            down, across = math.ceil(product.moving / rows), math.ceil(product.stationary / wide)
            weights_B = wide * op.stored_bits / 8 / min(together, down)
            fed_B = (weights_B + rows * operand_B / min(together, across)) * contract + shared_B * wide * rows
            widened = wide * contract / lanes if op.stored_elements and widens else 0.0
            cycles = max(wide * rows * contract / per_cycle, fed_B / per_cycle_B, widened)
            n = product.count * down * across * product.contract / contract
            found.append(Rounds(cycles, float(math.ceil(n / float(chip.n_cores) - 1e-9))))
    return min(found, key=lambda r: r.n_cycles)


def has_library(chip: Chip) -> bool:
    """Whether products on a chip are cut by a library at run time rather than by a compiler."""
    return chip.sram_kind == "cache" and chip.lane_kind == "simt"
