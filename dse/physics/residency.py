"""SRAM occupied by prefetched bytes of a streamed block."""

from __future__ import annotations

from ..core.types import FloatLike
from ..hardware.chip import Chip
from ..lowering.step_demand import StepDemand


def ahead_frac(d: StepDemand, chip: Chip, prefetch_frac: FloatLike) -> FloatLike:
    """Prefetched bytes of a streamed block over the SRAM available for them: at most 1; 0 without streaming.

        B_ahead / (f n S)
    with f `prefetch_frac` the share of n scratchpads of S bytes that may hold bytes for later.
    Source: [yuzuguler2025preserve] section 4: the next layer's weights are prefetched while this one communicates.
    """
    # a monomial of what is free, so that `at most 1` is a limit of the convex core
    return d.stream.ahead_B / (prefetch_frac * chip.n_cores * chip.core.scratchpad_B)
