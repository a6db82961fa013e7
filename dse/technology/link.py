"""Link generations: chip-to-chip SerDes and die-to-die interfaces."""

from __future__ import annotations

import equinox as eqx

from ..core.types import INERT, LESS_IS_BETTER, SIGN, Scalar, as_float


class LinkGeneration(eqx.Module):
    """A SerDes or die-to-die interface; bandwidths count one direction of a full-duplex link."""

    name: str = eqx.field(static=True)
    energy_J_per_B: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Transmit plus receive energy of one end pair, per byte that crosses."""
    area_mm2_per_Bps: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """PHY plus controller at one end, per direction bandwidth, as placed."""
    shoreline_mm_per_Bps: Scalar = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Die edge per direction bandwidth."""
    lane_bandwidth_per_dir_Bps: Scalar = eqx.field(converter=as_float, metadata={SIGN: INERT})
