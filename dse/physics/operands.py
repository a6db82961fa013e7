"""Operand bandwidth of a GPU core's matrix unit, limited by the ports of its registers and shared memory.

Matrix units of a multithreaded core read registers, and these shared memory; both are as wide as the lanes need. A
unit that its ports cannot feed would idle, so designs with one are excluded.
"""

from __future__ import annotations

import jax.numpy as jnp

from ..core.provenance import number
from ..core.types import FloatLike
from ..hardware.chip import Chip
from ..hardware.instructions import threads
from ..technology.node import PRECISION_BITS

OPERAND_B = PRECISION_BITS["bf16"] / 8.0
"""Bytes of an operand in the precision that both ports are looked at in: half the bytes come with twice the MACs."""
SUM_B = PRECISION_BITS["fp32"] / 8.0


def _macs(chip: Chip) -> FloatLike:
    t = chip.core.tensor
    return t.rows * t.cols * t.macs_per_cycle.bf16


def register_load_frac(chip: Chip) -> FloatLike:
    """What matrix instructions read from registers, over what the ports of the lanes deliver: at most 1 for a fed unit.

        u = m [b (1/i + 1/j) + s/k] / (n r)
    with m MACs of a core per cycle, an instruction of i x j results over a contraction of k, b bytes an operand, s a
    sum (without matrix unit as wide as operands), n lanes and r what a lane reads a cycle: three operands of an FMA.
    Source: [nvidia2026ptx], [amd2022cdna2isa] for instructions; [raihan2019] for operands and sums out of registers.
    Assumes: matrix units share the ports of the lanes, which rest meanwhile.
    Valid for: instructions whose depth is known; 0 for others, and for arrays fed at their edges.
    """
    t = chip.core.tensor
    # an unknown size is 0: 1 keeps slopes finite, and the last line leaves the value out
    rows, cols = jnp.maximum(t.instruction_rows, 1.0), jnp.maximum(t.instruction_cols, 1.0)
    sum_B = jnp.where(rows * cols > 1, SUM_B, OPERAND_B)  # lanes without matrix unit add in the width of their operands
    read_B = OPERAND_B * (1.0 / rows + 1.0 / cols) + sum_B / jnp.maximum(t.instruction_depth, 1.0)
    ports_B = chip.core.vector_lanes * number(threads(), "lane_reads_B")
    return jnp.where(t.instruction_depth > 0, _macs(chip) * read_B / ports_B, 0.0)


def shared_load_frac(chip: Chip) -> FloatLike:
    """What matrix instructions read from shared memory and what fills it, over what its port does: at most 1 if fed.

        u = m b [2/s + 2/max(s, T)] / w
    with m MACs of a core per cycle, b bytes an operand, s^2 the results whose operands are read once, T^2 those of a
    tile, whose operands are written once, and w the bytes of the port per cycle; 0 where not known.
    Source: [nvidia2026cuda], [amd2026hip] for the ports; [nvidia2026ptx] for who shares operands.
    Assumes: square blocks; one port for reads and writes; all operands pass through it.
    Valid for: large products. Thin ones read more per MAC, and wait for memory.
    """
    t = chip.core.tensor
    # a square block has least border for its results: the port's load is at least this
    block = jnp.sqrt(jnp.maximum(t.instruction_results, 1.0))
    # operands of a tile come in once and serve all blocks of it: it cannot be smaller than one
    tile = jnp.maximum(block, jnp.sqrt(t.granule_stationary * t.tile_moving))
    moved_B = _macs(chip) * OPERAND_B * (2.0 / block + 2.0 / tile)
    # the unknown is 0 after a division by 1: dividing by 0 first would leave NaN in gradients
    known = (t.instruction_results > 0) & (chip.core.shared_port_B > 0)
    return jnp.where(known, moved_B / jnp.where(known, chip.core.shared_port_B, 1.0), 0.0)
