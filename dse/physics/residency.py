"""What SRAM must hold while memory reads ahead of the operators."""

from __future__ import annotations

import jax.numpy as jnp

from ..core.types import FloatLike
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand
from .calibration import Calibration
from .step import traffic_time_s


def ahead_frac(d: StepDemand, chip: Chip, c: Calibration, prefetch_frac: FloatLike) -> FloatLike:
    """Bytes that arrive in the longest gap of a streamed block, over the SRAM that may hold them.

        B_hbm eta t_gap / (f n S),   t_gap = t_attention + (t_collectives + t_launches) / 2

    A block has two gaps in which nobody asks for weights: one holds attention and the collective after it, one the
    collective after the MLP. 0 where operators run in turn.

    Source: [yuzuguler2025preserve] section 4 for prefetching during collectives into on-chip memory.
    Assumes: memory runs at full speed through the gap, so the answer is an upper bound.

    Args:
        d: demand of the step.
        chip: memory bandwidth, cores and their scratchpads.
        c: achievable fractions.
        prefetch_frac: f, share of the scratchpads that may hold bytes for later.

    Returns:
        Ratio, at most 1 for a plan that works [dimensionless].
    """
    attention = jnp.sum(d.ops.runs * d.ops.attention_cycles) / (c.attention_frac * chip.clock_Hz * chip.n_cores)
    launches = jnp.sum(d.ops.runs * d.ops.n_launches) * c.launch_s
    gap_s = (attention + 0.5 * (traffic_time_s(d.tensor, chip, c) + launches)) * d.stream.gap_frac
    room_B = prefetch_frac * chip.n_cores * chip.core.scratchpad_B
    return d.stream.share * chip.hbm_bandwidth_Bps * c.hbm_frac * gap_s / room_B
