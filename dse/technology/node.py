"""Process nodes: energy and area of MACs, SRAM and wires, leakage, V-f law, wafer price and defect density."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from ..core.errors import UnknownNameError
from ..core.types import FloatLike, Scalar, as_float

PRECISIONS = ("fp32", "bf16", "fp8", "fp4")
"""Precisions with a rate of their own in a matrix unit, widest first; int8 runs at the rate of fp8."""
PRECISION_BITS = {"fp32": 32, "bf16": 16, "fp8": 8, "int8": 8, "fp4": 4}
"""Bits of an operand of every precision of matrix products."""


def rate_name(precision: str) -> str:
    """The one of `PRECISIONS` at whose rate `precision` runs: "fp8" for int8, else itself."""
    # multipliers of eight bits serve both, as vendors' tables have it
    return "fp8" if precision == "int8" else precision


class ByPrecision(eqx.Module):
    """One number per matrix-unit precision (fp8 includes MXFP8 and INT8, fp4 includes MXFP4 and NVFP4)."""

    fp32: Scalar = eqx.field(converter=as_float)
    bf16: Scalar = eqx.field(converter=as_float)
    """bfloat16 or float16 with fp32 accumulation."""
    fp8: Scalar = eqx.field(converter=as_float)
    """8-bit floating point, plain or block scaled."""
    fp4: Scalar = eqx.field(converter=as_float)
    """4-bit floating point, block scaled."""

    def of(self, precision: str) -> FloatLike:
        """The entry of `precision`; raises UnknownNameError for another name."""
        # not `PRECISIONS`: int8 is asked for as well, and has the entry of fp8
        if precision not in PRECISION_BITS:
            raise UnknownNameError("precision", precision, PRECISION_BITS)
        return getattr(self, rate_name(precision))

    def stack(self) -> FloatLike:
        """All four as a vector in the order of `PRECISIONS`, shape (4,)."""
        # last, so that a batch keeps its axis in front
        return jnp.stack([jnp.asarray(getattr(self, p), dtype=float) for p in PRECISIONS], axis=-1)


class Node(eqx.Module):
    """One process node at its nominal voltage and 85 C unless a field says otherwise."""

    name: str = eqx.field(static=True)
    mac_energy_J: ByPrecision
    pe_area_mm2: ByPrecision
    """Area of a PE that does one such MAC per cycle, before placement."""
    scratchpad_area_mm2_per_B: Scalar = eqx.field(converter=as_float)
    """Software-managed SRAM with periphery, ECC and routing, as placed."""
    cache_area_mm2_per_B: Scalar = eqx.field(converter=as_float)
    """Hardware-managed last-level cache with tags and crossbar slices, as placed."""
    local_sram_area_mm2_per_B: Scalar = eqx.field(converter=as_float)
    """Small multi-ported arrays (register files, L1, vector memory, PSUM), as placed."""
    near_extra_frac: Scalar = eqx.field(converter=as_float)
    """What a byte of scratchpad takes more where lanes and arrays work on it, over a byte of such an array."""
    sram_energy_J_per_B: Scalar = eqx.field(converter=as_float)
    """Read or write of a byte in a 1 MiB-class array."""
    register_energy_frac: Scalar = eqx.field(converter=as_float)
    """Energy of a byte from a register bank over that from a 1 MiB-class array."""
    wire_energy_J_per_B_per_mm: Scalar = eqx.field(converter=as_float)
    """On-die transport of a byte over one millimetre, repeaters included."""
    vector_op_energy_J: Scalar = eqx.field(converter=as_float)
    """One fp32-class vector operation with its register accesses."""
    simd_lane_area_mm2: Scalar = eqx.field(converter=as_float)
    """One vector lane of a long-vector engine (NPU style), before placement."""
    simt_lane_area_mm2: Scalar = eqx.field(converter=as_float)
    """One lane of a multithreaded GPU core with its control, before placement."""
    core_port_area_mm2: Scalar = eqx.field(converter=as_float)
    """On-chip interconnect port and sequencer of one core, before placement."""
    dma_area_mm2_per_Bps: Scalar = eqx.field(converter=as_float)
    """DMA engines per byte per second at nominal clock, before placement."""
    logic_leakage_W_per_mm2: Scalar = eqx.field(converter=as_float)
    """Leakage of placed logic at nominal voltage, 85 C."""
    sram_leakage_W_per_B: Scalar = eqx.field(converter=as_float)
    """Leakage of SRAM at nominal voltage, 85 C."""
    leakage_per_V: Scalar = eqx.field(converter=as_float)
    """Exponential slope of leakage with voltage."""
    extra_precision_area_frac: Scalar = eqx.field(converter=as_float)
    """Growth of a PE for each further precision its datapath supports."""
    product_area_frac: Scalar = eqx.field(converter=as_float)
    """Multiplier's share of a narrow PE: what each further product adds whose sum is the first one's."""
    placement_frac: Scalar = eqx.field(converter=as_float)
    """Fraction of a logic block's outline that cells fill."""
    nominal_V: Scalar = eqx.field(converter=as_float)
    """Supply at which energies are quoted."""
    threshold_V: Scalar = eqx.field(converter=as_float)
    """Threshold of the alpha-power law."""
    minimum_V: Scalar = eqx.field(converter=as_float)
    """Lowest supply a product would use."""
    maximum_V: Scalar = eqx.field(converter=as_float)
    """Highest supply a product would use."""
    alpha: Scalar = eqx.field(converter=as_float)
    """Exponent of the alpha-power law (Sakurai-Newton)."""
    wafer_price_USD: Scalar = eqx.field(converter=as_float)
    """Price of a processed 300 mm wafer."""
    defect_density_per_mm2: Scalar = eqx.field(converter=as_float)
    """Defects that kill a die, per area."""
