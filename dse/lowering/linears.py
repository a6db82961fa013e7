"""Linear layers of a block on one rank: attention and recurrence projections, MLP, adapters, routed experts.

Source: [shoeybi2019] section 3 for heads and columns over tensor ranks.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cache

from ..core.provenance import number
from ..workload.blocks import Experts, Feed, Mlp
from ..workload.latent import Latent, Pool
from ..workload.mixers import AbstractMixer, Attention
from ..workload.op import Kind, passes
from ..workload.recurrences import Recurrence, ShortConvolution
from ..workload.transformer import Model, Training
from .mixer_ops import heads_of
from .software import COMPILED, framework


@dataclasses.dataclass(frozen=True)
class Linear:
    """A linear layer of a block on one rank, before anyone says in which precision it runs."""

    name: str
    tokens: float
    """Rows of the activation, per weight."""
    inputs: float
    """Contraction length."""
    outputs: float
    """Columns of the result."""
    kind: Kind = Kind.LINEAR
    """Whose weight it is."""
    count: float = 1.0
    share: float = 1.0
    part: str = "attention"
    """Part of the model that it belongs to, one of `storage.PARTS`."""
    beside: float = 1.0
    """Its columns over those of its first weight, where several with rows of their own stand side by side."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """What of a plan decides the shapes of one rank."""

    tp: int
    cp: int = 1
    ep: int = 1
    micro_batch: int = 1
    sequence_parallel: bool = True
    scores_again: bool = True
    """Whether the backward pass repeats stored attention; fused attention always computes its scores again."""
    stream: bool = False
    """Whether a block runs as one stream; see `streaming`."""
    software: str = COMPILED
    attention_rate_frac: float = 1.0
    """Share of the matrix unit's rate that its attention reaches, as in `software.attention_rate_frac`."""


def mixer_linears(mixer: AbstractMixer, hidden: int, tp: int, tokens: float) -> list[Linear]:
    """The linear layers of a mixer on one rank; squeezing parts of latent attention are whole on each.

    Source: [deepseek2024v2] eq. 37 to 47; [dao2024ssd] section 7 for parallel projections.
    """
    if isinstance(mixer, Attention):
        return _attention_linears(mixer, hidden, tp, tokens)
    if isinstance(mixer, Latent):
        return _latent_linears(mixer, hidden, tp, tokens)
    if isinstance(mixer, Recurrence):
        inner = [Linear("gates", tokens, k, n / tp) for k, n in mixer.inner]
        project = Linear("project", tokens, hidden, mixer.projected / tp)
        return [project, *inner, Linear("out", tokens, mixer.width / tp, hidden)]
    assert isinstance(mixer, ShortConvolution)
    # three: a gate on the way in, one on the way out, and what is convolved
    wide = mixer.channels / tp
    return [Linear("project", tokens, hidden, 3 * wide), Linear("out", tokens, wide, hidden)]


@cache  # plans by the thousand ask for it
def replicated_weights(mixer: AbstractMixer, hidden: int, tp: int) -> float:
    """Weights of a mixer that a rank holds beyond an even share.

    Several ranks repeat KV heads where there are fewer than ranks; each holds all of what squeezes latents, of what
    pools them, and of indexers.
    """
    # image keys and values are not made in the pass, but their weights lie there as those of any attention
    stands = dataclasses.replace(mixer, cross=False) if isinstance(mixer, Attention) else mixer
    held, even = (sum(x.inputs * x.outputs * x.count for x in mixer_linears(stands, hidden, n, 1.0)) for n in (tp, 1))
    return held - even / tp


def _attention_linears(mixer: Attention, hidden: int, tp: int, tokens: float) -> list[Linear]:
    heads, kv_heads = heads_of(mixer, tp)
    # not made in this pass: an image's keys were made once for all tokens, shared ones by an earlier block
    own = 0.0 if mixer.cross or not mixer.own_kv else kv_heads
    values = own * (0 if mixer.values_are_keys else mixer.value_dim)
    qkv = heads * mixer.head_dim + own * mixer.head_dim + values + mixer.gate_width / tp
    beside = qkv / (heads * mixer.head_dim)
    found = [Linear("qkv", tokens, hidden, qkv, beside=beside), Linear("out", tokens, heads * mixer.value_dim, hidden)]
    if mixer.indexer and mixer.indexer.n_projected:
        found.append(Linear("index", tokens, hidden, mixer.indexer.n_projected))
    return found


