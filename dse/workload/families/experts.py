"""Families with mixtures of experts behind attention with grouped heads, each with its own spelling.

Source: defaults of each type in [wolf2020transformers], release 5.24, or of the model's own code.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from ..blocks import Block, Experts, Mlp
from ..config_file import Fields
from ..mixers import Attention
from ..transformer import Part
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
    sparse_layers,
    typed_windows,
    windowed,
)
from .dense import Windows, all_windows, late_windows, no_windows

TOP = ("num_experts_per_tok",)
ROUTED = ("n_routed_experts", "num_local_experts", "num_experts")
WIDTH = ("moe_intermediate_size",)
NEXT = ("num_nextn_predict_layers",)
AHEAD = (*NEXT, "num_mtp_layers")


def in_every(
    f: Fields, moe: Experts | None, *, kv: int | None = None, head_dim: int | None = None, windows: Windows,
    norm_passes: float = RMS,
) -> Body:  # fmt: skip
    """Experts in every block."""
    n = n_layers(f)
    feeds = [moe or mlp(f)] * n
    return body(f, blocks_of(windowed(grouped(f, kv=kv, head_dim=head_dim), windows(f, n)), feeds), tied=False,
                norm_passes=norm_passes)  # fmt: skip


def mixtral(f: Fields, *, windows: Windows = all_windows, passes: float = RMS) -> Body:
    """Experts as wide as `intermediate_size` in every block (Mixtral, PhiMoE, OLMoE, MiniMax-M2)."""
    moe = experts(f, ("num_local_experts", "num_experts"), ("num_experts_per_tok", "experts_per_token"),
                  ("intermediate_size",))  # fmt: skip
    return in_every(f, moe, kv=8 if windows is all_windows else None, windows=windows, norm_passes=passes)


def minimax_m2(f: Fields) -> Body:
    """MiniMax-M2: 256 experts and no windows; heads of 128."""
    moe = experts(f, ("num_local_experts", "num_experts"), TOP, ("intermediate_size",))
    f.skip("rotary_dim", "use_qk_norm", "qk_norm_type", "shared_intermediate_size", "attn_type_list",
           "mtp_transformer_layers")  # fmt: skip
    f.fixed("shared_intermediate_size", 0, None)
    kinds = f.items("attn_type_list", length=n_layers(f))
    if kinds and any(k != 1 for k in kinds):
        raise f.error("attn_type_list", "1 (attention) in every layer")
    made = in_every(f, moe, kv=8, head_dim=128, windows=no_windows)
    ahead = [made.blocks[-1]] * f.layers("num_mtp_modules", default=0, least=0)
    return dataclasses.replace(made, ahead=ahead if f.flag("use_mtp", default=True) else [])


def qwen_moe(f: Fields, *, shared: int, windows: Windows, kv: int, head_dim: int | None) -> Body:
    """Qwen: experts where `decoder_sparse_step` divides the count, unless listed in `mlp_only_layers`."""
    n = n_layers(f)
    width = f.whole("shared_expert_intermediate_size", default=shared, least=0) if shared else 0
    if not shared:
        f.fixed("shared_expert_intermediate_size", 0)
    moe = experts(f, ("num_experts", "num_local_experts"), TOP, WIDTH, shared=width)
    feeds = sparse_steps(f, n, moe)
    mixers = windowed(grouped(f, kv=kv, head_dim=head_dim), windows(f, n))
    return body(f, blocks_of(mixers, feeds), tied=False)


def sparse_steps(f: Fields, n: int, moe: Experts | None) -> list[Mlp | Experts]:
    """Layer i from 0 has experts if the step divides i + 1 and `mlp_only_layers` does not list it."""
    step = f.whole("decoder_sparse_step", default=1)
    only = f.indices("mlp_only_layers", below=n) or []
    return mixed_feeds(f, [(i + 1) % step == 0 and i not in only for i in range(n)], moe)


def mixed_feeds(f: Fields, sparse: list[bool], moe: Experts | None, *keys: str) -> list[Mlp | Experts]:
    """Experts where `sparse` and there are any, else a dense MLP, whose width must be stated only if there is one."""
    keys = keys or ("intermediate_size",)
    f.skip(*keys)
    # the dense width is read only where a layer has it: files of experts alone leave it out or fill in a stray one
    dense = mlp(f, *keys) if moe is None or not all(sparse) else None
    found = [moe if s and moe else dense for s in sparse]
    return [x for x in found if x is not None]


def first_dense(f: Fields, n: int, moe: Experts | None, *, first: int = 0) -> list[Mlp | Experts]:
    """The first layers are dense; from then on every `moe_layer_freq`-th counted from 0 has experts, or as listed."""
    dense = f.whole("first_k_dense_replace", "num_dense_layers", default=first, least=0)
    if dense > n:
        raise f.error("first_k_dense_replace", f"at most the {n} layers")
    if isinstance(f.raw.get("moe_layer_freq"), list):
        f.skip("mlp_layer_types")
        return mixed_feeds(f, [bool(x) for x in f.items("moe_layer_freq", length=n) or []], moe)
    step = f.whole("moe_layer_freq", default=1)
    return mixed_feeds(f, sparse_layers(f, n, [i >= dense and i % step == 0 for i in range(n)]), moe)


def with_shared(
    f: Fields, *, kv: int | None = None, head_dim: int | None = None, shared: int = 1, first: int = 0,
    windows: Windows = no_windows, norms: int = 2,
) -> Body:  # fmt: skip
    """The first layers dense, then routed and shared experts of one width (GLM-4.5, Bailing, dots, Solar)."""
    n = n_layers(f)
    feeds = routed_and_shared(f, n, shared, first)
    mixers = windowed(grouped(f, kv=kv, head_dim=head_dim), windows(f, n))
    return body(f, blocks_of(mixers, feeds, norms), tied=False, ahead=AHEAD)


def shared_width(f: Fields, usual: int = 1) -> int:
    """Width of all shared experts together, each as wide as a routed one."""
    per = f.whole(*WIDTH)
    return f.whole("n_shared_experts", "num_shared_experts", default=usual, least=0) * per


def routed_and_shared(f: Fields, n: int, shared: int, first: int) -> list[Mlp | Experts]:
    """The first layers dense, then routed experts and shared ones of one width."""
    moe = experts(f, ROUTED, (*TOP, "num_experts_per_token"), WIDTH, shared=shared_width(f, shared))
    return first_dense(f, n, moe, first=first)


def bailing(f: Fields) -> Body:
    """Ling and Ring: shared experts may state a width of their own."""
    own = f.whole("moe_shared_expert_intermediate_size", default=0, least=0)
    made = with_shared(f, kv=None, shared=0)
    if not own:
        return made
    n_shared = f.whole("num_shared_experts", default=1, least=0)
    blocks = [
        dataclasses.replace(b, feed=dataclasses.replace(b.feed, shared_ffn=n_shared * own))
        if isinstance(b.feed, Experts) else b for b in made.blocks
    ]  # fmt: skip
    return dataclasses.replace(made, blocks=blocks)


def ernie(f: Fields) -> Body:
    """ERNIE 4.5: experts from a first to a last layer at an interval."""
    n = n_layers(f)
    per = f.whole("moe_intermediate_size", default=1536)
    shared = f.whole("moe_num_shared_experts", default=2, least=0) * per
    moe = experts(f, ("moe_num_experts", "num_experts"), ("moe_k", "num_experts_per_tok"), WIDTH, shared=shared,
                  per_token=6)  # fmt: skip
    first = f.whole("moe_layer_start_index", default=1, least=0)
    last = f.whole("moe_layer_end_index", default=-1, least=-1)
    step = f.whole("moe_layer_interval", default=1)
    last = n - 1 if last == -1 else last
    sparse = [first <= i <= last and (i + 1) % step == 0 for i in range(n)]
    mixers = windowed(grouped(f, kv=4), no_windows(f, n))
    return body(f, blocks_of(mixers, mixed_feeds(f, sparse, moe)), tied=True, ahead=("num_nextn_predict_layers",))


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


def hunyuan(f: Fields) -> Body:
    """Hunyuan: experts as wide as the MLP unless stated, and shared ones; a number may be a list of one per layer."""
    n = n_layers(f)
    for key in ("moe_topk", "num_shared_expert", "moe_intermediate_size"):
        value = f.raw.get(key)
        if isinstance(value, list) and value and all(x == value[0] for x in value):
            f.raw[key] = value[0]
    per = f.whole("moe_intermediate_size", default=f.whole("intermediate_size"))
    shared = f.whole("num_shared_expert", default=1, least=0) if f.flag("use_mixed_mlp_moe", default=True) else 0
    moe = experts(f, ("num_experts",), ("moe_topk", "num_experts_per_tok"), ("moe_intermediate_size",
                  "intermediate_size") if not f.has("moe_intermediate_size") else WIDTH, shared=shared * per,
                  per_token=1)  # fmt: skip
    shares = f.flag("use_cla", default=False) and f.model_type == "hunyuan"
    for key in ("cla", "use_mla") if shares else ("use_cla", "cla", "use_mla"):
        f.fixed(key, False)
    every_nth = f.whole("cla_share_factor", default=1) if shares else 1
    attention = grouped(f)
    mixers = [
        dataclasses.replace(attention, own_kv=i % every_nth == 0) for i in range(n)
    ]  # others use an earlier layer's
    f.skip(*HUNYUAN)
    skip = f.whole("moe_layer_num_skipped", default=0, least=0)
    feeds = mixed_feeds(f, [i >= skip and moe is not None and moe.n_experts > 1 for i in range(n)], moe)
    return body(f, blocks_of(mixers, feeds), tied=False)


HUNYUAN = (
    "cla_share_factor", "add_classification_head", "anyres_pooling_size", "anyres_vit_max_image_size",
    "anyres_vit_two_views", "class_num", "dense_list", "group_limited_greedy", "im_end_id", "im_newline_id",
    "im_start_id", "kv_lora_rank", "mask_init_id", "max_image_size", "max_vit_seq_len", "norm_type", "num_media_embeds",
    "org_vocab_size", "pool_type", "position_embedding_xdrope", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim",
    "skip_cls_token", "text_end_id", "text_start_id", "use_rotary_pos_emb", "v_head_dim", "video_end_id",
    "video_start_id", "vit_add_patchemb_bias", "vit_input_resolution", "vit_mapping_type", "vit_norm_type",
    "vit_patch", "vit_path", "vit_remove_prenorm", "vit_token", "vit_type", "vit_used_rms_norm", "xdrope_section",
    "moe_replace_prob", "moe_shared_expert", "unused",
)  # fmt: skip
"""Keys of other models of the same code, without effect while `use_mla` and `use_cla` are off and no image is seen."""


def ernie_vl(f: Fields) -> Body:
    """ERNIE 4.5 VL: text and images have experts of their own; those of images are left out."""
    n = n_layers(f)
    for key in ("moe_num_experts", "moe_intermediate_size", "moe_layer_start_index", "moe_layer_end_index"):
        value = f.raw.get(key)
        if isinstance(value, list) and len(value) == 2:
            f.raw[f"{key}_of_images"], f.raw[key] = value[1], value[0]
    count = f.whole("moe_num_experts_of_images", default=f.whole("moe_num_experts", "num_experts", default=64), least=0)
    width = f.whole("moe_intermediate_size_of_images", default=512)
    f.skip("moe_layer_start_index_of_images", "moe_layer_end_index_of_images", "mlp_layer_types")
    made = ernie(f)
    sparse = sum(isinstance(b.feed, Experts) for b in made.blocks)
    beside = Part("experts of images", sparse * count * (3 * width + 1) * made.hidden, "no token of text visits them")
    return dataclasses.replace(made, left_out=[beside] if n else [])


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
    "qwen2_moe": partial(qwen_moe, shared=5632, windows=late_windows, kv=16, head_dim=None),
    "qwen3_moe": partial(qwen_moe, shared=0, windows=late_windows, kv=4, head_dim=None),
    "qwen3_vl_moe_text": partial(qwen_moe, shared=0, windows=no_windows, kv=16, head_dim=None),
    "glm4_moe": partial(with_shared, kv=8, first=1),
    "glm4v_moe_text": partial(with_shared, kv=8, first=1),
    "qwen3_omni_moe_text": partial(qwen_moe, shared=0, windows=late_windows, kv=4, head_dim=None),
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
    "hunyuan_v1_moe": hunyuan,
    "hunyuan": hunyuan,
    "mimo_v2_flash": partial(mimo, width=129),
    "mimo_v2": partial(mimo, width=128),
    "granitemoe": granite_moe,
    "granitemoeshared": partial(granite_moe, shared=True),
}
