"""Multimodal models: their language model, and the encoders that are left out [wolf2020transformers]."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Collection
from functools import cache
from pathlib import Path

from ..blocks import Block
from ..config_file import Fields, wholes
from ..mixers import AbstractMixer
from ..transformer import Part
from .common import Body, Builder, absent_keys, body, grouped, mlp, n_layers

TEXT = {
    "mllama": "mllama_text_model", "llama4": "llama4_text", "gemma3": "gemma3_text", "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text", "gemma4_unified": "gemma4_unified_text", "paligemma": "gemma",
    "shieldgemma2": "gemma3_text", "minimax_m3_vl": "minimax_m3_vl_text", "minimax_vl_01": "minimax_text_01",
    "step3p7": "step3p5", "glm5_next": "glm5_next_text", "glm4v": "glm4v_text", "glm46v": "glm4v_text",
    "glm4v_moe": "glm4v_moe_text", "mistral_large4": "mistral_large4_text", "mistral3": "mistral", "voxtral": "llama",
    "kimi_k25": "deepseek_v3", "kimi_k3": "kimi_linear", "kimi_vl": "deepseek_v3", "deepseek_vl_v2": "deepseek_v2",
    "qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text", "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen2_audio": "qwen2", "qwen2_5_omni": "qwen2_5_omni_text", "qwen2_5_omni_thinker": "qwen2_5_omni_text",
    "qwen3_omni_moe": "qwen3_omni_moe_text", "qwen3_omni_moe_thinker": "qwen3_omni_moe_text", "qwen3_asr": "qwen3",
    "llava": "llama", "llava_next": "llama", "llava_next_video": "llama", "llava_onevision": "qwen2",
    "video_llava": "llama", "video_llama_3": "qwen2", "vipllava": "llama", "internvl": "qwen2",
    "internvl_chat": "internlm2", "idefics3": "llama", "smolvlm": "llama", "aya_vision": "cohere2",
    "cohere2_vision": "cohere2", "lfm2_vl": "lfm2", "ovis2": "qwen2", "exaone4_5": "exaone4",
    "granite_speech": "granite", "fast_vlm": "qwen2", "perception_lm": "llama", "got_ocr2": "qwen2",
    "hyperclovax_vision_v2": "hyperclovax", "hunyuan_vl": "hunyuan_vl_text", "nemotron_h_omni": "nemotron_h",
    "paddleocr_vl": "paddleocr_vl_text", "dots_ocr": "qwen2", "idefics2": "mistral",
    "apertus1p5": "apertus1p5_text", "aria": "aria_text", "lfm3_vl": "lfm3", "molmo2": "molmo2_text",
    "glm_ocr": "glm_ocr_text", "granite4_vision": "granite4_vision_text", "emu3": "emu3_text_model",
    "voxtral_realtime": "voxtral_realtime_text", "muse_glimmer": "muse_glimmer_text", "muse_spark": "muse_spark_text",
    "inkling_mm_model": "inkling_text", "inkling2": "inkling2_text", "hy_v4_vl": "hy_v4_vl_text",
    "cosmos3_edge": "cosmos3_edge_text", "deepseek_ocr2": "deepseek_ocr2_text", "blip-2": "opt",
    "instructblip": "opt", "instructblipvideo": "opt", "fuyu": "persimmon", "granite_docling": "granite_docling_text",
    "minicpmv4_6": "qwen3_5_text", "minicpmv4_7": "qwen3_5_text", "minicpm_ocr": "qwen3_5_text",
    "musicflamingo": "qwen2", "qwen4_exp": "qwen4_exp_text",
    "cohere_compass": "cohere_compass_text", "audioflamingo3": "qwen2", "vibevoice_asr": "qwen2",
}  # fmt: skip
"""Types that wrap a language model, and the type of that model where the file does not say."""
INSIDE = ("text_config", "llm_config", "language_config")
"""Keys of the language model."""
NO_TOWERS = (*INSIDE, "thinker_config", "quantization_config", "compression_config")
"""Objects beside a language model that are no part of what is left out."""
TOWERS = (
    "vision_config", "audio_config", "vision_tower_config", "vit_config", "vq_config", "encoder_config",
    "projector_config", "qformer_config", "adapter_config", "sound_config", "img_processor", "audio_processor",
    "talker_config", "token2wav_config", "code2wav_config", "img_token_compression_config",
)  # fmt: skip
"""Keys of parts that are left out."""
WHY = "the language model alone is counted; its cost per image or sound is not modelled"


ALWAYS = ("initializer_range", "use_cache", "hidden_act", "hidden_activation")
"""Keys that the library writes unless it leaves out what is usual for the type: with one, nothing is left out."""
_USUAL = Path(__file__).parents[1] / "data" / "usual_sizes.toml"


@cache
def usual_sizes() -> dict[str, dict[str, int]]:
    """Sizes of a type where the object of a language model leaves them out."""
    return tomllib.loads(_USUAL.read_text(encoding="utf-8"))


def wrapped(f: Fields) -> str:
    """The type of the language model inside where its wrapper is not known and its own object names it; else nothing.

    What is around a language model changes none of its layers; keys outside that nobody knows are still refused.
    """
    found = next((f.raw[k] for k in INSIDE if isinstance(f.raw.get(k), dict)), {})
    return str(found.get("model_type") or "")


def text_fields(f: Fields, known: Collection[str]) -> Fields:
    """The keys of the language model, from `text_config` or beside the towers; ties may be stated outside.

    `known` are types of language models, of which one may stand inside a wrapper that nobody knows.
    """
    usual = TEXT.get(f.model_type) or (wrapped(f) if f.model_type not in known and wrapped(f) in known else None)
    if usual is None:
        return f
    thinker = f.nested("thinker_config")
    around = f if thinker is None else thinker
    around.skip("model_type", "is_encoder_decoder", *TOWERS)
    inner = around.nested(*INSIDE)
    if inner is None:
        if thinker is not None:
            raise thinker.error("text_config", "an object with the language model")
        f.skip("model_type", *TOWERS)
        return Fields({k: v for k, v in f.raw.items() if k not in TOWERS} | {"model_type": usual}, f.place, "")
    inner.raw = {"model_type": usual} | {k: v for k, v in inner.raw.items() if v != ""}  # empty text is no value
    _tie_from(inner, around, f)
    left: dict[str, int] = {}
    if not any(k in inner.raw for k in ALWAYS):
        outside = {k: v for k, v in f.raw.items() if k == "vocab_size" and isinstance(v, int)}
        left = {**usual_sizes().get(inner.model_type, {}), **usual_sizes().get(f.model_type, {}), **outside}
    # numbers of the wrapper last, since they hold against those of the type inside
    inner.fill({**left, **absent_keys().get(f.model_type, {})})
    for key in ("vocab_size", "hidden_size"):  # stated outside too by some; the language model's own count
        if isinstance(f.raw.get(key), int) and key in inner.raw:
            f.skip(key)
    f.skip(*(k for k, v in f.raw.items() if k in inner.raw and inner.raw[k] == v))  # said twice
    return inner


def _tie_from(inner: Fields, *levels: Fields) -> None:
    """Let the language model share its table as an outer level says, the nearest first, where it does not say."""
    for outside in levels:
        if outside.has("tie_word_embeddings") and "tie_word_embeddings" not in inner.raw:
            inner.raw["tie_word_embeddings"] = outside.flag("tie_word_embeddings", default=False)


def is_inside(f: Fields) -> bool:
    """Whether the language model of a wrapper is an object of its own."""
    return (f.model_type in TEXT or bool(wrapped(f))) and any(
        isinstance(f.raw.get(k), dict) for k in (*INSIDE, "thinker_config")
    )


def towers(f: Fields) -> list[Part]:
    """What stands beside the language model."""
    found = []
    if f.model_type not in TEXT and not wrapped(f) and not any(k in f.raw for k in TOWERS[:2]):
        return found
    others = [k for k, v in f.raw.items() if is_inside(f) and k.endswith("_config") and isinstance(v, dict)]
    for key in dict.fromkeys((*TOWERS, *(k for k in others if k not in NO_TOWERS))):
        value = f.raw.get(key)
        f.skip(key)
        if isinstance(value, dict) and key != "img_token_compression_config":
            name = key.replace("_config", " tower").replace("tower tower", "tower")
            found.append(Part(name, n_tower(Fields(value, f.place, f"{key}.")), WHY))
    return found


def n_tower(f: Fields) -> int:
    """Weights of a vision transformer with its patches and its merger, 0 where its sizes are not stated.

        L (4 d^2 + m d f) + p^2 c t d + d' s^2 (d s^2 + h)
    with L layers of width d and MLP width f, m matrices, patches of side p with c channels and t frames, and a merger
    of s x s patches into the model's width h.
    """
    depth = _size(f, "depth", "num_hidden_layers", "vt_num_hidden_layers") + _size(f, "num_global_layers")
    width = _size(f, "embed_dim", "hidden_size", "width", "vt_hidden_size")
    if not depth or not width:
        return 0
    ffn = _size(f, "intermediate_size", "vt_intermediate_size") or int(width * f.number("mlp_ratio", default=4.0))
    # towers whose MLP has a gate
    matrices = 3 if f.model_type in ("qwen2_5_vl", "pixtral") else 2
    usual = 2 if "embed_dim" in f.raw else 1  # Qwen2-VL's spelling: two frames a patch, mergers of 2 x 2
    side = max(wholes(f, "patch_size", default=[14]))
    patches = width * side * side * _size(f, "in_channels", "in_chans", default=3)
    merged = width * _size(f, "spatial_merge_size", default=usual) ** 2
    out = _size(f, "out_hidden_size") or (_size(f, "hidden_size") if usual == 2 else 0)
    return (
        depth * (4 * width * width + matrices * width * ffn)
        + patches * _size(f, "temporal_patch_size", default=usual)
        + (merged * (merged + out) if out else 0)
    )


def _size(f: Fields, *keys: str, default: int = 0) -> int:
    """The whole number of the first of `keys` that the file has; an object there is of several towers, and none."""
    return next((f.whole(k, least=0) for k in keys if f.has(k) and not isinstance(f.raw[k], dict)), default)


def mllama(f: Fields) -> Body:
    """Llama 3.2 vision: listed layers attend to the image instead of the text; text alone passes them by."""
    n = n_layers(f)
    whole = grouped(f, kv=8)
    listed = f.indices("cross_attention_layers", below=n)
    listed = listed if listed is not None else [i for i in (3, 8, 13, 18, 23, 28, 33, 38) if i < n]
    cross = dataclasses.replace(whole, cross=True)
    f.skip("dropout")
    feed = mlp(f)
    mixers: list[AbstractMixer] = [cross if i in listed else whole for i in range(n)]
    made = body(f, [Block((m,), feed) for m in mixers], tied=False)
    # rows beyond the vocabulary: the library's table has eight more than words
    return dataclasses.replace(made, n_tables=8 * made.hidden)


VISION: dict[str, Builder] = {"mllama_text_model": mllama}
"""Types of language models that only vision models have."""
