"""Families whose blocks are attention with grouped heads and a dense MLP; defaults of [wolf2020transformers] 5.24."""

from __future__ import annotations

import dataclasses
from functools import partial

from ..blocks import Block, Mlp
from ..config_file import Fields, without
from ..mixers import Attention
from ..transformer import Part
from .common import LAYER, RMS, Body, Builder, blocks_of, body, grouped, hidden_of, mlp, n_layers, windowed
from .windows import Windows, all_windows, first_of, late_windows, no_windows, periodic_windows, rope_windows


def gated(
    f: Fields,
    *,
    kv: int | None = None,
    head_dim: int | None = None,
    tied: bool = False,
    norms: int = 2,
    norms_scale: bool = True,
    passes: float = RMS,
    matrices: int = 3,
    windows: Windows = no_windows,
) -> Body:
    """A decoder of attention and MLP."""
    n = n_layers(f)
    attention = grouped(f, kv=kv, head_dim=head_dim)
    mixers = windowed(attention, windows(f, n))
    blocks = blocks_of(mixers, [mlp(f, matrices=matrices)] * n, norms)
    if not norms_scale:
        blocks = [dataclasses.replace(b, norms_scale=False) for b in blocks]
    return body(f, blocks, tied=tied, norm_passes=passes)


def gemma(f: Fields) -> Body:
    """Gemma: wide heads. Inside PaliGemma a prompt sees all of itself, which is counted as text that follows."""
    both = f.flag("use_bidirectional_attention", default=False) and not f.inside
    return both_ways(gated(f, kv=16, head_dim=256, tied=True), both)


def gemma3(f: Fields) -> Body:
    """Gemma 3: norms on both sides, five windows to one layer that sees everything, wide heads."""
    both = f.flag("use_bidirectional_attention", default=False)
    made = gated(f, kv=4, head_dim=256, tied=True, norms=4, windows=partial(periodic_windows, period=6, width=4096))
    return both_ways(made, both)


def both_ways(made: Body, both: bool) -> Body:
    """`made`, with attention to what follows too where `both` (embedding models)."""
    if not both:
        return made
    blocks = [
        dataclasses.replace(b, mixers=tuple(dataclasses.replace(m, causal=False) for m in b.mixers
                                            if isinstance(m, Attention)))
        for b in made.blocks
    ]  # fmt: skip
    return dataclasses.replace(made, blocks=blocks)


def gpt2(f: Fields) -> Body:
    """GPT-2: LayerNorm, MLP four times as wide unless stated, dropout, learned positions."""
    n, hidden = n_layers(f), hidden_of(f)
    f.fixed("add_cross_attention", False)
    attention = grouped(f)
    blocks = blocks_of([attention] * n, [Mlp(f.whole("n_inner", "intermediate_size", default=4 * hidden), 2)] * n)
    made = body(f, blocks, tied=True, norm_passes=LAYER)
    return dataclasses.replace(made, dropout=has_dropout(f, True), n_tables=made.max_context * hidden)


def has_dropout(f: Fields, default: bool, *keys: str) -> bool:
    """Whether the residual stream has dropout in training."""
    key = f.key_of(*(keys or ("resid_pdrop", "hidden_dropout", "hidden_dropout_prob")))
    if key is None:
        return default
    # not `number`, since a rate may be 0
    rate = f.raw[key]
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise f.error(key, "a rate from 0 to below 1")
    return rate > 0


def bloom(f: Fields) -> Body:
    """BLOOM: LayerNorm, no positions (ALiBi), MLP four times as wide."""
    n, hidden = n_layers(f), hidden_of(f)
    blocks = blocks_of([grouped(f)] * n, [Mlp(f.whole("n_inner", default=4 * hidden), 2)] * n)
    made = body(f, blocks, tied=True, norm_passes=LAYER, context=2048)  # as it was trained
    return dataclasses.replace(made, dropout=has_dropout(f, False))


def bert(f: Fields) -> Body:
    """BERT: attention both ways unless it is made a decoder."""
    n = n_layers(f)
    attention = dataclasses.replace(grouped(f), causal=f.flag("is_decoder", default=False))
    f.fixed("add_cross_attention", False)
    blocks = blocks_of([attention] * n, [mlp(f, matrices=2)] * n)
    made = body(f, blocks, tied=True, norm_passes=LAYER)
    h, wide = made.hidden, f.whole("intermediate_size")
    # positions, kinds of segment, the layer between the last block and the tied head; biases, 0.12 % of a small one
    tables = (made.max_context + f.whole("type_vocab_size", default=2) + h) * h
    tables += n * (7 * h + wide) + made.vocab + 5 * h
    return dataclasses.replace(made, dropout=has_dropout(f, True), n_tables=tables)


