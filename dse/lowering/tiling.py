"""Tiling of matrix products on the PE array: whole tiles, the smallest tile, and the precision products run in."""

from __future__ import annotations

import dataclasses
import math
from typing import TypeAlias, TypeVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..core.types import LESS_IS_BETTER, SIGN, as_float, host_record
from ..hardware.chip import TensorEngine, natives, runs_in
from ..technology.node import PRECISION_BITS, PRECISIONS, rate_name
from ..workload.op import Op, Product, passes
from ..workload.storage import PARTS
from ..workload.transformer import Training, Workload, products_of


@dataclasses.dataclass(frozen=True)
class ArrayShape:
    """A PE array as plain numbers, for lowering on the host."""

    rows: float
    cols: float
    rates: tuple[float, ...]
    """MACs of one PE per cycle in the order of `PRECISIONS`; 0 where the array lacks one."""
    granules_contract: tuple[float, ...]
    """Contraction length that is padded up to, in the order of `PRECISIONS`."""
    granule_stationary: float
    granule_moving: float
    tile_moving: float
    """Longest moving length of the smallest piece of work."""
    tile_contract: float
    """Longest contraction of the smallest piece of work; longer ones are split over cores."""

    narrow_products: str = "float"
    """What the 8-bit rate multiplies, one of `hardware.chip.NARROW_PRODUCTS`."""

    def runs_in(self, precision: str) -> str:
        """What products asked for in `precision` run in: that if the array has it, else the next wider it has."""
        return runs_in(natives(self.rates, self.narrow_products), precision)

    def executed(self, precision: str) -> int:
        """Index among `PRECISIONS` of the rate that `precision` runs at."""
        return PRECISIONS.index(rate_name(self.runs_in(precision)))


def array_shape(engine: TensorEngine) -> ArrayShape:
    """`engine` as plain numbers."""
    # plain floats: caches of lowering have it in their keys, and arrays have no hash
    return ArrayShape(
        rows=float(engine.rows),
        cols=float(engine.cols),
        rates=tuple(float(engine.macs_per_cycle.of(p)) for p in PRECISIONS),
        granules_contract=tuple(float(engine.granule_contract.of(p)) for p in PRECISIONS),
        granule_stationary=float(engine.granule_stationary),
        granule_moving=float(engine.granule_moving),
        tile_moving=float(engine.tile_moving),
        tile_contract=float(engine.tile_contract),
        narrow_products=engine.narrow_products,
    )


PerOp: TypeAlias = Float[Array | np.ndarray, "*batch n"]
"""One number per operator."""


class OpDemand(eqx.Module):
    """What each operator asks of a chip, as struct of arrays of shape (n_ops,); every entry is >= 0."""

    linear_cycles: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Cycles of one PE array for linear layers in 16 bit and wider, padding included, before spreading over cores."""
    narrow_cycles: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Likewise for linear layers in 8 bit and narrower."""
    attention_cycles: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Likewise for the products of attention."""
    tile_cycles: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Cycles of the smallest piece that one core can take."""
    hbm_B: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Compulsory memory traffic."""
    reuse_half: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Coefficient of the traffic that falls as tile memory^-1/2 [B^1.5]."""
    reuse_one: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Coefficient of the traffic that falls as tile memory^-1 [B^2]."""
    vector_elements: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    spread_B: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Bytes between n tile memories that share an operator, over sqrt(n)."""
    starting_B: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """What DMA engines could move in the time that they take to start short pieces of a weight."""
    n_launches: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    runs: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """How often the operator runs per micro batch on the slowest stage."""
    idle_runs: PerOp = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """Likewise on the mean of the other stages, through which a pipeline fills and drains."""
    macs: Float[Array | np.ndarray, "*batch n 4"] = eqx.field(converter=as_float, metadata={SIGN: LESS_IS_BETTER})
    """MACs of one run by executed precision, which say what the operator burns."""


def padded(length: float, granule: float) -> float:
    """`length` rounded up to whole granules."""
    return math.ceil(length / granule - 1e-9) * granule  # lengths are quotients: rounding must not cost a granule


def n_padded_to(length: float, array: ArrayShape) -> float:
    """What the shorter free length is padded up to: a kernel's tile, or a matrix instruction on GPUs.

    Source: [nvidia2022hopper] warp-level products of 16 rows.
    """
    if array.granule_moving != array.tile_moving:  # rows stream past an array; kernels of GPUs pad to tiles
        return array.granule_moving
    return min(array.granule_moving, max(INSTRUCTION_ROWS, padded(length, INSTRUCTION_ROWS)))


