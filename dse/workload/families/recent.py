"""Mixtures of experts of 2025 and 2026 that differ in heads, gates or what chooses positions [wolf2020transformers]."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from ..blocks import Block, Mlp
from ..config_file import Fields
from ..mixers import AbstractMixer, Attention, Indexer
from .common import (
    FULL,
    LAYER,
    Body,
    Builder,
    blocks_of,
    body,
    every,
    experts,
    grouped,
    n_layers,
    sizes_of,
    sparse_layers,
    typed_windows,
    windowed,
)
from .experts import granite_moe, mixtral
from .feeds import AHEAD, NEXT, ROUTED, TOP, WIDTH, mixed_feeds, with_shared
from .windows import first_of, no_windows, periodic_windows


def with_gates(made: Body) -> Body:
    """`made` with a gate on every element of every attention's result."""
    blocks = []
    for b in made.blocks:
        mixers: list[AbstractMixer] = []
        for m in b.mixers:
            assert isinstance(m, Attention)
            mixers.append(dataclasses.replace(m, gate_width=m.n_heads * m.value_dim))
        blocks.append(dataclasses.replace(b, mixers=tuple(mixers)))
    return dataclasses.replace(made, blocks=blocks)


def _global_every(f: Fields, n: int) -> list[int]:
    w = f.optional("sliding_window", 1024)
    return typed_windows(f, n, w, every(n, f.whole("global_attn_every_n_layers", default=4), w))


def afmoe(f: Fields) -> Body:
    """Trinity: gated attention, windows but for every fourth layer, norms on both sides."""
    f.skip("num_expert_groups", "num_limited_groups", "load_balance_coeff", "use_grouped_mm")
    made = with_shared(f, head_dim=128, first=1, shared=2, norms=4, windows=_global_every)
    return with_gates(made)


def exaone_moe(f: Fields) -> Body:
    """K-EXAONE: windows by period, a list of layers with experts in older files."""
    listed = f.items("is_moe_layer", length=n_layers(f))
    if listed is not None and not f.has("mlp_layer_types"):
        f.raw["mlp_layer_types"] = ["sparse" if x else "dense" for x in listed]
    f.skip("first_last_k_dense_replace", "mlp_layer_types")
    return with_shared(f, kv=32, first=1, windows=partial(periodic_windows, period=4, width=4096))


def hy_v3(f: Fields) -> Body:
    """Hunyuan 3: the width of an expert may be stated under two names."""
    if f.has("expert_hidden_dim", "moe_intermediate_size"):
        f.raw.setdefault("moe_intermediate_size", f.whole("expert_hidden_dim", "moe_intermediate_size"))
    return with_shared(f, kv=8, head_dim=128, first=1)


def laguna(f: Fields) -> Body:
    """Laguna: query heads by layer, a gate per head, one shared expert of its own width."""
    n = n_layers(f)
    windows = typed_windows(f, n, f.optional("sliding_window", 512), [0] * n)
    heads = f.items("num_attention_heads_per_layer", length=n)
    usual = grouped(f, kv=8, head_dim=128)
    gates = _gates(f, n)
    moe = experts(f, ROUTED, TOP, WIDTH, shared=f.whole("shared_expert_intermediate_size", default=512, least=0))
    f.skip("decoder_sparse_step")
    only = f.indices("mlp_only_layers", below=n)
    dense = only if only is not None else [0]
    feeds = mixed_feeds(f, sparse_layers(f, n, [i not in dense for i in range(n)]), moe)
    mixers: list[AbstractMixer] = []
    for i, w in enumerate(windows):
        a = heads[i] if heads else usual.n_heads
        # a KV head serves whole query heads, and as many of them as any other
        if not isinstance(a, int) or isinstance(a, bool) or a < 1 or a % usual.n_kv_heads:
            raise f.error("num_attention_heads_per_layer", f"multiples of the {usual.n_kv_heads} KV heads")
        wide = a * {"per_head": 1, "per_element": usual.head_dim, "none": 0}[gates[i]]
        mixers.append(dataclasses.replace(usual, n_heads=a, window=w, gate_width=wide))
    return body(f, blocks_of(mixers, feeds), tied=False)


def _gates(f: Fields, n: int) -> list[str]:
    """The gate of each layer, from a list or from one value for all."""
    said: Any = f.raw.get("gating", True)
    f.skip("gating")
    names = {True: "per_head", False: "per_element", "per-head": "per_head", "per-element": "per_element"}
    if not isinstance(said, bool | str) or said not in names:
        raise f.error("gating", "true, false, per-head or per-element")
    return f.words("gating_types", length=n, allowed=("per_head", "per_element", "none")) or [names[said]] * n


