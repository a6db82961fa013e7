"""Other files in the words of a Hugging Face configuration; what they do not say stays unsaid.

`params.json` of Meta and of Mistral, and `config.json` of mamba_ssm.

Source: the same models' published files in both spellings (Mistral 7B, Mixtral 8x7B, Mistral Large 3; Llama 1 to 3.2).
Meta's files leave to its code whether head and table share weights, and the longest context: both must be added.
"""

from __future__ import annotations

from typing import Any

from ..core.errors import SpecError
from .config_file import Config, Fields, show

SIGNS = ("dim", "n_layers", "n_heads", "hidden_dim")
"""Keys that together are of no other file."""
OF_META = ("dim", "n_layers", "n_heads", "multiple_of")
"""The same of Meta's."""
META_UNSAID = ("tied_embeddings", "max_seq_len")
"""What Meta's files leave out: Llama 3.1 8B and 3.2 1B have the same keys, and only the latter's head is its table."""
SIZES = {
    "dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads", "hidden_dim": "intermediate_size", "norm_eps": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings", "vision_encoder": "vision_config",
    "max_seq_len": "max_position_embeddings",
}  # fmt: skip
"""Keys of the file that the library calls otherwise."""
EXPERTS = {
    "num_experts": "n_routed_experts", "num_experts_per_tok": "num_experts_per_tok",
    "expert_hidden_dim": "moe_intermediate_size", "num_shared_experts": "n_shared_experts",
    "first_k_dense_replace": "first_k_dense_replace", "route_every_n": "moe_layer_freq",
    "num_expert_groups": "n_group", "num_expert_groups_per_tok": "topk_group", "routed_scale": "routed_scaling_factor",
}  # fmt: skip
"""The same of its object `moe`."""
SPLIT = ("expert_parallel", "expert_model_parallel", "use_deepseek_experts")
"""Keys of `moe` that change no size."""
BESIDE = ("llama_4_scaling", "causal", "ragged_attention", "mmproj", "model_parallel")
"""Keys of positions and of software."""
USUAL_CONTEXT = 16384
"""Longest context where the file says none: the default of mistral-inference."""


def translated(raw: Config, place: str) -> Config:
    """`raw` in the library's words where it is a `params.json` of Meta or Mistral, else as it is."""
    if "model_type" not in raw and "hidden_dim" not in raw and all(k in raw for k in OF_META):
        return _of_meta(raw, place)
    if "model_type" not in raw and all(k in raw for k in OF_MAMBA):
        return _of_mamba(raw, place)
    # a type is of the library's spelling, whatever else the file has
    return raw if "model_type" in raw or not all(k in raw for k in SIGNS) else _of_mistral(raw, place)


def _of_mistral(raw: Config, place: str) -> Config:
    f = Fields(raw, place)
    moe, latent = f.object("moe"), "kv_lora_rank" in raw
    yarn, stored = f.object("yarn"), f.object("quantization")
    plain = {SIZES.get(k, k): v for k, v in raw.items() if k not in ("moe", "yarn", "quantization", *BESIDE)}
    # defaults go first, so that what the file says replaces them
    found: Config = {"max_position_embeddings": USUAL_CONTEXT, "tie_word_embeddings": False, **plain}
    found.setdefault("num_key_value_heads", raw["n_heads"])
    # no such file names its type: what it has tells which reader it needs
    found["model_type"] = "deepseek_v3" if latent else "mixtral" if moe else "mistral"
    windows = raw.get("sliding_window")
    if isinstance(windows, list) and windows and not (latent or moe):
        found |= _by_layer(windows, f.whole("n_layers"), place)
        found.pop("_sliding_window", None)
    if moe:
        found |= _experts(moe, place, latent)
    if yarn:
        found["rope_scaling"] = {"rope_type": "yarn", **yarn}
    if stored:
        found["quantization_config"] = _stored(stored, place)
    return found


OF_MAMBA = ("d_model", "n_layer", "ssm_cfg")
"""Keys that together are of a file of mamba_ssm."""
MIXER = {
    "d_state": ("state_size", 128), "d_conv": ("conv_kernel", 4), "expand": ("expand", 2), "headdim": ("head_dim", 64),
    "ngroups": ("n_groups", 1), "chunk_size": ("chunk_size", 256),
}  # fmt: skip
"""Keys of its object of mixers, those of the library, and what Mamba 2 has where they are absent."""