def parallel(f: Fields, *, matrices: int, tied: bool, windows: Windows = no_windows) -> Body:
    """One norm before attention and MLP, whose results add up (Cohere, Phi); a tokenizer's length is the context."""
    n = n_layers(f)
    longest = f.whole("model_max_length", default=0, least=0) or None
    f = without(f, "model_max_length", "max_position_embeddings") if longest else f
    mixers = windowed(grouped(f), windows(f, n))
    blocks = [Block((m,), mlp(f, matrices=matrices), 1) for m in mixers]
    return body(f, blocks, tied=tied, norm_passes=LAYER, context=longest)


def falcon(f: Fields) -> Body:
    """Falcon: MLP of four times the width; one KV head, or groups in its new architecture."""
    n, hidden = n_layers(f), hidden_of(f)
    new = f.flag("new_decoder_architecture", default=False)
    heads = f.whole("num_attention_heads", "n_head")
    few, one = f.whole("num_kv_heads", "n_head_kv", default=heads), f.flag("multi_query", default=True)
    kv = few if new else (1 if one else heads)
    f.skip("alibi", "bias", "parallel_attn")
    few_norms = f.whole("num_ln_in_parallel_attn", default=2 if new else 1)
    # attention and MLP side by side may share one norm (7B); one after the other they need two
    norms = few_norms if f.raw.get("parallel_attn", True) else 2
    attention = Attention(heads, kv, hidden // heads)
    width = f.whole("ffn_hidden_size", default=4 * hidden)
    return body(f, blocks_of([attention] * n, [Mlp(width, 2)] * n, norms), tied=True, norm_passes=LAYER, context=2048)


def opt(f: Fields) -> Body:
    """OPT: learned positions, two more than the context."""
    n, hidden = n_layers(f), hidden_of(f)
    # OPT-350M alone has a narrower table and two projections, which are not counted
    f.fixed("word_embed_proj_dim", hidden)
    made = body(f, blocks_of([grouped(f)] * n, [mlp(f, "ffn_dim", matrices=2)] * n), tied=True, norm_passes=LAYER)
    return dataclasses.replace(made, n_tables=(made.max_context + 2) * hidden, dropout=has_dropout(f, True, "dropout"))


def nemotron(f: Fields) -> Body:
    """Nemotron 3 and 4: a plain MLP and LayerNorm; the width of a head may be stated twice."""
    f.whole("head_dim", "kv_channels", "attention_head_dim", default=1)  # they agree
    return gated(f, matrices=2, passes=LAYER)


def stablelm(f: Fields) -> Body:
    """StableLM 2 and 3B: LayerNorm; heads may be stated twice."""
    # for its error alone: two numbers that mean the same must agree
    f.whole("num_attention_heads", "num_heads")
    return gated(f, kv=32, passes=LAYER)


def cohere2(f: Fields) -> Body:
    """Command A and R7B: attention beside a gated MLP, a window in three of four layers."""
    f.fixed("use_gated_activation", True)
    f.fixed("use_parallel_block", True)
    return parallel(f, matrices=3, tied=True, windows=partial(periodic_windows, period=4, width=4096))


def starcoder2(f: Fields) -> Body:
    """StarCoder2: a plain MLP and LayerNorm; its code has no other kind of either."""
    f.fixed("mlp_type", "default")
    f.fixed("norm_type", "layer_norm")
    return gated(f, kv=2, tied=True, matrices=2, passes=LAYER, windows=all_windows)


def phi_with_images(f: Fields, *, kv: int | None = None) -> Body:
    """Phi with images or sounds: Phi 3 or 4; low-rank adapters and towers are left out."""
    parts = ("embd_layer", "img_processor", "audio_processor", "vision_lora", "speech_lora", "vision_config",
             "audio_config")  # fmt: skip
    f.skip(*parts)
    why = "the language model alone is counted; the file does not say how large it is"
    beside = [Part(k.replace("_", " "), 0, why) for k in parts if isinstance(f.raw.get(k), dict)]
    return dataclasses.replace(gated(f, kv=kv, windows=all_windows), left_out=beside)


def exaone45(f: Fields) -> Body:
    """EXAONE 4.5: EXAONE 4 with blocks that predict further tokens, one set of weights for all of them."""
    made = gated(f, kv=32, windows=partial(periodic_windows, period=4, width=4096))
    n = f.layers("num_nextn_predict_layers", "_num_mtp_layers", default=0, least=0)
    shared = f.flag("mtp_share_layers", default=False)
    f.skip("mtp_loss_scaling_factor")
    return dataclasses.replace(made, ahead=[made.blocks[-1]] * (min(n, 1) if shared else n))


def mimo_dense(f: Fields) -> Body:
    """MiMo of 2025: Qwen 2 with a block that predicts the next token but one."""
    made = gated(f, kv=32, windows=late_windows)
    n = f.layers("num_nextn_predict_layers", default=1, least=0)
    return dataclasses.replace(made, ahead=[made.blocks[-1]] * n)


def minicpmv(f: Fields) -> Body:
    """MiniCPM-V and -o: Qwen 2 or 3, by version, beside towers."""
    # earlier versions stand on other decoders, such as Llama 3 in 2.5
    f.fixed("version", 2.6, "2.6", 4.5, "4.5")
    return gated(f, kv=32, head_dim=128 if str(f.raw.get("version")) == "4.5" else None, windows=late_windows)


def hyperclovax(f: Fields) -> Body:
    """HyperCLOVA X: norms on both sides of a branch unless switched off."""
    return gated(f, norms=4 if f.flag("use_post_norm", default=True) else 2)


# `kv`, `head_dim` and windows are what the library's type has where a file lacks the key, not sizes of any model
DENSE: dict[str, Builder] = {
    "llama": gated,
    "mistral": partial(gated, kv=8, windows=partial(all_windows, width=4096)),
    "ministral3": partial(gated, kv=8, head_dim=128, windows=all_windows),
    "ministral": partial(gated, kv=8, windows=partial(all_windows, width=4096)),
    "qwen2": partial(gated, kv=32, windows=late_windows),
    "qwen3": partial(gated, kv=32, head_dim=128, windows=late_windows),
    "qwen2_5_omni_text": partial(gated, kv=4, windows=partial(late_windows, first=28, width=32768)),
    "mimo": mimo_dense,
    "glm4v_text": partial(gated, kv=2, norms=4),
    "glm_ocr_text": partial(gated, kv=8, norms=4),
    "hunyuan_vl_text": partial(gated, tied=True),
    "paddleocr_vl_text": partial(gated, kv=2, head_dim=128, tied=True),
    "granite_docling_text": partial(gated, kv=4, tied=True),
    "orion": partial(gated, passes=LAYER),
    "internlm": gated,
    "aquila": gated,
    "xverse": gated,
    "persimmon": partial(gated, matrices=2, passes=LAYER),
    "roberta": bert,
    "xlm-roberta": bert,
    "camembert": bert,
    "qwen2_vl_text": partial(gated, kv=8, windows=partial(late_windows, first=80)),
    "qwen2_5_vl_text": partial(gated, kv=8, windows=partial(late_windows, first=80)),
    "qwen3_vl_text": partial(gated, kv=32, head_dim=128),
    "gemma": gemma,
    "gemma2": partial(
        gated, kv=4, head_dim=256, tied=True, norms=4, windows=partial(periodic_windows, period=2, width=4096)
    ),
    "gemma3_text": gemma3,
    "phi3": partial(gated, windows=all_windows),
    "phi3_v": phi_with_images,
    "phi4mm": phi_with_images,
    "phi4_multimodal": partial(phi_with_images, kv=8),
    "granite": gated,
    "smollm3": partial(gated, kv=4, tied=True, windows=rope_windows),
    "exaone4": partial(gated, kv=32, windows=partial(periodic_windows, period=4, width=4096)),
    "exaone4_5_text": exaone45,
    "olmo": partial(gated, norms_scale=False, passes=LAYER),
    "olmo2": gated,
    "olmo3": partial(gated, windows=partial(periodic_windows, period=4, width=4096)),
    "glm": partial(gated, kv=2, head_dim=128),
    "glm4": partial(gated, kv=2, head_dim=128, norms=4),
    "seed_oss": partial(gated, kv=8, head_dim=128),
    "nemotron": nemotron,
    "starcoder2": starcoder2,
    "stablelm": stablelm,
    "apertus": partial(gated, matrices=2),
    "arcee": partial(gated, matrices=2),
    "ernie4_5": partial(gated, kv=2, head_dim=128, tied=True),
    "internlm3": partial(gated, kv=2, head_dim=128),
    "helium": partial(gated, kv=20, head_dim=128),
    "cwm": partial(gated, kv=8, head_dim=128, windows=partial(first_of, period=4, width=8192)),
    "granite_swa": partial(gated, kv=4, tied=True, windows=partial(first_of, period=4, width=128)),
    "vaultgemma": partial(
        gated, kv=4, head_dim=256, tied=True, windows=partial(periodic_windows, period=2, width=4096)
    ),
    "iquestcoder": partial(gated, kv=8, head_dim=128),
    "nanochat": partial(gated, matrices=2, norms_scale=False),
    "jais2": partial(gated, matrices=2, passes=LAYER),
    "bitnet": partial(gated, kv=5),
    "hyperclovax": hyperclovax,
    "minicpmv": minicpmv,
    "minicpmo": minicpmv,
    "cohere": partial(parallel, matrices=3, tied=True),
    "cohere2": cohere2,
    "phi": partial(parallel, matrices=2, tied=False),
    "gpt_neox": partial(gated, matrices=2, passes=LAYER),
    "falcon": falcon,
    "gpt2": gpt2,
    "opt": opt,
    "bloom": bloom,
    "bert": bert,
}