def _latent_linears(mixer: Latent, hidden: int, tp: int, tokens: float) -> list[Linear]:
    heads = mixer.n_heads / tp
    found = [
        # one product, since all of it is made of the layer's input
        Linear("squeeze", tokens, hidden, mixer.query_rank + mixer.kv_rank + mixer.rope_dim + mixer.gate_width / tp),
        Linear("query", tokens, mixer.query_rank or hidden, heads * mixer.head_dim),
    ]
    if mixer.pool is None:
        expand = Linear("expand", tokens, mixer.kv_rank, heads * (mixer.nope_dim + mixer.value_dim), Kind.EXPANSION)
        found += [expand, Linear("out", tokens, heads * mixer.value_dim, hidden)]
    else:
        found += _pool_linears(mixer, mixer.pool, hidden, tp, tokens)
    i = mixer.indexer
    if i is not None and not i.shared:
        # a head's weight in the sum of scores comes with the keys, out of the same input
        found.append(Linear("index query", tokens, mixer.query_rank or hidden, i.n_heads * i.head_dim))
        found.append(Linear("index key", tokens, hidden, i.n_made * i.head_dim + i.n_heads))
    return found


def _pool_linears(mixer: Latent, pool: Pool, hidden: int, tp: int, tokens: float) -> list[Linear]:
    """Vectors and gates of pooled entries, which every rank makes, and the way back through groups of heads."""
    per_group = mixer.n_heads * mixer.value_dim / pool.out_groups
    found = [
        Linear("squeeze out", tokens, per_group, pool.out_rank, count=pool.out_groups / tp),
        Linear("out", tokens, pool.out_groups * pool.out_rank / tp, hidden),
    ]
    if pool.rate:
        found.append(Linear("pool", tokens, hidden, 2 * pool.overlap * (mixer.kv_rank + mixer.rope_dim)))
    return found


def _mlp_linears(hidden: float, ffn: float, n_matrices: int, up: Linear) -> list[Linear]:
    """An MLP of inner width `ffn` on one rank; names, tokens, kind, count, share and part as in `up`."""
    wide = ffn * (n_matrices - 1)
    down = dataclasses.replace(up, name=f"{up.name}down", inputs=ffn, outputs=hidden)
    return [dataclasses.replace(up, name=f"{up.name}up", inputs=hidden, outputs=wide, beside=n_matrices - 1.0), down]


def _feed_linears(feed: Feed, hidden: int, s: Shard, tokens: float, share: float) -> list[Linear]:
    """What feeds forward on a rank; experts see tokens of all expert ranks, the fullest `expert_imbalance` more."""
    mlp = Linear("", tokens, 0.0, 0.0, share=share, part="mlp")
    if isinstance(feed, Mlp):
        return _mlp_linears(hidden, feed.ffn / s.tp, feed.n_matrices, mlp)
    # rows of one expert: those of all expert ranks, spread over the experts of all of them
    each = tokens * s.ep * feed.per_token / feed.n_experts * passes()["expert_imbalance"]
    routed = Linear("expert ", each, 0.0, 0.0, Kind.EXPERTS, feed.n_experts / s.ep, share, "experts")
    found = _mlp_linears(feed.routed_width(hidden), feed.ffn / s.tp, feed.n_matrices, routed)
    # without the router: its product is below a per cent of those of the experts visited; its launches are counted
    beside = (("shared ", feed.shared_ffn, "shared"), ("parallel ", feed.parallel_ffn, "mlp"))
    for name, ffn, part in beside:
        if ffn:
            x = dataclasses.replace(mlp, name=name, part=part)
            found += _mlp_linears(hidden, ffn / s.tp, feed.n_matrices, x)
    if feed.latent:
        x = dataclasses.replace(mlp, name="narrow", inputs=hidden, outputs=feed.latent / s.tp, part="mlp")
        found += [x, dataclasses.replace(x, name="widen", inputs=feed.latent / s.tp, outputs=hidden)]
    return found


