"""`Chip`, one record for Trainium, GPUs and TPUs, so that one model covers all; its peak rates and precisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx

from ..core.errors import SpecError
from ..core.frames import AbstractShown
from ..core.types import FloatLike, Scalar, as_float
from ..technology.node import PRECISION_BITS, PRECISIONS, ByPrecision, rate_name
from ..technology.presets import STACKED

NARROW_PRODUCTS = {"float": ("fp8",), "integer": ("int8",), "both": ("fp8", "int8")}
"""Precisions that run at the 8-bit rate of a matrix unit, by what its narrow products are."""
OPTIONAL = {
    "pipeline_depth": 1.0, "blank_mm2": 0.0, "instruction_rows": 0.0, "instruction_cols": 0.0, "instruction_depth": 0.0,
    "instruction_results": 0.0, "shared_port_B": 0.0, "near_sram_B": 0.0,
}  # fmt: skip
"""Optional facts of a chip file, with their defaults."""


class TensorEngine(eqx.Module):
    """The matrix unit of one core."""

    rows: Scalar = eqx.field(converter=as_float)
    """PE rows (contraction direction)."""
    cols: Scalar = eqx.field(converter=as_float)
    """PE columns (stationary free direction)."""
    macs_per_cycle: ByPrecision
    """MACs of one PE per cycle by precision; 0 for a precision that it lacks."""
    granule_contract: ByPrecision
    """Contraction lengths are padded to a multiple of this, by precision [elements]."""
    granule_stationary: Scalar = eqx.field(converter=as_float)
    """Lengths of the stationary operand are padded to a multiple of this [elements]."""
    granule_moving: Scalar = eqx.field(converter=as_float)
    """Shortest moving length at which an instruction runs at full rate, or the tile that is padded to [elements]."""
    tile_moving: Scalar = eqx.field(converter=as_float)
    """Largest moving length of a tile, the smallest piece of work that is assigned to one core [elements]."""
    tile_contract: Scalar = eqx.field(converter=as_float)
    """Largest contraction of a tile; kernels split longer ones over cores (split-K) [elements]."""
    narrow_products: str = eqx.field(static=True, default="float")
    """Number formats of its 8-bit rate, one of `NARROW_PRODUCTS`."""
    instruction_rows: Scalar = eqx.field(converter=as_float, default=0.0)
    """Result rows of one matrix instruction fed from registers; 0 for a systolic array, fed at its edges."""
    instruction_cols: Scalar = eqx.field(converter=as_float, default=0.0)
    """Result columns of one matrix instruction."""
    instruction_depth: Scalar = eqx.field(converter=as_float, default=0.0)
    """Contraction length of one matrix instruction in 16 bit; 0 if unknown."""
    instruction_results: Scalar = eqx.field(converter=as_float, default=0.0)
    """Results per read of their operands from a core's shared memory; 0 if unknown."""


class Core(eqx.Module):
    """One core: a NeuronCore, streaming multiprocessor (SM), compute unit or TPU TensorCore."""

    tensor: TensorEngine
    """Systolic array or tensor core."""
    vector_lanes: Scalar = eqx.field(converter=as_float)
    """Elements per vector cycle of all engines that run element-wise operations."""
    vector_clock_frac: Scalar = eqx.field(converter=as_float)
    """Vector clock over tensor clock."""
    scratchpad_B: Scalar = eqx.field(converter=as_float)
    """SRAM that holds tiles: SBUF, or the core's share of L2 or CMEM."""
    local_sram_B: Scalar = eqx.field(converter=as_float)
    """SRAM next to the datapaths: register files, L1, PSUM, vector memory."""
    dma_bandwidth_Bps: Scalar = eqx.field(converter=as_float)
    """DMA bandwidth of one core between HBM and its SRAM."""
    transfer_start_B: Scalar = eqx.field(converter=as_float)
    """Scratchpad size at which starting a transfer takes as long as moving its bytes; 0 for caches."""
    near_sram_B: Scalar = eqx.field(converter=as_float, default=0.0)
    """Part of the scratchpad with ports to all lanes and arrays (vector memory)."""
    shared_port_B: Scalar = eqx.field(converter=as_float, default=0.0)
    """Bytes per cycle of the memory shared by a core's threads (shared memory, LDS); 0 if there is none."""


