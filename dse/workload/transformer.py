"""`Model` (blocks, parameter counts, KV cache, FLOP per token) and the workloads `Training`, `Prefill`, `Decode`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.errors import SpecError
from ..core.frames import page, table_of
from ..core.takes import check_kind
from ..core.text import digits
from ..technology.node import PRECISION_BITS
from .blocks import Block, Experts, Feed, Run, block_text
from .latent import Latent
from .mixers import AbstractMixer, Attention
from .recurrences import Recurrence, state_elements
from .storage import format_of, n_element_bits, own_products, stored_B

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("training", "prefill", "decode")

Kind = TypeVar("Kind")


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a checkpoint that is not counted in the model, such as a vision encoder."""

    name: str
    n_parameters: int
    """Number of weights; 0 if the file does not say."""
    why: str


@dataclasses.dataclass(frozen=True)
class Model:
    """A language model: embedding, blocks of one or several kinds, output head."""

    name: str
    hidden: int
    vocab: int
    runs: tuple[Run, ...]
    tied_embeddings: bool
    """Whether input embedding and output head share weights."""
    norm_passes: float
    """Element-wise passes of one normalisation (RMSNorm or LayerNorm) over its input."""
    max_context: int
    """Longest context of the model [tokens]."""
    dropout: bool = False
    """Whether training uses dropout on the residual stream, whose masks are kept for the backward pass."""
    n_tables: int = 0
    """Entries of further look-up tables: learned positions, per-layer embeddings."""
    ahead: tuple[Run, ...] = ()
    """Multi-token prediction blocks, counted separately and used for speculative decoding only."""
    weight_format: str = "bf16"
    """Storage format of the checkpoint's weights, such as "bf16,experts=mxfp4"."""
    left_out: tuple[Part, ...] = ()
    """Parts of the checkpoint that are not counted."""
    headless: bool = False
    """Whether it gives a score or a vector instead of words (reward and embedding models)."""

    def frame(self) -> pd.DataFrame:
        """One row per kind of block: count, description, parameters, KV-cache elements per token."""
        rows = [
            (r.n, block_text(r.block), r.block.n_weights(self.hidden), sum(m.n_kv for m in r.block.mixers))
            for r in self.runs
        ]
        return table_of(rows, ["blocks", "what", "parameters", "kv_elements_per_token"])

    def _repr_html_(self) -> str:
        size = f"{digits(total_parameters(self) / 1e9)} B parameters, {digits(active_parameters(self) / 1e9)} B active"
        kept = f"{self.n_layers} layers of {self.hidden:,}, {self.vocab:,} tokens, context {self.max_context:,}"
        return page(f"{self.name}: {size}; {kept}; stored as {self.weight_format}", self.frame())

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return sum(r.n for r in self.runs)

    @property
    def shares(self) -> tuple[tuple[Block, float], ...]:
        """Kinds of block, each with its share of all blocks."""
        # of all blocks: shares of those that work add up to less than 1 where others rest
        return tuple((r.block, r.n / self.n_layers) for r in self.runs)

    @property
    def mixers(self) -> tuple[tuple[AbstractMixer, float], ...]:
        """Kinds of mixer, each with its mean number per block."""
        return _summed([(m, share) for b, share in self.shares for m in b.mixers])

    @property
    def feeds(self) -> tuple[tuple[Feed, float], ...]:
        """Kinds of MLP and mixture of experts, each with its share of blocks."""
        return _summed([(b.feed, share) for b, share in self.shares if b.feed is not None])

    @property
    def working_mixers(self) -> tuple[tuple[AbstractMixer, float], ...]:
        """As `mixers`, without idle blocks (`Block.rests`)."""
        return _summed([(m, share) for b, share in self.shares if not b.rests for m in b.mixers])

    @property
    def working_feeds(self) -> tuple[tuple[Feed, float], ...]:
        """As `feeds`, without idle blocks (`Block.rests`)."""
        return _summed([(b.feed, share) for b, share in self.shares if not b.rests and b.feed is not None])

    @property
    def experts(self) -> Experts | None:
        """The mixture of experts, the first if there are several kinds."""
        return next((f for f, _ in self.feeds if isinstance(f, Experts)), None)

    @property
    def attention(self) -> Attention | Latent | None:
        """The attention with the longest reach, or None."""
        # by what each keeps of an endless context, so that full attention comes before any window
        found = [m for m, _ in self.mixers if isinstance(m, Attention | Latent)]
        return max(found, key=lambda m: m.n_kept(math.inf), default=None)


