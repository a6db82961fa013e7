"""The operators one rank runs under a plan: shapes after tensor parallelism, for training and decode."""

from __future__ import annotations

from ..technology.node import PRECISION_BITS
from ..workload.op import Op, elementwise, fused_attention, linear, passes, stored_attention
from ..workload.transformer import Decode, Model, Training
from .plan import Plan

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


def training_ops(workload: Training, plan: Plan) -> tuple[list[Op], list[float], float]:
    """Operators of the slowest stage, runs per micro batch, and the backward share of matrix work.

    Backward of a linear layer is two products of the same size (input and weight gradients). `recompute`
    repeats the attention scores ("selective") or the whole forward ("full").

    Source: [korthikanti2022] section 4 for tensor and sequence parallelism and for what is recomputed.

    Returns:
        Operators, runs per micro batch (layers of the heaviest stage; the head runs once), and the share
        of the micro batch's MACs that belong to the backward pass.
    """
    model, tp = workload.model, plan.tp
    tokens = float(plan.micro_batch * workload.sequence)
    layers = float(-(-model.n_layers // plan.pp))
    forward_runs = layers * (2.0 if plan.recompute == "full" else 1.0)
    ops: list[Op] = []
    runs: list[float] = []

    def add(op: Op, n: float) -> None:
        ops.append(op)
        runs.append(n)

    for name, k, n in _linears(model, tp):
        add(linear(name, tokens, k, n, workload.precision, weight_B=2.0), forward_runs)
        add(linear(f"{name} dgrad", tokens, n, k, workload.precision, weight_B=2.0), layers)
        add(linear(f"{name} wgrad", k, tokens, n, workload.precision, weight_B=2.0), layers)
    heads, kv_heads, _, _ = _shapes(model, tp)
    shape = (heads, kv_heads, model.head_dim, workload.sequence, workload.sequence, plan.micro_batch)
    attention, n_again = (fused_attention, 1) if workload.fused_attention else (stored_attention, 2)
    n_backward = 4 + (0 if plan.recompute == "none" else n_again)
    add(attention(*shape, n_products=2, softmax_passes=passes()["softmax_forward"]), forward_runs)
    add(attention(*shape, n_products=n_backward, softmax_passes=passes()["softmax_backward"]), layers)
    add(_block_elementwise(model, tp, tokens, "forward"), forward_runs)
    add(_block_elementwise(model, tp, tokens, "backward"), layers)
    for suffix, (m, k, n) in {
        "head": (tokens, model.hidden, model.vocab / tp),
        "head dgrad": (tokens, model.vocab / tp, model.hidden),
        "head wgrad": (model.hidden, tokens, model.vocab / tp),
    }.items():
        add(linear(suffix, m, k, n, "bf16"), 1.0)
    add(elementwise("loss", tokens * model.vocab / tp, passes()["loss"], moved=4.0), 1.0)
    macs = [n * sum(p.macs for p in op.products) for op, n in zip(ops, runs, strict=True)]
    forward = sum(m for op, m in zip(ops, macs, strict=True) if "grad" not in op.name and op.name != "attention")
    return ops, runs, 1.0 - forward / sum(macs) * (0.5 if plan.recompute == "full" else 1.0)


def decode_ops(workload: Decode, plan: Plan) -> tuple[list[Op], list[float]]:
    """Operators of one token step on one rank and how often each runs.

    Attention reads the whole KV cache of the rank; its products run once per query head on keys and
    values shared by the group (grouped-query attention streams the group's queries together).
    """
    model, tp = workload.model, plan.tp
    tokens = workload.batch / plan.dp
    weight_B = stored_B(workload.weight_precision)
    layers = float(model.n_layers)
    ops = [linear(name, tokens, k, n, workload.weight_precision, weight_B) for name, k, n in _linears(model, tp)]
    heads, kv_heads, _, _ = _shapes(model, tp)
    group = heads / kv_heads
    attention = fused_attention(
        kv_heads, kv_heads, model.head_dim, group, workload.context, tokens,
        n_products=2, softmax_passes=passes()["softmax_forward"], kv_B=stored_B(workload.kv_precision), causal=False,
    )  # fmt: skip
    ops += [attention, _block_elementwise(model, tp, tokens, "forward")]
    head = linear("head", tokens, model.hidden, model.vocab / tp, workload.weight_precision, weight_B)
    return [*ops, head], [layers] * len(ops) + [1.0]
