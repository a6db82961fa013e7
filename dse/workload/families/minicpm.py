"""MiniCPM: attention to chosen blocks, and layers with lightning attention [wolf2020transformers]."""

from __future__ import annotations

import dataclasses

from ..config_file import Fields
from ..mixers import AbstractMixer, Attention, Indexer
from ..recurrences import Recurrence
from .common import Body, Builder, blocks_of, body, grouped, mlp, n_layers
from .dense import gated

LIGHTNING = ("lightning-attn", "lightning_attn", "lightning")
"""Names of layers with lightning attention."""


ATTENTION = "minicpm4"


def chosen_blocks(f: Fields, attention: Attention) -> Attention:
    """`attention` to blocks chosen by its own queries on pooled keys, where the file switches that on (InfLLM v2).

    Pooled keys have no weights, one for every `kernel_stride` positions; below `dense_len` everything is seen, which is
    at most twice what is chosen. Source: MiniCPM's own code, and its repository for `sparse_config`.
    """
    inner = f.nested("sparse_config")
    if inner is None:
        return attention
    inner.skip("init_blocks", "window_size", "use_nope", "dense_len", "kernel_size", "sparse_prefill",
               "prefill_query_chunk_size")  # fmt: skip
    chosen = inner.whole("topk", default=64) * inner.whole("block_size", default=64)
    rate = inner.whole("kernel_stride", default=16)
    return dataclasses.replace(
        attention, indexer=Indexer(attention.n_heads, attention.head_dim, chosen, rate=rate, n_made=0)
    )


def minicpm(f: Fields) -> Body:
    """MiniCPM 1 to 4.1."""
    made = gated(f, tied=True)
    attention = chosen_blocks(f, grouped(f))
    return dataclasses.replace(made, blocks=[dataclasses.replace(b, mixers=(attention,)) for b in made.blocks])


def sala(f: Fields) -> Body:
    """MiniCPM-SALA: each layer one of two kinds, both with a gate on the result."""
    n = n_layers(f)
    kinds = f.words("mixer_types", length=n, allowed=(ATTENTION, *LIGHTNING))
    if kinds is None:
        raise f.error("mixer_types", f"{ATTENTION} or {LIGHTNING[0]} for each layer")
    whole = grouped(f)
    gate = whole.n_heads * whole.head_dim if f.flag("attn_use_output_gate", default=False) else 0
    whole = dataclasses.replace(chosen_blocks(f, whole), gate_width=gate)
    f.skip("attn_use_rope", "lightning_scale", "lightning_use_rope", "use_output_norm", "shift_labels")
    linear = _lightning(f, whole)
    mixers: list[AbstractMixer] = [whole if k == ATTENTION else linear for k in kinds]
    return body(f, blocks_of(mixers, [mlp(f)] * n), tied=False)


def _lightning(f: Fields, whole: Attention) -> Recurrence:
    """Lightning attention with heads of its own, fewer of them for keys and values where stated."""
    heads = f.whole("lightning_nh", default=whole.n_heads)
    few = f.whole("lightning_nkv", default=heads)
    width = f.whole("lightning_head_dim", default=whole.head_dim)
    gate = heads if f.flag("use_output_gate", default=True) else 0
    # queries, keys, values, and a gate as wide as the result
    return Recurrence(
        "lightning attention", heads, width, width, (heads + 2 * few + gate) * width, "dual", n_key_heads=few
    )


MINICPM: dict[str, Builder] = {"minicpm": minicpm, "minicpm_sala": sala}
