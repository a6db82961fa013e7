"""Operators of one rank in a training step: shapes after sharding (see `serving_ops` for inference)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..core.provenance import number
from ..technology.node import PRECISION_BITS
from ..workload.blocks import Experts, Feed, Mlp, last_mlp_frac
from ..workload.latent import Latent
from ..workload.mixers import AbstractMixer, Attention
from ..workload.op import Kind, Op, elementwise, fused_attention, linear, passes, repeated, stored_attention
from ..workload.recurrences import Recurrence
from ..workload.transformer import Model, Training, forward_FLOP_per_token, is_causal, mixing_FLOP_per_token, n_outputs
from .linears import ADAPTER, Shard, adapters, block_linears
from .mixer_ops import heads_of, index_op, mixer_elements, recurrence_op
from .plan import Plan
from .software import attention_rate_frac, framework, moves

BF16_B = 2.0
"""Weights and activations at the memory interface in training."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """An operator and where it runs."""

    op: Op
    phase: str
    """"forward", "backward" or "head" (once per micro batch)."""
    share: float = 1.0
    streams: bool = True
    """Whether tokens can stream past its weight; not where the weight's gradient is the result."""
    result: str = ""
    """Its result where not every replay makes it: "last" of a block, which no gradient needs, or of a "mixer"."""


def shard(plan: Plan, software: str, n_instruction_rows: float = 0.0) -> Shard:
    """The part of `plan` that decides shapes, under a kind of software on a chip with such matrix instructions."""
    scores_again = plan.recompute == "selective"
    return Shard(
        plan.tp, plan.cp, plan.ep, plan.micro_batch, plan.sequence_parallel, scores_again, plan.order == "stream",
        software, attention_rate_frac(software, n_instruction_rows),
    )  # fmt: skip


def _attention(mixer: Attention | Latent, workload: Training, s: Shard, phase: str) -> list[Op]:
    """Scores and values of one kind of attention, and of the indexer that chooses for it."""
    heads, kv_heads = heads_of(mixer, s.tp)
    # scores contract over one width, results have the other: with their mean, both products have their MACs
    head_dim, sequence = (mixer.head_dim + mixer.value_dim) / 2, float(workload.sequence)
    shape = (heads, kv_heads, head_dim, workload.sequence / s.cp, sequence, float(s.micro_batch))
    softmax = passes()[f"softmax_{phase}"]
    if not workload.fused_attention:
        # gradients of both factors of both products, and both products again where scores are not kept
        n_products = 2 if phase == "forward" else 4 + 2 * s.scores_again
        return [stored_attention(*shape, n_products=n_products, softmax_passes=softmax)]
    n_products = 2 if phase == "forward" else 5  # scores again, and gradients of values, scores, queries and keys
    attended = mixer.n_attended(0.0, sequence)
    fused = fused_attention(*shape, n_products=n_products, softmax_passes=softmax, attended=attended)
    found = [dataclasses.replace(fused, rate=s.attention_rate_frac)]
    if mixer.indexer and not mixer.indexer.shared:
        seen = sequence / 2
        # half of the sequence lies before a token on average; choosing is for causal attention alone
        one = index_op(mixer, workload.sequence / s.cp, seen, sequence, float(s.micro_batch), BF16_B)
        times = 1.0 if phase == "forward" else 2.0
        found.append(one if times == 1.0 else repeated(one, times))
    return found


def _mixer_ops(workload: Training, s: Shard, phase: str) -> list[Placed]:
    """What every kind of mixer does with earlier tokens, each with its share of blocks."""
    placed: list[Placed] = []
    for mixer, share in model_mixers(workload):
        if isinstance(mixer, Attention | Latent):
            placed += [Placed(op, phase, share) for op in _attention(mixer, workload, s, phase)]
        elif isinstance(mixer, Recurrence):
            op = recurrence_op(mixer, s.tp, workload.sequence / s.cp, float(s.micro_batch), phase)
            placed.append(Placed(op, phase, share))
    return placed


def model_mixers(workload: Training) -> tuple[tuple[AbstractMixer, float], ...]:
    """Mixers at work; scores that are written to memory are written whole, so that windows make no difference."""
    if workload.fused_attention:
        return workload.model.working_mixers
    whole: dict[AbstractMixer, float] = {}
    for m, share in workload.model.working_mixers:
        alike = dataclasses.replace(m, window=0, chunked=False) if isinstance(m, Attention) else m
        whole[alike] = whole.get(alike, 0.0) + share
    return tuple(whole.items())


