"""A `Model` from a Hugging Face `config.json`, or one line that says why not.

Reads the keys of Llama, Mistral and Qwen (`hidden_size`, ...), of GPT-2 and BLOOM (`n_embd`, ...), of BERT, and of the
mixtures of experts Mixtral, Qwen3-MoE, DeepSeek-V3, Kimi K2, gpt-oss and Llama 4. Where Hugging Face documents a
default (KV heads, head width, MLP width, tied embeddings) it applies; all else must be in the file.
"""

from __future__ import annotations

from pathlib import Path

from ..core.errors import SpecError
from .config_file import KEYS, Config, flag, items, needed, read, show, whole
from .op import passes
from .transformer import Experts, Latent, Model

_GATED = (
    "deepseek_v2", "deepseek_v3", "gpt_oss", "kimi_k2", "llama", "llama4_text", "mistral", "mixtral", "qwen2",
    "qwen2_moe", "qwen3", "qwen3_moe",
)  # fmt: skip
"""Model types whose MLP has three matrices (SwiGLU) and whose embeddings are untied by default."""
_PLAIN = ("bert", "bloom", "gpt2")
"""Model types whose MLP has two matrices and whose embeddings are tied by default."""
_ENCODERS = ("bert",)
"""Model types that attend to the whole sequence."""
_ALWAYS_SHARED = ("llama4", "llama4_text")
"""Model types with one shared expert of the routed width that no key states."""

_UNSUPPORTED = {
    "is_encoder_decoder": "an encoder with a decoder",
    "attn_layer_period": "a mix of attention and state-space blocks",
    "hybrid_layer_pattern": "a mix of attention widths",
    "index_topk": "attention to selected tokens",
    "compress_ratios": "attention to compressed tokens",
}
"""Keys of models that `Model` would misdescribe."""
_WINDOWED, _WHOLE = ("sliding_attention", "chunked_attention"), "full_attention"
"""Entries of `layer_types`."""
_DROPOUT = ("resid_pdrop", "hidden_dropout", "hidden_dropout_prob")
"""Keys of the dropout rate of the residual stream."""
_DROPPED = ("bert", "gpt2")
"""Model types with dropout where no key says otherwise."""
_NORMS = {"rms_norm_eps": "norm_forward", "layer_norm_epsilon": "layer_norm", "layer_norm_eps": "layer_norm"}
"""Element passes of the normalisation that each key implies."""


def _text_part(raw: Config) -> Config:
    """The language model of a multimodal configuration, which nests it; else `raw` itself."""
    nested = raw.get("text_config")
    if isinstance(nested, dict) and not any(k in raw for k in KEYS["n_layers"]):
        return raw | nested
    return raw


def _refuse_unsupported(raw: Config, place: str) -> None:
    """SpecError for a configuration that is no decoder or encoder of attention and MLP blocks."""
    for field in ("n_layers", "n_heads"):
        if not any(k in raw for k in KEYS[field]):
            keys = " or ".join(KEYS[field])
            raise SpecError(f"{place}: no {keys}, so this is no transformer configuration; give a decoder's config")
    for key, what in _UNSUPPORTED.items():
        if raw.get(key) not in (None, 0):
            raise SpecError(f"{place}: {key} = {show(raw[key])}: {what} is not supported; use another model")


def _is_gated(raw: Config, place: str) -> bool:
    """Whether the MLP has a gate, from the model type, or from SiLU with RMSNorm for types we do not know."""
    kind, activation = raw.get("model_type"), raw.get("hidden_act", raw.get("activation_function"))
    if kind in _GATED or kind in _PLAIN:
        return kind in _GATED
    if activation in ("silu", "swish") and "rms_norm_eps" in raw:
        return True
    known = ", ".join(sorted(_GATED + _PLAIN))
    raise SpecError(
        f"{place}: model_type = {show(kind)} with activation {show(activation)} is not known; "
        f"allowed: {known}, or any decoder with hidden_act silu and rms_norm_eps"
    )


