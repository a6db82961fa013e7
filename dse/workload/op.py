"""`Op`: kernel-sized operators of one rank after sharding, with FLOP, bytes and element-wise passes, without times."""

from __future__ import annotations

import dataclasses
import enum
import math
from functools import cache
from pathlib import Path

from ..core.provenance import Sourced, load_receipts, number
from ..technology.node import PRECISION_BITS

_PASSES = Path(__file__).parent / "data" / "passes.toml"


PARTIAL_SUM_B = 4.0
"""Partial sums are fp32 [aws2026nki]."""


@dataclasses.dataclass(frozen=True)
class Product:
    """`count` independent matrix products (moving x contract) @ (contract x stationary)."""

    moving: float
    """Rows that stream through the array."""
    stationary: float
    """Columns held in the array."""
    contract: float
    """Length summed over."""
    count: float = 1.0

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all `count` products."""
        return self.moving * self.stationary * self.contract * self.count


class Kind(enum.Enum):
    """Kind of an operator by its use of weights and cache; set explicitly by every constructor."""

    LINEAR = "linear"
    """A matrix product with a weight that every token meets."""
    EXPERTS = "experts"
    """Grouped matrix products with the weights of experts, each meeting the tokens that chose it."""
    EXPANSION = "expansion"
    """A matrix product with a weight that makes keys and values out of a cached latent."""
    ATTENTION = "attention"
    """Products of new tokens with what earlier ones left; no weight."""
    RECURRENCE = "recurrence"
    """Work on a state of fixed size; no weight."""
    ELEMENTWISE = "elementwise"
    """No product: passes over elements."""

    @property
    def has_weight(self) -> bool:
        """Whether the operator multiplies with a weight, which is read once if two runs share a pass."""
        return self in (Kind.LINEAR, Kind.EXPERTS, Kind.EXPANSION)

    @property
    def meets_the_past(self) -> bool:
        """Whether the operator multiplies with a KV cache or a recurrent state."""
        return self in (Kind.ATTENTION, Kind.RECURRENCE)


@dataclasses.dataclass(frozen=True)
class Op:
    """One operator on one rank."""

    name: str
    """Name for tables, such as "qkv" or "attention"."""
    kind: Kind
    products: tuple[Product, ...]
    precision: str
    hbm_B: float
    """Bytes that cross the memory interface even with unlimited SRAM."""
    vector_elements: float
    """Element passes on the vector engines, eviction of results included."""
    reuse_B: float = 0.0
    """Coefficient of the extra traffic that falls with SRAM: as SRAM^-1 for attention [B^2], else SRAM^-1/2 [B^1.5]."""
    spread_B: float = 0.0
    """Bytes between n tile memories that share the operator, over sqrt(n)."""
    starting_B: float = 0.0
    """What DMA engines could move in the time that they take to start short pieces of the weight."""
    n_launches: float = 1.0
    """Kernels or instruction streams started."""
    stored_elements: float = 0.0
    """Weights read, which vector engines convert if products run wider than the weights are stored."""
    stored_bits: float = 16.0
    rate: float = 1.0
    """Share of the matrix unit's rate that the kernel's instructions reach."""

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all products."""
        return sum(p.macs for p in self.products)


@cache
def passes() -> dict[str, float]:
    """Element passes of the vector engines per element, by operation name."""
    facts = load_receipts(_PASSES)["passes"]
    return {name: number(facts, name) for name in facts}


def pass_receipts() -> list[Sourced]:
    """Receipts of the pass counts."""
    return list(load_receipts(_PASSES)["passes"].values())


def linear(
    name: str, tokens: float, inputs: float, outputs: float, precision: str, weight_B: float | None = None,
    count: float = 1.0, kind: Kind = Kind.LINEAR,
) -> Op:  # fmt: skip
    """`tokens x inputs` times a weight of `inputs x outputs`, activations in bf16 at the memory interface.

        Q = c [ w_B K N + 2 M (K + N)  +  2 M K N w sqrt(r / S) ]
    with c `count` products of this size, each with its own weight, M `tokens`, K `inputs`, N `outputs`, w bytes of an
    operand in SRAM, r those of a partial sum and S the tile memory. The second part is read again when a square block
    of sums, sqrt(S / r) wide, stays in SRAM while operands stream past: the I/O lower bound.
    Source: [hong1981] for the form; [kwasniewski2019] section 5 for the resident block and the constant 2.
    Assumes: a vector engine evicts each result once; the moving tiles take what `tile_memory_frac` leaves.
    """
    operand_B = PRECISION_BITS[precision] / 8
    stored_B = operand_B if weight_B is None else weight_B
    # as if the weight stayed and tokens moved: `product_cycles` takes the cheaper of the two ways
    product = Product(tokens, outputs, inputs, count)
    return Op(
        name=name,
        kind=kind,
        products=(product,),
        precision=precision,
        hbm_B=count * (stored_B * inputs * outputs + 2 * tokens * (inputs + outputs)),
        vector_elements=passes()["evict"] * count * tokens * outputs,
        reuse_B=2 * product.macs * operand_B * PARTIAL_SUM_B**0.5,
    )