def norm_residual(model: Model, elements: float, n: float, phase: str) -> Op:
    """`n` norms of the results of branches, each in one kernel with the addition to the residual stream.

        v = n e (p + 1),   Q = 3 n e w
    with e `elements` of each, p passes of the norm and w bytes of an element, moved three times.
    Source: [gemma2024v2] section 2: RMSNorm of the input and of the output of each sub-layer.
    Assumes: the kernel holds a row on chip, so that the norm's result never crosses the memory interface.
    """
    norm = _norm_passes(model, phase) + passes()["residual"]
    return dataclasses.replace(elementwise("norm", n * elements, norm, moved=3.0), n_launches=n)


def _norm_passes(model: Model, phase: str) -> float:
    # the table is of RMSNorm; what another norm takes more forward, it takes more backward as well
    n = passes()
    return n[f"norm_{phase}"] * model.norm_passes / n["norm_forward"]


def _feed_elements(feed: Feed, hidden: int, s: Shard, tokens: float, phase: str) -> tuple[float, float]:
    """Element passes and moves of activations, and of the tokens' way to the experts and back."""
    n = passes()
    crossed = moves(s.software)[f"glu_{phase}" if feed.n_matrices == 3 else f"activation_{phase}"]
    if isinstance(feed, Mlp):
        inner = tokens * (feed.ffn / s.tp)
        return inner * n[f"activation_{phase}"], inner * crossed
    inner = tokens * ((feed.per_token * feed.ffn + feed.shared_ffn + feed.parallel_ffn) / s.tp)
    # a tensor rank sorts its own part of the sequence, or all ranks all of it
    split = s.tp if s.sequence_parallel else 1
    permuted = tokens * feed.per_token * feed.routed_width(hidden) / split * n["permute"]
    return inner * n[f"activation_{phase}"] + permuted, inner * crossed + 2 * permuted


def block_elementwise(
    model: Model, s: Shard, tokens: float, phase: str, precision_of: Callable[[str], str], scales_apart: bool = True
) -> list[Op]:
    """Element-wise work of a block: norms, residuals, RoPE, activation, casts to 8 bit and expert permutation.

    `precision_of` is how products with a part's weights run; with `scales_apart` a kernel finds scales of 4-bit ones.
    """
    n = passes()
    narrow = tokens * model.hidden / (s.tp if s.sequence_parallel else 1)
    norm = _norm_passes(model, phase)
    working = [(b, share) for b, share in model.shares if not b.rests]
    # each branch has a norm before it; those beyond stand behind branches, in the kernel of the addition
    before = sum(share * min(b.n_norms, b.n_branches) for b, share in working)
    after = sum(share * max(b.n_norms - b.n_branches, 0) for b, share in working)
    adds = sum(share * b.n_branches for b, share in working)
    crossed = moves(s.software)
    work = narrow * (before * norm + adds * n["residual"])
    moved = narrow * (before * crossed[f"norm_{phase}"] + adds * crossed[f"residual_{phase}"])
    for mixer, share in model.working_mixers:
        w, m = mixer_elements(mixer, s.tp, tokens, phase, norm, crossed["rotary"])
        work, moved = work + share * w, moved + share * m
    for feed, share in model.working_feeds:
        w, m = _feed_elements(feed, model.hidden, s, tokens, phase)
        work, moved = work + share * w, moved + share * m
    bits = [(PRECISION_BITS[precision_of(x.part)], x) for x in block_linears(model, s, tokens)]
    cast = sum(x.tokens * x.inputs * x.count * x.share for width, x in bits if width < 16)
    times = 1.0 if phase == "forward" else 2.0
    work, moved = work + times * cast * n["cast"], moved + times * cast * n["cast_moves"]
    routed = sum(share for feed, share in model.working_feeds if isinstance(feed, Experts))
    # a kernel each: norms with the additions before them, what a mixer does besides its products, activations
    n_launches = before + sum(share for _, share in [*model.working_mixers, *model.working_feeds])
    n_launches += routed * number(framework(), "n_routing_kernels")
    if scales_apart:
        n_launches += number(framework(), "n_scaling_kernels") * sum(x.share for width, x in bits if width < 8)
    # the addition is in the kernel of the second norm, so the first only reads the stream and writes its result
    work = work - after * narrow * n["residual"]
    moved = moved - after * narrow * crossed[f"residual_{phase}"]
    rest = Op("elementwise", Kind.ELEMENTWISE, (), "bf16", BF16_B * moved, work, n_launches=n_launches)
    return [rest, norm_residual(model, narrow, after, phase)] if after else [rest]


def _named(p: Placed) -> Placed:
    """`p` with a name that tells the backward run of an operator from its forward run."""
    if p.phase != "backward" or p.op.kind.has_weight:
        return p
    return dataclasses.replace(p, op=dataclasses.replace(p.op, name=f"{p.op.name} backward"))


