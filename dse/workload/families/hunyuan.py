"""Hunyuan: experts and shared ones, and layers that use an earlier one's keys and values [wolf2020transformers]."""

from __future__ import annotations

import dataclasses

from ..config_file import Fields
from .common import Body, blocks_of, body, experts, grouped, n_layers
from .dense import gated
from .feeds import WIDTH, mixed_feeds


def hunyuan(f: Fields) -> Body:
    """Hunyuan: experts as wide as the MLP unless stated, and shared ones; a number may be a list of one per layer."""
    n = n_layers(f)
    for key in ("moe_topk", "num_shared_expert", "moe_intermediate_size"):
        value = f.raw.get(key)
        # alike in all layers it is one number; other lists stay, and are refused where one is read
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


def hunyuan_dense(f: Fields) -> Body:
    """Hunyuan's dense models, whose files have the keys of the same code's mixtures."""
    for key, alone in (("num_experts", 1), ("use_cla", False), ("use_mla", False)):
        f.fixed(key, alone)
    # of one expert the shared one is the MLP
    f.skip(*HUNYUAN, "num_shared_expert", "moe_topk")
    return gated(f)


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
