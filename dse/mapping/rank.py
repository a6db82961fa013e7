"""The operators one rank runs under a plan: shapes after tensor parallelism, for training and decode."""

from __future__ import annotations

from ..technology.node import PRECISION_BITS
from ..workload.op import Op, elementwise, fused_attention, linear, passes, stored_attention
from ..workload.transformer import Decode, Model, Training

BLOCK_SCALE_BITS = 8 / 32
"""Bits per element of the shared 8-bit scale of 32-element MX blocks."""


def stored_B(precision: str) -> float:
    """Bytes per stored weight, with the block scale below 16 bits.

    Source: [ocp2023mx] section 5: 32 elements share one 8-bit scale.
    """
    bits = PRECISION_BITS[precision]
    return (bits + (BLOCK_SCALE_BITS if bits < 16 else 0.0)) / 8


def _shapes(model: Model, tp: int) -> tuple[float, float, float, float]:
    """Query heads, KV heads, attention width and MLP width of one rank (KV heads are replicated below one)."""
    kv_heads = max(model.n_kv_heads / tp, 1.0)
    heads = model.n_heads / tp
    return heads, kv_heads, (heads + 2 * kv_heads) * model.head_dim, model.ffn / tp


def _linears(model: Model, tp: int) -> list[tuple[str, float, float]]:
    """Name, inputs and outputs of the four linear layers of a block on one rank."""
    heads, _, qkv, ffn = _shapes(model, tp)
    up = ffn * (model.n_mlp_matrices - 1)
    return [
        ("qkv", model.hidden, qkv),
        ("out", heads * model.head_dim, model.hidden),
        ("up", model.hidden, up),
        ("down", ffn, model.hidden),
    ]


def _block_elementwise(model: Model, tp: int, tokens: float, direction: str) -> Op:
    """Norms, residuals, RoPE and activation of a block in one operator; norms are sharded over the sequence."""
    heads, kv_heads, _, ffn = _shapes(model, tp)
    n, narrow = passes(), tokens * model.hidden / tp
    rotated, inner = tokens * (heads + kv_heads) * model.head_dim, tokens * ffn
    if direction == "forward":
        norm, act = n["norm_forward"] * model.norm_passes / 4, n["activation_forward"]
    else:
        norm, act = n["norm_backward"] * model.norm_passes / 4, n["activation_backward"]
    work = 2 * narrow * (norm + n["residual"]) + rotated * n["rope"] + inner * act
    moved = 2 * narrow * 4 + rotated * 2 + inner * model.n_mlp_matrices
    return Op("elementwise", (), "bf16", hbm_B=2 * moved, vector_elements=work, n_launches=4.0)


def training_ops(workload: Training, tp: int, micro_batch: int, again: bool) -> tuple[list[Op], list[Op], list[Op]]:
    """Operators of a block forward, of a block backward, and of the head and loss, for one micro batch.

    Backward of a linear layer is two products of the same size (input and weight gradients); attention is
    computed `again` in the backward pass unless nothing is recomputed.

    Source: [korthikanti2022] section 4 for tensor and sequence parallelism and for what is recomputed.
    """
    model = workload.model
    tokens = float(micro_batch * workload.sequence)
    precision = workload.precision
    linears = _linears(model, tp)
    heads, kv_heads, _, _ = _shapes(model, tp)
    shape = (heads, kv_heads, model.head_dim, workload.sequence, workload.sequence, micro_batch)
    attention, n_again = (fused_attention, 1) if workload.fused_attention else (stored_attention, 2)
    forward = [
        *(linear(name, tokens, k, n, precision, weight_B=2.0) for name, k, n in linears),
        attention(*shape, n_products=2, softmax_passes=passes()["softmax_forward"]),
        _block_elementwise(model, tp, tokens, "forward"),
    ]
    backward = [
        *(linear(f"{name} dgrad", tokens, n, k, precision, weight_B=2.0) for name, k, n in linears),
        *(linear(f"{name} wgrad", k, tokens, n, precision, weight_B=2.0) for name, k, n in linears),
        attention(*shape, n_products=4 + again * n_again, softmax_passes=passes()["softmax_backward"]),
        _block_elementwise(model, tp, tokens, "backward"),
    ]
    vocab = model.vocab / tp
    head = [
        linear("head", tokens, model.hidden, vocab, "bf16"),
        linear("head dgrad", tokens, vocab, model.hidden, "bf16"),
        linear("head wgrad", model.hidden, tokens, vocab, "bf16"),
        elementwise("loss", tokens * vocab, passes()["loss"], moved=4.0),
    ]
    return forward, backward, head


def decode_ops(workload: Decode, tp: int, dp: int) -> tuple[list[Op], list[Op]]:
    """Operators of a block and of the head for one token step on one rank.

    Attention reads the whole KV cache of the rank; its products run once per query head on keys and
    values shared by the group (grouped-query attention streams the group's queries together).
    """
    model = workload.model
    tokens = workload.batch / dp
    weight_B = stored_B(workload.weight_precision)
    ops = [linear(name, tokens, k, n, workload.weight_precision, weight_B) for name, k, n in _linears(model, tp)]
    heads, kv_heads, _, _ = _shapes(model, tp)
    group = heads / kv_heads
    attention = fused_attention(
        kv_heads, kv_heads, model.head_dim, group, workload.context, tokens,
        n_products=2, softmax_passes=passes()["softmax_forward"], kv_B=stored_B(workload.kv_precision), causal=False,
    )  # fmt: skip
    ops += [attention, _block_elementwise(model, tp, tokens, "forward")]
    head = linear("head", tokens, model.hidden, model.vocab / tp, workload.weight_precision, weight_B)
    return ops, [head]