def spread_B(tokens: float, inputs: float, outputs: float) -> float:
    """Bytes between n tile memories that share a thin product, over sqrt(n).

        2 M sqrt(a b K N)
    Memories form a grid over K and N: rows read the same activations (a = 2 bytes), columns add up partial sums (b = 8
    bytes, written and read), and the best grid pays the same for both.
    Source: [kwasniewski2019] section 6 for grids that balance both; the two costs are elementary.
    """
    # the least of x g + y / g over the shape g of the grid is 2 sqrt(x y)
    return 2.0 * tokens * math.sqrt(2.0 * 2.0 * PARTIAL_SUM_B * inputs * outputs)


def repeated(op: Op, times: float) -> Op:
    """`op` with all its work multiplied by `times`, in the same number of launches."""
    products = tuple(dataclasses.replace(p, count=p.count * times) for p in op.products)
    return dataclasses.replace(
        op, products=products, hbm_B=op.hbm_B * times, vector_elements=op.vector_elements * times,
        reuse_B=op.reuse_B * times, spread_B=op.spread_B * times,
        starting_B=op.starting_B * times,
    )  # fmt: skip


def elementwise(name: str, elements: float, n_passes: float, moved: float) -> Op:
    """Element-wise work: `n_passes` over `elements`, `moved` bf16 reads and writes per element."""
    return Op(name, Kind.ELEMENTWISE, (), "bf16", hbm_B=2 * moved * elements, vector_elements=n_passes * elements)


def fused_attention(
    heads: float, kv_heads: float, head_dim: float, queries: float, context: float, sequences: float,
    n_products: float, softmax_passes: float, kv_B: float = 2.0, attended: float | None = None,
) -> Op:  # fmt: skip
    """Scores, softmax and weighted sum without storing the scores (FlashAttention-style).

        FLOP = n_products 2 q a d h,   Q = 2 w q d h (in, out) + 2 w c d h_kv  +  2 q a d^2 h w^2 / S
    with q `queries`, c `context`, a `attended` (c/2 under a causal mask, less with a window), d `head_dim`, h `heads`,
    w bytes per element and S the tile memory; `n_products` is 2 forward, 4 or 5 backward (5 recomputes the scores).
    Source: [dao2022] theorem 2 for the d^2 / S traffic.
    """
    attended = context if attended is None else attended
    # half of the products are scores and half are values, forward and backward
    scores = Product(queries, attended, head_dim, count=heads * sequences * n_products / 2)
    values = Product(queries, head_dim, attended, count=heads * sequences * n_products / 2)
    n_scores = heads * sequences * queries * attended
    # queries in and results out at 2 B each, keys and values once per KV head; two products forward are one such trip
    touched = sequences * head_dim * (2 * heads * queries * 2 + 2 * kv_heads * context * kv_B) * n_products / 2
    return Op(
        name="attention",
        kind=Kind.ATTENTION,
        products=(scores, values),
        precision="bf16",
        hbm_B=touched,
        vector_elements=softmax_passes * n_scores,
        # w squared: rows that fit in S are S / (w d), and every trip of theirs reads w bytes an element
        # a single query has no block of rows to re-read keys for
        reuse_B=2 * 2.0**2 * n_products / 2 * n_scores * head_dim**2 if queries > 1 else 0.0,
    )


def stored_attention(
    heads: float, kv_heads: float, head_dim: float, queries: float, context: float, sequences: float,
    n_products: float, softmax_passes: float,
) -> Op:  # fmt: skip
    """Attention that stores its scores: all products, masked or not, and `stored_score_moves` per score.

    As `fused_attention`; `n_products` is 2 forward, 4 or 6 backward (6 repeats the forward).
    Source: [korthikanti2022] figure 3 and section 4.1: scores, softmax, dropout and mask are separate kernels.
    """
    fused = fused_attention(heads, kv_heads, head_dim, queries, context, sequences, n_products, softmax_passes)
    n_scores = heads * sequences * queries * context
    # `reuse_B` is 0 below: scores cross the memory interface whatever the tile memory holds
    pairs, n = n_products / 2, passes()
    moved_B = 2.0 * n["stored_score_moves"] * n_scores * pairs
    return dataclasses.replace(
        fused, hbm_B=fused.hbm_B + moved_B, reuse_B=0.0, n_launches=n["stored_score_kernels"] * pairs
    )
