"""Families with mixtures of experts behind attention with grouped heads, each with its own spelling.

Source: defaults of each type in [wolf2020transformers], release 5.24, or of the model's own code.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from ..blocks import Block, Experts
from ..config_file import Fields
from ..mixers import Attention
from .common import (
    LAYER,
    RMS,
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
    rotary_layers,
    typed_windows,
    windowed,
)
from .ernie import ernie, ernie_vl
from .feeds import NEXT, ROUTED, TOP, WIDTH, first_dense, mixed_feeds, sparse_steps, with_shared
from .hunyuan import hunyuan, hunyuan_dense
from .windows import Windows, all_windows, late_windows, no_windows


def in_every(
    f: Fields, moe: Experts | None, *, kv: int | None = None, head_dim: int | None = None, windows: Windows,
    norm_passes: float = RMS,
) -> Body:  # fmt: skip
    """Experts in every block."""
    n = n_layers(f)
    # without experts it is a dense sibling's file
    feeds = [moe or mlp(f)] * n
    return body(f, blocks_of(windowed(grouped(f, kv=kv, head_dim=head_dim), windows(f, n)), feeds), tied=False,
                norm_passes=norm_passes)  # fmt: skip


def mixtral(f: Fields, *, windows: Windows = all_windows, passes: float = RMS) -> Body:
    """Experts as wide as `intermediate_size` in every block (Mixtral, PhiMoE, OLMoE, MiniMax-M2)."""
    moe = experts(f, ("num_local_experts", "num_experts"), ("num_experts_per_tok", "experts_per_token"),
                  ("intermediate_size",))  # fmt: skip
    # types with windows (Mixtral, PhiMoE) have 8 where a file does not say, OLMoE as many as heads
    return in_every(f, moe, kv=8 if windows is all_windows else None, windows=windows, norm_passes=passes)


def minimax_m2(f: Fields) -> Body:
    """MiniMax-M2: 256 experts and no windows; heads of 128."""
    moe = experts(f, ("num_local_experts", "num_experts"), TOP, ("intermediate_size",))
    f.skip("rotary_dim", "use_qk_norm", "qk_norm_type", "shared_intermediate_size", "attn_type_list",
           "mlp_intermediate_size", "shared_moe_mode", "mtp_transformer_layers")  # fmt: skip
    f.fixed("shared_intermediate_size", 0, None)
    kinds = f.items("attn_type_list", length=n_layers(f))
    # 0 would be lightning attention, as in M1
    if kinds and any(k != 1 for k in kinds):
        raise f.error("attn_type_list", "1 (attention) in every layer")
    made = in_every(f, moe, kv=8, head_dim=128, windows=no_windows)
    ahead = [made.blocks[-1]] * f.layers("num_mtp_modules", default=0, least=0)
    return dataclasses.replace(made, ahead=ahead if f.flag("use_mtp", default=True) else [])


def qwen_moe(f: Fields, *, shared: int, windows: Windows, kv: int) -> Body:
    """Qwen: experts where `decoder_sparse_step` divides the count, unless listed in `mlp_only_layers`."""
    n = n_layers(f)
    width = f.whole("shared_expert_intermediate_size", default=shared, least=0) if shared else 0
    if not shared:
        # a width in the file of a type without shared experts would be another model
        f.fixed("shared_expert_intermediate_size", 0)
    moe = experts(f, ("num_experts", "num_local_experts"), TOP, WIDTH, shared=width)
    feeds = sparse_steps(f, n, moe)
    mixers = windowed(grouped(f, kv=kv), windows(f, n))
    return body(f, blocks_of(mixers, feeds), tied=False)


def bailing(f: Fields) -> Body:
    """Ling and Ring: shared experts may state a width of their own."""
    own = f.whole("moe_shared_expert_intermediate_size", default=0, least=0)
    made = with_shared(f, kv=None, shared=0)
    # 0: as wide as routed ones, which is what was read
    if not own:
        return made
    n_shared = f.whole("num_shared_experts", default=1, least=0)
    blocks = [
        dataclasses.replace(b, feed=dataclasses.replace(b.feed, shared_ffn=n_shared * own))
        if isinstance(b.feed, Experts) else b for b in made.blocks
    ]  # fmt: skip
    return dataclasses.replace(made, blocks=blocks)


def gpt_oss(f: Fields) -> Body:
    """gpt-oss: windows in every other layer, the first included."""
    n = n_layers(f)
    moe = experts(f, ("num_local_experts", "num_experts"), ("num_experts_per_tok", "experts_per_token"),
                  ("intermediate_size",))  # fmt: skip
    w = f.optional("sliding_window", 128)
    mixers = windowed(grouped(f, kv=8, head_dim=64), typed_windows(f, n, w, every(n, 2, w)))
    return body(f, blocks_of(mixers, [moe or mlp(f)] * n), tied=False)


def llama4(f: Fields) -> Body:
    """Llama 4: chunks in all but every fourth layer, one shared expert as wide as a routed one."""
    n, chunk = n_layers(f), f.optional("attention_chunk_size", 8192)
    width = f.whole("intermediate_size")
    moe = experts(f, ("num_local_experts",), TOP, ("intermediate_size",), shared=width)
    step = f.whole("interleave_moe_layer_step", default=1, least=0)
    listed = f.indices("moe_layers", below=n)
    sparse = [i in listed if listed is not None else step > 0 and (i + 1) % step == 0 for i in range(n)]
    feeds = mixed_feeds(f, sparse, moe, "intermediate_size_mlp")
    rope = rotary_layers(f, n, n if f.raw.get("no_rope_layers") else None)
    # layers without rotary positions are those that see everything
    windows = typed_windows(f, n, chunk, [chunk if r else 0 for r in rope], chunk=True)
    mixers = windowed(grouped(f, kv=8, head_dim=128), windows, chunked=True)
    return body(f, blocks_of(mixers, feeds), tied=False)


def arctic(f: Fields) -> Body:
    """Arctic: a dense MLP as wide as the model beside the experts of a block."""
    n, hidden = n_layers(f), hidden_of(f)
    moe = experts(f, ("num_local_experts",), TOP, ("intermediate_size",))
    step = f.whole("moe_layer_frequency", default=2)
    residual = f.flag("parallel_attn_mlp_res", "use_residual", default=False)
    beside = dataclasses.replace(moe, parallel_ffn=hidden) if moe and residual else moe
    feeds = mixed_feeds(f, [(i + 1) % step == 0 for i in range(n)], beside)
    attention = grouped(f)
    # experts and the MLP beside them have a norm each
    blocks = [Block((attention,), x, 3 if isinstance(x, Experts) and residual else 2) for x in feeds]
    return body(f, blocks, tied=False)


def dbrx(f: Fields) -> Body:
    """DBRX: sizes of attention and experts in objects of their own."""
    n, hidden, heads = n_layers(f), hidden_of(f), f.whole("n_heads", "num_attention_heads")
    inner, outer = f.nested("ffn_config"), f.nested("attn_config")
    if inner is None or outer is None:
        raise f.error("attn_config" if outer is None else "ffn_config", "an object with the sizes of its part")
    moe = experts(inner, ("moe_num_experts",), ("moe_top_k",), ("ffn_hidden_size",))
    outer.skip("attn_pdrop", "clip_qkv", "rope_theta", "model_type", "is_encoder_decoder")
    inner.skip("hidden_size", "ffn_act_fn", "moe_jitter_eps", "moe_loss_weight", "moe_normalize_expert_weights",
               "uniform_expert_assignment", "model_type", "is_encoder_decoder")  # fmt: skip
    attention = Attention(heads, kv := outer.whole("kv_n_heads", default=1), hidden // heads)
    f.fixed("num_key_value_heads", kv)  # the library writes it outside too
    if moe is None:
        raise f.error("ffn_config", "at least one expert")
    return body(f, blocks_of([attention] * n, [moe] * n), tied=False, norm_passes=LAYER)


def mimo(f: Fields, *, width: int) -> Body:
    """MiMo-V2: windows with KV heads of their own in all but the first and every sixth layer; values narrower."""
    n = n_layers(f)
    moe = experts(f, ROUTED, TOP, WIDTH)
    listed = f.items("hybrid_layer_pattern", length=n)
    f.skip("hybrid_block_size", "attention_chunk_size", "add_swa_attention_sink_bias",
           "add_full_attention_sink_bias", "attention_value_scale", "attention_projection_layout")  # fmt: skip
    f.fixed("n_shared_experts", None, 0)
    w = f.optional("sliding_window", f.whole("sliding_window_size", default=width))
    usual = [0 if i == 0 or (i + 1) % 6 == 0 else w for i in range(n)]
    if listed is not None:
        usual = [w if x else 0 for x in listed]
    windows = typed_windows(f, n, w, usual)
    whole = dataclasses.replace(grouped(f, kv=4, head_dim=192), value_width=f.whole("v_head_dim", default=128))
    near = Attention(
        f.whole("swa_num_attention_heads", default=whole.n_heads), f.whole("swa_num_key_value_heads", default=8),
        f.whole("swa_head_dim", default=whole.head_dim), f.whole("swa_v_head_dim", default=whole.value_dim), w,
    )  # fmt: skip
    feeds = first_dense(f, n, moe, first=1)
    blocks = blocks_of([near if x else whole for x in windows], feeds)
    # blocks that predict further tokens have a window and a dense MLP, unlike the last of the others
    made, last = body(f, blocks, tied=False), Block((near,), mlp(f))
    return dataclasses.replace(made, ahead=[last] * f.layers(*NEXT, default=0, least=0))


def granite_moe(f: Fields, *, shared: bool = False, windows: Windows = no_windows) -> Body:
    """Granite: experts as wide as `intermediate_size`, perhaps a shared MLP with a width of its own."""
    beside = f.whole("shared_intermediate_size", default=0, least=0) if shared else 0
    moe = experts(f, ("num_local_experts",), TOP, ("intermediate_size",), shared=beside)
    return in_every(f, moe, windows=windows)


def grok1(f: Fields) -> Body:
    """Grok-1: experts with a gate in every block, norms on both sides of a branch."""
    n = n_layers(f)
    moe = experts(f, ("num_experts", "num_local_experts"), TOP, ("intermediate_size",))
    return body(f, blocks_of([grouped(f)] * n, [moe or mlp(f)] * n, 4), tied=True)


EXPERTS: dict[str, Builder] = {
    "mixtral": mixtral,
    "phimoe": partial(mixtral, passes=LAYER),
    "olmoe": partial(mixtral, windows=no_windows),
    "minimax_m2": minimax_m2,
    "qwen2_moe": partial(qwen_moe, shared=5632, windows=late_windows, kv=16),
    "qwen3_moe": partial(qwen_moe, shared=0, windows=late_windows, kv=4),
    "qwen3_vl_moe_text": partial(qwen_moe, shared=0, windows=no_windows, kv=16),
    "glm4_moe": partial(with_shared, kv=8, first=1),
    "glm4v_moe_text": partial(with_shared, kv=8, first=1),
    "qwen3_omni_moe_text": partial(qwen_moe, shared=0, windows=late_windows, kv=4),
    "deepseek": partial(with_shared, shared=0, first=0),
    "dots1": partial(with_shared, kv=32, shared=0, windows=partial(late_windows, used=True, first=62)),
    "bailing_moe": bailing,
    "bailing_moe_v2": bailing,
    "ernie4_5_moe": ernie,
    "ernie4_5_vl_moe_text": ernie_vl,
    "ernie4_5_moe_vl": ernie_vl,
    "gpt_oss": gpt_oss,
    "llama4_text": llama4,
    "arctic": arctic,
    "grok-1": grok1,
    "dbrx": dbrx,
    "hunyuan_v1_dense": hunyuan_dense,
    "hunyuan_v1_moe": hunyuan,
    "hunyuan": hunyuan,
    "mimo_v2_flash": partial(mimo, width=129),
    "mimo_v2": partial(mimo, width=128),
    "granitemoe": granite_moe,
    "granitemoeshared": partial(granite_moe, shared=True),
}
