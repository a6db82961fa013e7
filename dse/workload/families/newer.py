"""Families of 2026: gated attention with windows, experts at a lower width, convolutions beside.

Source: sizes and defaults are those of each type in [wolf2020transformers], release 5.24.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from ..blocks import Block
from ..config_file import Fields
from ..mixers import AbstractMixer, Attention, Indexer
from ..recurrences import ShortConvolution
from .common import (
    FULL,
    SLIDING,
    Body,
    Builder,
    blocks_of,
    body,
    every,
    experts,
    grouped,
    hidden_of,
    mlp,
    n_layers,
    sparse_layers,
    typed_windows,
    windowed,
)
from .dense import gated, parallel
from .experts import TOP, WIDTH, mixed_feeds, sparse_steps, with_shared
from .hybrid import LINEAR, gated_delta
from .windows import Windows, all_windows, no_windows


def listed_windows(f: Fields, n: int, *, width: int = 0, period: int = 1) -> list[int]:
    """The window of each layer as `layer_types` lists it; without a list all but every `period`-th have one."""
    w = f.optional("sliding_window", width)
    f.skip("layer_rope_theta")
    return typed_windows(f, n, w, every(n, period, w))


def whole_gate(attention: Attention) -> Attention:
    """`attention` with a gate on every element of its result."""
    return dataclasses.replace(attention, gate_width=attention.n_heads * attention.value_dim)


def gated_result(f: Fields, *, windows: Windows, head_dim: int | None = None) -> Body:
    """Muse Glimmer: gated attention with windows, a dense MLP, norms on both sides."""
    n = n_layers(f)
    f.skip("output_multiplier", "qk_scale_factor", "post_norm_eps")
    mixers = windowed(whole_gate(grouped(f, head_dim=head_dim)), windows(f, n))
    return body(f, blocks_of(mixers, [mlp(f)] * n, 4), tied=False)


def muse_spark(f: Fields) -> Body:
    """Muse Spark: gated attention with windows, experts at a lower width than the model's."""
    n = n_layers(f)
    f.skip("output_multiplier", "qk_scale_factor", "post_norm_eps", "residual_gate_temperature")
    moe = experts(f, ("num_local_experts", "num_experts"), TOP, WIDTH)
    small = f.whole("moe_hidden_size", default=hidden_of(f))
    # equal widths have no projection between them
    if moe is not None and small != hidden_of(f):
        # tokens go narrow to the experts and come back wide
        moe = dataclasses.replace(moe, latent=small)
    feeds = mixed_feeds(f, sparse_layers(f, n, [True] * n), moe)
    mixers = windowed(whole_gate(grouped(f)), listed_windows(f, n))
    return body(f, blocks_of(mixers, feeds, 4), tied=False)


def beam(f: Fields) -> Body:
    """BEAM: gated attention with windows, experts without shared ones but in the first layers."""
    n = n_layers(f)
    moe = experts(f, ("num_experts",), TOP, WIDTH)
    feeds = mixed_feeds(f, sparse_layers(f, n, [i >= 3 for i in range(n)]), moe)
    mixers = windowed(whole_gate(grouped(f)), listed_windows(f, n, width=512, period=6))
    return body(f, blocks_of(mixers, feeds, 4), tied=False)


def flint(f: Fields) -> Body:
    """Flint: windows where listed, one shared expert, listed layers dense."""
    n = n_layers(f)
    moe = experts(f, ("num_experts",), TOP, WIDTH, shared=f.whole("shared_expert_intermediate_size", least=0))
    mixers = windowed(grouped(f, kv=4, head_dim=128), listed_windows(f, n, width=513, period=4))
    return body(f, blocks_of(mixers, sparse_steps(f, n, moe)), tied=False)


def aria(f: Fields) -> Body:
    """Aria: experts of one width in every layer, some of them shared."""
    n, per = n_layers(f), f.whole("intermediate_size")
    shared = f.whole("moe_num_shared_experts", default=2, least=0) * per
    moe = experts(f, ("moe_num_experts",), ("moe_topk",), ("intermediate_size",), shared=shared)
    mixers = windowed(grouped(f), no_windows(f, n))
    return body(f, blocks_of(mixers, [moe or mlp(f)] * n), tied=False)