def cohere2_moe(f: Fields) -> Body:
    """Command of 2026: one norm before attention and experts side by side; the first layers may be dense."""
    n = n_layers(f)
    first = f.whole("first_k_dense_replace", default=0, least=0)
    w = f.optional("sliding_window", 4096)
    early = f.whole("prefix_dense_sliding_window_pattern", default=1)
    late = f.whole("sliding_window_pattern", default=4)
    # two periods, each counted from the first of its own layers
    windows = typed_windows(f, n, w, every(first, early, w) + every(n - first, late, w))
    per = f.whole("intermediate_size")
    shared = f.whole("num_shared_experts", default=0, least=0) * per
    moe = experts(f, ("num_experts", "num_local_experts"), TOP, ("intermediate_size",), shared=shared)
    sparse = sparse_layers(f, n, [i >= first for i in range(n)])
    f.skip("prefix_dense_intermediate_size", "shared_expert_combination_strategy")
    dense = Mlp(f.whole("prefix_dense_intermediate_size", default=per))
    feeds = [moe if s and moe else dense for s in sparse]
    mixers = windowed(grouped(f, head_dim=128), windows)
    return body(f, [Block((m,), x, 1) for m, x in zip(mixers, feeds, strict=True)], tied=True, norm_passes=LAYER)


def layer_list(f: Fields, key: str, n: int, extra: int) -> None:
    """Cut a list that also names the blocks that predict further tokens."""
    value = f.raw.get(key)
    if isinstance(value, list) and extra and len(value) == n + extra:
        f.raw[key] = value[:n]


STEP = (
    "swiglu_limits", "swiglu_limits_shared", "rope_theta", "partial_rotary_factors", "yarn_only_types",
    "use_head_wise_attn_gate", "per_layer_config", "mtp_layer_types", "mtp_mlp_layer_types", "norm_expert_weight",
    "use_moe", "moe_router_activation", "need_fp32_gate", "att_impl_type", "use_moe_router_bias", "sink",
    "zero_centered", "query_pre_attn_scalar", "moe_every_n_layer", "n_shared_experts",
)  # fmt: skip
"""Keys of Step that say how vectors are treated, or that are read elsewhere."""


def step3p5(f: Fields) -> Body:
    """Step 3.5 and 3.7: more query heads in layers with a window, a gate per head, experts in listed layers."""
    n = n_layers(f)
    # first: lists that name the further blocks too would not have a length of n
    extra = f.layers("num_nextn_predict_layers", "num_mtp_layers", default=0, least=0)
    for key in ("layer_types", "mlp_layer_types"):
        layer_list(f, key, n, extra)
    f.skip(*STEP)
    f.fixed("n_shared_experts", 1)
    f.fixed("moe_every_n_layer", 1)
    f.fixed("moe_layer_offset", 0)
    windows = typed_windows(f, n, f.optional("sliding_window", 0), [0] * n)
    whole = grouped(f, kv=8, head_dim=128)
    near = _near(f, whole)
    mixers = [dataclasses.replace(near, window=w) if w else whole for w in windows]
    gate = f.flag("use_head_wise_attn_gate", default=True)
    mixers = [dataclasses.replace(m, gate_width=m.n_heads if gate else 0) for m in mixers]
    shared = f.whole("share_expert_dim", "share_expert_dims", default=1280, least=0)
    moe = experts(f, (*ROUTED, "moe_num_experts"), (*TOP, "moe_top_k"), WIDTH, shared=shared, per_token=8)
    made = body(f, blocks_of(mixers, mixed_feeds(f, _step_sparse(f, n), moe)), tied=False)
    return dataclasses.replace(made, ahead=[made.blocks[-1]] * extra)


def _near(f: Fields, whole: Attention) -> Attention:
    other = f.nested("attention_other_setting")
    heads = f.whole("num_sliding_attention_heads", default=whole.n_heads)
    if other is None:
        return dataclasses.replace(whole, n_heads=heads)
    other.skip("attention_type", "head_dim", "true_head_dim")
    return Attention(
        other.whole("num_attention_heads", default=heads),
        other.whole("num_attention_groups", "num_key_value_heads", default=whole.n_kv_heads),
        other.whole("head_dim", default=whole.head_dim),
    )


def _step_sparse(f: Fields, n: int) -> list[bool]:
    listed = f.raw.get("moe_layers_enum")
    first = f.whole("first_k_dense_replace", default=3, least=0)
    f.skip("moe_layers_enum")
    if listed is None or f.has("mlp_layer_types"):
        return sparse_layers(f, n, [i >= first for i in range(n)])
    try:
        found = {int(x) for x in (listed.split(",") if isinstance(listed, str) else listed) if str(x).strip()}
    except (TypeError, ValueError, OverflowError):
        raise f.error("moe_layers_enum", "indices of layers, as a list or with commas between them") from None
    return [i in found for i in range(n)]


