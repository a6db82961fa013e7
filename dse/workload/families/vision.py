"""Files of models that also see or hear: the language model inside, and what is left out of it.

Source: sizes of towers are those of each type's model in [wolf2020transformers], release 5.24.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..blocks import Block
from ..config_file import Fields
from ..mixers import AbstractMixer
from ..transformer import Part
from .common import Body, Builder, body, grouped, mlp, n_layers

TEXT = {
    "mllama": "mllama_text_model",
    "llama4": "llama4_text",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "gemma4_unified": "gemma4_unified_text",
    "minimax_m3_vl": "minimax_m3_vl_text",
    "step3p7": "step3p5",
    "glm5_next": "glm5_next_text",
    "mistral_large4": "mistral_large4_text",
    "qwen2_vl": "qwen2_vl_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "kimi_k25": "deepseek_v3",
    "mistral3": "mistral",
    "llava": "llama",
    "llava_next": "llama",
}
"""Types that wrap a language model, and the type of that model where the file does not say."""
TOWERS = ("vision_config", "audio_config", "vision_tower_config")
"""Keys of parts that are left out."""
WHY = "the language model alone is counted; its cost per image or sound is not modelled"


def text_fields(f: Fields) -> Fields:
    """The keys of the language model, from `text_config` or beside the towers; ties may be stated outside."""
    usual = TEXT.get(f.model_type)
    if usual is None:
        return f
    inner = f.nested("text_config")
    if inner is None:
        f.skip("model_type", *TOWERS)
        return Fields({k: v for k, v in f.raw.items() if k not in TOWERS} | {"model_type": usual}, f.place, "")
    inner.raw = {"model_type": usual} | inner.raw
    if f.has("tie_word_embeddings") and "tie_word_embeddings" not in inner.raw:
        inner.raw["tie_word_embeddings"] = f.flag("tie_word_embeddings", default=False)
    return inner


def towers(f: Fields) -> list[Part]:
    """What stands beside the language model."""
    found = []
    for key in TOWERS:
        value = f.raw.get(key)
        f.skip(key)
        if isinstance(value, dict):
            found.append(Part(key.replace("_config", " tower").replace("tower tower", "tower"), n_tower(value), WHY))
    return found


def n_tower(raw: dict[str, Any]) -> int:
    """Weights of a vision transformer with its patches and its merger, 0 where its sizes are not stated.

        L (4 d^2 + m d f) + p^2 c t d + d' s^2 (d s^2 + h)

    with L layers of width d and MLP width f, m matrices, patches of side p with c channels and t frames, and a merger
    of s x s patches into the model's width h.
    """
    depth, width = (next((raw[k] for k in keys if isinstance(raw.get(k), int)), 0) for keys in (
        ("depth", "num_hidden_layers"), ("embed_dim", "hidden_size", "width")))  # fmt: skip
    if not depth or not width:
        return 0
    ratio = raw.get("mlp_ratio")
    ffn = raw.get("intermediate_size") or (int(width * ratio) if isinstance(ratio, int | float) else 4 * width)
    matrices = 3 if raw.get("model_type") in ("qwen2_5_vl", "pixtral") else 2
    side, frames = raw.get("patch_size", 14), raw.get("temporal_patch_size", 2 if "embed_dim" in raw else 1)
    patches = width * side * side * raw.get("in_channels", raw.get("in_chans", 3)) * frames
    merged = width * raw.get("spatial_merge_size", 2 if "embed_dim" in raw else 1) ** 2
    out = raw.get("out_hidden_size") or (raw.get("hidden_size") if "embed_dim" in raw else 0) or 0
    return depth * (4 * width * width + matrices * width * ffn) + patches + (merged * (merged + out) if out else 0)


def n_patches(vision: dict[str, Any]) -> int:
    """Positions that cross attention sees of one image: a class token and the patches of every tile."""
    side, patch, tiles = (vision.get(k) for k in ("image_size", "patch_size", "max_num_tiles"))
    if not all(isinstance(x, int) and x > 0 for x in (side, patch, tiles)):
        return 0
    return ((side // patch) ** 2 + 1) * tiles  # type: ignore[operator]


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
    return dataclasses.replace(made, n_tables=8 * made.hidden)


VISION: dict[str, Builder] = {"mllama_text_model": mllama}
"""Types of language models that only vision models have."""