def product_cycles(product: Product, array: ArrayShape, executed: int) -> tuple[float, float]:
    """Array cycles of all `count` products and of the smallest piece a core can take, at the rate of index `executed`.

        cycles = pad(K, g_k) pad(N, g_n) pad(M, g_m) count / (rows cols m_p)
    Either free dimension may stream, whichever is cheaper.
    Source: [aws2026nki] TensorE cost model: max(N, 64) cycles per (K <= 128 m_p) x (M <= 128) tile, N <= 512.
    """
    # padding is in the volume, not here: an idle PE costs cycles, and no energy
    rate = array.rows * array.cols * array.rates[executed]
    m, n = product.moving, product.stationary
    g_n, g_m = array.granule_stationary, n_padded_to(min(m, n), array)
    contract = padded(product.contract, array.granules_contract[executed])
    # what streams is padded to instructions, what stays to the array: kernels choose the better of the two ways
    volume = min(padded(m, g_m) * padded(n, g_n), padded(n, g_m) * padded(m, g_n)) * contract
    # a small product is one piece: it cannot take longer than all of itself
    tile = min(min(contract, array.tile_contract) * g_n * max(g_m, min(array.tile_moving, m)), volume)
    return volume * product.count / rate, tile / rate


@dataclasses.dataclass(frozen=True)
class RankOps:
    """Operators of a rank on a PE array, before anyone counts how often they run; arrays over operators."""

    names: tuple[str, ...]
    columns: np.ndarray
    """The fields of `OpDemand` but `runs`, shape (11, n_ops)."""
    macs: np.ndarray
    """MACs by executed precision, shape (n_ops, 4)."""


def rank_ops(ops: list[Op], array: ArrayShape) -> RankOps:
    """`ops` tiled on `array`."""
    rows, macs = [], np.zeros((len(ops), len(PRECISIONS)))
    for i, op in enumerate(ops):
        executed = array.executed(op.precision)
        pieces = [product_cycles(p, array, executed) for p in op.products]
        attends = op.kind.meets_the_past
        # a block of sums in SRAM saves by its side, S^1/2; keys and values that stay for all queries by S itself
        half, one = (0.0, op.reuse_B) if attends else (op.reuse_B, 0.0)
        # a kernel of small instructions holds the array longer; it multiplies no more, so MACs and energy stay
        cycles, tile = sum(c for c, _ in pieces) / op.rate, max((t for _, t in pieces), default=0.0)
        column = 2 if attends else int(PRECISION_BITS[PRECISIONS[executed]] < NARROW_BITS)
        split = [cycles * (column == k) for k in range(3)]  # two are 0: each kind has a rate of its own
        wider = op.stored_elements and PRECISION_BITS[PRECISIONS[executed]] > op.stored_bits
        converted = passes()["dequantise"] * op.stored_elements if wider else 0.0
        rows.append(
            (
                *split,
                tile,
                op.hbm_B,
                half,
                one,
                op.vector_elements + converted,
                op.spread_B,
                op.starting_B,
                op.n_launches,
            )
        )
        macs[i, executed] = op.macs
    return RankOps(tuple(op.name for op in ops), np.asarray(rows, dtype=float).T, macs)


def op_demand(ops: RankOps, runs: np.ndarray, whole: np.ndarray | None = None, n_stages: int = 1) -> OpDemand:
    """`ops`, each run `runs` times per micro batch on the slowest of `n_stages`, `whole` times on all of them."""
    others = runs if whole is None or n_stages == 1 else (whole - runs) / (n_stages - 1)
    return host_record(OpDemand, *ops.columns, runs=runs, idle_runs=others, macs=ops.macs)


INSTRUCTION_ROWS = 16.0
"""Rows of the smallest matrix instruction of GPUs."""
NARROW_BITS = 16
"""Products of fewer bits reach another share of their peak: quantisation and epilogues weigh more."""


Asked = TypeVar("Asked", bound=Workload)


def as_run(workload: Asked, array: ArrayShape) -> Asked:
    """`workload` with products and operands in the precision asked for or the next wider that `array` has."""
    if isinstance(workload, Training):
        return dataclasses.replace(workload, precision=array.runs_in(workload.precision))
    usual = array.runs_in(products_of(workload, ""))
    parts = {p: array.runs_in(products_of(workload, p)) for p in PARTS}
    # only what differs is said, so that equal questions are one key of every cache
    others = [f"{p}={x}" for p, x in parts.items() if x != usual]
    return dataclasses.replace(workload, product_precision=",".join([usual, *others]))
