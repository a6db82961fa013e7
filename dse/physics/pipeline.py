"""Pipeline depth: a shorter cycle for more register area and energy; depth 1 is that of every existing chip."""

from __future__ import annotations

from pathlib import Path

from ..core.provenance import load_receipts, number
from ..core.types import FloatLike

PIPELINE = load_receipts(Path(__file__).parent / "data" / "pipeline.toml")["pipeline"]
"""Receipts of what registers take at depth 1."""

OVERHEAD_FRAC = number(PIPELINE, "overhead_frac")
REGISTER_FRAC = number(PIPELINE, "register_frac")
REGISTER_GROWTH = number(PIPELINE, "register_growth")


def cycle_ratio(k: FloatLike) -> FloatLike:
    """Cycle time at a supply, over that of depth 1.

        T / T_1 = (1 - o) / k + o
    with k the relative depth and o `OVERHEAD_FRAC`: stages divide the logic, never the registers between them.
    Source: [srinivasan2002] section 2, 2 to 3 FO4 of latch delay a stage.
    Assumes: work is divided evenly; nothing stalls, as in streams of matrix products. Valid for: depths of 0.6 to 2.
    """
    # the floor o is why depth pays less and less; both terms are posynomials of k
    return (1.0 - OVERHEAD_FRAC) / k + OVERHEAD_FRAC


def datapath_ratio(k: FloatLike) -> FloatLike:
    """Energy per operation and area of a datapath, over those of depth 1.

        1 - r + r k^g
    with k the relative depth, r `REGISTER_FRAC` and g `REGISTER_GROWTH`.
    Source: [srinivasan2002] for the form and the latch growth factor.
    Assumes: registers have the same share of energy and of area. Valid for: depths of about 0.6 to 2.
    """
    # logic is only cut into more pieces; registers multiply faster than stages, since cuts meet wider logic
    return 1.0 - REGISTER_FRAC + REGISTER_FRAC * k**REGISTER_GROWTH
