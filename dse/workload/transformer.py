"""Language models as sequences of blocks, their parameters, caches and states, and the phases they run in."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, TypeVar

from ..core.errors import SpecError
from ..core.frames import page, table_of
from ..core.text import digits
from ..technology.node import PRECISION_BITS
from .blocks import Block, Experts, Feed, Run, block_text
from .mixers import AbstractMixer, Attention, Latent
from .recurrences import Recurrence
from .storage import format_of, n_element_bits, own_products

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("training", "prefill", "decode")

Kind = TypeVar("Kind")


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a checkpoint that is not counted among the model's parameters."""

    name: str
    n_parameters: int
    """Its weights; 0 where the file does not say."""
    why: str


@dataclasses.dataclass(frozen=True)
class Model:
    """A language model: blocks of any kind between an embedding and a head."""

    name: str
    hidden: int
    vocab: int
    runs: tuple[Run, ...]
    tied_embeddings: bool
    """Whether input embedding and output head share weights."""
    norm_passes: float
    """Element passes of one normalisation, RMSNorm or LayerNorm."""
    max_context: int
    """Longest context the model was made for."""
    dropout: bool = False
    """Whether blocks train with dropout of the residual stream, whose masks wait for the backward pass."""
    n_tables: int = 0
    """Entries of further tables that a token looks up a row of: learned positions, embeddings per layer."""
    ahead: tuple[Run, ...] = ()
    """Blocks that predict further tokens, counted apart and used by speculation only."""
    weight_format: str = "bf16"
    """How the file stores its weights, as `storage.Formats` reads it."""
    left_out: tuple[Part, ...] = ()
    """Parts of the checkpoint that are not counted."""

    def frame(self) -> pd.DataFrame:
        """One row per kind of block: how many, what each is, its parameters, and what it keeps of every token."""
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
        """Blocks."""
        return sum(r.n for r in self.runs)

    @property
    def shares(self) -> tuple[tuple[Block, float], ...]:
        """Kinds of block with their share of all blocks."""
        return tuple((r.block, r.n / self.n_layers) for r in self.runs)

    @property
    def mixers(self) -> tuple[tuple[AbstractMixer, float], ...]:
        """Kinds of mixer with the number of each per block, on average."""
        return _summed([(m, share) for b, share in self.shares for m in b.mixers])

    @property
    def feeds(self) -> tuple[tuple[Feed, float], ...]:
        """Kinds of MLP and mixture with their share of blocks."""
        return _summed([(b.feed, share) for b, share in self.shares if b.feed is not None])

    @property
    def working_mixers(self) -> tuple[tuple[AbstractMixer, float], ...]:
        """As `mixers`, without those of blocks that rest."""
        return _summed([(m, share) for b, share in self.shares if not b.rests for m in b.mixers])

    @property
    def working_feeds(self) -> tuple[tuple[Feed, float], ...]:
        """As `feeds`, without those of blocks that rest."""
        return _summed([(b.feed, share) for b, share in self.shares if not b.rests and b.feed is not None])

    @property
    def experts(self) -> Experts | None:
        """The mixture of experts, the first if there are several kinds."""
        return next((f for f, _ in self.feeds if isinstance(f, Experts)), None)

    @property
    def attention(self) -> Attention | Latent | None:
        """The attention that sees most, if any."""
        found = [m for m, _ in self.mixers if isinstance(m, Attention | Latent)]
        return max(found, key=lambda m: m.n_kept(math.inf), default=None)

    @property
    def causal(self) -> bool:
        """Whether a position sees earlier ones only."""
        return all(m.causal for m, _ in self.mixers if isinstance(m, Attention))


def _summed(pairs: list[tuple[Kind, float]]) -> tuple[tuple[Kind, float], ...]:
    total: dict[Kind, float] = {}
    for thing, share in pairs:
        total[thing] = total.get(thing, 0.0) + share
    return tuple(total.items())


def uniform(block: Block, n_layers: int) -> tuple[Run, ...]:
    """The blocks of a model that has one kind."""
    return (Run(block, n_layers),)


@dataclasses.dataclass(frozen=True)
class Training:
    """One optimizer step over a global batch."""

    model: Model
    global_batch: int
    sequence: int
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
    batch: int
    """Sequences decoded together, over all chips of the replica set."""
    context: int
    weight_precision: str = "bf16"
    kv_precision: str = "bf16"
    product_precision: str = ""
    """Precision of products with weights, per part as the storage; by default what the storage feeds."""