SPARSE = "minimax_m3_sparse"
"""A layer of MiniMax-M3 whose positions are chosen in blocks."""


def minimax_m3(f: Fields) -> Body:
    """MiniMax-M3: a few first layers whole and dense, then blocks of positions chosen per KV head, and experts."""
    n, legacy = n_layers(f), f.nested("sparse_attention_config")
    f.skip("rotary_dim", "use_qk_norm", "qk_norm_type", "attn_type_list", "mtp_transformer_layers", "use_gemma_norm",
           "attention_output_gate", "postnorm")  # fmt: skip
    f.fixed("attention_output_gate", False)
    chooses, listed = _block_indexer(f, legacy), None
    if legacy is not None:
        listed = legacy.items("sparse_attention_freq", length=n)
    types = f.words("layer_types", length=n, allowed=(SPARSE, FULL))
    sparse = [t == SPARSE for t in types] if types else [bool(x) for x in listed or [0] * n]
    whole = grouped(f, kv=4, head_dim=128)
    near = dataclasses.replace(whole, indexer=chooses)
    shared = f.whole("shared_intermediate_size", default=3072, least=0)
    shared *= f.whole("n_shared_experts", default=1, least=0)
    wide = ("intermediate_size", *WIDTH)
    moe = experts(f, ("num_local_experts", "num_experts"), TOP, wide, shared=shared)
    first = f.whole("first_k_dense_replace", default=0, least=0)
    has = sparse_layers(f, n, [bool(x) for x in f.items("moe_layer_freq", length=n) or [i >= first for i in range(n)]])
    feeds = mixed_feeds(f, has, moe, "dense_intermediate_size")
    f.skip("num_mtp_modules")  # modules that were trained; the file's weights hold those of `NEXT`
    return body(f, blocks_of([near if s else whole for s in sparse], feeds), tied=False, ahead=NEXT)


def _block_indexer(f: Fields, legacy: Fields | None) -> Indexer:
    """What chooses blocks of positions, in the new spelling or in the checkpoint's own object."""
    names = {"heads": ("index_n_heads", "sparse_num_index_heads", 4), "width": ("index_head_dim", "sparse_index_dim",
             128), "size": ("index_block_size", "sparse_block_size", 128),
             "blocks": ("index_topk_blocks", "sparse_topk_blocks", 16)}  # fmt: skip
    f.skip("index_local_blocks")
    if legacy is not None:
        legacy.skip("sparse_local_block", "sparse_init_block", "use_sparse_attention", "sparse_disable_index_value",
                    "sparse_score_type", "sparse_attention_freq")  # fmt: skip
    got = sizes_of(f, legacy, names)
    # in positions as of every indexer, though it chooses whole blocks
    return Indexer(got["heads"], got["width"], got["size"] * got["blocks"])


def mellum(f: Fields) -> Body:
    """Mellum 2: experts without shared ones, windows where listed."""
    n = n_layers(f)
    windows = typed_windows(f, n, f.optional("sliding_window", 1024), [0] * n)
    moe = experts(f, ROUTED, TOP, WIDTH)
    feeds = mixed_feeds(f, sparse_layers(f, n, [True] * n), moe)
    f.skip("mtp_layer_types", "mtp_mlp_layer_types")
    return body(f, blocks_of(windowed(grouped(f, kv=4, head_dim=128), windows), feeds), tied=False, ahead=AHEAD)


def kolibri(f: Fields) -> Body:
    """Kolibri: windows but for every fifth layer, one shared expert, norms on both sides."""
    n, w = n_layers(f), f.optional("sliding_window", 513)
    windows = typed_windows(f, n, w, every(n, 5, w))
    moe = experts(f, ROUTED, TOP, WIDTH, shared=f.whole("shared_expert_intermediate_size", default=512, least=0))
    feeds = mixed_feeds(f, [True] * n, moe)
    return body(f, blocks_of(windowed(grouped(f, kv=4, head_dim=128), windows), feeds, 4), tied=False)


RECENT: dict[str, Builder] = {
    "afmoe": afmoe,
    "exaone_moe": exaone_moe,
    "hy_v3": hy_v3,
    "solar_open": partial(with_shared, kv=8, head_dim=128, first=0),
    "sarvam_moe": partial(with_shared, kv=4, head_dim=64, first=1),
    "laguna": laguna,
    "cohere2_moe": cohere2_moe,
    "step3p5": step3p5,
    "minimax_m3_vl_text": minimax_m3,
    "minimax_m3": minimax_m3,
    "mellum": mellum,
    "kolibri1": kolibri,
    "flex_olmo": partial(mixtral, windows=no_windows),
    "granitemoe_swa": partial(granite_moe, shared=True, windows=partial(first_of, period=4, width=128)),
}
