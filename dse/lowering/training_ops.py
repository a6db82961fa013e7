"""The operators one rank runs under a plan: shapes after sharding, in training; see `serving` for inference."""

from __future__ import annotations

import dataclasses

from ..technology.node import PRECISION_BITS
from ..workload.op import Kind, Op, elementwise, fused_attention, linear, passes, stored_attention
from ..workload.transformer import Model, Training, mean_context, n_dense_layers, value_dim
from .plan import Plan

BF16_B = 2.0
"""Weights and activations at the memory interface in training."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """An operator and where it runs."""

    op: Op
    """What runs."""
    phase: str
    """"forward", "backward" or "head" (once per micro batch)."""
    share: float = 1.0
    """Share of the blocks that have it."""
    streams: bool = True
    """Whether tokens can stream past its weight; not where the weight's gradient is the result."""


@dataclasses.dataclass(frozen=True)
class Linear:
    """A linear layer of a block on one rank, before anyone says in which precision it runs."""

    name: str
    """What it is."""
    tokens: float
    """Rows of the activation, per weight."""
    inputs: float
    """Contraction length."""
    outputs: float
    """Columns of the result."""
    kind: Kind = Kind.LINEAR
    """Whose weight it is."""
    count: float = 1.0
    """Weights of this size."""
    share: float = 1.0
    """Share of the blocks that have it."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """What of a plan decides the shapes of one rank."""

    tp: int
    """Tensor ranks."""
    cp: int = 1
    """Context ranks: each holds a part of every sequence."""
    ep: int = 1
    """Expert ranks: each holds a part of the experts."""
    micro_batch: int = 1
    """Sequences per micro batch."""
    sequence_parallel: bool = True
    """Whether norms and residuals are split over tensor ranks."""
    scores_again: bool = True
    """Whether the backward pass repeats stored attention; fused attention always computes its scores again."""
    stream: bool = False
    """Whether a block runs as one stream; see `streaming`."""


def shard(plan: Plan) -> Shard:
    """The part of `plan` that decides shapes."""
    scores_again = plan.recompute == "selective"
    return Shard(
        plan.tp, plan.cp, plan.ep, plan.micro_batch, plan.sequence_parallel, scores_again, plan.order == "stream"
    )


def rank_heads(model: Model, tp: int) -> tuple[float, float]:
    """Query and KV heads of one rank (KV heads are replicated below one)."""
    return model.n_heads / tp, max(model.n_kv_heads / tp, 1.0)


def _attention_linears(model: Model, tp: int, tokens: float) -> list[Linear]:
    """The linear layers of attention on one rank.

    Latent attention squeezes before it expands; the squeezing parts are replicated over tensor ranks.

    Source: [deepseek2024v2] eq. 37 to 47.
    """
    heads, kv_heads = rank_heads(model, tp)
    latent = model.latent
    if latent is None:
        qkv = (heads + 2 * kv_heads) * model.head_dim
        return [Linear("qkv", tokens, model.hidden, qkv), Linear("out", tokens, heads * model.head_dim, model.hidden)]
    wide = heads * (latent.nope_dim + latent.rope_dim)
    return [
        Linear("squeeze", tokens, model.hidden, latent.query_rank + latent.kv_rank + latent.rope_dim),
        Linear("query", tokens, latent.query_rank or model.hidden, wide),
        Linear("expand", tokens, latent.kv_rank, heads * (latent.nope_dim + latent.value_dim), Kind.EXPANSION),
        Linear("out", tokens, heads * latent.value_dim, model.hidden),
    ]


def adapters(workload: Training, s: Shard, tokens: float) -> list[Linear]:
    """The low-rank adapters beside the linear layers of attention.

    Source: [hu2022lora] section 4.1: W x becomes W x + B A x, A of `adapter_rank` rows.
    """
    r = float(workload.adapter_rank)
    if not r:
        return []
    beside = _attention_linears(workload.model, s.tp, tokens)
    down = [dataclasses.replace(x, name=f"{ADAPTER}{x.name} down", outputs=r) for x in beside]
    return [*down, *(dataclasses.replace(x, name=f"{ADAPTER}{x.name} up", inputs=r) for x in beside)]


ADAPTER = "adapter "
"""How names of an adapter's products begin."""


