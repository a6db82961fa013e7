"""The chip record: one form for Trainium, GPUs and TPUs, so that one model serves and is checked on all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx

from ..core.errors import SpecError
from ..core.frames import AbstractShown
from ..core.types import FloatLike, Scalar, as_float
from ..technology.node import PRECISION_BITS, PRECISIONS, ByPrecision

NARROW_PRODUCTS = {"float": ("fp8",), "integer": ("int8",), "both": ("fp8", "int8")}
"""Precisions that the 8-bit rate of a matrix unit stands for."""
OPTIONAL = {
    "pipeline_depth": 1.0, "blank_mm2": 0.0, "instruction_rows": 0.0, "instruction_cols": 0.0, "instruction_depth": 0.0,
    "instruction_results": 0.0, "shared_port_B": 0.0, "near_sram_B": 0.0,
}  # fmt: skip
"""Numbers that not every preset states, and what a chip file that leaves them out means."""


class TensorEngine(eqx.Module):
    """The matrix unit of one core."""

    rows: Scalar = eqx.field(converter=as_float)
    """PE rows (contraction direction)."""
    cols: Scalar = eqx.field(converter=as_float)
    """PE columns (stationary free direction)."""
    macs_per_cycle: ByPrecision
    """MACs of one PE per cycle by precision; 0 where the engine lacks it."""
    granule_contract: ByPrecision
    """Contraction length that is padded up to, by precision."""
    granule_stationary: Scalar = eqx.field(converter=as_float)
    """Stationary free length that is padded up to."""
    granule_moving: Scalar = eqx.field(converter=as_float)
    """Shortest moving length an instruction takes full time for, or the tile that is padded up to."""
    tile_moving: Scalar = eqx.field(converter=as_float)
    """Longest moving length of the smallest piece of work one core takes."""
    tile_contract: Scalar = eqx.field(converter=as_float)
    """Longest contraction of that piece; kernels split longer ones over cores."""
    narrow_products: str = eqx.field(static=True, default="float")
    """What its 8-bit rate multiplies, one of `NARROW_PRODUCTS`."""
    instruction_rows: Scalar = eqx.field(converter=as_float, default=0.0)
    """Rows of the result of one instruction, where registers feed its operands; 0: they enter at the array's edges."""
    instruction_cols: Scalar = eqx.field(converter=as_float, default=0.0)
    """Its columns."""
    instruction_depth: Scalar = eqx.field(converter=as_float, default=0.0)
    """Its contraction in 16 bit; 0: not known."""
    instruction_results: Scalar = eqx.field(converter=as_float, default=0.0)
    """Results whose operands are read once from a core's shared memory; 0: not known."""


class Core(eqx.Module):
    """One core: NeuronCore, SM, TensorCore."""

    tensor: TensorEngine
    """Systolic array or tensor core."""
    vector_lanes: Scalar = eqx.field(converter=as_float)
    """Elements per vector cycle of all non-matrix engines that share element-wise work."""
    vector_clock_frac: Scalar = eqx.field(converter=as_float)
    """Vector clock over tensor clock."""
    scratchpad_B: Scalar = eqx.field(converter=as_float)
    """Managed SRAM that holds tiles (SBUF, or the core's share of L2 or CMEM)."""
    local_sram_B: Scalar = eqx.field(converter=as_float)
    """Register files, L1, PSUM, vector memory: near-datapath arrays."""
    dma_bandwidth_Bps: Scalar = eqx.field(converter=as_float)
    """Rate at which the core can move data between HBM and its SRAM."""
    transfer_start_B: Scalar = eqx.field(converter=as_float)
    """Scratchpad of which transfers are so short that starting them takes as long as moving; 0 for caches."""
    near_sram_B: Scalar = eqx.field(converter=as_float, default=0.0)
    """Part of the scratchpad that lanes and arrays work on, with ports for all of them (vector memory)."""
    shared_port_B: Scalar = eqx.field(converter=as_float, default=0.0)
    """Bytes a cycle of the memory that the threads of a core share (shared memory, LDS); 0: there is none."""