def _dropout(raw: Config, place: str) -> bool:
    """Whether blocks train with dropout, from the first rate the file names, else from the model type."""
    key = next((k for k in _DROPOUT if raw.get(k) is not None), None)
    if key is None:
        return raw.get("model_type") in _DROPPED
    rate = raw[key]
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise SpecError(f"{place}: {key} = {show(rate)}, expected a rate from 0 to below 1")
    return rate > 0


def _norm_passes(raw: Config, place: str) -> int:
    """Element passes of the normalisation, from which epsilon the file names."""
    key = next((k for k in _NORMS if k in raw), None)
    if key is None:
        raise SpecError(f"{place}: none of {', '.join(_NORMS)}; add the one of the model's normalisation")
    return round(passes()[_NORMS[key]])


def _latent(raw: Config, place: str) -> Latent | None:
    """Latent attention where the file has `kv_lora_rank`; a null `q_lora_rank` leaves queries unsqueezed."""
    kv_rank = whole(raw, place, "kv_rank")
    if kv_rank is None:
        return None
    return Latent(
        query_rank=whole(raw, place, "query_rank") or 0,
        kv_rank=kv_rank,
        rope_dim=needed(raw, place, "rope_dim"),
        nope_dim=needed(raw, place, "nope_dim"),
        value_dim=needed(raw, place, "value_dim"),
    )


def _heads(raw: Config, place: str, hidden: int, latent: Latent | None) -> tuple[int, int, int]:
    """Query heads, KV heads and width of queries and keys, checked against each other."""
    n_heads = needed(raw, place, "n_heads")
    n_kv_heads = whole(raw, place, "n_kv_heads") or n_heads
    if n_heads % n_kv_heads:
        raise SpecError(f"{place}: num_key_value_heads = {n_kv_heads} does not divide num_attention_heads = {n_heads}")
    if latent is not None:
        return n_heads, n_kv_heads, latent.nope_dim + latent.rope_dim
    head_dim = whole(raw, place, "head_dim")
    if head_dim is None and hidden % n_heads:
        raise SpecError(f"{place}: {n_heads} heads do not divide the width {hidden}; add head_dim or use a divisor")
    return n_heads, n_kv_heads, head_dim or hidden // n_heads


def _n_dense_layers(raw: Config, place: str, n_layers: int) -> int:
    """Blocks that keep a dense MLP.

    Block i from 0 has experts if it is listed in `moe_layers`; without a list, if it comes after the first
    `first_k_dense_replace`, `moe_layer_freq` divides i, the step (`decoder_sparse_step`, `interleave_moe_layer_step`)
    divides i + 1 and `mlp_only_layers` does not list it.
    """
    listed = items(raw, place, "moe_layers")
    if listed is not None:
        return n_layers - sum(i in listed for i in range(n_layers))
    first = whole(raw, place, "n_first_dense", least=0) or 0
    freq, step = whole(raw, place, "moe_freq") or 1, whole(raw, place, "moe_step") or 1
    only = items(raw, place, "mlp_only_layers") or []
    sparse = [i for i in range(first, n_layers) if i % freq == 0 and (i + 1) % step == 0 and i not in only]
    return n_layers - len(sparse)


def _experts(raw: Config, place: str, n_layers: int) -> Experts | None:
    """The mixture of experts, where the file counts any; an expert is `intermediate_size` wide unless stated."""
    n_experts = whole(raw, place, "n_experts", least=0)
    if not n_experts:
        return None
    per_token = needed(raw, place, "per_token")
    if per_token > n_experts:
        raise SpecError(f"{place}: {per_token} experts per token, but there are {n_experts}; use at most that many")
    ffn = whole(raw, place, "expert_ffn") or needed(raw, place, "ffn")
    n_shared = 1 if raw.get("model_type") in _ALWAYS_SHARED else whole(raw, place, "n_shared", least=0) or 0
    shared = whole(raw, place, "shared_ffn", least=0) or n_shared * ffn
    return Experts(n_experts, per_token, ffn, shared, _n_dense_layers(raw, place, n_layers))