def _mlp_linears(model: Model, ffn: float, up: Linear) -> list[Linear]:
    """An MLP of inner width `ffn` on one rank; names, tokens, kind, count and share as in `up`."""
    wide = ffn * (model.n_mlp_matrices - 1)
    down = dataclasses.replace(up, name=f"{up.name}down", inputs=ffn, outputs=model.hidden)
    return [dataclasses.replace(up, name=f"{up.name}up", inputs=model.hidden, outputs=wide), down]


def block_linears(model: Model, s: Shard, tokens: float) -> list[Linear]:
    """Every linear layer of a block on one rank.

    Routed experts are a grouped product: each of the rank's experts sees the tokens of all expert ranks that
    chose it, `expert_imbalance` more on the fullest rank.
    """
    found = _attention_linears(model, s.tp, tokens)
    dense = n_dense_layers(model) / model.n_layers
    mlp = Linear("", tokens, 0.0, 0.0, share=dense)
    if dense > 0:
        found += _mlp_linears(model, model.ffn / s.tp, mlp)
    e = model.experts
    if e is not None:
        each = tokens * s.ep * e.per_token / e.n_experts * passes()["expert_imbalance"]
        routed = Linear("expert ", each, 0.0, 0.0, Kind.EXPERTS, e.n_experts / s.ep, 1.0 - dense)
        found += _mlp_linears(model, e.ffn / s.tp, routed)
        if e.shared_ffn:
            shared = dataclasses.replace(mlp, name="shared ", share=1.0 - dense)
            found += _mlp_linears(model, e.shared_ffn / s.tp, shared)
    return found


def _attentions(workload: Training, s: Shard, phase: str) -> list[Placed]:
    """Attention with the whole context and with a window, each with its share of blocks."""
    model = workload.model
    heads, kv_heads = rank_heads(model, s.tp)
    head_dim = (model.head_dim + value_dim(model)) / 2
    shape = (heads, kv_heads, head_dim, workload.sequence / s.cp, float(workload.sequence), float(s.micro_batch))
    softmax = passes()[f"softmax_{phase}"]
    if not workload.fused_attention:
        n_products = 2 if phase == "forward" else 4 + 2 * s.scores_again
        return [Placed(stored_attention(*shape, n_products=n_products, softmax_passes=softmax), phase)]
    n_products = 2 if phase == "forward" else 5
    windowed = model.n_window_layers / model.n_layers
    placed = []
    for share, is_window in ((1.0 - windowed, False), (windowed, True)):
        if share > 0:
            attended = mean_context(model, workload.sequence, is_window)
            op = fused_attention(*shape, n_products=n_products, softmax_passes=softmax, attended=attended)
            placed.append(Placed(op, phase, share))
    return placed


def norm_residual(model: Model, elements: float, phase: str) -> Op:
    """The norms of the results of a block's two branches, each in one kernel with the addition to the residual stream.

        v = 2 e (n + 1),   Q = 2 w e 3

    with e `elements`, n passes of the norm and w bytes of an element: branch and stream are read, the new stream is
    written.

    Source: [gemma2024v2] section 2: RMSNorm of the input and of the output of each sub-layer.
    Assumes: the kernel holds a row on chip, so that the norm's result never crosses the memory interface.
    """
    n = passes()
    norm = n[f"norm_{phase}"] * model.norm_passes / n["norm_forward"]
    return dataclasses.replace(elementwise("norm", 2 * elements, norm + n["residual"], moved=3.0), n_launches=2.0)