def _with_sum(op: Op, weights: float, software: str) -> list[Op]:
    """The product that makes the gradient of `weights`, and what adds it to those of earlier micro batches."""
    kept = moves(software)
    added_B = kept["sum_B"] * weights
    if not kept["sum_apart"]:
        return [dataclasses.replace(op, hbm_B=op.hbm_B + added_B)]
    return [op, Op(f"{op.name} sum", Kind.ELEMENTWISE, (), "bf16", added_B, weights)]


def training_ops(workload: Training, s: Shard) -> list[Placed]:
    """Operators of a block forward and backward and of the head, for one micro batch on one rank.

    Backward of a linear layer is two products of its size (input and weight gradients); frozen weights need one.
    Source: [korthikanti2022] section 4 for tensor ranks and recomputation; [hu2022lora] section 4 for adapters.
    """
    model = workload.model
    tokens = float(s.micro_batch * workload.sequence) / s.cp
    precision, frozen = workload.precision, workload.adapter_rank > 0
    last = "down" if last_mlp_frac(model.shares) else ""
    placed: list[Placed] = []
    for x in [*block_linears(model, s, tokens), *adapters(workload, s, tokens)]:
        t, k, n = x.tokens, x.inputs, x.outputs
        # inputs' gradient: the result's times the turned weight; the weight's: turned inputs times the result's
        shapes = {"": (t, k, n), " dgrad": (t, n, k), " wgrad": (k, t, n)}
        if frozen and x.part != ADAPTER:
            del shapes[" wgrad"]
        for suffix, (m, inputs, outputs) in shapes.items():
            op = linear(x.name + suffix, m, inputs, outputs, precision, BF16_B, x.count, x.kind)
            # the gradient of a weight sums over tokens, so that none of them streams past anything that stays
            ops = [op] if suffix != " wgrad" else _with_sum(op, m * outputs * x.count, s.software)
            result = "" if suffix else "last" if x.name == last else "mixer" * (x.part == "attention")
            placed += [Placed(o, "backward" if suffix else "forward", x.share, suffix != " wgrad", result) for o in ops]
    for phase in ("forward", "backward"):
        placed += _mixer_ops(workload, s, phase)
        placed += [Placed(op, phase) for op in block_elementwise(model, s, tokens, phase, lambda _: precision)]
    return [*(_named(p) for p in placed), *(Placed(op, "head") for op in _head(workload, s, tokens))]


def _head(workload: Training, s: Shard, tokens: float) -> list[Op]:
    """The product with the vocabulary, its gradients and the loss."""
    model = workload.model
    predicted = tokens * predicted_frac(model)
    vocab = n_outputs(model) / s.tp
    # 16 bit whatever the blocks multiply in, as [deepseek2024v3] section 3.3.1 keeps the output head
    head = [
        linear("head", predicted, model.hidden, vocab, "bf16"),
        linear("head dgrad", predicted, vocab, model.hidden, "bf16"),
        elementwise("loss", predicted * vocab, passes()["loss"], moved=moves(s.software)["logit_B"] / BF16_B),
    ]
    if not workload.adapter_rank:
        head.append(linear("head wgrad", model.hidden, predicted, vocab, "bf16"))
    return head


def predicted_frac(model: Model) -> float:
    """Share of positions that training predicts: all of a decoder's, the masked ones of an encoder's."""
    return 1.0 if is_causal(model) else passes()["masked_frac"]


def useful_FLOP_per_token(workload: Training) -> float:
    """FLOP per token of a step that no plan saves, for MFU: without recomputation, and what nobody asks for.

        F = 3 A + g (W + m H) + 3 D
    with A products with earlier tokens, W with the blocks' weights, H with the vocabulary at a share m of positions, D
    with adapters, each in a forward pass, and g 3, or 2 where the weights are frozen: gradients of inputs alone.
    Source: [narayanan2021megatron] appendix for 3; [hu2022lora] section 4 for frozen weights.
    """
    model, sequence = workload.model, float(workload.sequence)
    head = 2.0 * model.hidden * n_outputs(model)
    mixing = mixing_FLOP_per_token(model, 0.0, sequence)
    weights = forward_FLOP_per_token(model, 0.0, sequence) - mixing - head * (1.0 - predicted_frac(model))
    each = sum(x.share * x.inputs * x.outputs * x.count for x in adapters(workload, Shard(1), 1.0))
    trained = 2.0 * each * model.n_layers
    # backward is twice forward, for gradients of inputs and of weights
    return 3.0 * (mixing + trained) + (2.0 if workload.adapter_rank else 3.0) * weights
