"""Weights of a model by part, and a model of the same kinds of block with fewer of them."""

from __future__ import annotations

import dataclasses

from .blocks import Run
from .transformer import Model, n_head_weights


def parameters_by_part(model: Model) -> dict[str, int]:
    """Number of weights by part of the model; the parts add up to `total_parameters`."""
    h, table = model.hidden, model.vocab * model.hidden
    parts = {"mixers": 0, "routed experts": 0, "other MLPs": 0, "norms": h}  # h: the norm behind the last block
    for r in model.runs:
        feed, routed = r.block.feed_weights(h), r.block.expert_weights(h)
        mixers = sum(m.n_weights(h) for m in r.block.mixers)
        parts["mixers"] += r.n * mixers
        parts["routed experts"] += r.n * routed
        parts["other MLPs"] += r.n * (feed - routed)
        parts["norms"] += r.n * (r.block.n_weights(h) - mixers - feed)  # and gates of per-layer embeddings
    tables = {"embedding": table + model.n_tables, "head": n_head_weights(model)}
    return parts | tables


def ahead_parameters(model: Model) -> int:
    """Weights of multi-token prediction blocks, with projection and norms. Source: [deepseek2024v3] eq. 21."""
    h = model.hidden
    # 2 h h joins the state with the next token's embedding; a norm of each, and one before the head
    return sum(r.n * (r.block.n_weights(h) + 2 * h * h + 3 * h) for r in model.ahead)


def shortened(model: Model, n_layers: int) -> Model:
    """`model` with `n_layers` blocks, kinds in proportion; rare kinds keep their count, the commonest at least 1."""
    # one dense layer in front, scaled down, would be none: a sample must keep it, or it measures another model
    rare, most = sorted(model.runs, key=lambda r: r.n)[:-1], max(model.runs, key=lambda r: r.n)
    left, counts = n_layers, {}
    for r in rare:
        few = RARE * r.n < most.n
        counts[r] = min(r.n if few else round(r.n * n_layers / model.n_layers), max(left - 1, 0))
        left -= counts[r]
    # the commonest kind takes what rounding of the others leaves
    runs = tuple(Run(r.block, counts.get(r, left)) for r in model.runs)
    return dataclasses.replace(model, runs=tuple(r for r in runs if r.n))


RARE = 4
"""A kind of block outnumbered this many times counts as rare, such as dense blocks before mixtures of experts."""