def _summed(pairs: list[tuple[Kind, float]]) -> tuple[tuple[Kind, float], ...]:
    # the same attention stands before dense MLPs and before experts: merged, its operators are made once
    total: dict[Kind, float] = {}
    for thing, share in pairs:
        total[thing] = total.get(thing, 0.0) + share
    return tuple(total.items())


def why_no_decode(model: Model) -> str:
    """Why a model writes no tokens one by one; empty where it does."""
    # layers that look at an image see all of it, and write tokens all the same
    if any(not m.causal and not m.cross for m, _ in model.mixers if isinstance(m, Attention)):
        return "each position sees those behind it, as in an encoder"
    return "it has no head for words" if model.headless else ""


def is_causal(model: Model) -> bool:
    """Whether all attention is causal."""
    return all(m.causal for m, _ in model.mixers if isinstance(m, Attention))


def uniform(block: Block, n_layers: int) -> tuple[Run, ...]:
    """The runs of a model with identical blocks."""
    return (Run(block, n_layers),)


def _check_sizes(workload: Workload, least: Mapping[str, int]) -> None:
    """SpecError for a model that is none, and for sizes that are no finite numbers of at least those given."""
    check_kind(type(workload).__name__, "model", workload.model, Model)
    # a negative size would pass every rule of divisibility and give a time, a negative one even
    for name, lowest in least.items():
        size: Any = getattr(workload, name)
        if not isinstance(size, Real) or not lowest <= float(size) < math.inf:
            raise SpecError(f"{type(workload).__name__}: {name} = {size!r}; give {lowest} or more")


@dataclasses.dataclass(frozen=True)
class Training:
    """One optimizer step: `global_batch` sequences of `sequence` tokens, forward and backward pass, Adam update.

    SpecError: a size below 1, an unknown precision.
    """

    model: Model
    global_batch: int
    sequence: int
    precision: str = "bf16"
    """Precision of matrix products in linear layers; attention stays in bf16."""
    fused_attention: bool = True
    """Whether attention scores stay on chip (FlashAttention); if not, they are written to HBM."""
    adapter_rank: int = 0
    """Rank of LoRA adapters on attention, the only trained weights; 0 for full training."""

    def __post_init__(self) -> None:
        _check_sizes(self, {"global_batch": 1, "sequence": 1, "adapter_rank": 0})
        check_precision(self.precision)


@dataclasses.dataclass(frozen=True)
class Decode:
    """One decode step: one token for each of `batch` sequences with `context` tokens in the KV cache.

    SpecError: a size below 1.
    """

    model: Model
    batch: int
    """Sequences decoded together, over all chips and replicas."""
    context: int
    weight_precision: str = "bf16"
    kv_precision: str = "bf16"
    product_precision: str = ""
    """Precision of products with weights, by part like `weight_precision`; default: that of the storage format."""

    def __post_init__(self) -> None:
        _check_sizes(self, {"batch": 1, "context": 1})