class Chip(AbstractShown, eqx.Module):
    """One accelerator package: enabled resources, and the physical ones where they differ."""

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
    """"scratchpad" or "cache": what holds the tiles."""
    core: Core
    """The core that is repeated `n_cores` times."""
    n_cores: Scalar = eqx.field(converter=as_float)
    """Enabled cores per package."""
    spare_frac: Scalar = eqx.field(converter=as_float)
    """Physical over enabled cores, minus 1."""
    cores_per_pool: Scalar = eqx.field(converter=as_float)
    """Cores that share one tile memory: 1 on Trainium, all on a GPU with a common L2."""
    n_dies: Scalar = eqx.field(converter=as_float)
    """Compute dies per package."""
    clock_Hz: Scalar = eqx.field(converter=as_float)
    """Tensor-engine clock."""
    nominal_clock_Hz: Scalar = eqx.field(converter=as_float)
    """Clock this pipeline reaches at the node's nominal voltage."""
    n_stacks: Scalar = eqx.field(converter=as_float)
    hbm_bandwidth_Bps: Scalar = eqx.field(converter=as_float)
    """Off-chip memory bandwidth of the package, reads plus writes."""
    hbm_capacity_B: Scalar = eqx.field(converter=as_float)
    """Off-chip memory capacity of the package."""
    scaleup_bandwidth_per_dir_Bps: Scalar = eqx.field(converter=as_float)
    """All scale-up links of the package together, one direction."""
    scaleout_bandwidth_per_dir_Bps: Scalar = eqx.field(converter=as_float)
    """Network share of one package, one direction."""
    die_to_die_bandwidth_Bps: Scalar = eqx.field(converter=as_float)
    """Bisection between compute dies, both directions; 0 for one die."""
    power_limit_W: Scalar = eqx.field(converter=as_float)
    """Sustained package power above which the chip slows down (TDP)."""
    pipeline_depth: Scalar = eqx.field(converter=as_float, default=1.0)
    """Stages of the datapaths over those of the pipeline whose clock is `nominal_clock_Hz`."""
    blank_mm2: Scalar = eqx.field(converter=as_float, default=0.0)
    """Silicon of a die that holds nothing: bought where heat must spread."""


def sides(written: str, what: str) -> tuple[int, int]:
    """Rows and columns of "128x128"; SpecError for anything else, which calls it `what`."""
    parts = written.split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise SpecError(f"{what} '{written}' is not of the form '128x128'")
    return int(parts[0]), int(parts[1])


def pool_B(chip: Chip) -> FloatLike:
    """Tile memory that one copy of a tile occupies once: scratchpad of a core times the cores that share it [B]."""
    return chip.core.scratchpad_B * chip.cores_per_pool


ROUNDING = 1e-6
"""Distance of a count or a bound from a step that counts as none [relative]."""


def shares_pool(n_pool: FloatLike, n_cores: FloatLike, n_dies: FloatLike) -> Any:
    """Whether all cores of a die or of the package share one tile memory: then those of another number do too."""
    return (n_pool > 1) & (n_pool * n_dies >= n_cores * (1 - ROUNDING))


def peak_FLOPps(chip: Chip, precision: str) -> FloatLike:
    """Dense matrix peak of the package; vendors' totals can differ, by what the preset's receipts say.

        P = 2 n_cores rows cols m_p f
    with m_p `macs_per_cycle` of the precision and f `clock_Hz`. 8-bit floats and integers share a rate.
    Source: [aws2026neuron] NKI guides: 128 x 128 x 2 x clock x multiplier reproduces every per-core figure.
    """
    t = chip.core.tensor
    return 2.0 * chip.n_cores * t.rows * t.cols * t.macs_per_cycle.of(precision) * chip.clock_Hz


def native_precisions(chip: Chip) -> tuple[str, ...]:
    """Precisions that the chip multiplies in, widest first."""
    t = chip.core.tensor
    return natives([float(t.macs_per_cycle.of(p)) for p in PRECISIONS], t.narrow_products)


def natives(rates: Sequence[float], narrow_products: str) -> tuple[str, ...]:
    """Precisions of a matrix unit with these `rates`, in the order of `PRECISIONS`, widest first."""
    named = {p: NARROW_PRODUCTS[narrow_products] if p == "fp8" else (p,) for p in PRECISIONS}
    return tuple(name for p, rate in zip(PRECISIONS, rates, strict=True) if rate > 0 for name in named[p])


def runs_in(native: Sequence[str], asked: str) -> str:
    """The precision that products asked for in `asked` run in: itself, or the next wider float; int8 is no FP8."""
    floats = [p for p in native if p != "int8" and PRECISION_BITS[p] >= PRECISION_BITS[asked]]
    wider = [p for p in floats if asked != "int8" or p != "fp8"]
    return asked if asked in native else wider[-1]
