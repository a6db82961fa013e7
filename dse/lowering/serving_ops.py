"""Operators of one rank in a forward pass of inference: prompt tokens (prefill) or one token per sequence (decode)."""

from __future__ import annotations

import dataclasses
from functools import partial

from ..workload.latent import Latent
from ..workload.mixers import AbstractMixer, Attention
from ..workload.op import Kind, Op, elementwise, fused_attention, linear, passes, spread_B
from ..workload.recurrences import Recurrence
from ..workload.storage import format_of, n_element_bits, stored_B
from ..workload.transformer import Decode, Serving, n_outputs, products_of, state_B
from .linears import Linear, Shard, block_linears, by_index, of_fixed_shape
from .mixer_ops import absorbed_width, heads_of, index_op, recurrence_op, recurrence_step_op
from .pieces import starting_B
from .plan import Plan
from .tiling import padded
from .training_ops import Placed, block_elementwise


@dataclasses.dataclass(frozen=True)
class Pass:
    """What one rank sees in one forward pass."""

    sequences: float
    queries: float
    """New tokens of each."""
    cached: float
    """Tokens of each before them."""

    @property
    def tokens(self) -> float:
        """New tokens of all sequences."""
        return self.sequences * self.queries

    @property
    def n_context(self) -> float:
        """Positions of each sequence in the cache after the pass."""
        return self.cached + self.queries