def block_elementwise(model: Model, s: Shard, tokens: float, phase: str, precision: str) -> list[Op]:
    """Element-wise work of a block: norms, residuals, RoPE, activation, casts to 8 bit and expert permutation."""
    n = passes()
    heads, kv_heads = rank_heads(model, s.tp)
    split = s.tp if s.sequence_parallel else 1
    narrow, rotated = tokens * model.hidden / split, tokens * (heads + kv_heads) * model.head_dim
    dense = n_dense_layers(model) / model.n_layers
    e = model.experts
    expert_inner = (e.per_token * e.ffn + e.shared_ffn) / s.tp if e else 0.0
    inner = tokens * (dense * model.ffn / s.tp + (1.0 - dense) * expert_inner)
    norm = n[f"norm_{phase}"] * model.norm_passes / n["norm_forward"]
    work = 2 * narrow * (norm + n["residual"]) + rotated * n["rope"] + inner * n[f"activation_{phase}"]
    moved = 2 * narrow * 4 + rotated * 2 + inner * model.n_mlp_matrices
    if e is not None:
        permuted = (1.0 - dense) * tokens * e.per_token * model.hidden / split
        work, moved = work + permuted * n["permute"], moved + 2 * permuted * n["permute"]
    cast = sum(x.tokens * x.inputs * x.count * x.share for x in block_linears(model, s, tokens))
    if PRECISION_BITS[precision] < 16:
        times = 1.0 if phase == "forward" else 2.0
        work, moved = work + times * cast * n["cast"], moved + times * cast * n["cast_moves"]
    if not model.sandwich_norms:
        return [Op("elementwise", Kind.ELEMENTWISE, (), "bf16", BF16_B * moved, work, n_launches=4.0)]
    # the addition is in the kernel of the second norm, so the first only reads the stream and writes its result
    work, moved = work - 2 * narrow * n["residual"], moved - 2 * narrow * 2
    rest = Op("elementwise", Kind.ELEMENTWISE, (), "bf16", BF16_B * moved, work, n_launches=4.0)
    return [rest, norm_residual(model, narrow, phase)]


def _named(p: Placed) -> Placed:
    """`p` with a name that tells the backward run of an operator from its forward run."""
    if p.phase != "backward" or p.op.kind.has_weight:
        return p
    return dataclasses.replace(p, op=dataclasses.replace(p.op, name=f"{p.op.name} backward"))


def training_ops(workload: Training, s: Shard) -> list[Placed]:
    """Operators of a block forward and backward and of the head, for one micro batch on one rank.

    Backward of a linear layer is two products of the same size (input and weight gradients); frozen weights need no
    gradient of their own, but their adapters do.

    Source: [korthikanti2022] section 4 for tensor and sequence parallelism and for what is recomputed; [hu2022lora]
    section 4 for adapters.
    """
    model = workload.model
    tokens = float(s.micro_batch * workload.sequence) / s.cp
    precision = workload.precision
    placed: list[Placed] = []
    frozen = workload.adapter_rank > 0
    for x in [*block_linears(model, s, tokens), *adapters(workload, s, tokens)]:
        t, k, n = x.tokens, x.inputs, x.outputs
        shapes = {"": (t, k, n), " dgrad": (t, n, k), " wgrad": (k, t, n)}
        if frozen and not x.name.startswith(ADAPTER):
            del shapes[" wgrad"]
        for suffix, (m, inputs, outputs) in shapes.items():
            op = linear(x.name + suffix, m, inputs, outputs, precision, BF16_B, x.count, x.kind)
            placed.append(Placed(op, "backward" if suffix else "forward", x.share, suffix != " wgrad"))
    for phase in ("forward", "backward"):
        placed += _attentions(workload, s, phase)
        placed += [Placed(op, phase) for op in block_elementwise(model, s, tokens, phase, precision)]
    placed = [_named(p) for p in placed]
    predicted = tokens if model.causal else tokens * passes()["masked_frac"]
    vocab = model.vocab / s.tp
    head = [
        linear("head", predicted, model.hidden, vocab, "bf16"),
        linear("head dgrad", predicted, vocab, model.hidden, "bf16"),
        elementwise("loss", predicted * vocab, passes()["loss"], moved=4.0),
    ]
    if not frozen:
        head.append(linear("head wgrad", model.hidden, predicted, vocab, "bf16"))
    return [*placed, *(Placed(op, "head") for op in head)]