def lfm3(f: Fields) -> Body:
    """LFM3: short convolutions with attention in listed layers, some with a window; a gate per head."""
    n, hidden = n_layers(f), hidden_of(f)
    w = f.optional("sliding_window", 256)
    types = f.words("layer_types", length=n, allowed=("conv", SLIDING, FULL))
    if types is None:
        raise f.error("layer_types", f"conv, {SLIDING} or {FULL} for each of {n} layers")
    attention = grouped(f)
    if f.flag("use_attention_gate", default=True):
        attention = dataclasses.replace(attention, gate_width=attention.n_heads)
    conv = ShortConvolution(hidden, f.whole("conv_L_cache", default=7))
    of_kind: dict[str, AbstractMixer] = {
        "conv": conv, FULL: attention, SLIDING: dataclasses.replace(attention, window=w)
    }  # fmt: skip
    norms = 4 if f.flag("use_sandwich_norm", default=True) else 2
    f.skip("conv_bias")
    return body(f, blocks_of([of_kind[t] for t in types], [mlp(f)] * n, norms), tied=True)


def lara_mini(f: Fields) -> Body:
    """Lara Mini: gated delta nets, windows and full attention as listed, a shared expert beside the others."""
    n = n_layers(f)
    types = f.words("layer_types", length=n, allowed=(LINEAR, SLIDING, FULL))
    if types is None:
        raise f.error("layer_types", f"{LINEAR}, {SLIDING} or {FULL} for each of {n} layers")
    whole, w = grouped(f), f.optional("sliding_window", 512)
    of_kind: dict[str, AbstractMixer] = {
        LINEAR: gated_delta(f), FULL: whole, SLIDING: dataclasses.replace(whole, window=w)
    }  # fmt: skip
    moe = experts(f, ("num_experts",), TOP, WIDTH, shared=f.whole("shared_expert_intermediate_size", least=0))
    return body(f, blocks_of([of_kind[t] for t in types], [moe or mlp(f)] * n), tied=True)


INDEXED = "indexed_attention"


def qwen4_exp(f: Fields) -> Body:
    """Qwen4-Exp: gated delta nets, gated attention that chooses positions, several residual streams, n-gram tables.

        streams: 2 (2 s h r + s^2 h) per layer;   n-grams: V d + d h (s + 1) per listed layer
    with s streams of width h mixed through rank r, and tables of V rows each that are d wide together.
    """
    n, hidden, gate = n_layers(f), hidden_of(f), whole_gate(grouped(f, kv=2, head_dim=256))
    rate = f.whole("indexer_compress_ratio")
    f.fixed("indexer_kv_heads", 1)
    chooses = Indexer(f.whole("indexer_n_heads"), f.whole("indexer_head_dim"), f.whole("indexer_budget"), rate=rate)
    types = f.words("layer_types", length=n, allowed=(LINEAR, INDEXED, FULL))
    step, linear = f.whole("full_attention_interval", default=4), gated_delta(f)
    whole = [t != LINEAR for t in types] if types else [(i + 1) % step == 0 for i in range(n)]
    mixers: list[AbstractMixer] = [dataclasses.replace(gate, indexer=chooses) if x else linear for x in whole]
    shared = f.whole("shared_expert_intermediate_size", default=512, least=0)
    moe = experts(f, ("num_experts",), TOP, WIDTH, shared=shared)
    more, tables = _streams(f, n, hidden)
    blocks = [Block((m,), moe or mlp(f), 2, w) for m, w in zip(mixers, more, strict=True)]
    return dataclasses.replace(body(f, blocks, tied=False), n_tables=tables)


def _streams(f: Fields, n: int, hidden: int) -> tuple[list[int], int]:
    """Width of what stands beside each block for its residual streams and n-grams, and entries of tables in all."""
    streams, rank = f.whole("hc_count", default=4), f.whole("hc_lowrank", default=320)
    rows, wide = f.whole("ngram_vocab_size_base", default=20_000_000), f.whole("ple_embed_dim", default=hidden)
    listed = f.indices("ple_layer_ids", below=n + 1) or []
    f.skip("ngram_size", "heads_per_ngram", "make_ngram_vocab_size_divisible_by", "ple_conv_kernel_size", "seed",
           "split_ngram_parts", "number_of_conv_states", "output_gate_type")  # fmt: skip
    # half of the formula: a per-layer width stands for two matrices (`Block.n_weights`)
    beside, by_word = 2 * streams * rank + streams**2, wide * (streams + 1) // 2
    # these lists count layers from 1
    return [beside + by_word * (i in listed) for i in range(1, n + 1)], (
        len(listed) * rows * wide + 2 * streams * hidden * rank
    )


