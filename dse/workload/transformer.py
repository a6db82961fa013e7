"""Dense decoder transformers: sizes, parameters and the phases they run in."""

from __future__ import annotations

import dataclasses

from ..core.errors import SpecError
from ..technology.node import PRECISION_BITS

PHASES = ("training", "decode")


@dataclasses.dataclass(frozen=True)
class Model:
    """Sizes of a decoder-only transformer, read from a Hugging Face `config.json`."""

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
    """Storage of weights; products run at this precision where the chip has it, else at the next wider."""
    kv_precision: str = "bf16"
    """Storage of the KV cache."""


Workload = Training | Decode


def layer_parameters(model: Model) -> int:
    """Weights of one transformer block, norms included."""
    attention = model.hidden * model.head_dim * (2 * model.n_heads + 2 * model.n_kv_heads)
    return attention + model.n_mlp_matrices * model.hidden * model.ffn + 2 * model.hidden


def total_parameters(model: Model) -> int:
    """All weights: blocks, embedding, head (once if tied) and the last norm."""
    tables = (1 if model.tied_embeddings else 2) * model.vocab * model.hidden
    return model.n_layers * layer_parameters(model) + tables + model.hidden


def kv_B_per_token(model: Model, precision: str) -> float:
    """Bytes of KV cache that one token of context takes over all layers."""
    return 2 * model.n_layers * model.n_kv_heads * model.head_dim * PRECISION_BITS[precision] / 8


def check_precision(precision: str) -> str:
    """`precision` if known, else SpecError with the allowed names."""
    if precision not in PRECISION_BITS:
        raise SpecError(f"precision '{precision}' is not one of {', '.join(PRECISION_BITS)}")
    return precision