@dataclasses.dataclass(frozen=True)
class Prefill:
    """The prompts of a batch, read until each sequence has its first token."""

    model: Model
    batch: int
    """Sequences, over all chips of the replica set."""
    prompt: int
    weight_precision: str = "bf16"
    kv_precision: str = "bf16"
    chunk: int = 0
    """Tokens of a sequence per pass (chunked prefill); 0 for all at once."""
    cached: int = 0
    """Tokens of each sequence that are in the cache already."""
    product_precision: str = ""
    """Precision of products with weights, per part as the storage; by default what the storage feeds."""

    @property
    def n_chunks(self) -> int:
        """Passes over each prompt."""
        return -(-self.prompt // self.chunk) if self.chunk else 1


Serving = Prefill | Decode
Workload = Training | Prefill | Decode


def products_of(workload: Workload, part: str = "mlp") -> str:
    """Precision asked of the products of the linear layers of a part, by default those of the MLPs."""
    if isinstance(workload, Training):
        return workload.precision
    if workload.product_precision:
        return format_of(workload.product_precision, part)
    return own_products(format_of(workload.weight_precision, part))


def total_parameters(model: Model) -> int:
    """All weights: blocks, embedding, head (once if tied), further tables and the last norm; heads ahead apart."""
    tables = (1 if model.tied_embeddings else 2) * model.vocab * model.hidden + model.n_tables
    return sum(r.n * r.block.n_weights(model.hidden) for r in model.runs) + tables + model.hidden


def active_parameters(model: Model) -> int:
    """Weights that one token meets, tables whole."""
    idle = sum(r.n * (r.block.n_weights(model.hidden) - r.block.visited_weights(model.hidden)) for r in model.runs)
    return total_parameters(model) - idle


def shortened(model: Model, n_layers: int) -> Model:
    """`model` with fewer blocks: kinds in proportion, the few of a kind first; the most frequent keeps at least one."""
    rare, most = sorted(model.runs, key=lambda r: r.n)[:-1], max(model.runs, key=lambda r: r.n)
    left, counts = n_layers, {}
    for r in rare:
        few = RARE * r.n < most.n
        counts[r] = min(r.n if few else round(r.n * n_layers / model.n_layers), max(left - 1, 0))
        left -= counts[r]
    runs = tuple(Run(r.block, counts.get(r, left)) for r in model.runs)
    return dataclasses.replace(model, runs=tuple(r for r in runs if r.n))


RARE = 4
"""A kind of block that another outnumbers so many times stands at the start, as dense blocks before experts do."""


def parameters_by_part(model: Model) -> dict[str, int]:
    """Weights by what they do; they add up to `total_parameters`."""
    h, table = model.hidden, model.vocab * model.hidden
    parts = {"mixers": 0, "routed experts": 0, "other MLPs": 0, "norms": h}
    for r in model.runs:
        feed, routed = r.block.feed_weights(h), r.block.expert_weights(h)
        mixers = sum(m.n_weights(h) for m in r.block.mixers)
        parts["mixers"] += r.n * mixers
        parts["routed experts"] += r.n * routed
        parts["other MLPs"] += r.n * (feed - routed)
        parts["norms"] += r.n * (r.block.n_weights(h) - mixers - feed)
    tables = {"embedding": table + model.n_tables, "head": 0 if model.tied_embeddings else table}
    return parts | tables


def ahead_parameters(model: Model) -> int:
    """Weights of the blocks that predict further tokens, with matrix and norms. Source: [deepseek2024v3] eq. 21."""
    h = model.hidden
    return sum(r.n * (r.block.n_weights(h) + 2 * h * h + 3 * h) for r in model.ahead)


def n_branches(model: Model) -> float:
    """Results that a block adds to the residual stream, on average: two, attention and MLP, in most models."""
    return sum(share * b.n_branches for b, share in model.shares if not b.rests)


def moe_share(model: Model) -> float:
    """Share of blocks with routed experts."""
    return sum(share for f, share in model.feeds if isinstance(f, Experts))


def kv_B_per_token(model: Model, precision: str) -> float:
    """Bytes that one token of context takes over all layers that keep it (the latent and rotary key if latent)."""
    return sum(r.n * m.n_kv for r in model.runs for m in r.block.mixers) * n_element_bits(precision) / 8


def state_B(mixer: AbstractMixer, kv_precision: str) -> float:
    """Bytes that a mixer keeps per sequence however long: a recurrent state, or keys and values of an image."""
    if not isinstance(mixer, Recurrence):
        return mixer.n_state * n_element_bits(kv_precision if mixer.n_kv == 0 and mixer.kind == CROSS else "bf16") / 8
    return (mixer.n_recurrent * n_element_bits(mixer.state_format) + mixer.n_conv * n_element_bits("bf16")) / 8


CROSS = "cross attention"


def state_B_per_sequence(model: Model) -> float:
    """Bytes that a sequence takes however long it is, over all layers, with keys and values in bf16."""
    return sum(r.n * state_B(m, "bf16") for r in model.runs for m in r.block.mixers)


def forward_FLOP_per_token(model: Model, cached: float, queries: float) -> float:
    """FLOP of one token's forward pass: 2 per weight it visits, and its products with what earlier tokens left.

        F = 2 N + sum over mixers of 2 M;   attention: M = a (d + d_v) c
    with N visited weights, a heads, d and d_v widths of a head's query and value, c positions attended to on average.
    Source: [narayanan2021megatron] appendix for the terms; [deepseek2024v2] section 2.1 for values of another width.
    """
    h, total = model.hidden, 2.0 * model.hidden * model.vocab
    for r in model.runs:
        if not r.block.rests:
            macs = sum(m.n_product_macs(cached, queries) for m in r.block.mixers)
            total += 2.0 * r.n * (r.block.product_weights(h) + macs)
    return total


def check_precision(precision: str) -> str:
    """`precision` if known, else SpecError with the allowed names."""
    if precision not in PRECISION_BITS:
        raise SpecError(f"precision '{precision}' is not one of {', '.join(PRECISION_BITS)}")
    return precision
