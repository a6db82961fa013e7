"""HBM generations (bandwidth, capacity, energy, area, price per stack) and link generations (SerDes, die-to-die)."""

from __future__ import annotations

import equinox as eqx

from ..core.types import INERT, LESS_IS_BETTER, MORE_IS_BETTER, SIGN, Scalar, as_float


class MemoryGeneration(eqx.Module):
    """One generation of stacked DRAM with the host PHY and controller that serve one stack."""

    name: str = eqx.field(static=True)
    stack_bandwidth_Bps: Scalar = eqx.field(converter=as_float, metadata={SIGN: MORE_IS_BETTER})
    """Peak bandwidth of one stack, reads plus writes."""
    stack_capacity_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: MORE_IS_BETTER})
    energy_J_per_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """DRAM, TSV, IO and PHY energy per byte moved."""
    static_W_per_stack: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Refresh and idle interface power of one stack."""
    phy_area_mm2: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Host PHY and controller per stack, as placed."""
    shoreline_mm: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Die edge that one stack occupies."""
    footprint_mm2: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Interposer area of one stack."""
    price_USD_per_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Contract price per byte."""


class LinkGeneration(eqx.Module):
    """A SerDes or die-to-die interface; bandwidths count one direction of a full-duplex link."""

    name: str = eqx.field(static=True)
    energy_J_per_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Transmit plus receive energy of one end pair, per byte that crosses."""
    area_mm2_per_Bps: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """PHY plus controller at one end, per direction bandwidth, as placed."""
    shoreline_mm_per_Bps: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Die edge per direction bandwidth."""
    # for tables alone: designs buy links by bandwidth, since a free number cannot count lanes
    lane_bandwidth_per_dir_Bps: Scalar = eqx.field(converter=as_float, metadata={SIGN: INERT})
