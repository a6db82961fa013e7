"""Transformers: dense or mixture of experts, any attention, their parameters and the phases they run in."""

from __future__ import annotations

import dataclasses

from ..core.errors import SpecError
from ..technology.node import PRECISION_BITS
from .storage import n_element_bits, own_products

PHASES = ("training", "prefill", "decode")


@dataclasses.dataclass(frozen=True)
class Experts:
    """A mixture of experts in place of the MLP of most blocks."""

    n_experts: int
    """Routed experts per block."""
    per_token: int
    """Routed experts each token visits (top-k)."""
    ffn: int
    """Inner width of one expert."""
    shared_ffn: int = 0
    """Inner width of all shared experts together, which every token visits."""
    n_dense_layers: int = 0
    """Blocks that keep a dense MLP of width `Model.ffn`."""


@dataclasses.dataclass(frozen=True)
class Latent:
    """Multi-head latent attention: keys and values are expanded from a short vector that alone is cached.

    Source: [deepseek2024v2] section 2.1.
    """

    query_rank: int
    """Width queries are squeezed through; 0 if they are not."""
    kv_rank: int
    """Width of the cached latent."""
    rope_dim: int
    """Width of the rotary part of each query and of the shared key."""
    nope_dim: int
    """Width of the other part of each query and key."""
    value_dim: int
    """Width of each value."""


@dataclasses.dataclass(frozen=True)
class Model:
    """Sizes of a transformer, read from a Hugging Face `config.json`."""

    name: str
    """Preset or file name."""
    n_layers: int
    """Transformer blocks."""
    hidden: int
    """Model width."""
    n_heads: int
    """Query heads."""
    n_kv_heads: int
    """Key and value heads (fewer than `n_heads` with grouped-query attention)."""
    head_dim: int
    """Width of one head."""
    ffn: int
    """Inner width of the MLP."""
    vocab: int
    """Vocabulary size."""
    n_mlp_matrices: int
    """3 for a gated MLP (SwiGLU), 2 otherwise."""
    tied_embeddings: bool
    """Whether input embedding and output head share weights."""
    norm_passes: int
    """Element-wise passes of one normalisation: 4 for RMSNorm, 6 for LayerNorm."""
    max_context: int
    """Longest context the model was made for."""
    experts: Experts | None = None
    """Mixture of experts, if any."""
    latent: Latent | None = None
    """Latent attention, if any; then `head_dim` is that of queries and keys."""
    window: int = 0
    """Positions a sliding-window block attends to; 0 for none."""
    n_window_layers: int = 0
    """Blocks with a sliding window; the others attend to the whole context."""
    dropout: bool = False
    """Whether blocks train with dropout of the residual stream, whose masks wait for the backward pass."""
    sandwich_norms: bool = False
    """Whether the result of every branch is normed too, before it is added to the residual stream."""
    causal: bool = True
    """Whether a position attends to earlier ones only (decoders) or to all (encoders)."""


@dataclasses.dataclass(frozen=True)
class Training:
    """One optimizer step over a global batch."""

    model: Model
    """The model."""
    global_batch: int
    """Sequences per step."""
    sequence: int
    """Tokens per sequence."""
    precision: str = "bf16"
    """Precision of the linear layers' matrix products; attention stays in bf16."""
    fused_attention: bool = True
    """Whether scores stay on chip (FlashAttention-style); stacks before 2023 wrote them to memory."""
    adapter_rank: int = 0
    """Rank of the low-rank adapters of attention that alone are trained (LoRA); 0 where all weights are."""


@dataclasses.dataclass(frozen=True)
class Decode:
    """One token for every sequence of a batch, with a KV cache of a given context."""

    model: Model
    """The model."""
    batch: int
    """Sequences decoded together, over all chips of the replica set."""
    context: int
    """Tokens in the cache of each sequence."""
    weight_precision: str = "bf16"
    """Storage of weights, one of `storage_names`."""
    kv_precision: str = "bf16"
    """Storage of the KV cache."""
    product_precision: str = ""
    """Precision of products with weights; by default what the storage feeds, or the next wider that the chip has."""


