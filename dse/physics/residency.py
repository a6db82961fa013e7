"""What SRAM must hold while memory reads ahead of the operators."""

from __future__ import annotations

from ..core.types import FloatLike
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand


def ahead_frac(d: StepDemand, chip: Chip, prefetch_frac: FloatLike) -> FloatLike:
    """Bytes that a streamed block reads ahead, over the SRAM that may hold them.

        B_ahead / (f n S)
    0 where operators run in turn.
    Source: [yuzuguler2025preserve] section 4: the weights of the next layer are prefetched into on-chip memory while
        this one communicates.

    Args:
        d: demand of the step.
        chip: cores and their scratchpads.
        prefetch_frac: f, share of the scratchpads that may hold bytes for later.

    Returns:
        Ratio, at most 1 for a plan that works [dimensionless].
    """
    return d.stream.ahead_B / (prefetch_frac * chip.n_cores * chip.core.scratchpad_B)
