"""Families of 2021 to 2024 with their own key names for the same sizes, or one entry per block (Nemotron).

Source: defaults of each type in [wolf2020transformers] release 5.24, or of the model's own repository.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from ...core.errors import SpecError
from ..blocks import Block, Mlp
from ..config_file import Fields
from ..mixers import AbstractMixer, Attention
from .common import LAYER, Body, Builder, blocks_of, body, grouped, hidden_of, n_layers, windowed
from .dense import falcon, gated, has_dropout


def gptj(f: Fields) -> Body:
    """GPT-J and CodeGen: one norm before attention and MLP, rotary positions, a head of its own."""
    n, hidden = n_layers(f), hidden_of(f)
    feed = Mlp(f.whole("n_inner", default=4 * hidden), 2)
    return body(f, [Block((grouped(f),), feed, 1)] * n, tied=False, norm_passes=LAYER)


def gpt_bigcode(f: Fields) -> Body:
    """StarCoder: GPT-2 with one KV head for all unless `multi_query` is off, and learned positions."""
    n, hidden = n_layers(f), hidden_of(f)
    heads = f.whole("n_head", "num_attention_heads")
    kv = 1 if f.flag("multi_query", default=True) else heads
    f.fixed("num_key_value_heads", kv)
    feed = Mlp(f.whole("n_inner", default=4 * hidden), 2)
    blocks = blocks_of([Attention(heads, kv, hidden // heads)] * n, [feed] * n)
    made = body(f, blocks, tied=True, norm_passes=LAYER)
    return dataclasses.replace(made, dropout=has_dropout(f, True), n_tables=made.max_context * hidden)


def mpt(f: Fields) -> Body:
    """MPT: sizes in words of its own, KV heads inside `attn_config`; learned positions where ALiBi is off."""
    n, hidden, heads = n_layers(f), hidden_of(f), f.whole("n_heads")
    inner = f.nested("attn_config")
    kv, alibi = heads, True
    if inner is not None:
        kind = inner.text("attn_type", default="multihead_attention", allowed=KINDS)
        # two kinds say by their name how many KV heads there are
        kv = {"multihead_attention": heads, "multiquery_attention": 1}.get(kind) or inner.whole("kv_n_heads")
        alibi = inner.flag("alibi", default=True)
        inner.skip(
            "attn_impl", "attn_pdrop", "clip_qkv", "attn_uses_sequence_id", "prefix_lm", "qk_ln", "softmax_scale",
            "alibi_bias_max", "_name_or_path", "model_type", "transformers_version", "is_encoder_decoder", "rope",
            "qk_gn",
        )  # fmt: skip
    f.skip("init_config", "init_device", "embedding_fraction", "no_bias", "verbose")
    feed = Mlp(f.whole("expansion_ratio", default=4) * hidden, 2)
    blocks = blocks_of([Attention(heads, kv, hidden // heads)] * n, [feed] * n)
    made = body(f, blocks, tied=True, norm_passes=LAYER)
    learned = f.flag("learned_pos_emb", default=True) and not alibi
    return dataclasses.replace(made, n_tables=made.max_context * hidden if learned else 0)


KINDS = ("multihead_attention", "multiquery_attention", "grouped_query_attention")
"""Attention of MPT."""


def qwen(f: Fields) -> Body:
    """Qwen of 2023: `intermediate_size` counts gate and up together."""
    n, hidden, heads = n_layers(f), hidden_of(f), f.whole("num_attention_heads")
    attention = Attention(heads, heads, f.whole("kv_channels", default=hidden // heads))
    f.skip("no_bias", "fp16", "bf16", "fp32", "onnx_safe", "use_cache_quantization", "use_cache_kernel")
    # half of it gates the other half
    return body(f, blocks_of([attention] * n, [Mlp(f.whole("intermediate_size") // 2, 3)] * n), tied=False)


def chatglm(f: Fields) -> Body:
    """ChatGLM 2 and 3, GLM-4 of 2024: groups of KV heads, a gated MLP, a padded vocabulary."""
    n, hidden, heads = n_layers(f), hidden_of(f), f.whole("num_attention_heads")
    few = f.whole("multi_query_group_num", default=1)
    kv = few if f.flag("multi_query_attention", default=False) else heads
    attention = Attention(heads, kv, f.whole("kv_channels", default=hidden // heads))
    blocks = blocks_of([attention] * n, [Mlp(f.whole("ffn_hidden_size"), 3)] * n)
    f.skip(*CHATGLM)
    return body(f, blocks, tied=False)


CHATGLM = (
    "apply_query_key_layer_scaling", "bias_dropout_fusion", "fp32_residual_connection", "original_rope",
    "post_layer_norm", "rmsnorm", "quantization_bit", "pre_seq_len", "prefix_projection", "interleaved_qkv",
)  # fmt: skip
"""Keys of ChatGLM that say how it is run, not what it is."""


def refined_web(f: Fields) -> Body:
    """Falcon 40B as first published: the new architecture under an older name."""
    f.fill({"new_decoder_architecture": True})
    return falcon(f)


def gpt_neo(f: Fields) -> Body:
    """GPT-Neo: global and local layers in turn, learned positions, an MLP four times as wide unless stated."""
    n, hidden = n_layers(f), hidden_of(f)
    kinds = f.words("attention_layers", length=n, allowed=("global", "local"))
    f.skip("attention_types")
    kinds = kinds or [("global", "local")[i % 2] for i in range(n)]
    heads, w = f.whole("num_heads", "num_attention_heads"), f.whole("window_size", default=256)
    mixers = windowed(Attention(heads, heads, hidden // heads), [w if k == "local" else 0 for k in kinds])
    feed = Mlp(f.whole("intermediate_size", default=4 * hidden), 2)
    made = body(f, blocks_of(mixers, [feed] * n), tied=True, norm_passes=LAYER)
    f.skip("resid_dropout", "embed_dropout")
    return dataclasses.replace(made, n_tables=made.max_context * hidden, dropout=has_dropout(f, False, "resid_dropout"))


OLDER: dict[str, Builder] = {
    "gptj": gptj,
    "gpt_neo": gpt_neo,
    "RefinedWebModel": falcon,
    "RefinedWeb": refined_web,
    "codegen": gptj,
    "gpt_bigcode": gpt_bigcode,
    "mpt": mpt,
    "qwen": qwen,
    "chatglm": chatglm,
    "exaone": partial(gated, kv=8),
    "internlm2": gated,
    "baichuan": gated,
}


ROUNDED_TO = 256
"""Widths of MLPs are rounded up to a multiple of this."""


def ffn_width(mult: float, hidden: int) -> int:
    """Width of an MLP from its multiplier: two thirds of it, rounded up to `ROUNDED_TO`."""
    width = int(2 * mult * hidden / 3)
    return -(-width // ROUNDED_TO) * ROUNDED_TO


def nemotron_nas(f: Fields) -> Body:
    """Blocks from `block_configs`: attention with a group size or none, an MLP with a multiplier or none.

    Source: Nemotron Super and Ultra [bercovich2025puzzle].
    """
    n, hidden, heads = n_layers(f), hidden_of(f), f.whole("num_attention_heads")
    # every block states its own: what stands outside has no say
    f.skip("num_key_value_heads", "intermediate_size", "block_configs")
    listed = f.items("block_configs", length=n)
    if listed is None:
        raise SpecError(f"{f.place}: no block_configs; add it, an object with attention and ffn for each layer")
    blocks = []
    for i, raw in enumerate(listed):
        if not isinstance(raw, dict):
            raise f.error("block_configs", "an object for each layer")
        block = Fields(raw, f.place, f"block_configs[{i}].")
        blocks.append(_block(block, hidden, heads))
        odd = next(iter(block.unread()), None)
        if odd is not None:
            raise SpecError(
                f"{f.place}: key '{odd}' is not known, so it may change the block; remove it if it does not"
            )
    return body(f, blocks, tied=False)


def _block(block: Fields, hidden: int, heads: int) -> Block:
    mixers: tuple[AbstractMixer, ...] = ()
    attention, ffn = block.nested("attention"), block.nested("ffn")
    for part in (attention, ffn):
        if part is not None:
            part.fixed("replace_with_linear", False)
            part.fixed("sparsify", None)
            part.skip("window_length", "num_sink_tokens", "use_prefill_window_in_sink_attention",
                      "unshifted_sink")  # fmt: skip
            # with nothing allowed, any value but null is refused: windows of single blocks are not read
            part.fixed("window_length")
    if attention is not None and not attention.flag("no_op", default=False):
        group = attention.whole("n_heads_in_group")
        if heads % group:
            raise attention.error("n_heads_in_group", f"a divisor of the {heads} heads")
        mixers = (Attention(heads, heads // group, hidden // heads),)
    elif attention is not None:
        # a block without attention may keep the number, and nothing is made of it
        attention.skip("n_heads_in_group")
    feed = None
    if ffn is not None and not ffn.flag("no_op", default=False):
        feed = Mlp(ffn_width(ffn.number("ffn_mult"), hidden))
    elif ffn is not None:
        ffn.skip("ffn_mult")
    # a part that is left out takes its norm along
    return Block(mixers, feed, bool(mixers) + (feed is not None))


SIZED: dict[str, Builder] = {"nemotron-nas": nemotron_nas}