def block_linears(model: Model, s: Shard, tokens: float) -> list[Linear]:
    """Every linear layer of the blocks on one rank, each with its share of blocks; blocks that rest have none."""
    found: list[Linear] = []
    for mixer, share in model.working_mixers:
        own = mixer_linears(mixer, model.hidden, s.tp, tokens)
        found += [dataclasses.replace(x, share=share) for x in own]
    for feed, share in model.working_feeds:
        found += _feed_linears(feed, model.hidden, s, tokens, share)
    for block, share in model.shares:
        if block.per_layer_width and not block.rests:  # the look-up itself reads a row per token, which is little
            gate = Linear("layer gate", tokens, model.hidden, block.per_layer_width / s.tp, share=share, part="mlp")
            found += [gate, dataclasses.replace(gate, name="layer out", inputs=gate.outputs, outputs=gate.inputs)]
    return _merged(found)


def _merged(linears: list[Linear]) -> list[Linear]:
    """Linear layers alike once, with the sum of their shares of the blocks."""
    # every operator is tiled, timed and compiled: kinds of block that share one pay once
    shares: dict[Linear, float] = {}
    for x in linears:
        alike = dataclasses.replace(x, share=0.0)
        shares[alike] = shares.get(alike, 0.0) + x.share
    return [dataclasses.replace(x, share=share) for x, share in shares.items()]


ADAPTER = "adapter"
"""Part of the model that alone is trained where weights are frozen."""


def adapters(workload: Training, s: Shard, tokens: float) -> list[Linear]:
    """Adapters beside attention's layers. Source: [hu2022lora] section 4.1: W x + B A x, A of `adapter_rank` rows."""
    r, found = float(workload.adapter_rank), list[Linear]()
    if not r:
        return []
    for mixer, share in workload.model.working_mixers:
        for x in mixer_linears(mixer, workload.model.hidden, s.tp, tokens):
            beside = dataclasses.replace(x, share=share, part=ADAPTER)
            found.append(dataclasses.replace(beside, name=f"adapter {x.name} down", outputs=r))
            found.append(dataclasses.replace(beside, name=f"adapter {x.name} up", inputs=r))
    return _merged(found)


def hit_frac(experts: Experts | None, tokens: float) -> float:
    """Expected share of the experts that at least one of `tokens` visits.

        1 - (1 - k/E)^n
    with k experts per token of E and n `tokens`.
    Source: [deepseek2024v2] section 2.2 for top-k routing; the expectation is elementary.
    Assumes: independent choices, experts equally popular; skew lowers the number.
    """
    if experts is None:
        return 1.0
    # n log(1 - k/E) keeps its digits for one token among hundreds of experts; k = E alone has no logarithm
    missed = math.log1p(-min(experts.per_token / experts.n_experts, 1.0 - 1e-12))
    return -math.expm1(tokens * missed)


def by_index(x: Linear, experts: Experts, tokens: float) -> Linear:
    """Experts of kernels that look up where a chosen expert lies: each is read once, one that nobody chose is not."""
    hit = hit_frac(experts, tokens)  # fewer experts, each with more of the same tokens
    return dataclasses.replace(x, tokens=x.tokens / hit, count=x.count * hit)


def of_fixed_shape(x: Linear, experts: Experts, tokens: float, writes: bool) -> tuple[Linear, float]:
    """Experts `x` of a program whose shapes are fixed before anybody has chosen, and how often their weights move.

    Fewer visits v = T k than experts: the weights of each visit are copied to one place and read again. Else every
    token passes every expert, or blocks of B rows, each of one expert, are run, as many as any choice may need,
        min(ceil((v - (E - 1)) / B) + E - 1, E ceil(T / B))
    Blocks where visits fill one; in decode (`writes`) only where tokens do. T counts all ranks that may choose.
    Source: [aws2026nxdmoe] `ExpertMLPsV2` for when each way is taken and for the number of blocks.
    Assumes: decode of more tokens than a block takes blocks, the source all experts.
    """
    visits, block = tokens * experts.per_token, number(framework(), "expert_block")
    # few visits: cheaper to copy what they need than to run all experts on nothing
    if visits < experts.n_experts:
        share = x.count / experts.n_experts
        return dataclasses.replace(x, tokens=1.0, count=visits * share), number(framework(), "gathered_moves")
    if (tokens if writes else visits) < block:
        return dataclasses.replace(x, tokens=tokens), 1.0
    # all but one expert may leave a block with a single row; no expert can be chosen by more than all tokens
    worst = math.ceil((visits - experts.n_experts + 1) / block) + experts.n_experts - 1
    n_blocks = min(worst, experts.n_experts * math.ceil(tokens / block))
    return dataclasses.replace(x, tokens=block, count=x.count * n_blocks / experts.n_experts), 1.0