@dataclasses.dataclass(frozen=True)
class Prefill:
    """The prompts of a batch, read until each sequence has its first token."""

    model: Model
    """The model."""
    batch: int
    """Sequences, over all chips of the replica set."""
    prompt: int
    """New tokens of each sequence."""
    weight_precision: str = "bf16"
    """Storage of weights, one of `storage_names`."""
    kv_precision: str = "bf16"
    """Storage of the KV cache."""
    chunk: int = 0
    """Tokens of a sequence per pass (chunked prefill); 0 for all at once."""
    cached: int = 0
    """Tokens of each sequence that are in the cache already."""
    product_precision: str = ""
    """Precision of products with weights; by default what the storage feeds, or the next wider that the chip has."""

    @property
    def n_chunks(self) -> int:
        """Passes over each prompt."""
        return -(-self.prompt // self.chunk) if self.chunk else 1


Serving = Prefill | Decode
Workload = Training | Prefill | Decode


def products_of(workload: Workload) -> str:
    """Precision asked of the linear layers' products."""
    if isinstance(workload, Training):
        return workload.precision
    return workload.product_precision or own_products(workload.weight_precision)


def attention_parameters(model: Model) -> int:
    """Weights of the attention of one block.

    With latent attention: queries through their rank, the latent with its shared rotary key, its expansion to keys
    and values, and the output, [deepseek2024v2] eq. 37 to 47.
    """
    h, a, latent = model.hidden, model.n_heads, model.latent
    if latent is None:
        return h * model.head_dim * (2 * a + 2 * model.n_kv_heads)
    wide = latent.nope_dim + latent.rope_dim
    query = h * latent.query_rank + latent.query_rank * a * wide if latent.query_rank else h * a * wide
    expand = latent.kv_rank * a * (latent.nope_dim + latent.value_dim)
    return query + h * (latent.kv_rank + latent.rope_dim) + expand + a * latent.value_dim * h


def expert_parameters(model: Model) -> int:
    """Weights of the routed experts of one block (0 without experts)."""
    e = model.experts
    return e.n_experts * model.n_mlp_matrices * model.hidden * e.ffn if e else 0


def norm_parameters(model: Model) -> int:
    """Weights of the norms of one block: one before each branch, and one after it where results are normed too."""
    return (4 if model.sandwich_norms else 2) * model.hidden


def layer_parameters(model: Model, dense: bool = True) -> int:
    """Weights of one transformer block, norms included: a dense block, or one with all its experts and router."""
    shared = attention_parameters(model) + norm_parameters(model)
    e = model.experts
    if dense or e is None:
        return shared + model.n_mlp_matrices * model.hidden * model.ffn
    always = model.n_mlp_matrices * model.hidden * e.shared_ffn + model.hidden * e.n_experts
    return shared + always + expert_parameters(model)


def n_dense_layers(model: Model) -> int:
    """Blocks with a dense MLP."""
    return model.experts.n_dense_layers if model.experts else model.n_layers


def total_parameters(model: Model) -> int:
    """All weights: blocks, embedding, head (once if tied) and the last norm."""
    tables = (1 if model.tied_embeddings else 2) * model.vocab * model.hidden
    dense = n_dense_layers(model)
    blocks = dense * layer_parameters(model) + (model.n_layers - dense) * layer_parameters(model, dense=False)
    return blocks + tables + model.hidden


def mean_context(model: Model, sequence: float, windowed: bool) -> float:
    """Positions that a token attends to, averaged over a sequence.

    causal: s/2;  window w < s: w - w^2/(2s);  encoder: s
    """
    if not model.causal:
        return sequence
    w = model.window
    return w - w * w / (2 * sequence) if windowed and w < sequence else sequence / 2


def n_attended(model: Model, cached: float, queries: float, windowed: bool) -> float:
    """Positions that one of `queries` new tokens attends to on average, after `cached` ones.

        causal: c + q/2;  window w: the mean of min(c + i, w) over i from 0 to q;  encoder: c + q

    Args:
        model: for its mask and window.
        cached: c, tokens before.
        queries: q, new tokens.
        windowed: whether the block has the window.
    """
    if not model.causal:
        return cached + queries
    whole, w = cached + queries, float(model.window)
    if not windowed or whole <= w:
        return cached + queries / 2
    ramp = max(w - cached, 0.0)
    return (ramp * (cached + w) / 2 + (queries - ramp) * w) / queries


def kv_B_per_token(model: Model, precision: str) -> float:
    """Bytes of KV cache that one token of context takes over all layers (the latent and rotary key if latent)."""
    if model.latent is not None:
        width = model.latent.kv_rank + model.latent.rope_dim
        return model.n_layers * width * n_element_bits(precision) / 8
    return 2 * model.n_layers * model.n_kv_heads * model.head_dim * n_element_bits(precision) / 8


def forward_FLOP_per_token(model: Model, context: float, windowed: float) -> float:
    """FLOP of one token's forward pass: 2 per weight it visits, and the scores and weighted values of attention.

        F = 2 N + 2 a (d + d_v) (l_full c + l_window c_w)

    with N visited weights, a heads, d and d_v widths of a head's query and value, c positions attended to.

    Source: [narayanan2021megatron] appendix for the terms; [deepseek2024v2] section 2.1 for values of another width.

    Args:
        model: sizes.
        context: positions a token attends to in blocks that see everything.
        windowed: the same in sliding-window blocks.

    Returns:
        FLOP per token.
    """
    dense, e = n_dense_layers(model) / model.n_layers, model.experts
    inner = dense * model.ffn + ((1 - dense) * (e.per_token * e.ffn + e.shared_ffn) if e else 0.0)
    block = attention_parameters(model) + model.n_mlp_matrices * model.hidden * inner
    linear = 2 * model.n_layers * block + 2 * model.hidden * model.vocab
    attended = (model.n_layers - model.n_window_layers) * context + model.n_window_layers * windowed
    return linear + 2 * model.n_heads * (model.head_dim + value_dim(model)) * attended


def kv_cache_B(model: Model, context: float, precision: str) -> float:
    """Bytes of KV cache of one sequence over all layers: sliding-window blocks keep their last `window` tokens only."""
    windowed = model.n_window_layers / model.n_layers
    kept = (1.0 - windowed) * context + windowed * min(model.window, context)
    return kept * kv_B_per_token(model, precision)


def value_dim(model: Model) -> int:
    """Width of one head's values: that of its queries and keys, unless attention is latent."""
    return model.head_dim if model.latent is None else model.latent.value_dim


def check_precision(precision: str) -> str:
    """`precision` if known, else SpecError with the allowed names."""
    if precision not in PRECISION_BITS:
        raise SpecError(f"precision '{precision}' is not one of {', '.join(PRECISION_BITS)}")
    return precision