@dataclasses.dataclass(frozen=True)
class Prefill:
    """Prefill of `batch` prompts of `prompt` tokens, until each sequence has its first token.

    SpecError: a size below 1, or a negative `chunk` or `cached`.
    """

    model: Model
    batch: int
    """Sequences, over all chips and replicas."""
    prompt: int
    weight_precision: str = "bf16"
    kv_precision: str = "bf16"
    chunk: int = 0
    """Tokens of a sequence per pass (chunked prefill); 0 for the whole prompt."""
    cached: int = 0
    """Tokens of each sequence already in the KV cache (prefix cache)."""
    product_precision: str = ""
    """Precision of products with weights, by part like `weight_precision`; default: that of the storage format."""

    def __post_init__(self) -> None:
        _check_sizes(self, {"batch": 1, "prompt": 1, "chunk": 0, "cached": 0})

    @property
    def n_chunks(self) -> int:
        """Number of passes per prompt."""
        # rounded up: a last chunk may be short, and is a pass all the same
        return -(-self.prompt // self.chunk) if self.chunk else 1


def check_precision(precision: str) -> str:
    """`precision` if known, else SpecError with the allowed names."""
    if precision not in PRECISION_BITS:
        raise SpecError(f"precision '{precision}' is not one of {', '.join(PRECISION_BITS)}")
    return precision


Serving = Prefill | Decode
Workload = Training | Prefill | Decode


def products_of(workload: Workload, part: str = "mlp") -> str:
    """Requested precision of matrix products in the linear layers of a part ("mlp", "experts", ...)."""
    if isinstance(workload, Training):
        return workload.precision
    # what was asked for goes first: `as_run` writes here what the array multiplies in
    if workload.product_precision:
        return format_of(workload.product_precision, part)
    return own_products(format_of(workload.weight_precision, part))


def n_outputs(model: Model) -> int:
    """Outputs of the head: one per word, or one in all."""
    return 1 if model.headless else model.vocab


def n_head_weights(model: Model) -> int:
    """Weights of a head of its own."""
    # a model that scores has an output of its own, whatever the file says of tied words
    return 0 if model.tied_embeddings and not model.headless else n_outputs(model) * model.hidden


def total_parameters(model: Model) -> int:
    """Number of weights: blocks, embedding, head (once if tied), tables, last norm; without `ahead` blocks."""
    tables = model.vocab * model.hidden + n_head_weights(model) + model.n_tables
    return sum(r.n * r.block.n_weights(model.hidden) for r in model.runs) + tables + model.hidden


def active_parameters(model: Model) -> int:
    """Number of active weights per token, with whole embedding tables."""
    idle = sum(r.n * (r.block.n_weights(model.hidden) - r.block.visited_weights(model.hidden)) for r in model.runs)
    return total_parameters(model) - idle


def n_branches(model: Model) -> float:
    """Mean number of additions to the residual stream per block: two (attention, MLP) in most models."""
    return sum(share * b.n_branches for b, share in model.shares if not b.rests)


def moe_share(model: Model) -> float:
    """Share of blocks with routed experts."""
    return sum(share for f, share in model.feeds if isinstance(f, Experts))


def kv_B_per_token(model: Model, precision: str) -> float:
    """KV-cache bytes per token of context over all layers, with scales (of latents: latent and rotary key) [B]."""
    # as if every position were kept: windows keep fewer, which `n_kept` counts
    return sum(r.n * m.n_kv for r in model.runs for m in r.block.mixers) * stored_B(precision)


def state_B(mixer: AbstractMixer) -> float:
    """Bytes of a sequence's recurrent state, which do not depend on its length [B]."""
    # a state is updated with every token, so that rounding adds up: it keeps its own width, whatever the cache's is
    if not isinstance(mixer, Recurrence):
        return state_elements(mixer) * n_element_bits("bf16") / 8
    return (mixer.n_recurrent * n_element_bits(mixer.state_format) + mixer.n_conv * n_element_bits("bf16")) / 8


def state_B_per_sequence(model: Model) -> float:
    """`state_B` over all layers [B]."""
    return sum(r.n * state_B(m) for r in model.runs for m in r.block.mixers)


def forward_FLOP_per_token(model: Model, cached: float, queries: float) -> float:
    """FLOP of the forward pass per token: 2 per visited weight, plus products with cached keys, values or state.

        F = 2 N + sum over mixers of 2 M;   attention: M = a (d + d_v) c
    with N visited weights, a heads, d and d_v head widths of query and value, c mean positions attended to.
    Source: [narayanan2021megatron] appendix for the terms; [deepseek2024v2] section 2.1 for d_v other than d.
    """
    working = [r for r in model.runs if not r.block.rests]
    weights = sum(r.n * r.block.product_weights(model.hidden) for r in working)
    head = model.hidden * n_outputs(model)  # the input embedding is a look-up
    return 2.0 * (weights + head) + mixing_FLOP_per_token(model, cached, queries)


def mixing_FLOP_per_token(model: Model, cached: float, queries: float) -> float:
    """The part of `forward_FLOP_per_token` in products with cached keys, values or state."""
    working = [r for r in model.runs if not r.block.rests]
    # 2: a MAC is a product and an addition
    return 2.0 * sum(r.n * m.n_product_macs(cached, queries) for r in working for m in r.block.mixers)