def n_groups(workload: Serving, plan: Plan) -> int:
    """Groups of sequences that follow each other through a pipeline: as many as stages while there are sequences."""
    return min(plan.pp, max(workload.batch // plan.dp, 1))


def rank_pass(workload: Serving, plan: Plan, n_each: int = 1) -> Pass:
    """The pass of the mean chunk of a prompt, or of `n_each` tokens per decoding sequence, on a rank of `plan`.

    Several tokens of a sequence that one pass verifies are in the same group, and count as sequences of their own.
    """
    # a group of 3 sequences in 2 turns counts as 1.5 a turn: means, as steady states need
    sequences = workload.batch / plan.dp / n_groups(workload, plan)
    if isinstance(workload, Decode):
        return Pass(sequences * n_each, 1.0, workload.context - 1.0)
    # the mean chunk begins in the middle of the prompt, less half of itself
    queries = workload.prompt / workload.n_chunks
    return Pass(sequences, queries, workload.cached + (workload.prompt - queries) / 2)


def linears(workload: Serving, plan: Plan, p: Pass, fixed: bool, rows: bool = False) -> list[Placed]:
    """Linear layers of a block; a latent is expanded for the context, which decode absorbs [deepseek2024v2]."""
    model = workload.model
    placed = []
    for x in block_linears(model, Shard(plan.tp, ep=plan.ep), p.tokens):
        n_moves = 1.0
        if x.kind is Kind.EXPERTS and model.experts is not None:
            tokens = p.tokens * plan.ep  # those of all ranks whose tokens may choose an expert of this one
            if fixed:
                x, n_moves = of_fixed_shape(x, model.experts, tokens, isinstance(workload, Decode))
            else:
                x = by_index(x, model.experts, tokens)
        elif x.kind is Kind.EXPANSION and p.queries > 1:
            x = dataclasses.replace(x, tokens=p.sequences * p.n_context)
        placed.append(Placed(_stored(workload, x, rows, n_moves), "forward", x.share))
    return placed


def _stored(workload: Serving, x: Linear, rows: bool, n_moves: float = 1.0) -> Op:
    """A linear layer on weights as they are stored, which are converted where the products are wider.

    `rows`: weights are fetched row by row, as `pieces` has it.
    """
    stored = format_of(workload.weight_precision, x.part)
    each_B, n_weights = stored_B(stored), x.inputs * x.outputs * x.count
    op = linear(x.name, x.tokens, x.inputs, x.outputs, products_of(workload, x.part), each_B, x.count, x.kind)
    # few rows: memories split the weight and exchange the rest; many rows are split themselves and exchange nothing
    thin = isinstance(workload, Decode) and x.kind is Kind.LINEAR
    return dataclasses.replace(
        op, stored_elements=n_weights, stored_bits=n_element_bits(stored),
        hbm_B=op.hbm_B + (n_moves - 1.0) * each_B * n_weights,
        starting_B=starting_B(each_B * n_weights, x.outputs / x.beside, each_B) if rows else 0.0,
        spread_B=spread_B(x.tokens, x.inputs, x.outputs) if thin else 0.0,
    )  # fmt: skip


def _decode_attention(mixer: Attention | Latent, workload: Serving, plan: Plan, p: Pass, lanes: float) -> Op:
    """One query per head on the cache; latent attention streams all heads against one latent [deepseek2024v2].

    Where compilers give every row of scores a lane of long-vector engines, few rows leave most of `lanes` idle.
    """
    heads, kv_heads = heads_of(mixer, plan.tp)
    kv, width, streams = kv_heads, (mixer.head_dim + mixer.value_dim) / 2, kv_heads
    if isinstance(mixer, Latent):
        entry = float(mixer.kv_rank + mixer.rope_dim)
        # scores take the rotary part, results do not; one entry serves as key and value, and is read once
        kv, width = 1.0, (entry + absorbed_width(mixer)) / 2
        streams = entry / (2 * width)
    # heads that share keys are the rows of one product, hence heads / kv in the place of queries
    op = fused_attention(
        kv, streams, width, heads / kv, mixer.n_read(p.n_context) / plan.cp, p.sequences, n_products=2,
        softmax_passes=passes()["softmax_forward"], kv_B=stored_B(workload.kv_precision),
    )  # fmt: skip
    rows = heads * p.sequences
    return dataclasses.replace(op, vector_elements=op.vector_elements * padded(rows, lanes) / rows)


def _prefill_attention(mixer: Attention | Latent, workload: Serving, plan: Plan, p: Pass) -> Op:
    """New tokens on cache and themselves; what any of them sees crosses the memory interface once."""
    heads, kv_heads = heads_of(mixer, plan.tp)
    width = (mixer.head_dim + mixer.value_dim) / 2
    # each new token sees a window of its own: together they see one window and themselves
    read = p.n_context
    if isinstance(mixer, Attention) and mixer.window:
        read = min(mixer.n_kept(p.n_context) + p.queries, p.n_context)
    return fused_attention(
        heads, kv_heads, width, p.queries / plan.cp, read, p.sequences, n_products=2,
        softmax_passes=passes()["softmax_forward"], kv_B=stored_B(workload.kv_precision),
        attended=mixer.n_attended(p.cached, p.queries),
    )  # fmt: skip


def _mixer(mixer: AbstractMixer, workload: Serving, plan: Plan, p: Pass, lanes: float) -> list[Op]:
    """What a mixer does with earlier tokens: attention on the cache, or a recurrence on its state."""
    decode = isinstance(workload, Decode)
    if not isinstance(mixer, Attention | Latent):
        if decode or not isinstance(mixer, Recurrence):
            return [recurrence_step_op(mixer, plan.tp, p.sequences, state_B(mixer))]
        return [recurrence_op(mixer, plan.tp, p.queries / plan.cp, p.sequences, "forward")]
    if decode:
        found = [_decode_attention(mixer, workload, plan, p, lanes)]
    else:
        found = [_prefill_attention(mixer, workload, plan, p)]
    if mixer.indexer and not mixer.indexer.shared:
        kv_B = stored_B(workload.kv_precision)
        if decode:
            # every context rank scores its own part
            seen = p.n_context / plan.cp
            found.append(index_op(mixer, 1.0, seen, seen, p.sequences, kv_B))
        else:
            # half of the new tokens lie before one of them, on average
            seen = p.cached + p.queries / 2
            found.append(index_op(mixer, p.queries / plan.cp, seen, p.n_context, p.sequences, kv_B))
    return found


def serving_ops(
    workload: Serving, plan: Plan, lanes: float = 1.0, fixed: bool = False, n_each: int = 1, rows: bool = False
) -> list[Placed]:
    """Operators of block and head for one pass on one rank, with the share of blocks or passes that have them.

    The head runs on the last token of each sequence. `lanes` of a vector engine take a row of scores each (1: rows are
    split over threads); `fixed` as in `linears.of_fixed_shape`, `n_each` as in `rank_pass`, `rows` as in `pieces`.
    Source: [shoeybi2019] section 3: without sequence parallelism tensor ranks keep norms and residuals whole.
    """
    model, p = workload.model, rank_pass(workload, plan, n_each)
    tokens = p.tokens / (1 if isinstance(workload, Decode) else plan.cp)
    # latents of all ranks go around, so each rank expands the whole context: what is not its own counts as cached
    own = tokens / p.sequences
    split = dataclasses.replace(p, queries=own, cached=p.n_context - own)
    placed = linears(workload, plan, split, fixed, rows)
    for mixer, share in model.working_mixers:
        placed += [Placed(op, "forward", share) for op in _mixer(mixer, workload, plan, p, lanes)]
    shard = Shard(plan.tp, ep=plan.ep, sequence_parallel=False)
    small = block_elementwise(model, shard, tokens, "forward", partial(products_of, workload), not fixed)
    placed += [Placed(op, "forward") for op in small]
    # a prompt needs logits of its last token alone, and so in its last chunk
    last = 1.0 if isinstance(workload, Decode) else 1.0 / workload.n_chunks
    vocab = n_outputs(model) / plan.tp
    head = _stored(workload, Linear("head", p.sequences, model.hidden, vocab, part="head"), rows)
    draw = elementwise("sample", p.sequences * vocab, passes()["sample"], moved=2.0)
    return [*placed, Placed(head, "head", last), Placed(draw, "head", last)]