NEAR, FAR = "hybrid_sliding", "hybrid"
"""Kinds of layers of Inkling."""


def inkling(f: Fields, *, gate: bool) -> Body:
    """Inkling: heads of their own where a window is, and a projection for relative positions in every layer.

    Convolutions over a few tokens and the bias by distance are below 0.1 % of the weights and left out.
    """
    n = n_layers(f)
    whole = grouped(f)
    near = Attention(
        f.whole("swa_num_attention_heads", default=whole.n_heads), f.whole("swa_num_key_value_heads"),
        f.whole("swa_head_dim", default=whole.head_dim), window=f.whole("sliding_window_size"),
    )  # fmt: skip
    rel = f.whole("d_rel")
    f.skip(*INKLING)
    types = f.words("layer_types", length=n, allowed=(NEAR, FAR))
    of_kind = {
        kind: dataclasses.replace(a, gate_width=a.n_heads * (rel + (a.head_dim if gate else 0)))
        for kind, a in ((NEAR, near), (FAR, whole))
    }
    mixers = [of_kind[t] for t in types or [FAR if (i + 1) % 6 == 0 else NEAR for i in range(n)]]
    shared = 0 if gate else f.whole("n_shared_experts", least=0) * f.whole(*WIDTH)
    moe = experts(f, ("n_routed_experts",), TOP, WIDTH, shared=shared)
    feeds = mixed_feeds(f, sparse_layers(f, n, [True] * n), moe)
    return body(f, blocks_of(mixers, feeds), tied=False)


INKLING = (
    "chain_hidden_post_norm", "conv_kernel_size", "log_scaling_alpha", "log_scaling_n_floor", "rel_extent",
    "logits_mup_width_multiplier", "mtp_hidden_states_first", "number_of_conv_states", "rms_norm_eps_moe_gate",
    "route_scale", "shared_expert_sink", "mlp_gate_softcap", "mlp_up_softcap", "n_layers_per_attn_res_block",
    "qk_l2_clip_threshold", "rel_l2_clip_threshold", "scoring_func", "unpadded_vocab_size",
)  # fmt: skip
"""Keys of scales, of caps and of parts below 0.1 % of the weights."""


def zaya(f: Fields) -> Body:
    """ZAYA1: attention whose keys and values are narrow and pass a short convolution; one of many experts a token.

    The router has a small MLP and keys and queries a convolution by head, together 1 % of the weights.
    """
    n, hidden = n_layers(f), hidden_of(f)
    f.fixed("cca_time0", 2)
    f.fixed("cca_time1", 2)
    f.skip("lm_head_bias", "layer_types")
    moe, attention = experts(f, ("num_experts",), TOP, WIDTH), grouped(f, kv=2, head_dim=128)
    made = body(f, blocks_of([attention] * n, [moe or mlp(f)] * n), tied=True)
    router = f.whole("router_hidden_size", default=256)
    taps = 2 * (attention.n_heads + attention.n_kv_heads) * attention.head_dim * (attention.head_dim + 1)
    # as tables: they count as weights, and take no time
    return dataclasses.replace(made, n_tables=n * (hidden * router + 2 * router**2 + router + taps))


NEWER: dict[str, Builder] = {
    "apertus1p5_text": partial(gated, matrices=2),
    "aria_text": aria,
    "beam": beam,
    "cohere_compass_text": partial(parallel, matrices=3, tied=True, windows=listed_windows),
    "cosmos3_edge_text": partial(gated, kv=8, matrices=2),
    "deepseek_ocr2_text": partial(with_shared, shared=2, first=1),
    "emu3_text_model": partial(gated, kv=8),
    "flint": flint,
    "granite4_vision_text": gated,
    "inkling_text": partial(inkling, gate=False),
    "inkling2_text": partial(inkling, gate=True),
    "lara_mini": lara_mini,
    "lfm3": lfm3,
    "muse_glimmer_text": partial(gated_result, windows=partial(listed_windows, width=2048, period=4)),
    "muse_spark_text": muse_spark,
    "qwen4_exp_text": qwen4_exp,
    "voxtral_realtime_text": partial(gated, kv=8, head_dim=128, tied=True, windows=partial(all_windows, width=8192)),
    "zaya": zaya,
}