class Chip(AbstractShown, eqx.Module):
    """One accelerator package: enabled cores, peak rates, capacities, and physical cores including spares."""

    name: str = eqx.field(static=True)
    node: str = eqx.field(static=True)
    """Process node of the compute dies."""
    hbm: str = eqx.field(static=True)
    """HBM generation, a name in the technology data."""
    link: str = eqx.field(static=True)
    """Scale-up link generation."""
    lane_kind: str = eqx.field(static=True)
    """"simd" (long-vector NPU lanes) or "simt" (multithreaded GPU lanes)."""
    sram_kind: str = eqx.field(static=True)
    """"scratchpad" or "cache": the kind of SRAM that holds tiles."""
    core: Core
    """The core that is repeated `n_cores` times."""
    n_cores: Scalar = eqx.field(converter=as_float)
    """Enabled cores per package."""
    spare_frac: Scalar = eqx.field(converter=as_float)
    """Physical cores over enabled cores, minus 1."""
    cores_per_pool: Scalar = eqx.field(converter=as_float)
    """Cores that share one tile memory: 1 on Trainium, all on a GPU with a common L2."""
    n_dies: Scalar = eqx.field(converter=as_float)
    """Compute dies per package."""
    clock_Hz: Scalar = eqx.field(converter=as_float)
    """Tensor-engine clock."""
    nominal_clock_Hz: Scalar = eqx.field(converter=as_float)
    """Clock of the pipeline at the node's nominal voltage."""
    n_stacks: Scalar = eqx.field(converter=as_float)
    """Memory stacks per package; of memory on the board, channels of 16 bits (LPDDR) or devices of 32 (GDDR)."""
    hbm_bandwidth_Bps: Scalar = eqx.field(converter=as_float)
    """Off-chip memory bandwidth of the package, reads plus writes."""
    hbm_capacity_B: Scalar = eqx.field(converter=as_float)
    """Off-chip memory capacity of the package."""
    scaleup_bandwidth_per_dir_Bps: Scalar = eqx.field(converter=as_float)
    """Scale-up bandwidth of all links of the package, one direction."""
    scaleout_bandwidth_per_dir_Bps: Scalar = eqx.field(converter=as_float)
    """Scale-out network bandwidth of one package, one direction."""
    die_to_die_bandwidth_Bps: Scalar = eqx.field(converter=as_float)
    """Bisection bandwidth between compute dies, both directions; 0 for one die."""
    power_limit_W: Scalar = eqx.field(converter=as_float)
    """Sustained package power (TDP); the chip throttles so that its mean power stays below."""
    pipeline_depth: Scalar = eqx.field(converter=as_float, default=1.0)
    """Datapath stages over those of the pipeline whose clock is `nominal_clock_Hz`."""
    blank_mm2: Scalar = eqx.field(converter=as_float, default=0.0)
    """Empty silicon of a die, added so that heat spreads or a required area is met."""
    package: str = eqx.field(static=True, default=STACKED)
    """What its dies are mounted on, a name in the technology data; where a file names none, what its memory asks for:
    "FCBGA" for GDDR and LPDDR, which stand on the board, "CoWoS-L" for stacks."""


def sides(written: str, what: str) -> tuple[int, int]:
    """Rows and columns of a text such as "128x128"; SpecError that names `what` for any other form."""
    parts = written.split("x")
    # not isdigit, which takes superscripts that int() refuses
    if len(parts) != 2 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise SpecError(f"{what} '{written}' is not of the form '128x128'")
    return int(parts[0]), int(parts[1])


def pool_B(chip: Chip) -> FloatLike:
    """Tile memory of one pool: the scratchpad of a core times the cores that share it [B]."""
    return chip.core.scratchpad_B * chip.cores_per_pool


ROUNDING = 1e-6
"""Relative tolerance for a count or a bound to be equal to a whole step."""


def shares_pool(n_pool: FloatLike, n_cores: FloatLike, n_dies: FloatLike) -> Any:
    """Whether all cores of a die or package share one tile memory, as they then do at any number of cores."""
    # a design's numbers are optima, not whole: a share of the cores that rounds to all is all
    return (n_pool > 1) & (n_pool * n_dies >= n_cores * (1 - ROUNDING))


def peak_FLOPps(chip: Chip, precision: str) -> FloatLike:
    """Dense matrix peak of the package at `precision` [FLOP/s]; vendors' totals can differ (see the receipts).

        P = 2 n_cores rows cols m_p f
    with m_p `macs_per_cycle` of the precision and f `clock_Hz`. 8-bit floats and integers share a rate.
    Source: [aws2026neuron] NKI guides: 128 x 128 x 2 x clock x multiplier reproduces every per-core figure.
    """
    return array_FLOPps(chip, chip.core.tensor.macs_per_cycle.of(precision))


def array_FLOPps(chip: Chip, n_macs: FloatLike) -> FloatLike:
    """As `peak_FLOPps`, where every PE does `n_macs` MACs per cycle [FLOP/s]."""
    # 2: vendors count the product and the addition of a MAC
    return 2.0 * chip.n_cores * chip.core.tensor.rows * chip.core.tensor.cols * n_macs * chip.clock_Hz


def native_precisions(chip: Chip) -> tuple[str, ...]:
    """Precisions in which the chip multiplies matrices, widest first."""
    t = chip.core.tensor
    return natives([float(t.macs_per_cycle.of(p)) for p in PRECISIONS], t.narrow_products)


def natives(rates: Sequence[float], narrow_products: str) -> tuple[str, ...]:
    """Precisions of a matrix unit with these `rates`, in the order of `PRECISIONS`, widest first."""
    return tuple(p for p in named(narrow_products) if rates[PRECISIONS.index(rate_name(p))] > 0)


def named(narrow_products: str) -> tuple[str, ...]:
    """Precisions that a matrix unit with such products at its 8-bit rate may have, widest first."""
    # in the place of "fp8", so that all stay in the order of their widths
    return tuple(x for p in PRECISIONS for x in (NARROW_PRODUCTS[narrow_products] if p == "fp8" else (p,)))


def serves(precision: str, asked: str) -> bool:
    """Whether products asked for in `asked` may run in `precision`: the same, or a float that holds what it holds.

    Of those that a unit has, products run in the narrowest.
    """
    # FP8 has fewer bits of significand than INT8
    lossless = precision != "int8" and (precision, asked) != ("fp8", "int8")
    return precision == asked or (lossless and PRECISION_BITS[precision] >= PRECISION_BITS[asked])


def runs_in(native: Sequence[str], asked: str) -> str:
    """Precision in which products asked for in `asked` run: that one if native, else the next wider float.

    SpecError: the matrix unit has nothing as wide, such as FP32 where vector lanes multiply it.
    """
    found = [p for p in native if serves(p, asked)]
    if not found:
        has = ", ".join(native)
        raise SpecError(f"products in {asked}: the matrix unit multiplies in {has} and in nothing wider; ask for {has}")
    # widest first, so that the last of those wide enough is the narrowest
    return found[-1]