def _of_mamba(raw: Config, place: str) -> Config:
    """A file of mamba_ssm: Mamba 1 or 2 alone, its vocabulary padded to a multiple. Source: [gu2023mamba] code."""
    f = Fields(raw, place)
    mixer = dict(f.object("ssm_cfg") or {})
    second = mixer.pop("layer", "Mamba1") == "Mamba2"
    # attention and MLPs between the mixers are no model of either type
    if raw.get("attn_layer_idx") or raw.get("d_intermediate") or set(mixer) - set(MIXER):
        return raw
    multiple, words = f.whole("pad_vocab_size_multiple", default=8), f.whole("vocab_size")
    found: Config = {
        "hidden_size": f.whole("d_model"), "num_hidden_layers": f.whole("n_layer"),
        "vocab_size": -(-words // multiple) * multiple, "tie_word_embeddings": raw.get("tie_embeddings", True),
    }  # fmt: skip
    if not second:
        usual = {"d_state": 16}
        sizes = {MIXER[k][0]: mixer.get(k, usual.get(k, MIXER[k][1])) for k in ("d_state", "d_conv", "expand")}
        return {**found, **sizes, "model_type": "mamba", "rms_norm": raw.get("rms_norm", True)}
    sizes = {name: mixer.get(k, usual) for k, (name, usual) in MIXER.items()}
    heads = sizes["expand"] * found["hidden_size"] // sizes["head_dim"]
    return {**found, **sizes, "model_type": "mamba2", "num_heads": heads}


def _by_layer(widths: list[Any], n_layers: int, place: str) -> Config:
    """Windows that repeat over the layers, as [null, 32768, 32768, 32768]: a null sees everything."""
    known = {w for w in widths if w is not None}
    if len(known) > 1 or not all(isinstance(w, int) for w in known):
        raise SpecError(f"{place}: sliding_window = {show(widths)}, expected nulls and one width")
    kinds = [widths[i % len(widths)] is not None for i in range(n_layers)]
    said = ["sliding_attention" if sees else "full_attention" for sees in kinds]
    return {"model_type": "ministral", "sliding_window": next(iter(known), None), "layer_types": said}


def _of_meta(raw: Config, place: str) -> Config:
    """Meta's file: the MLP's width is two thirds of four times the model's, times a factor, in whole multiples.

        w = m ceil(floor(a floor(8 d / 3)) / m)
    with d `dim`, a `ffn_dim_multiplier` (1 if absent) and m `multiple_of`. Source: [touvron2023llama2] reference code.
    """
    unsaid = next((k for k in META_UNSAID if k not in raw), None)
    if unsaid is not None:
        raise SpecError(f"{place}: a params.json of Meta does not say {unsaid}; add it, or give its config.json")
    f = Fields(raw, place)
    multiple, times = f.whole("multiple_of"), f.number("ffn_dim_multiplier", default=1.0)
    # rounded down twice as in the reference code: once alone may end at another multiple
    wide = int(times * (8 * f.whole("dim") // 3))
    plain = {
        SIZES.get(k, k): v for k, v in raw.items() if k not in ("multiple_of", "ffn_dim_multiplier", "use_scaled_rope")
    }
    # files of Llama 1 do not say that every head has keys of its own
    plain.setdefault("num_key_value_heads", raw["n_heads"])
    return {**plain, "model_type": "llama", "intermediate_size": -(-wide // multiple) * multiple}


def _experts(moe: Config, place: str, latent: bool) -> Config:
    """Sizes of experts: Mixtral's are as wide as the MLP, later ones say their own width."""
    odd = next((k for k in moe if k not in EXPERTS and k not in SPLIT), None)
    if odd is not None:
        raise SpecError(f"{place}: key 'moe.{odd}' = {show(moe[odd])} is not known, so it may change the model")
    named = {EXPERTS[k]: v for k, v in moe.items() if k in EXPERTS}
    if latent:
        return named
    if set(named) - {"n_routed_experts", "num_experts_per_tok"}:
        raise SpecError(f"{place}: moe says more than how many experts there are, without kv_lora_rank: not known")
    return {"num_local_experts": named.get("n_routed_experts"), "num_experts_per_tok": named.get("num_experts_per_tok")}


def _stored(said: Config, place: str) -> Config:
    """The object of the storage: a quantiser's own as it is, or Mistral's word for FP8."""
    if "quant_method" in said:
        return said
    if said.get("qformat_weight") == "fp8_e4m3":
        return {"quant_method": "fp8"}
    raise SpecError(f"{place}: quantization = {show(said)} is not known; allowed: qformat_weight fp8_e4m3")


OTHERS = {
    "dim": "the sizes are spelled as in a params.json of Meta or Mistral, without all that the latter has",
    "ssm_cfg": "the keys are those of mamba_ssm, with attention or MLPs between the mixers",
    "n_query_groups": "the keys are LitGPT's",
    "ffn_hidden_size": "the keys are Megatron's or NeMo's",
    "num_query_groups": "the keys are Megatron's or NeMo's",
    "base_emb_dim": "the keys are MaxText's",
    "weight_map": "the file says where weights lie, not what model they make",
    "_class_name": "the keys are those of diffusers, whose models of images are not supported",
    "peft_type": "the file describes an adapter, not a model",
}
"""A key that tells whose file it is, where it is not that of a language model in the library's spelling."""