def _window_from_types(types: list[object], window: int | None, place: str, n_layers: int) -> tuple[int, int]:
    """Window and number of windowed blocks where `layer_types` names the attention of each."""
    odd = next((t for t in types if t not in (*_WINDOWED, _WHOLE)), None)
    if odd is not None or len(types) != n_layers:
        got = f"{len(types)} entries for {n_layers} layers" if odd is None else f"an entry {show(odd)}"
        allowed = ", ".join((*_WINDOWED, _WHOLE))
        raise SpecError(f"{place}: layer_types has {got}; allowed: one of {allowed} for each layer")
    n_windowed = sum(t in _WINDOWED for t in types)
    if n_windowed and window is None:
        raise SpecError(f"{place}: layer_types has windows, but no sliding_window or attention_chunk_size; add it")
    return (window or 0, n_windowed) if n_windowed else (0, 0)


def _window(raw: Config, place: str, n_layers: int) -> tuple[int, int]:
    """Width of the sliding window and blocks that have it; (0, 0) for none.

    Without `layer_types`: gpt-oss starts with a window and alternates; Llama 4 attends in chunks (taken as windows of
    their width, which is the most that a position sees) in all but every fourth block or as `no_rope_layers` says;
    Qwen keeps the first `max_window_layers` whole; Mistral has a window in every block.
    """
    kind = raw.get("model_type")
    chunk = whole(raw, place, "chunk")
    window = whole(raw, place, "window") if raw.get("use_sliding_window", True) else None
    types = items(raw, place, "layer_types")
    if types is not None:
        return _window_from_types(types, window or chunk, place, n_layers)
    if window is None and chunk is not None:
        rotary = items(raw, place, "no_rope_layers")
        n_whole = rotary.count(0) if rotary else n_layers // (whole(raw, place, "full_step") or 4)
        return chunk, max(n_layers - n_whole, 0)
    if window is None:
        return 0, 0
    if kind == "gpt_oss":
        return window, (n_layers + 1) // 2
    n_full = whole(raw, place, "n_full_first", least=0) or 0
    return (window, n_layers - n_full) if n_full < n_layers else (0, 0)


def _ffn(raw: Config, place: str, gated: bool, hidden: int) -> int:
    """Width of the dense MLP; four times the model's where a plain one states none, as GPT-2 and BLOOM document."""
    if not gated:
        return whole(raw, place, "ffn") or 4 * hidden
    return whole(raw, place, "dense_ffn") or needed(raw, place, "ffn")


def model_from_config(path: str | Path) -> Model:
    """The transformer that a Hugging Face `config.json` describes: decoder or encoder, dense or mixture of experts.

    Assumes: pre-norm blocks, two norms each, no biases counted; learned positions, vision towers and layers that
    predict further tokens are read past, not counted.

    Args:
        path: the file, or a folder that holds `config.json`.

    Returns:
        The model, named after the file, or after its folder where the file is called `config.json`.

    Raises:
        SpecError: unreadable or truncated file, an architecture not supported, or a value out of range; the message
            names file, key, value and what is allowed.
    """
    path = Path(path)
    path = path / "config.json" if path.is_dir() else path
    raw, place = _text_part(read(path)), str(path)
    _refuse_unsupported(raw, place)
    gated = _is_gated(raw, place)
    hidden, n_layers = needed(raw, place, "hidden"), needed(raw, place, "n_layers")
    latent = _latent(raw, place)
    n_heads, n_kv_heads, head_dim = _heads(raw, place, hidden, latent)
    window, n_window_layers = _window(raw, place, n_layers)
    return Model(
        name=path.resolve().parent.name if path.name == "config.json" else path.stem,
        n_layers=n_layers,
        hidden=hidden,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        ffn=_ffn(raw, place, gated, hidden),
        vocab=needed(raw, place, "vocab"),
        n_mlp_matrices=3 if gated else 2,
        tied_embeddings=flag(raw, place, "tie_word_embeddings", default=not gated),
        norm_passes=_norm_passes(raw, place),
        max_context=needed(raw, place, "max_context"),
        experts=_experts(raw, place, n_layers),
        latent=latent,
        window=window,
        n_window_layers=n_window_layers,
        dropout=_dropout(raw, place),
        causal=raw.get("model_type") not in _ENCODERS or flag(raw, place, "is_decoder", default=False),
    )
